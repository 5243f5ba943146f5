"""Walks over linked vertices: everything connected, topological order, one cycle. All without recursion."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.errors import GraphError, short_repr

from .branches import build_part, read_part
from .source import Source
from .view import Vertex, View, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .node import Node


_UNLINKED = float("inf")  # behind all others, as the expression shows them


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """All vertices of a connected graph, in order of linking."""

    nodes: list[Node]
    sources: list[Source]


def start_vertices(thing: object, owner_name: str) -> list[Vertex]:
    """Give the vertices that an expression shows.

    Raises:
        GraphError: It is no node, view, producer or function.
    """
    if isinstance(thing, Vertex):
        return [thing]
    if isinstance(thing, View):
        return _shown(thing)
    if isinstance(thing, (list, tuple)):
        msg = (
            f"consecutor {owner_name} was given {describe(thing)}, and nothing connects a list; "
            f"write a | [x, y], or merge(x, y)"
        )
        raise GraphError(msg)
    if isinstance(thing, str):
        msg = f"consecutor {owner_name} was given {short_repr(thing)} as its graph; expected Consecutor(graph, name)"
        raise GraphError(msg)
    return _shown(build_part(read_part(thing, f"given to consecutor {owner_name}", owner_name)))


def _shown(view: View) -> list[Vertex]:
    return [*view.entries, *(vertex for vertex, _ in view.exits)]


def collect(starts: Iterable[Vertex]) -> Found:
    """Find all vertices that are linked with the given ones, in either direction."""
    seen: dict[int, Vertex] = {}
    waiting = [*starts][::-1]
    while waiting:
        vertex = waiting.pop()
        if id(vertex) in seen:
            continue
        seen[id(vertex)] = vertex
        slot = vertex._slot
        waiting.extend(link.target for link in slot.outputs)
        waiting.extend(link.source for link in slot.inputs)
    ordered = sorted(seen.values(), key=_order)
    sources = [vertex for vertex in ordered if isinstance(vertex, Source)]
    return Found([vertex for vertex in ordered if not isinstance(vertex, Source)], sources)  # type: ignore[misc]


def _order(vertex: Vertex) -> float:
    order = vertex._slot.order
    return _UNLINKED if order is None else order


def topological(nodes: Sequence[Node]) -> list[Node]:
    """Give the nodes so that links lead onwards; ties as they came in, which is the order of linking.

    Raises:
        GraphError: There is a cycle; the message walks it.
    """
    by_id = {id(node): node for node in nodes}
    rank = {key: place for place, key in enumerate(by_id)}
    open_inputs = {key: _inputs_of(node) for key, node in by_id.items()}
    ready = [(rank[key], key) for key in by_id if not open_inputs[key]]  # sorted, so it is a heap
    ordered: list[Node] = []
    while ready:
        _, key = heapq.heappop(ready)
        node = by_id[key]
        ordered.append(node)
        for link in node._slot.outputs:
            target = id(link.target)
            open_inputs[target] -= 1
            if not open_inputs[target]:
                heapq.heappush(ready, (rank[target], target))
    if len(ordered) < len(nodes):
        raise GraphError(_cycle_message([node for key, node in by_id.items() if open_inputs[key]]))
    return ordered


def _inputs_of(node: Node) -> int:
    return sum(1 for link in node._slot.inputs if not link.source._is_source)


def _cycle_message(left: Sequence[Node]) -> str:
    """Walk backwards from any node left over: each has an input that is left over too, so the walk closes."""
    rest = {id(node) for node in left}
    place: dict[int, int] = {}
    path: list[Vertex] = []
    vertex: Vertex = left[0]
    while id(vertex) not in place:
        place[id(vertex)] = len(path)
        path.append(vertex)
        vertex = next(link.source for link in vertex._slot.inputs if id(link.source) in rest)
    cycle = [describe(each) for each in reversed(path[place[id(vertex)] :])]
    first = min(range(len(cycle)), key=cycle.__getitem__)
    cycle = cycle[first:] + cycle[:first]
    shown = cycle if len(cycle) <= 20 else [*cycle[:10], "…", *cycle[-9:]]
    return (
        f"items would go round for ever: {' → '.join([*shown, cycle[0]])}; "
        f"take out one link of this cycle, such as {cycle[-1]} | {cycle[0]}"
    )
