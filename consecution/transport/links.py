"""All links of one incarnation: who is a peer, who is dead, what is for whom (R1, R4, R5).

Rules of this module: pure, as ``link``. Packets come and go as bytes; whatever is wrong with one is counted and told
as `Rejected`, and changes nothing.

1. A packet for another incarnation is dropped: it was meant for who had this port before.
2. A sender that my placement doesn't list is dead when its birth is not after my placement: dropped. Otherwise its
   messages wait, within bounds, for the placement that lists it.
3. A link ends when a placement leaves its peer out, with all that it holds. Numbers of placements only grow.
4. Nothing is said to who isn't listed: it has no address. Nothing is said before this incarnation is listed: it
   would not know its own birth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from consecution.errors import ClusterError, ProtocolError
from consecution.transport.link import (
    Arrived,
    Ask,
    Asked,
    Behind,
    Blocked,
    Connected,
    Deliver,
    Eased,
    LinkLimits,
    Parcel,
    Placed,
    Refuse,
    Send,
    Tell,
    Tick,
    Told,
    Took,
    Transmit,
    Writable,
)
from consecution.transport.receiver_link import ReceiverLink
from consecution.transport.sender_link import SenderLink
from consecution.value import value
from consecution.wire.envelope import (
    Header,
    Messages,
    Position,
    Question,
    pack_messages,
    pack_position,
    pack_question,
    read_opening,
    read_packet,
)
from consecution.wire.messages import Data, FlushMark, encode, roots_of, task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consecution.guarantee.messages import Incarnation, Root
    from consecution.transport.link import ReceiverInstruction, SenderInstruction
    from consecution.wire.messages import Message

NEVER = float("inf")
STRANGERS_MAX = 64
"""Most senders whose placement has not come yet."""


@value
class Peer:
    """An incarnation as a placement lists it.

    Attributes:
        birth: Number of the first placement that lists it.
        address: Where its socket is bound, such as ``tcp://10.0.0.7:41873``.
        key: Its public CURVE key, 40 characters; None where links are not encrypted.
    """

    birth: int
    address: str
    key: bytes | None = None


@value
class PlacementView:
    """What links need to know of a placement.

    Attributes:
        number: Placements only grow.
        peers: All living incarnations, this one included.
        tasks: Tasks that it gives to this incarnation.
    """

    number: int
    peers: Mapping[Incarnation, Peer]
    tasks: frozenset[int] = frozenset()


@value
class Place:
    """A placement has come; older ones than mine are ignored."""

    view: PlacementView


@value
class Post:
    """Send a message to an incarnation that my placement lists; with ``more``, another to it follows at once."""

    to: Incarnation
    message: Message
    more: bool = False


@value
class PacketCame:
    """Bytes came; ``key`` is the public key that the connection proved to have, None without encryption."""

    data: bytes
    key: bytes | None = None


@value
class TakenUp:
    """A frame that was `Received` left its task's queue."""

    peer: Incarnation
    task: int
    items: int
    size: int


@value
class ConnectionEvent:
    """Something happened to the connection to a peer: `Connected`, `Blocked` or `Writable`."""

    peer: Incarnation
    event: Connected | Blocked | Writable


@value
class Open:
    """Connect to this peer."""

    peer: Incarnation
    address: str
    key: bytes | None


@value
class Close:
    """The peer is dead: close the connection, drop what it holds."""

    peer: Incarnation


@value
class Put:
    """Give this packet to the peer's connection; ``number`` of its first message, 0 without one."""

    peer: Incarnation
    number: int
    data: bytes


@value
class Received:
    """A message, once and in order for each sender. A frame must be taken up when it leaves its task's queue."""

    sender: Incarnation
    message: Message
    size: int


@value
class Credited:
    """Frames may go to these tasks of a peer again (R3): `Links.has_credit` was False and is True."""

    peer: Incarnation
    tasks: tuple[int, ...]


@value
class Refused:
    """A message from a living sender, for a task that is not mine: to be reported as lost, in a sum (R4)."""

    sender: Incarnation
    message: Message


@value
class Lagging:
    """A peer knows placement ``number``, and I don't: ask for the whole (R4)."""

    number: int


@value
class LeftOut:
    """Placement ``number`` leaves this incarnation out: it must exit (R5)."""

    number: int


@value
class Rejected:
    """Bytes were dropped that are not of the protocol, or out of its rules."""

    reason: str


LinksEvent: TypeAlias = Place | Post | PacketCame | TakenUp | ConnectionEvent | Tick
LinksNews: TypeAlias = Received | Credited | Refused | Lagging | LeftOut | Rejected
LinksInstruction: TypeAlias = Open | Close | Put | LinksNews


@dataclass(slots=True)
class LinkCounters:
    """What was dropped, and why.

    Attributes:
        rejected: Packets that are not of the protocol, or out of its rules.
        misdirected: Packets for an incarnation that had this address before.
        from_dead: Packets of incarnations that the placement has left out.
        to_dead: Messages for incarnations that the placement doesn't list.
        strangers: Packets of more unlisted senders than may wait.
        refused: Messages for a task that the placement gives to another.
    """

    rejected: int = 0
    misdirected: int = 0
    from_dead: int = 0
    to_dead: int = 0
    strangers: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Pair:
    """Both links between this incarnation and another."""

    birth: int
    sender: SenderLink
    receiver: ReceiverLink
    is_open: bool = False


def _parcel(message: Message, placement: int) -> Parcel:
    parts = encode(message)
    size = sum(map(len, parts))
    if type(message) is Data:
        return Parcel(parts, size, placement, message.roots, message.task, message.count)
    mark = (message.task, message.sender, message.origin) if isinstance(message, FlushMark) else None
    return Parcel(parts, size, placement, roots_of(message), task_of(message), 0, mark)


class Links:
    """All links of one incarnation. Not thread-safe: one owner.

    Args:
        incarnation: This process's.
        limits: The same in all processes of a run.
        birth: Number of the first placement that lists it; 0 when it isn't known before that placement comes.
    """

    def __init__(self, incarnation: Incarnation, limits: LinkLimits | None = None, *, birth: int = 0) -> None:
        self.incarnation = incarnation
        self.counters = LinkCounters()
        self._limits = limits or LinkLimits()
        self._birth = birth
        self._view = PlacementView(0, {})
        self._pairs: dict[Incarnation, _Pair] = {}
        self._handlers: dict[type, Callable[..., list[LinksInstruction]]] = {
            Place: self._place,
            Post: self._post,
            PacketCame: self._packet_came,
            TakenUp: self._taken_up,
            ConnectionEvent: self._connection,
            Tick: self._tick,
        }

    def handle(self, event: LinksEvent, now: float) -> list[LinksInstruction]:
        """Apply one event.

        Args:
            event: What happened.
            now: Monotonic seconds; only differences matter.

        Returns:
            What the shell must do, in order, and the news for whoever uses the links.

        Raises:
            CapacityError: A posted message is too large, or too much waits; it wasn't taken.
            CodecError: A posted message can't be packed; it wasn't taken.
            ClusterError: Something is posted before any placement lists this incarnation.
        """
        return self._handlers[type(event)](event, now)

    @property
    def placement(self) -> int:
        """Number of my placement; 0 before the first."""
        return self._view.number

    def lives(self, peer: Incarnation) -> bool:
        """Whether my placement lists it."""
        return peer in self._view.peers

    def has_credit(self, peer: Incarnation, task: int) -> bool:
        """Whether a stage whose output goes to this task may take a new frame."""
        pair = self._pairs.get(peer)
        return pair is None or pair.sender.has_credit(task)

    def has_room(self, peer: Incarnation) -> bool:
        """False when so much waits for the peer that sums should be kept back, to be combined."""
        pair = self._pairs.get(peer)
        return pair is None or pair.sender.has_room

    @property
    def is_settled(self) -> bool:
        """All that was posted is confirmed, and all who sent something know that it came."""
        return all(
            pair.sender.is_settled and pair.receiver.is_settled
            for peer, pair in self._pairs.items()
            if peer in self._view.peers
        )

    @property
    def due(self) -> float:
        """When the next Tick has something to do; infinity for never."""
        due = NEVER
        for pair in self._pairs.values():
            due = min(due, pair.sender.due, pair.receiver.due)
        return due

    def unanswered(self, before: float) -> list[tuple[Incarnation, float, int]]:
        """Peers that owe a word since before that time, as (peer, since when, messages that wait), by incarnation."""
        return [
            (peer, pair.sender.unanswered_since, pair.sender.waiting)
            for peer, pair in sorted(self._pairs.items())
            if pair.sender.unanswered_since <= before
        ]

    def roots(self) -> set[Root]:
        """Roots of all that is unsent, unconfirmed or unread on any link (R13)."""
        roots: set[Root] = set()
        for pair in self._pairs.values():
            roots.update(pair.sender.roots())
            roots.update(pair.receiver.roots())
        return roots

    # Placements

    def _place(self, event: Place, now: float) -> list[LinksInstruction]:
        view = event.view
        out: list[LinksInstruction] = []
        if view.number <= self._view.number:
            return out
        heard_me = self._view.peers.keys() if self._birth else ()  # who was listed when I could speak
        self._view = view
        me = view.peers.get(self.incarnation)
        if me is not None:
            self._birth = me.birth
        elif self._birth and self._birth <= view.number:
            out.append(LeftOut(view.number))
        for peer in sorted(self._pairs):
            pair = self._pairs[peer]
            listed = view.peers.get(peer)
            if listed is None and pair.birth > view.number:
                continue
            if listed is None or listed.birth != pair.birth:
                del self._pairs[peer]
                if pair.is_open:
                    out.append(Close(peer))
                continue
            self._run_receiver(peer, pair, Placed(view.number, view.tasks), now, out)
            if peer not in heard_me:
                self._run_receiver(peer, pair, Asked(), now, out)  # it wasn't told what came before
        return out

    def _pair(self, peer: Incarnation, birth: int) -> _Pair:
        pair = self._pairs.get(peer)
        if pair is None:
            receiver = ReceiverLink(self._limits, Placed(self._view.number, self._view.tasks))
            pair = self._pairs[peer] = _Pair(birth, SenderLink(self._limits), receiver)
        return pair

    # Out

    def _post(self, event: Post, now: float) -> list[LinksInstruction]:
        listed = self._view.peers.get(event.to)
        if listed is None:
            self.counters.to_dead += 1
            return []
        if not self._birth:
            message = "a message is posted before any placement lists this process; place it first"
            raise ClusterError(message)
        parcel = _parcel(event.message, self._view.number)
        out: list[LinksInstruction] = []
        pair = self._pair(event.to, listed.birth)
        self._do_send(event.to, pair, pair.sender.handle(Send(parcel, event.more), now), out)
        return out

    def _taken_up(self, event: TakenUp, now: float) -> list[LinksInstruction]:
        out: list[LinksInstruction] = []
        pair = self._pairs.get(event.peer)
        if pair is not None:
            self._run_receiver(event.peer, pair, Took(event.task, event.items, event.size), now, out)
        return out

    def _connection(self, event: ConnectionEvent, now: float) -> list[LinksInstruction]:
        out: list[LinksInstruction] = []
        pair = self._pairs.get(event.peer)
        if pair is not None:
            self._do_send(event.peer, pair, pair.sender.handle(event.event, now), out)
            self._run_receiver(event.peer, pair, event.event, now, out)
        return out

    def _tick(self, event: Tick, now: float) -> list[LinksInstruction]:
        out: list[LinksInstruction] = []
        for peer, pair in sorted(self._pairs.items()):
            if pair.sender.due <= now:
                self._do_send(peer, pair, pair.sender.handle(event, now), out)
            if pair.receiver.due <= now:
                self._run_receiver(peer, pair, event, now, out)
        return out

    # In

    def _packet_came(self, event: PacketCame, now: float) -> list[LinksInstruction]:
        try:
            return self._read(event, now)
        except ProtocolError as error:
            self.counters.rejected += 1
            return [Rejected(str(error))]

    def _read(self, event: PacketCame, now: float) -> list[LinksInstruction]:
        opening = read_opening(event.data)
        header = opening[0]
        if header.target != self.incarnation:
            self.counters.misdirected += 1
            return []
        listed = self._view.peers.get(header.sender)
        if listed is None:
            if header.birth <= self._view.number:
                self.counters.from_dead += 1
                return []
            if header.sender not in self._pairs and self._strangers() >= STRANGERS_MAX:
                self.counters.strangers += 1
                return []
        elif listed.birth != header.birth or (listed.key is not None and listed.key != event.key):
            message = f"a packet in the name of incarnation {header.sender:016x} has another birth or key"
            raise ProtocolError(message)
        packet = read_packet(event.data, opening)
        out: list[LinksInstruction] = []
        pair = self._pair(header.sender, header.birth)
        told = None
        if isinstance(packet, Position):
            told = Told(header.received, packet.taken, packet.again)
        elif header.received > pair.sender.received:
            told = Told(header.received)
        if told is not None:
            self._do_send(header.sender, pair, pair.sender.handle(told, now), out)
        if isinstance(packet, Messages):
            arrived = Arrived(header.number, header.placement, packet.messages)
            self._run_receiver(header.sender, pair, arrived, now, out)
        elif isinstance(packet, Question):
            self._run_receiver(header.sender, pair, Asked(), now, out)
        return out

    def _strangers(self) -> int:
        return sum(peer not in self._view.peers for peer in self._pairs)

    # Instructions of the two halves

    def _do_send(
        self, peer: Incarnation, pair: _Pair, instructions: Sequence[SenderInstruction], out: list[LinksInstruction]
    ) -> None:
        for one in instructions:
            if isinstance(one, Transmit):
                header = self._header(peer, pair, one.placement, one.number)
                self._put(peer, pair, one.number, pack_messages(header, one.parts, one.count), out)
            elif isinstance(one, Eased):
                out.append(Credited(peer, one.tasks))
            else:
                assert isinstance(one, Ask)
                self._put(peer, pair, 0, pack_question(self._header(peer, pair)), out)

    def _run_receiver(
        self,
        peer: Incarnation,
        pair: _Pair,
        event: Arrived | Placed | Took | Asked | Connected | Blocked | Writable | Tick,
        now: float,
        out: list[LinksInstruction],
    ) -> None:
        instructions: list[ReceiverInstruction] = pair.receiver.handle(event, now)
        for one in instructions:
            if isinstance(one, Deliver):
                out.append(Received(peer, one.message, one.size))
            elif isinstance(one, Tell):
                if self._birth and peer in self._view.peers:
                    self._put(peer, pair, 0, pack_position(self._header(peer, pair), one.taken, again=one.again), out)
            elif isinstance(one, Refuse):
                self.counters.refused += 1
                out.append(Refused(peer, one.message))
            else:
                assert isinstance(one, Behind)
                out.append(Lagging(one.number))

    def _header(self, peer: Incarnation, pair: _Pair, placement: int = 0, number: int = 0) -> Header:
        return Header(self.incarnation, self._birth, peer, placement, number, pair.receiver.received)

    def _put(self, peer: Incarnation, pair: _Pair, number: int, data: bytes, out: list[LinksInstruction]) -> None:
        if not pair.is_open:
            pair.is_open = True
            listed = self._view.peers[peer]
            out.append(Open(peer, listed.address, listed.key))
        out.append(Put(peer, number, data))

    def check_invariants(self) -> None:
        """Assert rules 2 to 4 on the state, and those of each link; for tests."""
        assert self._strangers() <= STRANGERS_MAX
        for peer, pair in self._pairs.items():
            pair.sender.check_invariants()
            pair.receiver.check_invariants()
            listed = self._view.peers.get(peer)
            assert listed is not None or pair.birth > self._view.number, "a link to a dead incarnation"
            assert listed is None or listed.birth == pair.birth
            assert listed is not None or not pair.is_open, "a connection to nobody"
