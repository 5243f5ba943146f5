"""Notices: what other consecutors are told of outcomes, as items of theirs: dead letters and batch ends (R21).

Rules of this module: a notice is in the journal of whoever takes it before the outcomes that it is about are in the
producer's own. A death in between brings it once more, and never loses it. Meanwhile the producer's journal waits, and
nothing else does.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consecution.errors import CodecError, short_repr
from consecution.guarantee.batch_ends import BatchBook
from consecution.wire.codec import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.guarantee.changes import Changes
    from consecution.guarantee.messages import Cause
    from consecution.producers.handover import Taker


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told of a consecutor's outcomes.

    Attributes:
        consecutor: Its name.
        failed: Who takes its dead letters.
        batch_ends: Who takes its batch ends.
        wake: Called, from any thread, when a notice was taken.
    """

    consecutor: str
    failed: tuple[Taker, ...] = ()
    batch_ends: tuple[Taker, ...] = ()
    wake: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self.failed or self.batch_ends)

    def node_failed(self, node: str, item: Any, attempts: int, cause: Cause | None) -> None:
        """Tell of a failure that is no item of a producer; nothing waits for that, and no journal knows it."""
        for handover in self.failed:
            handover.offer([failed_item(self.consecutor, node, -1, item, attempts, cause)])


NOBODY = Audience("")


class Notices:
    """What one producer's outcomes are told as. Used from the engine's thread, but for what hears the takers.

    Args:
        audience: Who is told.
        producer: The producer's name.
    """

    def __init__(self, audience: Audience, producer: str) -> None:
        self._audience = audience
        self._producer = producer
        self._book = BatchBook(f"{audience.consecutor}/{producer}") if audience.batch_ends else None
        self._lock = threading.Lock()
        self._untaken = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a notice isn't journalled yet by whoever takes it."""
        return self._untaken > 0

    def open(self, seqs: Sequence[int]) -> None:
        """Hear of items that are introduced together."""
        if self._book is not None:
            self._book.open(seqs)

    def announce(self, changes: Changes) -> bool:
        """Tell of outcomes; whether there was anything to tell, so that their commit must wait."""
        audience = self._audience
        letters = [
            failed_item(audience.consecutor, self._producer, letter.seq, letter.item, letter.attempts, letter.cause)
            for letter in (changes.dead if audience.failed else ())
        ]
        ends = [] if self._book is None else self._book.close(changes)
        told: list[tuple[Taker, list[Any]]] = []
        if letters:
            told += [(handover, list(letters)) for handover in audience.failed]
        if ends:
            told += [(handover, list(ends)) for handover in audience.batch_ends]
        with self._lock:
            self._untaken += len(told)
        for handover, items in told:
            handover.offer(items, self._taken)
        return bool(told)

    def _taken(self) -> None:
        with self._lock:
            self._untaken -= 1
        if self._audience.wake is not None:
            self._audience.wake()


def failed_item(
    consecutor: str, producer: str, number: int, item: Any, attempts: int, cause: Cause | None
) -> dict[str, Any]:
    """A dead letter as an item of another consecutor; see docs/outputs.md for its fields."""
    try:
        pack(item)
    except CodecError:
        kept = None
    else:
        kept = item
    return {
        "consecutor": consecutor,
        "producer": producer,
        "number": number,
        "item": kept,
        "item_repr": short_repr(item),
        "attempts": attempts,
        "node": None if cause is None else cause.node,
        "exception": None if cause is None else cause.exception,
        "message": None if cause is None else cause.message,
        "traceback": None if cause is None else cause.traceback,
        "host": None if cause is None else cause.host,
    }
