"""Batch ends: which batches of a producer have the outcome of their last item (protocol.md R21).

Rules of this module: pure. A batch is what a producer introduced together; after a restart what was unfinished comes in
batches of its own, which have ends of their own. An item is in one batch, whatever replays it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .changes import Changes


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """A sentinel between consecutors: every item of a batch has its outcome.

    It comes behind all that these items pushed to a blocking output. A consecutor made with ``batch_ends=True`` gets
    one for each batch of those before it, as an item among the others.

    Attributes:
        batch: ``consecutor/producer/number of its first item``.
        completed: Items of it that were completely processed.
        failed: Items of it that are dead letters.

    >>> BatchEnd("orders/sequence/0", completed=63, failed=1).failed
    1
    """

    batch: str
    completed: int
    failed: int


@dataclass(slots=True, eq=False)
class _Open:
    first: int
    left: int
    completed: int = 0
    failed: int = 0


class BatchBook:
    """The batches of one producer that still have unfinished items.

    Args:
        name: ``consecutor/producer``.

    >>> from consecution.guarantee.changes import Changes
    >>> book = BatchBook("orders/rows")
    >>> book.open(range(2))
    >>> book.close(Changes(completed=[range(1)])), book.close(Changes(completed=[range(1, 2)]))
    ([], [BatchEnd(batch='orders/rows/0', completed=2, failed=0)])
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._batch_of: dict[int, _Open] = {}

    def __len__(self) -> int:
        """How many items have no outcome yet."""
        return len(self._batch_of)

    def open(self, seqs: Sequence[int]) -> None:
        """Take a batch that is about to be introduced; its items are at most as many as a window holds."""
        if seqs:
            batch = _Open(seqs[0], len(seqs))
            self._batch_of.update(dict.fromkeys(seqs, batch))

    def close(self, changes: Changes) -> list[BatchEnd]:
        """Take outcomes; gives the batches that have all of theirs now, in the order of their last outcomes."""
        ended: list[BatchEnd] = []
        for seqs in changes.completed:
            for seq in seqs:
                self._settle(seq, ended, is_failed=False)
        for letter in changes.dead:
            self._settle(letter.seq, ended, is_failed=True)
        return ended

    def _settle(self, seq: int, ended: list[BatchEnd], *, is_failed: bool) -> None:
        batch = self._batch_of.pop(seq, None)
        if batch is None:
            return
        batch.left -= 1
        if is_failed:
            batch.failed += 1
        else:
            batch.completed += 1
        if not batch.left:
            ended.append(BatchEnd(f"{self._name}/{batch.first}", batch.completed, batch.failed))
