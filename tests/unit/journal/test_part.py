"""What a round changes of one producer: its rows first, and what is known of it only when they are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consecution.guarantee.changes import Attempt, Changes, DeadLetter
from consecution.guarantee.messages import Cause
from consecution.journal.base import FORMAT, ProducerHeader, ProducerRound
from consecution.journal.book import Book, Held, Page, new_book
from consecution.journal.dead_letters import DeadLetters
from consecution.journal.memory import MemoryShelf
from consecution.journal.part import Part
from consecution.journal.rows import Rows, Totals, place
from consecution.journal.shelf import Table, Transaction

RAISED = Cause("parse", "ValueError", "bad", traceback="Traceback …")
KILLED = Cause("parse", "Killed", "signal 11")
TOTALS = Totals(FORMAT, "flow", is_accumulating=False)


class Desk:
    """A producer with two entry rows, seqs 0-2 and 3-4."""

    def __init__(self) -> None:
        self.shelf = MemoryShelf()
        self.rows = Rows(self.shelf)
        self.dead_letters = DeadLetters(self.shelf, self.rows)
        self.book: Book = new_book(1, ProducerHeader("pipe", "pipe", "fire and forget"))
        self.book.add_row(0, 3)
        self.book.add_row(3, 2)
        self.book.page = Page(next_seq=5)

    def part(self, mark: int, totals: Totals = TOTALS, **changes) -> Part:
        round_ = ProducerRound("pipe", Changes(**changes), mark, (), next_seq=5)
        return Part(round_, self.book, totals, rows=self.rows, dead_letters=self.dead_letters, at=7.0)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_nothing_is_known_before_it_is_kept(desk):
    before = replace(desk.book, rows={first: list(row) for first, row in desk.book.rows.items()})
    part = desk.part(
        4,
        completed=[range(3)],
        dead=[DeadLetter(3, 4, RAISED, "x")],
        attempts=[Attempt(4, 2, suspect=True, cause=KILLED)],
    )
    assert desk.book == before
    assert desk.dead_letters.of_item("pipe", 3) is None
    desk.shelf.apply(Transaction(part.puts, part.drops), sync=True)
    part.settle()
    assert desk.book.page == Page(next_seq=5, mark=4, completed=3, failed=1)
    assert desk.book.rows == {3: [2, 1]}
    assert desk.book.attempts == {4: Held(2, is_suspect=True, crashes=2)}
    assert desk.dead_letters.seqs("pipe", 0) == {3}
    assert part.totals == replace(TOTALS, next_dead_id=2)


def test_an_entry_row_is_dropped_when_all_of_it_is_finished_and_kept_while_nodes_sum(desk):
    assert desk.part(2, completed=[range(2)]).drops == []
    assert desk.part(3, completed=[range(3)]).drops == [(Table.ENTRIES, place(1, 0))]
    summing = desk.part(3, replace(TOTALS, is_accumulating=True), completed=[range(3)])
    assert summing.drops == []
    summing.settle()
    assert desk.book.rows == {0: [3, 0], 3: [2, 2]}


def test_only_a_dead_letter_whose_cause_has_no_traceback_is_of_a_crash(desk):
    part = desk.part(2, dead=[DeadLetter(0, 1, RAISED, "x"), DeadLetter(1, 2, KILLED, "y")])
    letters = [desk.rows.dead_of(row) for row in part.puts if row.table is Table.DEAD]
    assert [(one.id, one.seq, one.is_crash, one.at) for one in letters] == [(1, 0, False, 7.0), (2, 1, True, 7.0)]


def test_what_is_held_against_an_item_goes_when_it_is_finished(desk):
    first = desk.part(
        0, attempts=[Attempt(0, 1, suspect=True, cause=KILLED), Attempt(0, 3, suspect=False, cause=RAISED)]
    )
    first.settle()
    assert desk.book.attempts == {0: Held(3, is_suspect=True, crashes=1)}
    second = desk.part(1, completed=[range(1)])
    assert (Table.ATTEMPTS, place(1, 0)) in second.drops
    second.settle()
    assert desk.book.attempts == {}


def test_counts_that_do_not_add_up_are_a_mistake_of_ours(desk):
    with pytest.raises(AssertionError, match="one outcome"):
        desk.part(3, completed=[range(2)])
