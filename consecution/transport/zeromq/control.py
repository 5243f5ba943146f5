"""Questions to a coordinator and its news: ROUTER and DEALER, PUB and SUB, without links.

Rules of this module: payloads are bytes of whoever uses it, at most 1 MiB. Nothing here is reliable: a question may
get no answer (ask again, under the same request id), and news may be missed (they are numbered; whoever lags asks).
One thread owns an endpoint.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypeAlias

import zmq

from consecution.errors import CapacityError
from consecution.transport.base import ConnectionFailed
from consecution.transport.zeromq import sockets
from consecution.transport.zeromq.authenticator import Authenticator
from consecution.transport.zeromq.keys import key_id
from consecution.transport.zeromq.monitor import Happening, Monitor
from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.transport.zeromq.keys import Keys

PAYLOAD_BYTES_MAX = sockets.CONTROL_BYTES_MAX - 1024
_DRAIN_MAX = 256
_RETRY_S = 1.0
_TELL_AGAIN_S = 5.0


@value
class Request:
    """A payload that came to a `ControlServer`.

    Attributes:
        route: Where an answer goes; valid as long as that connection is.
        payload: The bytes; hostile until decoded.
        key: Public key that the connection proved to have, for the check of what it may do; None without keys.
    """

    route: bytes
    payload: bytes
    key: bytes | None


@value
class Reply:
    """A payload that the server sent to this client."""

    payload: bytes


@value
class News:
    """A payload that the server published."""

    payload: bytes


ClientNews: TypeAlias = Reply | News | ConnectionFailed


class ControlServer:
    """The coordinator's end. Owned by one thread; close it.

    Args:
        address: Where questions come, such as ``tcp://127.0.0.1:7000``.
        news_address: Where news are published.
        keys: Needed off loopback.
        allowed: Public keys that may connect; later `allow` replaces them.
        insecure: Bind off loopback without keys.

    Raises:
        AddressTaken: Somebody else is bound at one of them.
        ClusterError: An address can't be bound, or is open to other machines without keys.
    """

    def __init__(
        self,
        address: str,
        news_address: str,
        *,
        keys: Keys | None = None,
        allowed: Iterable[bytes] = (),
        insecure: bool = False,
    ) -> None:
        self._context = sockets.new_context()
        self._keys = keys
        try:
            self._authenticator = Authenticator(self._context) if keys is not None else None
            self._router = sockets.router(self._context, address, keys, insecure=insecure)
            self._publisher = sockets.publisher(self._context, news_address, keys, insecure=insecure)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.address = sockets.bound_address(self._router)
        self.news_address = sockets.bound_address(self._publisher)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        if self._authenticator is not None:
            self._authenticator.allow(allowed)
            self._poller.register(self._authenticator.socket, zmq.POLLIN)

    def allow(self, public_keys: Iterable[bytes]) -> None:
        """Replace the list of keys that may connect; open connections stay open."""
        if self._authenticator is not None:
            self._authenticator.allow(public_keys)

    def take_refusals(self) -> list[str]:
        """Give the connections that were refused since the last call, in words for the log."""
        return [] if self._authenticator is None else self._authenticator.take_refusals()

    def poll(self, timeout_s: float) -> list[Request]:
        """Give what came; waits at most ``timeout_s`` for the first. Connections are let in only while this runs."""
        end = time.monotonic() + timeout_s
        while True:
            requests = self._drain()
            wait_s = 0.0 if requests else max(0.0, end - time.monotonic())
            ready = dict(self._poller.poll(math.ceil(wait_s * 1000)))
            if self._authenticator is not None and self._authenticator.socket in ready:
                self._authenticator.answer()
            if requests or not wait_s:
                return requests

    def reply(self, route: bytes, payload: bytes) -> bool:
        """Answer; False when that connection is gone, or takes nothing more.

        Raises:
            CapacityError: The payload is too large.
        """
        _check_size(payload)
        try:
            self._router.send_multipart((route, payload), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def publish(self, payload: bytes) -> None:
        """Tell all clients; a slow one misses it.

        Raises:
            CapacityError: The payload is too large.
        """
        _check_size(payload)
        self._publisher.send(payload, zmq.NOBLOCK)

    def close(self) -> None:
        """Close, after at most a second for answers on their way."""
        self._context.destroy(linger=1000)

    def _drain(self) -> list[Request]:
        requests: list[Request] = []
        while len(requests) < _DRAIN_MAX:
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            if len(frames) == 2:  # anything else is not of a `ControlClient`
                key = str(frames[1].get("User-Id")).encode() if self._keys is not None else None
                requests.append(Request(frames[0].bytes, frames[1].bytes, key))
        return requests


class ControlClient:
    """A worker's or a client's end. Owned by one thread; close it.

    Args:
        address: The server's address for questions.
        news_address: The server's address for news; None to hear none.
        keys: This process's keys, where the server has keys.
        server_key: The server's public key.
    """

    def __init__(
        self,
        address: str,
        news_address: str | None = None,
        *,
        keys: Keys | None = None,
        server_key: bytes | None = None,
    ) -> None:
        self._context = sockets.new_context()
        self._keys, self._server_key = keys, server_key
        self._address, self._news_address = address, news_address
        self._told_at = -math.inf
        self._retry_at = math.inf
        self._made = 0
        self._watched: set[int] = set()
        try:
            self._connect()
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def _connect(self) -> None:
        self._made += 1
        self._retry_at = math.inf
        self._poller = zmq.Poller()
        self._dealer = sockets.dealer(self._context, self._keys, self._server_key)
        self._monitor = Monitor(self._context, self._dealer, f"dealer.{self._made}")
        self._dealer.connect(self._address)
        self._subscriber: sockets.Socket | None = None
        if self._news_address is not None:
            self._subscriber = sockets.subscriber(self._context, self._keys, self._server_key)
            self._subscriber.connect(self._news_address)
            self._poller.register(self._subscriber, zmq.POLLIN)
        for one in (self._dealer, self._monitor.socket, *self._watched):
            self._poller.register(one, zmq.POLLIN)

    def listen(self, news_address: str) -> None:
        """Hear the news that are published there, in place of an earlier address; questions go on as they are."""
        if self._subscriber is not None:
            self._poller.unregister(self._subscriber)
            self._subscriber.close(linger=0)
        self._news_address = news_address
        self._subscriber = sockets.subscriber(self._context, self._keys, self._server_key)
        self._subscriber.connect(news_address)
        self._poller.register(self._subscriber, zmq.POLLIN)

    def redial(self) -> None:
        """Make both connections anew; what is on its way by the old ones may be lost.

        For who hears nothing though it should: after a cut the kernel tries an old connection again in doubling
        intervals, so that one that was cut for two seconds may be mute for three.
        """
        self._monitor.close()
        self._dealer.close(linger=0)
        if self._subscriber is not None:
            self._subscriber.close(linger=0)
        self._connect()

    def watch(self, fileno: int) -> None:
        """Let `poll` return early, with what it has, when this file can be read or its other end is gone."""
        self._watched.add(fileno)
        self._poller.register(fileno, zmq.POLLIN)

    def unwatch(self, fileno: int) -> None:
        """Watch a file no more; before it is closed."""
        self._watched.discard(fileno)
        self._poller.unregister(fileno)

    def send(self, payload: bytes) -> bool:
        """Ask; False when there is no connection now.

        Raises:
            CapacityError: The payload is too large.
        """
        _check_size(payload)
        try:
            self._dealer.send(payload, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def poll(self, timeout_s: float) -> list[ClientNews]:
        """Give what came; waits at most ``timeout_s`` for the first."""
        end = time.monotonic() + timeout_s
        while True:
            news: list[ClientNews] = [Reply(payload) for payload in _drain(self._dealer)]
            if self._subscriber is not None:
                news += [News(payload) for payload in _drain(self._subscriber)]
            self._look_after(news)
            now = time.monotonic()
            if news or now >= end:
                return news
            ready = self._poller.poll(math.ceil(max(0.0, min(end, self._retry_at) - now) * 1000))
            if any(file in self._watched for file, _ in ready):
                end = now  # once more round, for what came at the same time

    def close(self) -> None:
        """Close, after at most a second for questions on their way."""
        self._monitor.close()
        self._context.destroy(linger=1000)

    def _look_after(self, news: list[ClientNews]) -> None:
        now = time.monotonic()
        for happening in self._monitor.take():
            if happening is Happening.REFUSED:
                self._retry_at = min(self._retry_at, now + _RETRY_S)
            if happening in (Happening.REFUSED, Happening.NO_PEER) and now >= self._told_at + _TELL_AGAIN_S:
                self._told_at = now
                news.append(ConnectionFailed(None, self._reason(happening)))
        if now >= self._retry_at:  # libzmq gives up after a refusal; a key may have been added since
            self.redial()

    def _reason(self, happening: Happening) -> str:
        if happening is Happening.REFUSED:
            mine = key_id(self._keys.public) if self._keys is not None else "none"
            return f"{self._address} refused the key of this process ({mine}…): add it to its list of allowed keys"
        if self._server_key is None:
            return (
                f"{self._address} is not a Consecution coordinator, or has keys, and this side was given none: check "
                "the address, and if it has keys, give --keys and --coordinator-key"
            )
        return (
            f"{self._address} is not a Consecution coordinator, or has the wrong key: expected one with key "
            f"{key_id(self._server_key)}…; check the address and the keys of both sides"
        )


def _check_size(payload: bytes) -> None:
    if len(payload) > PAYLOAD_BYTES_MAX:
        message = (
            f"a control message has {len(payload):,} bytes; at most {PAYLOAD_BYTES_MAX:,} travel: send it in parts"
        )
        raise CapacityError(message)


def _drain(socket: sockets.Socket) -> list[bytes]:
    payloads: list[bytes] = []
    while len(payloads) < _DRAIN_MAX:
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            break
        if len(frames) == 1:  # anything else is not of a `ControlServer`
            payloads.append(frames[0])
    return payloads
