"""Which sequence numbers are finished: everything below a mark, and ranges above it (protocol.md R17).

Rules: a set of ints >= 0 that only grows. Invariants: (1) the mark is the lowest number that is not in the set;
(2) the ranges above it are sorted, not empty, disjoint and never touch each other or the mark.
Adding at the mark or at the end of the last range, which is what nearly always happens, is O(1); elsewhere it is a
binary search and one move of a list.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Ranges:
    """A set of finished numbers. Not thread-safe.

    Args:
        mark: Everything below it is finished.
        pairs: Finished ranges as (start, stop), stop not included; any order.

    >>> done = Ranges(5)
    >>> done.add(7, 9)
    >>> done.mark, list(done), 8 in done
    (5, [(7, 9)], True)
    >>> done.add(5, 7)
    >>> done.mark, list(done)
    (9, [])
    """

    __slots__ = ("_starts", "_stops", "mark")

    def __init__(self, mark: int = 0, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self.mark = mark
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in pairs:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Finish the numbers from `start` up to, not including, `stop`; those that are finished already stay so."""
        if start >= stop:
            return
        starts, stops = self._starts, self._stops
        if start <= self.mark:
            if stop > self.mark:
                self.mark = stop
                if starts and starts[0] <= stop:
                    self._absorb()
        elif not stops or start > stops[-1]:
            starts.append(start)
            stops.append(stop)
        elif start == stops[-1]:
            stops[-1] = stop
        else:
            self._insert(start, stop)

    def _absorb(self) -> None:
        """Raise the mark over the ranges that it has reached."""
        reached = bisect_right(self._starts, self.mark)
        self.mark = max(self.mark, self._stops[reached - 1])  # the next one doesn't touch it, by invariant 2
        del self._starts[:reached], self._stops[:reached]

    def _insert(self, start: int, stop: int) -> None:
        """Put a range among the others and unite it with all that it touches."""
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def missing(self, below: int) -> Iterator[range]:
        """Give the gaps, in order: the numbers from the mark up to `below` that are not finished.

        >>> list(Ranges(2, [(4, 6)]).missing(8))
        [range(2, 4), range(6, 8)]
        """
        at = self.mark
        for start, stop in self:
            if start >= below:
                break
            yield range(at, start)
            at = stop
        if at < below:
            yield range(at, below)

    def copy(self) -> Ranges:
        """Give a copy that doesn't change with this one."""
        other = Ranges(self.mark)
        other._starts, other._stops = self._starts.copy(), self._stops.copy()
        return other

    @property
    def numbers_above(self) -> int:
        """How many finished numbers lie above the mark."""
        return sum(self._stops) - sum(self._starts)

    def __contains__(self, number: int) -> bool:
        if number < self.mark:
            return True
        place = bisect_right(self._starts, number) - 1
        return place >= 0 and number < self._stops[place]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Give the ranges above the mark as (start, stop), ascending."""
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __len__(self) -> int:
        """How many ranges lie above the mark."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranges):
            return NotImplemented
        return (self.mark, self._starts, self._stops) == (other.mark, other._starts, other._stops)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Ranges({self.mark}, {list(self)})"

    def check_invariants(self) -> None:
        """Raise AssertionError when an invariant of the module doesn't hold."""
        assert self.mark >= 0
        before = self.mark
        for start, stop in self:
            assert before < start < stop, f"(2) {self!r}"
            before = stop
