"""What kind of node it is, as the stage runner asks once for each copy. Overriding a method decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .node import Node
from .nodes import Collect, Filter, FlatMap, Map, is_async_function
from .routing import Route

if TYPE_CHECKING:
    from typing import TypeGuard


def overrides(node: Node, method: str) -> bool:
    """Whether a node's class, or the node itself, has its own ``method``."""
    # Not by vars(node): CPython 3.11 keeps attributes in the object itself until somebody asks for its ``__dict__``;
    # from then on each access by user code costs 25 ns more.
    return getattr(getattr(node, method), "__func__", None) is not getattr(Node, method)


def is_batch(node: Node) -> bool:
    """Whether it takes many items at once, by ``process_batch``."""
    return overrides(node, "process_batch")


def is_holder(node: Node) -> bool:
    """Whether it keeps inputs open, and closes them in ``flush``."""
    return overrides(node, "flush")


def is_accumulating(node: Node) -> bool:
    """Whether it sums in memory: it overrides ``finish`` and holds nothing (protocol.md R17)."""
    return overrides(node, "finish") and not is_holder(node)


def is_function(node: Node) -> TypeGuard[Map | Filter | FlatMap]:
    """Whether it is nothing but a function, whose ``func`` can be compiled into a loop."""
    return any(
        isinstance(node, kind) and getattr(node.process, "__func__", None) is kind.process
        for kind in (Map, Filter, FlatMap)
    ) and not is_batch(node)


def is_route(node: Node) -> TypeGuard[Route]:
    """Whether it sends each item to one of its branches."""
    return isinstance(node, Route)


def is_collect(node: Node) -> TypeGuard[Collect]:
    """Whether its items go into the report."""
    return isinstance(node, Collect)


def is_async(node: Node) -> bool:
    """Whether it seems to be async: a hint, since what a call gives back decides."""
    if is_function(node):
        return is_async_function(node.func)
    return is_async_function(node.process_batch if is_batch(node) else node.process)


def has_timer(node: Node) -> bool:
    """Whether ``on_timer`` is to be called."""
    return node._slot.options.every is not None and overrides(node, "on_timer")


def items_held_max(node: Node) -> int:
    """Most items that one task of this node keeps open; 0 when it is no holder."""
    return node.items_held_max if is_holder(node) else 0
