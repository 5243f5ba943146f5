"""Who a process's ackers are, and what it has to tell them.

Rules of this module: used from one thread, by a `Peer`; it knows roots and words, no frames. What is told in the next
millisecond goes in one packet; what may be the last word of a tree goes when nothing more is there to be done (R9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.guarantee.messages import Init
from consecution.guarantee.telling import Telling, runs_of_sums
from consecution.wire.messages import Sums

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.guarantee.messages import Sum
    from consecution.transport.base import Transport
    from consecution.wire.placement import Placement

WORDS_MAX = 256
WORDS_WAIT_S = 0.001


class Ackers:
    """The ackers of a topology, as one process sees them.

    Args:
        transport: The way to them; owned by the caller.
        count: How many there are; root modulo count names one.
    """

    def __init__(self, transport: Transport, count: int) -> None:
        self._transport = transport
        self._count = count
        self._incarnations: dict[int, int] = {}
        self._told_nobody: set[int] = set()  # places of ackers that were dead before this process knew one
        self._telling = Telling(count)

    def place(self, placement: Placement) -> list[int]:
        """Take a placement.

        Returns:
            Places at which a new acker is now: it knows nothing of the roots that the old one held (R12).
        """
        changed = []
        for index in range(self._count):
            incarnation = placement.acker(index)
            if incarnation is None:
                continue
            before = self._incarnations.get(index)
            self._incarnations[index] = incarnation
            if before == incarnation or (before is None and index not in self._told_nobody):
                continue
            self._told_nobody.discard(index)
            self._telling.drop(index)
            changed.append(index)
        return changed

    def are_placed(self, placement: Placement) -> bool:
        """Whether somebody is every acker."""
        return len(self._incarnations) == self._count and all(
            placement.acker(index) is not None for index in range(self._count)
        )

    def is_of(self, root: int, index: int | None) -> bool:
        """Whether the acker at a place holds a root."""
        return root % self._count == index

    def roots_of(self, acker: int, roots: Iterable[int]) -> tuple[int, ...]:
        """Those of these roots that an incarnation holds, in order; none when it is no acker."""
        index = next((index for index, incarnation in self._incarnations.items() if incarnation == acker), None)
        return tuple(sorted(root for root in roots if self.is_of(root, index)))

    def tell(self, message: Init | Sum, now: float) -> None:
        """Let a word wait for its acker.

        One for an acker that nobody is yet isn't kept for the next: others don't either, so its root is replayed then.
        """
        index = message.root % self._count
        if index in self._incarnations:
            self._telling.add(message, now)
        else:
            self._told_nobody.add(index)

    @property
    def is_awaited(self) -> bool:
        """One of the words that wait may be the last of its tree."""
        return self._telling.is_awaited

    @property
    def due(self) -> float | None:
        """When what waits must be sent, in monotonic seconds; None when nothing does."""
        return self._telling.since + WORDS_WAIT_S if self._telling.count else None

    def must_send(self, now: float, *, is_quiet: bool) -> bool:
        """Whether what waits must be sent; ``is_quiet``: the process has nothing more to do."""
        telling = self._telling
        return telling.count > 0 and (
            (is_quiet and telling.is_awaited) or telling.count >= WORDS_MAX or now - telling.since >= WORDS_WAIT_S
        )

    def send(self) -> None:
        """Send what waits; in order: a batch whose items failed early says so ahead of its init."""
        for index, messages in self._telling.take().items():
            acker = self._incarnations[index]
            *others, last = (one if isinstance(one, Init) else Sums(one) for one in runs_of_sums(messages))
            for message in others:
                self._transport.send(acker, message, more=True)
            self._transport.send(acker, last)
