"""The dead letters of a journal: which there are, which of them stand, and what replays them.

Rules of this module: a dead letter lies on the shelf; in memory is only what is asked for each item: its number,
whether it stands, and which seq replays it. What is noted here is on the shelf already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.errors import JournalError
from consecution.journal.shelf import Table

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from consecution.journal.base import StoredDeadLetter
    from consecution.journal.rows import Rows
    from consecution.journal.shelf import Shelf


class DeadLetters:
    """The dead letters of one shelf. Not thread-safe.

    Args:
        shelf: Where they lie; only read here.
        rows: Reads its rows.
    """

    def __init__(self, shelf: Shelf, rows: Rows) -> None:
        self._shelf = shelf
        self._row = rows
        self._ids: dict[tuple[str, int], int] = {}  # by producer and seq
        self._standing: set[int] = set()
        self._replays: dict[tuple[str, int], int] = {}  # producer and seq to the dead letter that it replays

    def load(self, producers: Container[str]) -> None:
        """Know what lies on the shelf, and nothing else.

        Args:
            producers: Names of those that the journal knows.

        Raises:
            JournalError: One is of another producer.
        """
        self._ids, self._standing, self._replays = {}, set(), {}
        for dead in self.scan():
            if dead.producer not in producers:
                message = (
                    f"journal {self._shelf.where}: dead letter {dead.id} is of {dead.producer!r}, which is none of its "
                    "producers; restore it from a copy, or move it aside (--fresh)"
                )
                raise JournalError(message)
            self.note(dead)

    def note(self, dead: StoredDeadLetter) -> None:
        """Know a dead letter that is new or was changed on the shelf."""
        self._ids[dead.producer, dead.seq] = dead.id
        if dead.is_standing:
            self._standing.add(dead.id)
        else:
            self._standing.discard(dead.id)
        if dead.replayed_as is not None:
            self._replays[dead.replayed_as] = dead.id

    @property
    def any_stand(self) -> bool:
        """Whether one was neither replayed nor given up."""
        return bool(self._standing)

    def is_standing(self, dead_id: int) -> bool:
        """Whether there is one of this number that was neither replayed nor given up."""
        return dead_id in self._standing

    def replayed_by(self, producer: str, seq: int) -> int | None:
        """Give the number of the one that an item replays; None for an item that replays none."""
        return self._replays.get((producer, seq))

    def seqs(self, producer: str, first: int) -> frozenset[int]:
        """Give the seqs of a producer, from one on, that are dead letters."""
        return frozenset(seq for name, seq in self._ids if name == producer and seq >= first)

    def scan(self, first: int = 0, *, is_standing: bool = False) -> Iterator[StoredDeadLetter]:
        """Read all from a number on, in the order of their numbers; with ``is_standing`` only those that stand."""
        for row in self._shelf.scan(Table.DEAD, first=first):
            if not is_standing or row.id in self._standing:
                yield self._row.dead_of(row)

    def get(self, dead_id: int) -> StoredDeadLetter | None:
        """Read one; None when there is none of this number."""
        row = self._shelf.get(Table.DEAD, dead_id)
        return None if row is None else self._row.dead_of(row)

    def known(self, dead_id: int) -> StoredDeadLetter:
        """Read one that must be there.

        Raises:
            JournalError: There is none of this number.
        """
        dead = self.get(dead_id)
        if dead is None:
            message = f"journal {self._shelf.where} has no dead letter {dead_id}; `consecution failed list` shows them"
            raise JournalError(message)
        return dead

    def of_item(self, producer: str, seq: int) -> StoredDeadLetter | None:
        """Read that of an item; None when the item is none."""
        dead_id = self._ids.get((producer, seq))
        return None if dead_id is None else self.known(dead_id)
