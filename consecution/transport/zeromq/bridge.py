"""The sockets of a bridge: one ROUTER bound, one DEALER for each process of other topologies that items go to.

Rules of this module: payloads are bytes of whoever uses it. Nothing here is reliable: what a connection loses is found
by the streams on it. One thread owns all; only `BridgeSockets.wake` may be called from others.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from consecution.transport.zeromq import sockets
from consecution.transport.zeromq.authenticator import Authenticator
from consecution.transport.zeromq.monitor import Happening, Monitor
from consecution.transport.zeromq.waker import Waker
from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.guarantee.messages import Incarnation
    from consecution.transport.zeromq.keys import Keys

_DRAIN_MAX = 256
_RETRY_S = 0.25


@value
class Asked:
    """A payload that came from a process of another topology; ``route`` is the way back."""

    route: bytes
    payload: bytes


@value
class Answered:
    """A payload that came back from a process that items go to."""

    payload: bytes


@dataclass(slots=True, eq=False)
class _Way:
    address: str
    key: bytes | None
    socket: sockets.Socket
    monitor: Monitor
    retry_at: float = math.inf


class BridgeSockets:
    """All sockets of one process's bridge. Owned by one thread; close it.

    Args:
        address: Where to bind: ``tcp://127.0.0.1:*``.
        keys: Encrypt, and let in only who is allowed; needed off loopback.
        insecure: Bind off loopback without keys.

    Attributes:
        address: Where it is bound.

    Raises:
        ClusterError: The address can't be bound, or is open to other machines without keys.
    """

    def __init__(self, address: str, *, keys: Keys | None = None, insecure: bool = False) -> None:
        self._keys = keys
        self._context = sockets.new_context()
        try:
            self._authenticator = Authenticator(self._context) if keys is not None else None
            self._router = sockets.bridge_router(self._context, address, keys, insecure=insecure)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.address = sockets.bound_address(self._router)
        self._ways: dict[Incarnation, _Way] = {}
        self._made = 0
        self._waker = Waker()
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._waker, zmq.POLLIN)
        if self._authenticator is not None:
            self._poller.register(self._authenticator.socket, zmq.POLLIN)

    def allow(self, keys: Iterable[bytes]) -> None:
        """Replace the list of public keys that may connect; connections that are open stay open."""
        if self._authenticator is not None:
            self._authenticator.allow(keys)

    def lead_to(self, targets: dict[Incarnation, tuple[str, bytes | None]]) -> None:
        """Connect to exactly these: address and public key of each."""
        for target in [one for one in self._ways if one not in targets]:
            self._close(self._ways.pop(target))
        for target, (address, key) in targets.items():
            if target not in self._ways:
                self._ways[target] = self._open(address, key)

    def send(self, target: Incarnation, payload: bytes) -> bool:
        """Send to one of those; False when its connection takes nothing now."""
        way = self._ways.get(target)
        if way is None:
            return False
        try:
            way.socket.send(payload, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def reply(self, route: bytes, payload: bytes) -> bool:
        """Answer the way that something came; False when that connection is gone, or takes nothing more."""
        try:
            self._router.send_multipart((route, payload), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def poll(self, wait_s: float) -> list[Asked | Answered]:
        """Give what came; waits at most so long for the first, or until `wake`."""
        now = time.monotonic()
        until = min((way.retry_at for way in self._ways.values()), default=math.inf)
        came = self._drain()
        wait_s = 0.0 if came else max(0.0, min(wait_s, until - now))
        ready = dict(self._poller.poll(math.ceil(wait_s * 1000)))
        if self._waker.fileno() in ready:
            self._waker.take()
        if self._authenticator is not None and self._authenticator.socket in ready:
            self._authenticator.answer()
        self._look_after(time.monotonic())
        return came or self._drain()

    def wake(self) -> None:
        """Let a `poll` that waits return now, or the next one; from any thread."""
        self._waker.wake()

    def close(self) -> None:
        """Close all sockets at once; a second call does nothing."""
        if self._context.closed:
            return
        for way in self._ways.values():
            self._close(way)
        self._ways.clear()
        self._waker.close()
        self._context.destroy(linger=0)

    def _open(self, address: str, key: bytes | None) -> _Way:
        self._made += 1
        socket = sockets.bridge_dealer(self._context, self._keys, key)
        monitor = Monitor(self._context, socket, f"bridge.{self._made}")
        socket.connect(address)
        for one in (socket, monitor.socket):
            self._poller.register(one, zmq.POLLIN)
        return _Way(address, key, socket, monitor)

    def _close(self, way: _Way) -> None:
        for one in (way.socket, way.monitor.socket):
            self._poller.unregister(one)
        way.monitor.close()
        way.socket.close(linger=0)

    def _look_after(self, now: float) -> None:
        """Try again where this process's key was refused: libzmq doesn't, and the other may not yet know it."""
        for target, way in list(self._ways.items()):
            if Happening.REFUSED in list(way.monitor.take()):
                way.retry_at = min(way.retry_at, now + _RETRY_S)
            if now >= way.retry_at:
                self._close(way)
                self._ways[target] = self._open(way.address, way.key)

    def _drain(self) -> list[Asked | Answered]:
        # Of other shapes is what doesn't come from a `BridgeSockets`.
        asked = [frames for frames in _frames(self._router) if len(frames) == 2]
        came: list[Asked | Answered] = [Asked(route, payload) for route, payload in asked]
        for way in self._ways.values():
            came += [Answered(frames[0]) for frames in _frames(way.socket) if len(frames) == 1]
        return came


def _frames(socket: sockets.Socket) -> list[list[bytes]]:
    found: list[list[bytes]] = []
    while len(found) < _DRAIN_MAX:
        try:
            found.append(socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            break
    return found
