"""Chunk: gather items into lists, keeping them open until the list has gone on."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, short_repr

from .node import Node
from .nodes import check_function

if TYPE_CHECKING:
    from collections.abc import Callable

AT_MOST = 1000
TIMER_PARTS = 4  # a chunk leaves at most a quarter of `within` late
_NOTHING = object()


class Chunk(Node):
    """Push lists of items: ``Chunk(500)``, ``Chunk(batch_by=func, at_most=100)``, ``Chunk(500, within=…)``.

    The items stay open until what was made of their list is finished, so none of them is lost with it. A list goes
    on when it is full, when ``batch_by`` changes, when its first item has waited ``within`` (at most a quarter of
    that longer), and when the runner flushes: on drain, at the end, for an item that travels alone.

    Args:
        size: Items in a list; or a function of an item, as ``batch_by``.
        batch_by: Function of an item; a new list begins when its value changes. Or a number, as ``size``.
        at_most: Bound of a list made by ``batch_by``; 1,000 unless said.
        within: Longest wait of a list's first item; None: until it is full or flushed.
        **options: As Node, ``name=`` included.

    Raises:
        GraphError: Neither or both of size and function are given, or one is out of its range.

    >>> Chunk(500).items_held_max
    500
    """

    def __init__(
        self,
        size: int | Callable[[Any], Any] | None = None,
        *,
        batch_by: int | Callable[[Any], Any] | None = None,
        at_most: int | None = None,
        within: timedelta | None = None,
        **options: Any,
    ) -> None:
        if (size is None) is (batch_by is None):
            msg = "Chunk: expected either a size or batch_by; write Chunk(500) or Chunk(batch_by=func, at_most=500)"
            raise GraphError(msg)
        by = size if batch_by is None else batch_by
        self.batch_by: Callable[[Any], Any] | None = None
        if callable(by):
            check_function("Chunk", by, may_be_async=False, cure="look the value up in a node before the chunk")
            self.batch_by = by
            by = AT_MOST if at_most is None else at_most
        elif at_most is not None:
            msg = f"Chunk({by}, at_most={at_most}): the size already is the bound; leave at_most out"
            raise GraphError(msg)
        if isinstance(by, bool) or not isinstance(by, int) or by < 1:
            msg = f"Chunk: the size is {short_repr(by)}; expected a whole number, 1 or more, or a function"
            raise GraphError(msg)
        self.items_held_max = by
        super().__init__(**_with_timer(within, options))
        self.within_s = None if within is None else within.total_seconds()
        self._items: list[Any] = []
        self._tokens: list[Any] = []
        self._value: object = _NOTHING
        self._due = 0.0

    def process(self, item: Any) -> None:
        """Hold the item; push the list when it is full or its value changed."""
        if self.batch_by is not None:
            value = self.batch_by(item)
            if self._items and value != self._value:
                self.flush()
            self._value = value
        items = self._items
        if not items and self.within_s is not None:
            self._due = self._slot.running("process").now() + self.within_s
        self._tokens.append(self.hold())
        items.append(item)
        if len(items) >= self.items_held_max:
            self.flush()

    def flush(self) -> None:
        """Push what is held, if anything."""
        items, tokens = self._items, self._tokens
        if items:
            self._items, self._tokens = [], []
            self.push(items, of=tokens)

    def on_timer(self) -> None:
        """Push the list whose first item has waited long enough."""
        if self._items and self.within_s is not None and self._slot.running("on_timer").now() >= self._due:
            self.flush()


def _with_timer(within: timedelta | None, options: dict[str, Any]) -> dict[str, Any]:
    if within is None:
        return options
    if not isinstance(within, timedelta) or within <= timedelta(0):
        msg = f"Chunk: within={short_repr(within)}; expected a timedelta above 0, such as timedelta(seconds=1)"
        raise GraphError(msg)
    if options.get("every") is not None:
        msg = "Chunk: within= sets the timer, so every= can't be given too"
        raise GraphError(msg)
    return {**options, "every": max(within / TIMER_PARTS, timedelta(milliseconds=1))}
