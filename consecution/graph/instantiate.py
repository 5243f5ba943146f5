"""Running copies of a node: its attributes deep-copied, its links left behind.

Rules of this module:
1. Every run and every parallel copy starts from the template, which is never changed.
2. Attributes and ``__slots__`` are copied with one memo, so what they share stays shared.
3. What can't be copied is refused by node and attribute; it belongs into ``setup()``.
"""

from __future__ import annotations

import copy
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from consecution.errors import GraphError

from .node import Node
from .view import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NodeT = TypeVar("NodeT", bound=Node)
_OWN_SLOTS = frozenset({"_slot", "_push", "__dict__", "__weakref__"})


def instantiate(node: NodeT) -> NodeT:
    """Give a running copy of a template, without links and without a runtime.

    The caller owns the copy, binds ``copy._slot.runtime``, and may replace ``copy._push`` by a faster function.

    Raises:
        GraphError: An attribute can't be copied; the message names node and attribute.
    """
    made = deep_copy(node, {})
    made._slot.frozen_by = node._slot.frozen_by
    return made


def deep_copy(node: NodeT, memo: dict[int, Any]) -> NodeT:
    """Give an unlinked node with deep copies of all attributes."""

    def copied(attribute: str, value: object) -> object:
        if isinstance(value, ModuleType):
            return value
        try:
            return copy.deepcopy(value, memo)
        except GraphError:
            raise
        except Exception as error:  # a user's __deepcopy__ or __reduce__ is user code
            msg = (
                f"{describe(node)}.{attribute} is a {type(value).__name__} that can't be copied ({error}), and every "
                f"run and parallel copy gets its own; create it in setup()"
            )
            raise GraphError(msg) from error

    return copy_unlinked(node, copied, memo)


def copy_unlinked(node: NodeT, copied: Callable[[str, object], object], memo: dict[int, Any] | None = None) -> NodeT:
    """Give a new node of the same class; ``copied`` gives the value of each attribute."""
    made = Node.__new__(type(node))
    if memo is not None:
        memo[id(node)] = made  # an attribute may lead back here
    made._slot = node._slot.copied()
    made._push = made._slot.push
    for attribute, value in vars(node).items():
        if hasattr(getattr(type(made), attribute, None), "__set__"):
            made.__dict__[attribute] = copied(attribute, value)
        else:  # without asking for __dict__: see kinds.overrides
            object.__setattr__(made, attribute, copied(attribute, value))
    for attribute in slot_names(type(node)):
        try:
            value = object.__getattribute__(node, attribute)
        except AttributeError:  # a slot that was never filled
            continue
        object.__setattr__(made, attribute, copied(attribute, value))
    return made


def slot_names(kind: type) -> Iterator[str]:
    """Give the names of a class's own ``__slots__``, as they are spelled in an instance."""
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot in _OWN_SLOTS:
                continue
            private = slot.startswith("__") and not slot.endswith("__")
            yield f"_{base.__name__.lstrip('_')}{slot}" if private else slot
