"""The bridge of one process: a thread round the streams to and from executors of joined topologies.

Rules of this module: a thin shell. Its thread owns the sockets and the streams; what others want of it is put into a
queue, and done in order. It runs no user code, and knows no journal: producers of this process are given what comes,
and say when it is journalled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from consecution.errors import ClusterError, CodecError, ProtocolError
from consecution.process.bridge.receiver import Given, Receiver, Say, Stream
from consecution.process.bridge.sender import Pass, Sender
from consecution.transport.zeromq import Asked, BridgeSockets
from consecution.wire.bridge import Ask, Hand, Took, pack_crossing, read_crossing
from consecution.wire.codec import unpack_items

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consecution.guarantee.messages import Incarnation
    from consecution.process.bridge.sender import Piece
    from consecution.producers.handover import Handover
    from consecution.transport.zeromq import Answered, Keys
    from consecution.wire.placement import Placement

log = logging.getLogger(__name__)

WAIT_MAX_S = 0.5
CLOSE_S = 5.0
REFUSED_LOGGED_S = 10.0


class Bridge:
    """The way to and from joined topologies, for one process. `start` it, then `close` it.

    Args:
        incarnation: Of this process.
        address: Address pattern of its socket, such as ``tcp://10.0.0.5:*``.
        links: How many links begin at its consecutor.
        keys: Of this process; None without encryption.
        insecure: It may bind off loopback without keys.

    Attributes:
        address: Where others reach it.
        error: Why its thread ended; None while it is well.

    Raises:
        ClusterError: The address can't be bound.
    """

    def __init__(
        self, incarnation: Incarnation, address: str, links: int, *, keys: Keys | None = None, insecure: bool = False
    ) -> None:
        self.error: BaseException | None = None
        self._incarnation = incarnation
        self._sockets = BridgeSockets(address, keys=keys, insecure=insecure)
        self.address = self._sockets.address
        self._senders = [Sender(incarnation, link) for link in range(links)]
        self._receiver = Receiver(incarnation, frozenset())
        self._handovers: Mapping[int, Handover] = {}
        self._wanted: deque[Callable[[], None]] = deque()
        self._is_closing = False
        self._refused_at = 0.0
        self._thread = threading.Thread(target=self._run, name="consecution-bridge", daemon=True)

    # ---- from other threads --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to move pieces."""
        self._thread.start()

    def hand(self, link: int, piece: Piece) -> None:
        """Take a piece on its way over a link."""
        self._want(partial(self._senders[link].add, piece))

    def place(self, placement: Placement) -> None:
        """Take a placement of this process's topology: where its outputs lead, and who may come."""
        self._want(partial(self._place, placement))

    def take_in(self, handovers: Mapping[int, Handover], knew: Callable[[int], bool]) -> None:
        """Let items in, from now on.

        Args:
            handovers: Producers of this process that other topologies hand over to, by place.
            knew: Of these, gives whether its journal knew items before this start.
        """

        def take_in() -> None:
            self._handovers = handovers
            self._receiver = Receiver(self._incarnation, frozenset(handovers), knew)

        self._want(take_in)

    @property
    def is_doubled(self) -> bool:
        """Whether items came that may have come before, from a run that began anew."""
        return self._receiver.is_doubled

    def unanswered(self, longer_s: float) -> list[tuple[Incarnation, float, int]]:
        """Who owes an answer for so many seconds: (target, seconds, pieces that wait for it)."""
        now = time.monotonic()
        owed = (sender.unanswered(now) for sender in self._senders)
        return [one for one in owed if one is not None and one[1] >= longer_s]

    def check(self) -> None:
        """Raise what ended its thread.

        Raises:
            ClusterError: It has ended.
        """
        if self.error is not None:
            message = f"the bridge to joined topologies broke: {self.error!r}; please report it"
            raise ClusterError(message) from self.error

    def close(self) -> None:
        """End its thread and close its sockets; what isn't journalled by others isn't settled here either."""
        self._is_closing = True
        self._sockets.wake()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        self._sockets.close()

    def _want(self, what: Callable[[], None]) -> None:
        self._wanted.append(what)
        self._sockets.wake()

    # ---- its thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._turn()
        except BaseException as error:  # raised again by `check`, in the thread that owns the process
            self.error = error

    def _turn(self) -> None:
        while self._wanted:
            self._wanted.popleft()()
        now = time.monotonic()
        for sender in self._senders:
            self._send(sender, now)
        until = min((sender.due for sender in self._senders), default=float("inf"))
        wait_s = 0.0 if self._wanted else max(0.0, min(until - time.monotonic(), WAIT_MAX_S))
        for came in self._sockets.poll(wait_s):
            self._hear(came)

    def _send(self, sender: Sender, now: float) -> None:
        for message in sender.send(now):
            if not self._sockets.send(message.target, pack_crossing(message)):
                sender.blocked(message, now)
                return

    def _hear(self, came: Asked | Answered) -> None:
        try:
            if isinstance(came, Asked):
                message = read_crossing(came.payload, (Hand, Ask))
                assert not isinstance(message, Took)
                for one in self._receiver.hear(came.route, message):
                    self._carry(one)
            else:
                took = read_crossing(came.payload, (Took,))
                assert isinstance(took, Took)
                self._took(took)
        except (ProtocolError, CodecError) as error:
            now = time.monotonic()
            if now - self._refused_at >= REFUSED_LOGGED_S:
                self._refused_at = now
                log.warning("refused: %s", error)

    def _carry(self, one: Given | Say) -> None:
        if isinstance(one, Say):
            self._sockets.reply(one.route, pack_crossing(one.took))
            return
        items: list[Any] = unpack_items(one.items)
        handover, stream = self._handovers[one.stream.place], one.stream
        handover.offer(items, partial(self._want, partial(self._journalled, stream)), sender=stream.sender)

    def _journalled(self, stream: Stream) -> None:
        self._carry(self._receiver.journalled(stream))

    def _took(self, took: Took) -> None:
        for sender in self._senders:
            for piece in sender.took(took, time.monotonic()):
                if piece.taken is not None:
                    piece.taken()

    def _place(self, placement: Placement) -> None:
        passed = Pass(placement.pass_number, placement.starts_again)
        outlets = {outlet.link: outlet for outlet in placement.outlets}
        for sender in self._senders:
            outlet = outlets.get(sender.link)
            target = None if outlet is None else outlet.incarnation
            sender.place_at(target, 0 if outlet is None else outlet.place, passed)
        self._sockets.lead_to({one.incarnation: (one.address, one.key) for one in placement.outlets})
        for inlet in placement.inlets:
            if inlet.is_over or inlet.place not in self._handovers:
                continue  # of who ended in good order all is wanted
            for stream in self._receiver.place(inlet.place, frozenset(inlet.senders)):
                self._handovers[inlet.place].withdraw(stream.sender)
        self._sockets.allow(key for inlet in placement.inlets for key in inlet.keys)
