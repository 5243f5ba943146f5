"""`ZmqTransport`: links over TCP or Unix sockets. One PULL bound, one PUSH for each peer (design.md section 4).

Rules of this module:

1. One thread owns all sockets. It never blocks in a send, and always drains the PULL. What a connection loses is the
   links' business; this module only tells them that there is a new connection.
2. It waits on the descriptors of the sockets, not on the sockets: one system call, where `zmq.Poller` makes two for
   each socket. Such a descriptor is readable when something may have happened since the socket was last asked for its
   events, so whoever is told of one asks until there is nothing more; else it would sleep on what is there.
"""

from __future__ import annotations

import math
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from consecution.transport.base import ConnectionFailed, Transport
from consecution.transport.link import Connected, Writable
from consecution.transport.zeromq import sockets
from consecution.transport.zeromq.authenticator import Authenticator
from consecution.transport.zeromq.keys import key_id
from consecution.transport.zeromq.monitor import Happening, Monitor
from consecution.transport.zeromq.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.guarantee.messages import Incarnation
    from consecution.transport.link import LinkLimits
    from consecution.transport.links import Open, PlacementView
    from consecution.transport.zeromq.keys import Keys

DRAIN_MAX = 256
"""Packets that are read before anything else is looked at."""

_COPY_BYTES_MAX = 64 << 10  # below it, copying is cheaper than sharing
_RETRY_S, _RETRY_MAX_S = 0.25, 2.0
_TELL_AGAIN_S = 5.0
_WAIT_MAX_S = 60.0
_EVENTS, _NOBLOCK = int(zmq.EVENTS), int(zmq.NOBLOCK)  # plain numbers: an enum costs more than the call
_POLLIN, _POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)


@dataclass(slots=True)
class _Connection:
    """The PUSH to one peer; without a socket while it waits to be tried again."""

    instruction: Open
    socket: sockets.Socket | None = None
    monitor: Monitor | None = None
    is_lost: bool = False
    retry_at: float = 0.0
    retry_s: float = _RETRY_S


class ZmqTransport(Transport):
    """Links of one process over ZeroMQ. Owned by one thread; close it, it holds sockets and a thread of libzmq.

    Args:
        incarnation: This process's.
        address: Where to bind: ``tcp://127.0.0.1:*`` or ``ipc:///path``.
        limits: Bounds of each link.
        birth: As for `Transport`.
        keys: Encrypt, and let in only who is listed with a key; needed off loopback.
        insecure: Bind off loopback without keys.
        clock: Monotonic seconds.

    Raises:
        ClusterError: The address can't be bound, or is open to other machines without keys.

    Example:
        >>> with ZmqTransport(7, "tcp://127.0.0.1:*") as transport:
        ...     transport.poll(0)
        []
    """

    def __init__(
        self,
        incarnation: Incarnation,
        address: str,
        *,
        limits: LinkLimits | None = None,
        birth: int = 0,
        keys: Keys | None = None,
        insecure: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(incarnation, limits=limits, birth=birth)
        self._clock = clock
        self._keys = keys
        self._context = sockets.new_context()
        self._connections: dict[Incarnation, _Connection] = {}
        self._monitors: dict[int, Incarnation] = {}  # by descriptor, as those that follow
        self._waiting: dict[int, Incarnation] = {}  # PUSHes that took nothing
        self._poll = select.poll()
        self._files: frozenset[int] = frozenset()
        self._sockets_made = 0
        self._is_drained = False
        self._told_at: dict[tuple[Incarnation | None, Happening], float] = {}
        self._waker = Waker()
        try:
            self._authenticator = Authenticator(self._context) if keys is not None else None
            self._pull = sockets.pull(self._context, address, keys, insecure=insecure)
        except BaseException:
            self._waker.close()
            self._context.destroy(linger=0)
            raise
        self._pull_monitor = Monitor(self._context, self._pull, "pull")
        self._address = sockets.bound_address(self._pull)
        self._pull_file, self._wake_file = self._pull.fileno(), self._waker.fileno()
        for one in (self._pull, self._pull_monitor.socket, self._waker):
            self._poll.register(one, select.POLLIN)
        if self._authenticator is not None:
            self._poll.register(self._authenticator.socket, select.POLLIN)
        for happening in self._pull_monitor.take():  # in the moment between the bind and the monitor
            self._tell(None, happening)

    @property
    def address(self) -> str:
        """Where it is bound; with the port that was chosen for ``:*``."""
        return self._address

    def __enter__(self) -> ZmqTransport:
        """Give itself; closed at the end of the block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def place(self, view: PlacementView) -> None:
        """Take a placement, and let in those whom it lists."""
        if self._authenticator is not None and view.number > self.placement:
            self._authenticator.allow(peer.key for peer in view.peers.values() if peer.key is not None)
        super().place(view)

    def watch(self, files: frozenset[int]) -> bool:
        """As `Transport.watch`; the files stay the caller's, who ends the watch before it closes them."""
        if files == self._files:
            return True
        for file in self._files - files:
            self._poll.unregister(file)
        for file in files - self._files:
            self._poll.register(file, select.POLLIN)
        self._files = files
        return True

    def wake(self) -> None:
        """Let a `poll` that waits return now, or the next one; from any thread."""
        self._waker.wake()

    def close(self) -> None:
        """Close all sockets at once; a second call does nothing."""
        if self._context.closed:
            return
        for peer in list(self._connections):
            self._close(peer)
        self._pull_monitor.close()
        self._waker.close()
        self._context.destroy(linger=0)

    # Connections

    def _now(self) -> float:
        return self._clock()

    def _open(self, instruction: Open) -> None:
        connection = _Connection(instruction)
        self._connections[instruction.peer] = connection
        self._connect(connection)

    def _connect(self, connection: _Connection) -> sockets.Socket:
        wanted = connection.instruction
        self._sockets_made += 1
        socket = sockets.push(self._context, self._keys, wanted.key)
        monitor = Monitor(self._context, socket, f"push.{self._sockets_made}")
        socket.connect(wanted.address)
        self._monitors[monitor.socket.fileno()] = wanted.peer
        self._poll.register(monitor.socket, select.POLLIN)
        connection.socket, connection.monitor = socket, monitor
        return socket

    def _close(self, peer: Incarnation) -> None:
        self._disconnect(self._connections.pop(peer))

    def _disconnect(self, connection: _Connection) -> None:
        if connection.socket is None or connection.monitor is None:
            return
        self._unblock(connection.socket)
        del self._monitors[connection.monitor.socket.fileno()]
        self._poll.unregister(connection.monitor.socket)
        connection.monitor.close()
        connection.socket.close(linger=0)
        connection.socket = connection.monitor = None

    def _put(self, peer: Incarnation, data: bytes) -> bool:
        socket = self._connections[peer].socket
        if socket is None:
            return False
        try:
            socket.send(data, _NOBLOCK, len(data) < _COPY_BYTES_MAX)
        except zmq.Again:
            self._await_writable(peer, socket)
            return False
        return True

    def _await_writable(self, peer: Incarnation, socket: sockets.Socket) -> None:
        file = socket.fileno()
        if file not in self._waiting:
            self._waiting[file] = peer
            self._poll.register(file, select.POLLIN)

    # The loop

    @property
    def _is_short(self) -> bool:
        """Whether a connection has no socket, and waits to be tried again."""
        return len(self._monitors) < len(self._connections)

    def _move(self, wait_s: float) -> bool:
        if not self._is_drained:  # more had come than is read at once
            self._drain()
            wait_s = 0.0
        wait_s = min(wait_s, _WAIT_MAX_S)
        if wait_s > 0 and self._is_short:
            retries = [one.retry_at for one in self._connections.values() if one.socket is None]
            wait_s = max(0.0, min(wait_s, *(retry_at - self._clock() for retry_at in retries)))
        ready = self._poll.poll(math.ceil(wait_s * 1000))
        is_woken = False
        rare = []
        for file, _ in ready:
            if file == self._pull_file:
                self._drain()
            elif file == self._wake_file:
                self._waker.take()
                is_woken = True
            elif file in self._files:
                is_woken = True
            else:
                rare.append(file)
        if rare or self._is_short:
            self._look_after(rare)
        return is_woken

    def _drain(self) -> None:
        """Read what has come, within a bound."""
        pull, came = self._pull, self._came
        for _ in range(DRAIN_MAX):
            events = pull.get(_EVENTS)
            assert isinstance(events, int)
            if not events & _POLLIN:  # cheaper than the exception of a recv that finds nothing
                self._is_drained = True
                return
            if self._keys is None:
                came(pull.recv(_NOBLOCK))
            else:
                frame = pull.recv(_NOBLOCK, copy=False)
                came(frame.bytes, str(frame.get("User-Id")).encode())
        self._is_drained = False

    def _look_after(self, ready: list[int]) -> None:
        """Look at what happened to connections, and try again those that were refused."""
        if self._pull_monitor.socket.fileno() in ready:
            for happening in self._pull_monitor.take():
                self._tell(None, happening)
        if self._authenticator is not None and self._authenticator.socket.fileno() in ready:
            self._authenticator.answer()
        for file in ready:
            if (peer := self._monitors.get(file)) is not None:
                self._happened(peer, self._connections[peer])
        for file in ready:
            if (peer := self._waiting.get(file)) is not None:
                self._may_take(peer, self._connections[peer])
        self._retry()

    def _may_take(self, peer: Incarnation, connection: _Connection) -> None:
        """Something happened to a PUSH that took nothing."""
        socket = connection.socket
        if socket is not None and int(socket.get(_EVENTS)) & _POLLOUT:
            self._unblock(socket)
            self._moved(peer, Writable())

    def _unblock(self, socket: sockets.Socket) -> None:
        if self._waiting.pop(socket.fileno(), None) is not None:
            self._poll.unregister(socket)

    def _happened(self, peer: Incarnation, connection: _Connection) -> None:
        assert connection.monitor is not None
        is_refused = False
        for happening in connection.monitor.take():
            is_refused = is_refused or happening is Happening.REFUSED
            if happening is Happening.LOST:
                connection.is_lost = True
            elif happening is Happening.CONNECTED:
                connection.retry_s = _RETRY_S
                if connection.is_lost and connection.socket is not None:
                    connection.is_lost = False
                    self._unblock(connection.socket)
                    self._moved(peer, Connected())
            else:
                self._tell(peer, happening)
        if is_refused:
            # libzmq never tries again after this, also when the key is allowed later: a new socket does.
            self._disconnect(connection)
            connection.is_lost = True
            connection.retry_at = self._clock() + connection.retry_s
            connection.retry_s = min(2 * connection.retry_s, _RETRY_MAX_S)

    def _retry(self) -> None:
        for peer, connection in self._connections.items():
            if connection.socket is None and connection.retry_at <= self._clock():
                self._await_writable(peer, self._connect(connection))

    # Words for people

    def _tell(self, peer: Incarnation | None, happening: Happening) -> None:
        """Say that a connection failed, but not each time that it is tried again."""
        if happening in (Happening.CONNECTED, Happening.LOST):
            return
        if peer is None and self._address.startswith("ipc:"):
            return  # the file is in a folder of our own: one of us died before its handshake was done
        now = self._clock()
        if now < self._told_at.get((peer, happening), -math.inf) + _TELL_AGAIN_S:
            return
        self._told_at[peer, happening] = now
        self._news.append(ConnectionFailed(peer, self._reason(peer, happening)))

    def _reason(self, peer: Incarnation | None, happening: Happening) -> str:
        if peer is None:
            refusals = self._authenticator.take_refusals() if self._authenticator is not None else []
            if refusals:
                return refusals[-1]
            return (
                f"somebody connected to {self._address} and is not a Consecution peer, or has the wrong key for it: "
                "its handshake failed; check who connects there"
            )
        connection = self._connections[peer].instruction
        if happening is Happening.REFUSED:
            mine = key_id(self._keys.public) if self._keys is not None else "none"
            return (
                f"{connection.address} refused the key of this process ({mine}…): it isn't in its list of allowed "
                "keys; add it there"
            )
        expected = f"key {key_id(connection.key)}…" if connection.key is not None else "no key"
        return (
            f"{connection.address} is not a Consecution peer, or has the wrong key: expected one with {expected}; "
            "check the address and the keys of both sides"
        )
