"""Which dead letters there are, which of them stand, and what replays them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consecution.errors import JournalError
from consecution.journal.base import StoredDeadLetter
from consecution.journal.dead_letters import DeadLetters
from consecution.journal.memory import MemoryShelf
from consecution.journal.rows import Rows
from consecution.journal.shelf import Transaction


def letter(id_: int, seq: int, producer: str = "pipe") -> StoredDeadLetter:
    return StoredDeadLetter(
        id=id_, producer=producer, seq=seq, attempts=1, cause=None, item="x", item_repr="'x'", has_item=True, at=1.0
    )


class Grave:
    """Dead letters on a shelf in memory."""

    def __init__(self, *letters: StoredDeadLetter) -> None:
        self._shelf = MemoryShelf()
        self._rows = Rows(self._shelf)
        self.put(*letters)
        self.known = DeadLetters(self._shelf, self._rows)
        self.known.load({"pipe", "replays"})

    def put(self, *letters: StoredDeadLetter) -> None:
        self._shelf.apply(Transaction([self._rows.dead(one) for one in letters]), sync=False)


def test_what_lies_on_the_shelf_is_found_by_number_and_by_item():
    known = Grave(letter(1, 4), letter(2, 9)).known
    assert [one.id for one in known.scan()] == [1, 2]
    assert [one.id for one in known.scan(2)] == [2]
    assert known.of_item("pipe", 9) == letter(2, 9)
    assert known.of_item("pipe", 5) is None
    assert known.get(3) is None
    assert known.seqs("pipe", 5) == {9}
    assert known.seqs("replays", 0) == frozenset()


def test_one_that_was_given_up_or_replayed_stands_no_more():
    grave = Grave(letter(1, 4), letter(2, 9))
    for changed in (replace(letter(1, 4), is_dropped=True), replace(letter(2, 9), replayed_as=("replays", 0))):
        assert grave.known.any_stand
        grave.put(changed)
        grave.known.note(changed)
        assert not grave.known.is_standing(changed.id)
    assert not grave.known.any_stand
    assert list(grave.known.scan(is_standing=True)) == []
    assert grave.known.replayed_by("replays", 0) == 2
    assert grave.known.replayed_by("pipe", 0) is None
    assert [one.id for one in grave.known.scan()] == [1, 2]


def test_a_load_forgets_what_is_on_the_shelf_no_more():
    grave = Grave(letter(1, 4))
    grave.known.note(letter(2, 9))
    grave.known.load({"pipe"})
    assert grave.known.seqs("pipe", 0) == {4}
    assert not grave.known.is_standing(2)


def test_one_that_must_be_there_and_is_not_is_said_with_what_to_do():
    with pytest.raises(JournalError, match="has no dead letter 7; `consecution failed list` shows them"):
        Grave().known.known(7)


def test_one_of_a_producer_that_nobody_knows_is_damage():
    grave = Grave(letter(1, 4))
    with pytest.raises(JournalError, match="dead letter 1 is of 'pipe', which is none of its producers"):
        grave.known.load({"other"})
