"""Whatever a row was made of, it gives back; and rows of one producer lie together, by seq."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consecution.guarantee.messages import Cause
from consecution.journal.base import FORMAT, ProducerHeader, StoredDeadLetter
from consecution.journal.book import Held, Page, book_of, new_book
from consecution.journal.memory import MemoryShelf
from consecution.journal.rows import Rows, Totals, key_id, place, unplace
from consecution.journal.shelf import Table
from consecution.journal.sqlite import SqliteJournal

CAUSE = Cause("parse", "ValueError", "bad", traceback="Traceback …", host="h", process=7)
LETTER = StoredDeadLetter(
    id=3,
    producer="pipe",
    seq=5,
    attempts=4,
    cause=CAUSE,
    item={"a": 1},
    item_repr="{'a': 1}",
    has_item=True,
    at=1_000_000.0,
    is_crash=False,
    replay_of=1,
    replayed_as=("replays", 2),
    is_dropped=True,
)


@pytest.fixture(params=["memory", "sqlite"])
def rows(request, tmp_path):
    if request.param == "memory":
        yield Rows(MemoryShelf())
        return
    journal = SqliteJournal(tmp_path)
    yield Rows(journal._shelf)
    journal.close()


@pytest.mark.parametrize(
    "letter",
    [LETTER, replace(LETTER, cause=None, replayed_as=None, replay_of=None), replace(LETTER, item=None, has_item=False)],
)
def test_a_dead_letter_comes_back_as_it_was(rows, letter):
    row = rows.dead(letter)
    assert (row.table, row.id) == (Table.DEAD, letter.id)
    assert rows.dead_of(row) == letter


def test_of_an_item_that_cannot_be_packed_the_repr_is_kept(tmp_path):
    journal = SqliteJournal(tmp_path)
    rows = Rows(journal._shelf)
    found = rows.dead_of(rows.dead(replace(LETTER, item=object())))
    journal.close()
    assert found == replace(LETTER, item=None, has_item=False)


def test_what_is_held_against_an_item_lies_at_its_place_and_comes_back(rows):
    row = rows.held(2, 7, Held(3, is_suspect=True, crashes=1))
    assert (row.table, unplace(row.id)) == (Table.ATTEMPTS, (2, 7))
    assert rows.held_of(row) == Held(3, is_suspect=True, crashes=1)


def test_totals_and_books_lie_among_the_facts(rows):
    totals = Totals(FORMAT, "flow", is_accumulating=True, next_dead_id=4, state_lost=("sum",))
    row = rows.totals(totals)
    assert (row.table, row.id) == (Table.FACTS, 0)
    known = Totals(*rows._shelf.decode(row.body))
    assert replace(known, state_lost=tuple(known.state_lost), base_state_lost=()) == totals
    book = new_book(2, ProducerHeader("pipe", "pipe", "fire and forget"))
    page = Page(next_seq=9, mark=4, ranges=((6, 8),), completed=5, failed=1)
    row = rows.book(book, page, Page())
    assert (row.table, row.id) == (Table.FACTS, 2)
    assert book_of(row.id, rows._shelf.decode(row.body)) == replace(book, page=page)


def test_places_are_ordered_by_producer_and_then_by_seq():
    places = [(1, 0), (1, 1), (1, (1 << 44) - 1), (2, 0), (300, 5)]
    ids = [place(number, seq) for number, seq in places]
    assert ids == sorted(ids)
    assert [unplace(id_) for id_ in ids] == places


def test_the_id_of_a_key_is_of_its_producer_fits_a_column_and_is_always_the_same():
    assert key_id(1, "a") == 8190876836265851169
    assert key_id(1, "a") != key_id(2, "a")
    assert all(0 <= key_id(1, key) < 1 << 63 for key in ("", "ä", "\udcff", "x" * 10_000))
