"""What a process needs to talk to others: `Transport`, the same over memory and over ZeroMQ.

Rules of this module: a transport moves packets and keeps time; what they mean is decided in ``links``. It never waits
in `Transport.send`; it waits in `Transport.poll` alone, and not longer than asked. One thread owns it; only
`Transport.wake` may be called from others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from consecution.transport.link import Blocked, Connected, Tick, Writable
from consecution.transport.links import (
    Close,
    ConnectionEvent,
    Links,
    LinksNews,
    Open,
    PacketCame,
    Place,
    Post,
    Put,
    Received,
    TakenUp,
)
from consecution.wire.messages import Data, roots_of

if TYPE_CHECKING:
    from consecution.guarantee.messages import Incarnation, Root
    from consecution.transport.link import LinkLimits
    from consecution.transport.links import LinkCounters, LinksInstruction, PlacementView
    from consecution.wire.messages import Message


LOOK_INTERVAL_S = 0.005


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """A connection is not to be had, in words for a person: a wrong key, or no peer of Consecution.

    Attributes:
        peer: Whom this process tried to reach; None when somebody tried to reach this process.
        reason: What happened, where, what was expected, what to do.
    """

    peer: Incarnation | None
    reason: str


TransportNews: TypeAlias = LinksNews | ConnectionFailed


class Transport(ABC):
    """Links of one process to all others. The process gives it placements, and polls it in its loop.

    Args:
        incarnation: This process's (R1).
        limits: Bounds of each link; the same in all processes of a run.
        birth: Number of the first placement that lists it; 0 when unknown, then that placement tells it.
    """

    def __init__(self, incarnation: Incarnation, *, limits: LinkLimits | None = None, birth: int = 0) -> None:
        self._links = Links(incarnation, limits, birth=birth)
        self._news: list[TransportNews] = []
        self._blocked: set[Incarnation] = set()
        self._look_at = 0.0  # when to look again for what is due, in a busy loop
        self._heard_at = 0.0  # when all that had come was heard

    @property
    def incarnation(self) -> Incarnation:
        """Of this process."""
        return self._links.incarnation

    @property
    @abstractmethod
    def address(self) -> str:
        """Where others reach it: what the placement must list."""

    @property
    def placement(self) -> int:
        """Number of the newest placement that it was given."""
        return self._links.placement

    @property
    def counters(self) -> LinkCounters:
        """What was dropped, and why."""
        return self._links.counters

    def place(self, view: PlacementView) -> None:
        """Take a placement; an older one than known is ignored. Links to who is left out end with all they hold."""
        self._run(self._links.handle(Place(view), self._now()))

    def send(self, to: Incarnation, message: Message, *, more: bool = False) -> bool:
        """Send a message: once, in order for each pair, or not before one of both dies. Never waits.

        Args:
            to: The incarnation that it is for.
            message: What to send.
            more: Another message to the same incarnation follows at once, so that both may go in one packet.

        Returns:
            False when the placement doesn't list ``to``: the message was dropped.

        Raises:
            CapacityError: The message is too large, or too much waits already; nothing was sent.
            CodecError: A field can't travel; nothing was sent.
            ClusterError: No placement lists this process yet.
        """
        if not self._links.lives(to):
            self.counters.to_dead += 1
            return False
        self._run(self._links.handle(Post(to, message, more), self._now()))
        return True

    def take_up(self, received: Received) -> None:
        """Say that a frame left its task's queue, into work or for good; what isn't a frame needs no such word."""
        message = received.message
        if isinstance(message, Data):
            event = TakenUp(received.sender, message.task, message.count, received.size)
            self._run(self._links.handle(event, self._now()))

    def has_credit(self, to: Incarnation, task: int) -> bool:
        """Whether a stage whose output goes to this task may take a new frame (R3)."""
        return self._links.has_credit(to, task)

    def has_room(self, to: Incarnation) -> bool:
        """False when so much waits for ``to`` that sums should be kept back, to be combined."""
        return self._links.has_room(to)

    @property
    def is_settled(self) -> bool:
        """All that was sent is confirmed, and all senders know that theirs came: the process may close."""
        return self._links.is_settled and not self._news

    def roots(self) -> set[Root]:
        """Roots of all that is unsent, unconfirmed, unread or not yet polled (R13)."""
        roots = self._links.roots()
        for news in self._news:
            if isinstance(news, Received):
                roots.update(roots_of(news.message))
        return roots

    def unanswered(self, longer_s: float) -> list[tuple[Incarnation, float, int]]:
        """Peers from which no word has come for so long, though one is owed: of what was sent, or of their credit.

        Time in which this process itself didn't `poll` doesn't count.

        Args:
            longer_s: Seconds.

        Returns:
            (peer, seconds, messages that wait for it), by incarnation.
        """
        at = self._heard_at
        return [(peer, at - since, waiting) for peer, since, waiting in self._links.unanswered(at - longer_s)]

    def poll(self, timeout_s: float) -> list[TransportNews]:
        """Move packets, and give what came, in order for each sender.

        Args:
            timeout_s: Wait at most this long for the first; 0 only looks.

        Returns:
            News; [] after the time or a `wake`.
        """
        now = self._now()
        if now >= self._look_at:
            self._look(now)
        if timeout_s <= 0:
            self._move(0.0)
        else:
            self._await(now, now + timeout_s)
        news, self._news = self._news, []
        self._heard_at = self._now()
        return news

    def _await(self, now: float, end: float) -> None:
        """Move packets until there is news, a `wake`, or the time is over; look after what is due meanwhile."""
        while not self._news:
            due = self._links.due
            if due <= now:
                self._look(now)
                due = self._links.due
            is_woken = self._move(max(0.0, min(end, due) - now))
            now = self._now()
            if is_woken or now >= end:
                return

    def _look(self, now: float) -> None:
        """Do what is due on the links; each few milliseconds in a busy loop."""
        self._look_at = now + LOOK_INTERVAL_S
        self._run(self._links.handle(Tick(), now))

    def watch(self, files: frozenset[int]) -> bool:
        """Let `poll` return, as after a `wake`, when one of these file descriptors is readable.

        Args:
            files: In place of those of the call before.

        Returns:
            False when this transport can't: the caller looks at them itself.
        """
        return not files

    @abstractmethod
    def wake(self) -> None:
        """Let a `poll` that waits return now, or the next one; from any thread."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections at once; what is unconfirmed may be lost. Poll until `is_settled` first."""

    @abstractmethod
    def _now(self) -> float:
        """Monotonic seconds."""

    @abstractmethod
    def _move(self, wait_s: float) -> bool:
        """Wait for packets and connection events and handle them; whether there was a `wake`."""

    @abstractmethod
    def _open(self, instruction: Open) -> None:
        """Connect to a peer."""

    @abstractmethod
    def _close(self, peer: Incarnation) -> None:
        """Drop the connection to a dead peer, with what it holds."""

    @abstractmethod
    def _put(self, peer: Incarnation, data: bytes) -> bool:
        """Give a packet to a connection; False when it takes nothing now. `_moved` tells when it does again."""

    def _came(self, data: bytes, key: bytes | None = None) -> None:
        self._run(self._links.handle(PacketCame(data, key), self._now()))

    def _moved(self, peer: Incarnation, event: Connected | Writable) -> None:
        self._blocked.discard(peer)
        self._run(self._links.handle(ConnectionEvent(peer, event), self._now()))

    def _run(self, instructions: list[LinksInstruction]) -> None:
        for one in instructions:
            if isinstance(one, Put):
                if one.peer in self._blocked or not self._put(one.peer, one.data):
                    self._blocked.add(one.peer)
                    # Asks for nothing: a half that is blocked is silent until its connection moves.
                    self._links.handle(ConnectionEvent(one.peer, Blocked(one.number)), self._now())
            elif isinstance(one, Open):
                self._open(one)
            elif isinstance(one, Close):
                self._blocked.discard(one.peer)
                self._close(one.peer)
            else:
                self._news.append(one)
