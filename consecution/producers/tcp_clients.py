"""The clients of a `TcpProducer`: their connections, in a thread of their own.

Rules of this module: see tcp.py. Everything but `TcpServer.start`, `stop`, `post` and `has_room` runs in the loop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from consecution.producers.json_items import Bad
from consecution.producers.listening import BACKLOG, address_of
from consecution.producers.looping import LoopThread, Post
from consecution.producers.network import Journalled, Refused
from consecution.producers.offers import Offer, Offers
from consecution.producers.tokens import Token

if TYPE_CHECKING:
    from consecution.errors import ConsecutionError
    from consecution.guarantee.messages import Cause
    from consecution.producers.tcp_rules import TcpCounts, TcpRules

log = logging.getLogger(__name__)

OFFER_ITEMS_MAX = 1_000
KEEPALIVE_S, KEEPALIVE_EVERY_S, KEEPALIVE_TRIES = 30, 10, 3
UNREAD_MAX_S = 60.0
ANSWER_BYTES_MAX = 64 << 10
CLOSE_S = 2.0
WARN_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Settled:
    """An item that has its outcome; ``reason`` is "" when it is completed."""

    client: Client
    number: int
    reason: str


class Awaited(Token):
    """Hears of one item for a client that wants to know when it is processed."""

    __slots__ = ("_client", "_number", "_post")

    def __init__(self, client: Client, number: int, post: Post) -> None:
        self._client = client
        self._number = number
        self._post = post

    def _settled(self, state: str, attempts: int, cause: Cause | None) -> None:
        reason = ""
        if state == "failed":
            what = "it failed" if cause is None else f"{cause.exception}: {cause.message} at node {cause.node!r}"
            reason = f"{what} (attempts: {attempts})"
        self._post.send(Settled(self._client, self._number, reason))

    def _abandoned(self, error: ConsecutionError) -> None:
        """Nothing is said: it is journalled, and whoever asks again under its key hears of it."""


class TcpServer:
    """The listening socket and its connections, in a thread of their own."""

    def __init__(self, rules: TcpRules, counts: TcpCounts, listener: socket.socket) -> None:
        self.rules = rules
        self.counts = counts
        self._listener = listener
        self._thread = LoopThread(f"consecution-tcp-{address_of(listener)[1]}")
        self.post = Post(self._thread.loop, self._hear)
        self.clients: set[Client] = set()
        self._server: asyncio.Server | None = None
        self._warned_at = 0.0
        self.offers: Offers

    def start(self, offers: Offers) -> None:
        """Let clients in."""
        self.offers = offers
        try:
            self._thread.run(self._listen())
        except BaseException:
            self._thread.stop()
            self._listener.close()
            raise

    async def _listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            self._client, sock=self._listener, ssl=self.rules.tls, backlog=BACKLOG
        )
        if self.rules.idle_timeout_s is not None:
            self._idle = asyncio.create_task(self._close_idle(self.rules.idle_timeout_s))

    def _client(self) -> Client:
        return Client(self) if self.rules.read_bytes is None else SparingClient(self, self.rules.read_bytes)

    async def _close_idle(self, idle_timeout_s: float) -> None:
        while True:
            await asyncio.sleep(idle_timeout_s / 4)
            now = time.monotonic()
            for client in list(self.clients):
                if not client.is_awaiting and now - client.heard_at > idle_timeout_s:
                    client.drop(f"nothing came for {idle_timeout_s:g} s")

    def has_room(self) -> None:
        """Let those go on that were held back; called from the run's thread."""
        self.post.send(None)

    def _hear(self, word: object) -> None:
        if word is None:
            for client in list(self.clients):
                client.pump()
        elif isinstance(word, Settled):
            word.client.settle(word.number, word.reason)
        elif isinstance(word, Journalled):
            for offer, _, count in word.items:
                sender = cast("Sent", offer.sender)
                sender.client.acknowledge(sender.take(count), count)
        elif isinstance(word, Refused):
            for offer, count in word.items:
                sender = cast("Sent", offer.sender)
                sender.client.refuse_all(sender.take(count), word.reason)

    def warn(self, text: str) -> None:
        """Log what a human may act on, now and then: a flood must not fill the disk."""
        now = time.monotonic()
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            log.warning("producer=%s %s; %s", self.rules.name, text, self.counts)

    def stop(self) -> None:
        """Close all connections, after what was to be said is said."""
        try:
            self._thread.run(self._close())
        finally:
            self._thread.stop()

    async def _close(self) -> None:
        await asyncio.sleep(0)  # what was posted before is heard first
        assert self._server is not None
        self._server.close()
        for client in list(self.clients):
            client.close()
        end = time.monotonic() + CLOSE_S
        while self.clients and time.monotonic() < end:
            await asyncio.sleep(0.005)
        for client in list(self.clients):
            client.abort()
        while self.clients:
            await asyncio.sleep(0.001)
        await self._server.wait_closed()


class Sent:
    """Which messages of a client an offer holds, so that each is answered by its number."""

    __slots__ = ("client", "numbers")

    def __init__(self, client: Client, numbers: list[int]) -> None:
        self.client = client
        self.numbers = numbers

    def take(self, count: int) -> list[int]:
        """Give the next ``count`` numbers."""
        taken = self.numbers[:count]
        del self.numbers[:count]
        return taken


class Client(asyncio.Protocol):
    """One connection; lives in the loop."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._rules = server.rules
        self._counts = server.counts
        self._format = server.rules.new_format(server.rules.message_bytes_max)
        self._transport: asyncio.Transport
        self._number = 0  # of the newest message
        self._open_items = 0  # offered, and not answered yet
        self._is_at_eof = False
        self._is_done = False  # all that it sent is offered, and it sends no more
        self._is_closing = False
        self._is_stuck = False  # it doesn't read its answers
        self._stuck: asyncio.TimerHandle | None = None
        self.heard_at = time.monotonic()

    @property
    def is_awaiting(self) -> bool:
        """Whether it waits for answers."""
        return self._open_items > 0

    # ---- connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a client in, or tell it that there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        counts = self._counts
        counts.connected += 1
        self._server.clients.add(self)
        counts.clients = len(self._server.clients)
        _probe(self._transport.get_extra_info("socket"))
        self._transport.set_write_buffer_limits(high=ANSWER_BYTES_MAX)
        if len(self._server.clients) > self._rules.clients_max:
            counts.refused += 1
            self._server.warn(f"a client was refused: {self._rules.clients_max} are connected, the most it takes")
            self._end(f"{self._rules.clients_max} clients are connected, the most this producer takes; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client; what it sent goes on."""
        self._server.clients.discard(self)
        self._counts.clients = len(self._server.clients)
        self._is_closing = True
        if self._stuck is not None:
            self._stuck.cancel()
        if self._format.rest_bytes and not self._is_done:
            self._counts.bad += 1
            self._server.warn("a client ended in the middle of a message, which is no item")

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self.heard_at = time.monotonic()
        if not self._is_closing:
            self._format.feed(data)
            self.pump()

    def eof_received(self) -> bool:
        """The client sends no more; it is answered to the end all the same."""
        self._is_at_eof = True
        self.pump()
        return self._transport.get_extra_info("ssl_object") is None  # TLS has no half-closed connections

    def pause_writing(self) -> None:
        """It doesn't read its answers: read no more of it, and wait for a minute.

        Without acknowledgements there are only errors, which nobody must read.
        """
        self._is_stuck = True
        if self._rules.acknowledges is None:
            return
        self._transport.pause_reading()
        loop = asyncio.get_running_loop()
        self._stuck = loop.call_later(UNREAD_MAX_S, self.drop, f"it read no answer for {UNREAD_MAX_S:g} s")

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_stuck = False
        if self._stuck is not None:
            self._stuck.cancel()
        self.pump()

    # ---- items ---------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Offer the messages that have come, as far as there is room; read on when all are offered."""
        is_deaf = self._is_stuck and self._rules.acknowledges is not None
        while not self._is_closing and not self._is_done and not is_deaf:
            room = min(OFFER_ITEMS_MAX, self._server.offers.room)
            messages = self._format.take(room) if room else []
            if not messages:
                if room:
                    self._all_offered()
                else:
                    self._hold_back()
                return
            self._offer(messages)

    def _hold_back(self) -> None:
        """There is no room: read no more of this client."""
        self._transport.pause_reading()

    def pause_reading(self) -> None:
        """Read no more of it until the next `pump`."""
        if not self._is_closing and not self._is_done:
            self._transport.pause_reading()

    def _all_offered(self) -> None:
        if self._format.is_too_long:
            limit = self._rules.message_bytes_max
            self._bad(self._number + 1, f"the message is longer than {limit:,} bytes; the connection is closed")
            self._transport.pause_reading()
        elif self._is_at_eof:
            if self._format.rest_bytes:
                self._bad(self._number + 1, "the connection ended in the middle of the message, which is no item")
        else:
            self._transport.resume_reading()
            return
        self._is_done = True
        self._close_when_answered()

    def _offer(self, messages: list[bytes]) -> None:
        key_of, item_of = self._rules.key_of, self._format.item
        items: list[Any] = []
        keys: list[str | None] = []
        numbers: list[int] = []
        for message in messages:
            self._number += 1
            try:
                item = item_of(message)
                keys.append(None if key_of is None else key_of(item))
            except Bad as bad:
                self._bad(self._number, str(bad))
            else:
                items.append(item)
                numbers.append(self._number)
        if not items:
            return
        tokens = None
        if self._rules.acknowledges == "processed":
            tokens = [Awaited(self, number, self._server.post) for number in numbers]
        if self._rules.acknowledges is not None:
            self._open_items += len(items)
        is_taken = self._server.offers.offer(
            Offer(items, Sent(self, numbers), keys if key_of is not None else None, tokens)
        )
        assert is_taken, "there was room a moment ago, and only this thread offers"

    def _bad(self, number: int, reason: str) -> None:
        self._counts.bad += 1
        self._server.warn(f"a message is no item: {reason}")
        self._say(self._format.no("error", number, reason))

    # ---- answers -------------------------------------------------------------------------------------------------

    def acknowledge(self, numbers: list[int], count: int) -> None:
        """Say yes to messages."""
        self._open_items -= count
        if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:
            self._say(self._format.ok(numbers[0], len(numbers)))
        else:
            self._say(b"".join([self._format.ok(number, 1) for number in numbers]))
        self._close_when_answered()

    def settle(self, number: int, reason: str) -> None:
        """Say what became of a message."""
        self._open_items -= 1
        self._say(self._format.no("failed", number, reason) if reason else self._format.ok(number, 1))
        self._close_when_answered()

    def refuse_all(self, numbers: list[int], reason: str) -> None:
        """Say no to messages."""
        if self._rules.acknowledges is not None:
            self._open_items -= len(numbers)
            self._say(b"".join([self._format.no("error", number, reason) for number in numbers]))
            self._close_when_answered()

    def _say(self, data: bytes) -> None:
        """Write, unless the connection is gone; errors that nobody must read are left out when nobody does."""
        if self._transport.is_closing() or (self._is_stuck and self._rules.acknowledges is None):
            return
        self._transport.write(data)

    def _close_when_answered(self) -> None:
        if self._is_done and not self.is_awaiting:
            self.close()

    def _end(self, reason: str) -> None:
        self._say(self._format.no("error", 0, reason))
        self.close()

    # ---- end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close, after what was written has gone."""
        self._is_closing = True
        self._transport.close()

    def drop(self, why: str) -> None:
        """Close at once."""
        self._counts.dropped += 1
        self._server.warn(f"a client was dropped: {why}")
        self.abort()

    def abort(self) -> None:
        """Close at once, without a word."""
        self._is_closing = True
        self._transport.abort()


class SparingClient(Client, asyncio.BufferedProtocol):
    """A client whose messages nobody would send again: little of it is read ahead.

    When there is no room, all clients are held back at once, also those of which something has come in the same turn of
    the loop. So no more than one piece, of all clients together, is read and not offered.
    """

    def __init__(self, server: TcpServer, read_bytes: int) -> None:
        super().__init__(server)
        self._buffer = bytearray(read_bytes)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Give where the next bytes are to be put."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that were put there."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def _hold_back(self) -> None:
        for client in self._server.clients:
            client.pause_reading()


def _probe(connection: socket.socket | None) -> None:
    """Let TCP find out when the other end is gone without a word: a minute without an answer is the end."""
    if connection is None:
        return
    with suppress(OSError, AttributeError):  # what this system doesn't know stays as it is
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * int(UNREAD_MAX_S))
