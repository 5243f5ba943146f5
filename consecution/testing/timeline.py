"""A producer whose items come at moments of a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.producers.base import NOTHING_YET, Producer, Read, SourceClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consecution.clock import Clock


class Timeline(Producer):
    """Gives one item each ``every_s`` seconds, the first at once; with 0 all of them at once.

    >>> from consecution.testing.clock import ManualClock
    >>> clock = ManualClock()
    >>> timeline = Timeline(["a", "b", "c"], every_s=10.0, clock=clock)
    >>> timeline.open()
    >>> timeline.read(5, 0.0).items, timeline.ready_in()
    (['a'], 10.0)
    >>> clock.advance(20.0)
    >>> timeline.read(5, 0.0).items
    ['b', 'c']

    Args:
        items: What it gives; read one after the other.
        every_s: Seconds of the clock between two items.
        clock: Tells the time.
        name: As for every producer.
    """

    kind = "timeline"
    source = SourceClass.FIRE_AND_FORGET
    lives_in_caller = True

    def __init__(self, items: Iterable[Any], *, every_s: float, clock: Clock, name: str | None = None) -> None:
        self.name = name
        self._items = items
        self._every_s = every_s
        self._clock = clock
        self._rest: Iterator[Any] = iter(())
        self._due_at = 0.0
        self._is_over = False

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin; the first item is due now."""
        self._rest = iter(self._items)
        self._due_at = self._clock.monotonic()
        self._is_over = False

    def read(self, items_max: int, wait_s: float) -> Read:
        """Give the items that are due; never waits."""
        if self._is_over:
            return NOTHING_YET
        given: list[Any] = []
        while len(given) < items_max and self._due_at <= self._clock.monotonic():
            try:
                given.append(next(self._rest))
            except StopIteration:
                self._is_over = True
                break
            self._due_at += self._every_s
        return Read(given, ended=self._is_over) if given or self._is_over else NOTHING_YET

    def ready_in(self) -> float | None:
        """Give the seconds until the next item."""
        return max(0.0, self._due_at - self._clock.monotonic())

    def close(self) -> None:
        """Nothing is held."""
