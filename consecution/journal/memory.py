"""A journal in memory: for `consume`, for flows without a file, and for tests of what uses a journal.

Rules: the same logic as on disk, so the same answers; it outlives a journal object (`MemoryShelf` can be given to the
next one), not its process. Items are kept as snapshots, so that any value can be kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from consecution.journal.kept import RECEIPTS_KEEP_S, KeptJournal
from consecution.journal.shelf import Row, Shelf, Table, Transaction
from consecution.values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class MemoryShelf(Shelf):
    """Rows in dicts."""

    def __init__(self) -> None:
        self.is_new = True
        self.where = "in memory"
        self._tables: dict[Table, dict[int, Row]] = {table: {} for table in Table}

    def encode(self, value: object) -> Any:
        """Keep it as it is: the journal's logic makes plain values anew for each row."""
        return value

    def decode(self, body: Any) -> Any:
        """Give it back."""
        return body

    def encode_items(self, items: list[Any]) -> Any:
        """Keep a snapshot."""
        return snapshot(items)

    def decode_items(self, body: Any) -> list[Any]:
        """Restore it."""
        items: list[Any] = body.restore()
        return items

    def make_room(self, transaction: Transaction) -> None:
        """See `Shelf.make_room`; memory has room."""

    def apply(self, transaction: Transaction, *, sync: bool) -> None:
        """See `Shelf.apply`; there is nothing to sync."""
        for table, id_ in transaction.drops:
            self._tables[table].pop(id_, None)
        for row in transaction.puts:
            self._tables[row.table][row.id] = row
        self.is_new = False

    def get(self, table: Table, id_: int) -> Row | None:
        """See `Shelf.get`."""
        return self._tables[table].get(id_)

    def scan(self, table: Table, first: int = 0) -> Iterator[Row]:
        """See `Shelf.scan`."""
        rows = self._tables[table]
        return (rows[id_] for id_ in sorted(rows) if id_ >= first)

    def batches(self) -> Iterator[tuple[int, int]]:
        """See `Shelf.batches`."""
        return ((row.id, row.items) for row in self.scan(Table.ENTRIES))

    def expired(self, table: Table, before: int, limit: int) -> Sequence[int]:
        """See `Shelf.expired`."""
        return [row.id for row in self._tables[table].values() if 0 < row.at < before][:limit]

    def remove(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]

    def close(self) -> None:
        """Nothing to close."""


class MemoryJournal(KeptJournal):
    """A journal that lives as long as its shelf.

    Args:
        shelf: Rows of an earlier journal to go on with; default: none.
        receipts_keep_s: How long idempotency keys are known.
        now: Gives seconds since the epoch.
    """

    def __init__(
        self,
        shelf: MemoryShelf | None = None,
        *,
        receipts_keep_s: float = RECEIPTS_KEEP_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(shelf or MemoryShelf(), receipts_keep_s=receipts_keep_s, now=now)
