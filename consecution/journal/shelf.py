"""What the journal's logic asks of the place that keeps its rows.

Rules: a shelf knows nothing of items, producers or rules; it keeps rows by (table, id) and changes them in
transactions. The same logic (`consecution.journal.kept`) therefore runs on a disk and in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Table(IntEnum):
    """The tables, by the number that is part of each row's checksum."""

    FACTS = 0  # id 0: header and totals; else: one for each producer
    ENTRIES = 1  # id: place of the first seq; body: batch of items
    ATTEMPTS = 2  # id: place of the seq
    DEAD = 3  # id: number of the dead letter
    KEYS = 4  # id: hash of producer and key


class Row(NamedTuple):
    """One row.

    Attributes:
        table: Where it lies.
        id: Its number there, from 0.
        body: What the shelf's `encode` or `encode_items` gave.
        at: Seconds since the epoch where rows are purged by age, else 0.
        items: How many items an entry row holds, else 0.
    """

    table: Table
    id: int
    body: Any
    at: int = 0
    items: int = 0


@dataclass(slots=True)
class Transaction:
    """What changes together; drops happen before puts, and a put replaces the row of the same id."""

    puts: list[Row] = field(default_factory=list)
    drops: list[tuple[Table, int]] = field(default_factory=list)


class Shelf(ABC):
    """Keeps rows. Not thread-safe."""

    is_new: bool
    where: str  # how messages call it

    @abstractmethod
    def encode(self, value: object) -> Any:
        """Give what a row keeps for a plain value."""

    @abstractmethod
    def decode(self, body: Any) -> Any:
        """Give the plain value of a row."""

    @abstractmethod
    def encode_items(self, items: list[Any]) -> Any:
        """Give what a row keeps for a batch; ItemNotPackable names the item that can't be kept."""

    @abstractmethod
    def decode_items(self, body: Any) -> list[Any]:
        """Give a batch anew."""

    @abstractmethod
    def apply(self, transaction: Transaction, *, sync: bool) -> None:
        """Change rows, all or none; JournalFull: none."""

    @abstractmethod
    def make_room(self, transaction: Transaction) -> None:
        """Look, before items are taken in, whether there is space for them and for their outcomes too.

        Raises:
            JournalFull: There isn't; fewer items may fit.
        """

    @abstractmethod
    def get(self, table: Table, id_: int) -> Row | None:
        """Give a row."""

    @abstractmethod
    def scan(self, table: Table, first: int = 0) -> Iterator[Row]:
        """Give rows by ascending id, from `first`; the table may change meanwhile, rows behind are not seen again."""

    @abstractmethod
    def batches(self) -> Iterator[tuple[int, int]]:
        """Give (id, items) of the entry rows, ascending, without reading their items."""

    @abstractmethod
    def expired(self, table: Table, before: int, limit: int) -> Sequence[int]:
        """Give ids of rows with ``0 < at < before``."""

    @abstractmethod
    def remove(self) -> None:
        """Close it and remove what it kept."""

    @abstractmethod
    def close(self) -> None:
        """Close it cleanly; twice is fine."""
