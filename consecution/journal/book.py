"""One producer's page in the journal: pure bookkeeping of marks, entry rows and attempts.

Rules: no file, clock or codec here. Seqs are the producer's own. Entry rows hold one appended batch each; a row is
dropped when all of it is finished, except in an accumulating run, where a start over needs it again (R17).
Invariant: ``completed + failed == mark + sum of ranges``: each finished seq is counted once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.guarantee.messages import Cause
    from consecution.journal.base import ProducerHeader, SourceClass

Spans: TypeAlias = tuple[tuple[int, int], ...]


@value
class Page:
    """What one transaction can change of a producer."""

    next_seq: int = 0
    mark: int = 0
    ranges: Spans = ()
    position: Any = None
    check: Any = None
    completed: int = 0
    failed: int = 0

    @property
    def finished(self) -> int:
        """How many seqs are finished."""
        return self.mark + sum(stop - start for start, stop in self.ranges)

    @property
    def is_even(self) -> bool:
        """Whether the invariant holds."""
        return self.completed + self.failed == self.finished and self.finished <= self.next_seq

    @property
    def is_done(self) -> bool:
        """Whether nothing is unfinished."""
        return self.mark == self.next_seq

    def is_finished(self, seq: int) -> bool:
        """Whether a seq is finished."""
        if seq < self.mark:
            return True
        place = bisect_right(self.ranges, (seq, 1 << 62)) - 1
        return place >= 0 and self.ranges[place][1] > seq

    def finished_in(self, start: int, stop: int) -> int:
        """How many of ``range(start, stop)`` are finished."""
        inside = max(0, min(stop, self.mark) - start)
        place = max(0, bisect_right(self.ranges, (start, 0)) - 1)
        while place < len(self.ranges) and self.ranges[place][0] < stop:
            first, last = self.ranges[place]
            inside += max(0, min(stop, last) - max(start, first))
            place += 1
        return inside

    def plain(self) -> list[Any]:
        """Give it as packable values."""
        ranges = [edge for span in self.ranges for edge in span]
        return [self.next_seq, self.mark, ranges, self.position, self.check, self.completed, self.failed]


def page_of(plain: list[Any]) -> Page:
    """Give the page that `Page.plain` gave."""
    next_seq, mark, edges, position, check, completed, failed = plain
    ranges = tuple(zip(edges[::2], edges[1::2], strict=True))
    return Page(next_seq, mark, ranges, position, check, completed, failed)


@value
class Held:
    """What is held against an unfinished item; `crashes` are those of its attempts that took the process down."""

    attempts: int
    is_suspect: bool
    crashes: int


@dataclass(slots=True)
class Book:
    """A producer's page now, its page at the beginning of the pass, its entry rows and attempts.

    Attributes:
        number: Its number in this journal, from 1.
        rows: First seq of each entry row to [items, unfinished items].
    """

    number: int
    name: str
    kind: str
    source: SourceClass
    is_endless: bool
    page: Page = field(default_factory=Page)
    base: Page = field(default_factory=Page)
    rows: dict[int, list[int]] = field(default_factory=dict)
    firsts: list[int] = field(default_factory=list)
    attempts: dict[int, Held] = field(default_factory=dict)

    def plain(self, page: Page, base: Page) -> list[Any]:
        """Give the book with another page as packable values; rows and attempts have rows of their own."""
        return [self.name, self.kind, self.source, self.is_endless, page.plain(), base.plain()]

    def add_row(self, first: int, count: int) -> None:
        """Note an entry row, finished items in it taken off."""
        insort(self.firsts, first)
        self.rows[first] = [count, count - self.page.finished_in(first, first + count)]

    def drop_row(self, first: int) -> None:
        """Forget an entry row."""
        del self.firsts[bisect_left(self.firsts, first)]
        del self.rows[first]

    @property
    def entries_end(self) -> int:
        """One more than the highest seq of an entry."""
        return self.firsts[-1] + self.rows[self.firsts[-1]][0] if self.firsts else 0

    @property
    def unfinished_entries(self) -> int:
        """How many entries are unfinished."""
        return sum(unfinished for _, unfinished in self.rows.values())

    def rows_after(self, spans: Iterable[tuple[int, int]]) -> dict[int, int]:
        """Give first seq to unfinished items of the rows that finishing `spans` changes."""
        changed: dict[int, int] = {}
        for start, stop in spans:
            place = max(0, bisect_right(self.firsts, start) - 1)
            while place < len(self.firsts) and (first := self.firsts[place]) < stop:
                count, unfinished = self.rows[first]
                inside = min(stop, first + count) - max(start, first)
                if inside > 0:
                    changed[first] = changed.get(first, unfinished) - inside
                place += 1
        return changed

    def page_over(self, crashed: Iterable[int]) -> Page:
        """Give the page with which the pass starts over: only dead letters of crashes stay finished."""
        seqs = sorted(crashed)
        spans: list[tuple[int, int]] = []
        for seq in seqs:
            if spans and spans[-1][1] == seq:
                spans[-1] = (spans[-1][0], seq + 1)
            else:
                spans.append((seq, seq + 1))
        next_seq = max(self.base.next_seq, seqs[-1] + 1 if seqs else 0)
        if self.source != "re-readable":
            next_seq = max(next_seq, self.page.next_seq, self.entries_end)
        return replace(self.base, next_seq=next_seq, ranges=tuple(spans), failed=self.base.failed + len(seqs))


def is_crash(cause: Cause | None, *, is_suspect: bool) -> bool:
    """Whether an attempt took its process down: only then has a suspect's cause no traceback (R15)."""
    return is_suspect and (cause is None or not cause.traceback)


def book_of(number: int, plain: list[Any]) -> Book:
    """Give the book that `Book.plain` gave, still without rows and attempts."""
    name, kind, source, is_endless, page, base = plain
    return Book(number, name, kind, source, is_endless, page_of(page), page_of(base))


def new_book(number: int, header: ProducerHeader) -> Book:
    """Give the empty book of a producer."""
    return Book(number, header.name, header.kind, header.source, header.endless)
