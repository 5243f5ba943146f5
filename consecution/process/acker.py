"""The acker process: a ledger behind links.

Rules of this module: a thin shell. It knows placements, roots and words; no items, no flow, no user code.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from consecution.errors import ClusterError
from consecution.guarantee.ledger import Ledger, LedgerFull
from consecution.guarantee.messages import WHOLE, Audit, Init, Placed, Suspects, Tick, Verdict
from consecution.journal.slots import ALL
from consecution.transport.links import Lagging, LeftOut, Peer, PlacementView, Received, Rejected
from consecution.wire.control import STUCK_MAX, STUCK_S, StuckLink, Told
from consecution.wire.messages import Audit as WireAudit
from consecution.wire.messages import Sums, Verdicts
from consecution.wire.placement import Phase, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consecution.guarantee.ledger import LedgerEvent
    from consecution.guarantee.messages import Incarnation
    from consecution.transport.base import Transport, TransportNews
    from consecution.wire.placement import Death, Placement

log = logging.getLogger(__name__)

TICK_S = 1.0
VERDICTS_MAX = 512


class AckerProcess:
    """A ledger, told by links and telling producers.

    Args:
        transport: This process's links.
        timeout_s: Of the audit.
        now: Gives monotonic seconds.
    """

    def __init__(self, transport: Transport, *, timeout_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._now = now
        self._ledger = Ledger(timeout_s=timeout_s, roots_max=1_000_000)
        self._placement: Placement | None = None
        self._verdicts: dict[int, list[Verdict]] = {}
        self._ticked_at = self._now()
        self._refused = 0
        self.is_over = False

    def place(self, placement: Placement) -> None:
        """Take a placement: who isn't listed any more is dead (R5, R12)."""
        if self._placement is not None and placement.number <= self._placement.number:
            return
        self._placement = placement
        if placement.phase is Phase.ENDED:
            self.is_over = True
        peers = {one.incarnation: Peer(one.birth, one.address, one.key) for one in placement.members}
        self._transport.place(PlacementView(placement.number, peers, frozenset()))
        living = {member.incarnation: member.birth for member in placement.members}
        suspects = tuple(suspects_of(death) for death in placement.deaths)
        self._handle(Placed(placement.number, living, suspects))
        self._send()

    def turn(self, wait_s: float) -> None:
        """Wait for messages, and handle all that came."""
        for news in self._transport.poll(wait_s):
            self._hear(news)
        now = self._now()
        if now - self._ticked_at >= TICK_S:
            self._ticked_at = now
            self._handle(Tick())
        self._send()

    @property
    def due(self) -> float:
        """When the ledger must hear that time has passed, though nothing comes."""
        return self._ticked_at + TICK_S

    def _hear(self, news: TransportNews) -> None:
        if isinstance(news, Received):
            message = news.message
            if isinstance(message, Sums):
                for one in message.sums:
                    self._handle(one)
            elif isinstance(message, Init):
                self._handle(message)
            elif isinstance(message, WireAudit):
                self._handle(Audit(news.sender, message.roots, message.number))
        elif isinstance(news, LeftOut):
            log.warning("left out by placement %d, exiting", news.number)
            self.is_over = True
        elif isinstance(news, Rejected):
            self._refused += 1
            log.warning("refused: %s", news.reason)
        elif not isinstance(news, Lagging):
            log.info("link: %s", news)

    def _handle(self, event: LedgerEvent) -> None:
        try:
            instructions = self._ledger.handle(event, self._now())
        except LedgerFull as full:
            log.warning("%s", full)
            assert isinstance(event, Init)
            instructions = [Verdict(event.root, event.producer, lost=True)]
        for instruction in instructions:
            if isinstance(instruction, Verdict):
                waiting = self._verdicts.setdefault(instruction.producer, [])
                waiting.append(instruction)
                if len(waiting) >= VERDICTS_MAX:
                    self._send()
            elif hasattr(instruction, "number"):
                self._ask(instruction.number)
            else:
                log.warning("audit found a lost tree: %s", instruction)

    def _ask(self, number: int) -> None:
        """Ask everybody for the roots that they have (R13)."""
        assert self._placement is not None
        for member in self._placement.members:
            if member.role is not Role.ACKER:
                self._transport.send(member.incarnation, WireAudit(number, ()))

    def _send(self) -> None:
        for producer, verdicts in self._verdicts.items():
            try:
                self._transport.send(producer, Verdicts(tuple(verdicts)))
            except ClusterError:  # not listed yet: whoever made these roots is dead for this placement
                log.debug("no way to producer %x", producer)
        self._verdicts.clear()

    def told(self) -> Told:
        """How it stands."""
        return Told(
            number=0 if self._placement is None else self._placement.number,
            audits_fired=self._ledger.counts.audit_fired,
            open_roots=len(self._ledger),
            refused=self._refused,
            stuck=stuck_links(self._transport.unanswered(STUCK_S)),
        )

    def end(self) -> None:
        """Write down how the book was closed; after a run that is finished no tree is open in it.

        Sums that still wait for an init are orphans then: no producer has a root left that it could tell of (R11).
        """
        counts = self._ledger.counts
        log.info(
            "ends: open=%d orphans=%d audit_fired=%d lost=%d refused=%d",
            self.open_trees, self.orphans, counts.audit_fired, counts.lost, self._refused,
        )  # fmt: skip

    @property
    def has_ended(self) -> bool:
        """Whether the run has, with this acker; one that is left out, or was replaced while it slept, ends alone."""
        placement = self._placement
        if placement is None or placement.phase is not Phase.ENDED:
            return False
        return placement.member(self._transport.incarnation) is not None

    @property
    def open_trees(self) -> int:
        """How many trees are open whose init has come."""
        return len(self._ledger) - self._ledger.waiting

    @property
    def orphans(self) -> int:
        """How many roots had sums and no init, those that still wait for one included."""
        return self._ledger.counts.orphans + self._ledger.waiting

    @property
    def lost(self) -> int:
        """How many trees were judged lost."""
        return self._ledger.counts.lost

    def check_invariants(self) -> None:
        """Raise AssertionError when an invariant of the ledger doesn't hold; for tests."""
        self._ledger.check_invariants()


def suspects_of(death: Death) -> Suspects:
    """What a dead process had in work, as the ledger takes it."""
    origins: list[tuple[int, int]] = []
    for root, first, count in death.runs:
        if count == ALL:
            origins.append((root, WHOLE))
        else:
            origins.extend((root, index) for index in range(first, first + count))
    return Suspects(death.incarnation, tuple(origins), death.cause)


def stuck_links(unanswered: Iterable[tuple[Incarnation, float, int]]) -> tuple[StuckLink, ...]:
    """Who owes an answer for `STUCK_S`, as the parent is told: the longest first."""
    found = sorted(unanswered, key=lambda one: (-one[1], one[0]))
    return tuple(StuckLink(to, for_s, waiting) for to, for_s, waiting in found[:STUCK_MAX])
