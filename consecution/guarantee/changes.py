"""What verdicts change, as one journal transaction must hold it (protocol.md R15, R17)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consecution.value import value

if TYPE_CHECKING:
    from .messages import Cause


@value
class DeadLetter:
    """An item that failed for good.

    Attributes:
        seq: Its sequence number.
        attempts: How many attempts were counted against it, 1 at the least, or 0 when it was lost at a level that
            doesn't replay.
        cause: Why the last attempt failed; None at level CONFIRM.
        item: The item as it was introduced; None at level CONFIRM.
    """

    seq: int
    attempts: int
    cause: Cause | None
    item: Any


@value
class Attempt:
    """An attempt, or a suspicion, that counts against an item which will be replayed.

    Attributes:
        seq: Its sequence number.
        attempts: How many attempts count against it now; 0 for a suspect that wasn't charged.
        suspect: Whether a process died with it in work.
        cause: Why.
    """

    seq: int
    attempts: int
    suspect: bool
    cause: Cause | None


@dataclass(slots=True)
class Changes:
    """What changed since the last one was taken; falsy when nothing did.

    Attributes:
        completed: Ranges of sequence numbers, in the order of their verdicts, neighbours united.
        dead: Items that failed for good.
        attempts: Attempts and suspicions, to be journalled before the replays leave.
        dropped: Values that Routes dropped.
        replayed: Items that left again.
        state_lost: Accumulating nodes that a replayed item had reached, or that a lost tree had.
    """

    completed: list[range] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    dropped: int = 0
    replayed: int = 0
    state_lost: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.completed or self.dead or self.attempts or self.dropped or self.replayed or self.state_lost)
