"""What makes a graph wrong, found before anything runs. Every check names the node and the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.errors import GraphError

from . import kinds
from .angles import refuse_unclosed
from .naming import base_name
from .nodes import refuse_after_collect
from .view import describe

if TYPE_CHECKING:
    from .node import Node
    from .walk import Found


def check_graph(found: Found, owner_name: str) -> None:
    """Check a whole connected graph, cycles excepted.

    Raises:
        GraphError: The first thing that is wrong, in order of linking.
    """
    for vertex in [*found.nodes, *found.sources]:
        if vertex._slot.brackets:
            refuse_unclosed(vertex._slot.brackets[0])
    if not found.nodes:
        names = ", ".join(describe(source) for source in found.sources)
        msg = f"consecutor {owner_name} has no node, only {names}; link it to one: {names} | node"
        raise GraphError(msg)
    for node in found.nodes:
        _check_node(node)
    _check_names(found.nodes)
    _check_outputs(found.nodes)


def _check_node(node: Node) -> None:
    name, kind = describe(node), type(node).__name__
    has_process, has_batch = kinds.overrides(node, "process"), kinds.is_batch(node)
    if has_process and has_batch:
        msg = f"{name} ({kind}) overrides both process and process_batch; one of them decides: take the other out"
        raise GraphError(msg)
    if not has_process and not has_batch:
        msg = f"{name} ({kind}) overrides neither process nor process_batch; write def process(self, item)"
        raise GraphError(msg)
    slot = node._slot
    if kinds.is_route(node) and not slot.branches:
        msg = f"route {name} leads nowhere; link its branches: {name} | [x, y], or write route(func, x, y)"
        raise GraphError(msg)
    if kinds.is_collect(node) and slot.outputs:
        raise GraphError(refuse_after_collect(node, describe(slot.outputs[0].target)))
    may_lack_timer = kinds.is_holder(node) or node.needs_no_timer
    if kinds.overrides(node, "on_timer") and slot.options.every is None and not may_lack_timer:
        msg = f"{name} ({kind}) overrides on_timer and has no every=; say every=timedelta(seconds=…)"
        raise GraphError(msg)


def _check_names(nodes: list[Node]) -> None:
    """Find a name that two nodes were given."""
    owners: dict[str, Node] = {}
    for node in nodes:
        name = node._slot.name
        if name is None:
            continue
        other = owners.setdefault(name, node)
        if other is not node:
            kinds_ = f"a {type(other).__name__} and a {type(node).__name__}"
            msg = (
                f"two nodes are named {name!r} ({kinds_}); give one of them another name= "
                f"(without one it would be {base_name(node._slot, type(node))!r})"
            )
            raise GraphError(msg)


def _check_outputs(nodes: list[Node]) -> None:
    """Find an output that is blocking in one node and async in another."""
    first: dict[str, Node] = {}
    for node in nodes:
        for output, is_async in node._slot.declared.items():
            other = first.setdefault(output, node)
            if other._slot.declared[output] is not is_async:
                blocking, asynchronous = (other, node) if is_async else (node, other)
                msg = (
                    f"output {output!r} is blocking in {describe(blocking)} and async in {describe(asynchronous)}; "
                    f"use add_output in both, or add_async_output in both"
                )
                raise GraphError(msg)
