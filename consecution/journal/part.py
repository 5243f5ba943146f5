"""One producer's part of a round: the rows that it changes, and how that becomes known once they are kept.

Rules of this module: to make a part changes nothing; `Part.settle` is called when the shelf has its rows, so that after
JournalFull everything is as before the call (rule 3 of `base`). Each part of a round begins with the totals of the one
before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consecution.errors import short_repr
from consecution.journal.base import StoredDeadLetter
from consecution.journal.book import Held, Page, is_crash
from consecution.journal.rows import place
from consecution.journal.shelf import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.guarantee.changes import DeadLetter
    from consecution.journal.base import ProducerRound
    from consecution.journal.book import Book
    from consecution.journal.dead_letters import DeadLetters
    from consecution.journal.rows import Rows, Totals
    from consecution.journal.shelf import Row


class Part:
    """One producer's part of a round.

    Args:
        round_: What it did.
        book: Its book.
        totals: Of the journal, the parts before this one counted.
        rows: Makes the rows.
        dead_letters: Of the journal.
        at: Seconds since the epoch, for new dead letters.

    Attributes:
        puts: Rows that are new or changed.
        drops: Rows that nobody needs any more.
        totals: Of the journal, this part counted.
    """

    def __init__(
        self,
        round_: ProducerRound,
        book: Book,
        totals: Totals,
        *,
        rows: Rows,
        dead_letters: DeadLetters,
        at: float,
    ) -> None:
        self._book, self._row, self._dead_letters = book, rows, dead_letters
        changes = round_.changes
        spans = [(done.start, done.stop) for done in changes.completed]
        spans += [(dead.seq, dead.seq + 1) for dead in changes.dead]
        self._page = page = Page(
            next_seq=max(round_.next_seq, book.page.next_seq),
            mark=round_.mark,
            ranges=round_.ranges,
            position=round_.position,
            check=round_.check,
            completed=book.page.completed + sum(map(len, changes.completed)),
            failed=book.page.failed + len(changes.dead),
        )
        assert page.is_even, f"each finished seq of {book.name!r} has one outcome: {page}, {changes}"
        self.puts: list[Row] = [rows.book(book, page, book.base)]
        self.drops: list[tuple[Table, int]] = []
        self._dead = self._bury(changes.dead, totals.next_dead_id, at)
        self._add_attempts(round_, spans)
        self._entries = book.rows_after(spans)
        self._drops_entries = not totals.is_accumulating
        if self._drops_entries:
            self.drops += [
                (Table.ENTRIES, place(book.number, first)) for first, left in self._entries.items() if not left
            ]
        self.totals = totals
        if changes.dead or changes.replayed or changes.dropped or changes.state_lost:
            self.totals = replace(
                totals,
                next_dead_id=totals.next_dead_id + len(changes.dead),
                replayed=totals.replayed + changes.replayed,
                dropped=totals.dropped + changes.dropped,
                state_lost=tuple(sorted({*totals.state_lost, *changes.state_lost})),
            )

    def _bury(self, letters: Sequence[DeadLetter], first_id: int, at: float) -> list[StoredDeadLetter]:
        """Add a row for each dead letter; only a cause without a traceback can be a crash (R15)."""
        name = self._book.name
        dead = []
        for dead_id, letter in enumerate(letters, first_id):
            stored = StoredDeadLetter(
                id=dead_id,
                producer=name,
                seq=letter.seq,
                attempts=letter.attempts,
                cause=letter.cause,
                item=letter.item,
                item_repr=short_repr(letter.item),
                has_item=True,
                at=at,
                is_crash=letter.cause is not None and not letter.cause.traceback,
                replay_of=self._dead_letters.replayed_by(name, letter.seq),
            )
            dead.append(stored)
            self.puts.append(self._row.dead(stored))
        return dead

    def _add_attempts(self, round_: ProducerRound, spans: list[tuple[int, int]]) -> None:
        """Add a row for what is held against each unfinished item; drop those of items that are finished."""
        book, number = self._book, self._book.number
        self._held: dict[int, Held] = {}
        for attempt in round_.changes.attempts:
            before = (
                self._held.get(attempt.seq) or book.attempts.get(attempt.seq) or Held(0, is_suspect=False, crashes=0)
            )
            crashes = before.crashes
            if is_crash(attempt.cause, is_suspect=attempt.suspect):
                crashes += max(0, attempt.attempts - before.attempts)
            self._held[attempt.seq] = Held(attempt.attempts, attempt.suspect or before.is_suspect, crashes)
        known = book.attempts.keys() | self._held.keys()
        self._finished = [seq for seq in known if any(start <= seq < stop for start, stop in spans)] if known else []
        self.drops += [(Table.ATTEMPTS, place(number, seq)) for seq in self._finished if seq in book.attempts]
        for seq in self._finished:
            self._held.pop(seq, None)
        self.puts += [self._row.held(number, seq, held) for seq, held in self._held.items()]

    def settle(self) -> None:
        """Make it known: the shelf has it."""
        book = self._book
        book.page = self._page
        for dead in self._dead:
            self._dead_letters.note(dead)
        for first, left in self._entries.items():
            if left or not self._drops_entries:
                book.rows[first][1] = left
            else:
                book.drop_row(first)
        for seq in self._finished:
            book.attempts.pop(seq, None)
        book.attempts.update(self._held)
