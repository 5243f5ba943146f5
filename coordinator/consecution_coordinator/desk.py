"""What the handling of one event works with: the time, the workers, and the list of instructions that it fills.

Rules of this module: a desk lives for one event. What must be durable before something is told is put in by `save_*`,
which comes first in the list that `instructions` gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution_coordinator.events import (
    ForgetTopology,
    ForgetWorker,
    Instruction,
    Note,
    Publish,
    SaveLetters,
    SaveTopology,
    SaveWorker,
    Tell,
    TellLetters,
    VoidLetters,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution_coordinator.limits import Limits
    from consecution_coordinator.membership import Membership
    from consecution_coordinator.placing import Room

_DURABLE = (SaveTopology, SaveWorker, SaveLetters, VoidLetters, ForgetTopology, ForgetWorker)


@dataclass(slots=True)
class Desk:
    """Everything that the handling of one event may look at.

    Attributes:
        now: Monotonic seconds.
        wall: Seconds since 1970, for people.
        limits: Times and bounds.
        workers: Who is there.
        used: Gives how many executors each worker has, of all topologies.
    """

    now: float
    wall: float
    limits: Limits
    workers: Membership
    used: Callable[[], dict[str, int]]
    _durable: list[Instruction] = field(default_factory=list)
    _others: list[Instruction] = field(default_factory=list)

    def put(self, instruction: Instruction) -> None:
        """Add an instruction."""
        (self._durable if isinstance(instruction, _DURABLE) else self._others).append(instruction)

    def tell(self, peer: bytes, message: object, request: str = "") -> None:
        """Send a message; nothing when the peer isn't known."""
        if peer:
            self.put(Tell(peer, message, request))

    def note(self, text: str, *, is_warning: bool = False) -> None:
        """Add a line for the log."""
        self.put(Note(text, is_warning))

    def rooms(self) -> list[Room]:
        """What the workers have to offer now."""
        return self.workers.rooms(self.used())

    def instructions(self) -> list[Instruction]:
        """All that was put in: what must be durable first."""
        return self._durable + self._others


__all__ = ["Desk", "Publish", "TellLetters"]
