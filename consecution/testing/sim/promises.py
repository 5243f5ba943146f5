"""What is promised, by letter; and the exception that says that a promise was broken."""

from __future__ import annotations

import enum


class Promise(enum.Enum):
    """The letter of each promise, as reports name it.

    Attributes:
        NOT_EARLY: Nothing is confirmed before its last descendant.
        ONE_OUTCOME: Each item that entered ends with exactly one outcome, over restarts too.
        GUILTY_ALONE: When a node raised, only items that the failing value was made of are replayed.
        BOOKS_EMPTY: Ledger, windows and queues end empty, and never pass their bounds; nothing stands still.
        POSITION: A position is never committed past an unfinished item.
        LISTED: Nothing is accepted from an incarnation that the receiver's placement doesn't list.
        ORDER: First in, first out for each pair of tasks.
        CHARGES: An attempt is charged only as R15 says.
        NO_AUDIT: The audit never fires, unless a fault outside of the model was planted.
    """

    NOT_EARLY = "a"
    ONE_OUTCOME = "b"
    GUILTY_ALONE = "c"
    BOOKS_EMPTY = "d"
    POSITION = "e"
    LISTED = "f"
    ORDER = "g1"
    CHARGES = "g2"
    NO_AUDIT = "g3"


class Violation(AssertionError):
    """A promise was broken.

    Attributes:
        promise: Which.
    """

    def __init__(self, promise: Promise, what: str) -> None:
        super().__init__(f"({promise.value}) {what}")
        self.promise = promise
