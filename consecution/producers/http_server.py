"""The server of an `HttpProducer`: uvicorn in a thread of its own.

Rules of this module: the only importer of uvicorn. It leaves signals, logging and the process's event loops alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from consecution.producers.http_service import HttpService
from consecution.producers.listening import BACKLOG, address_of
from consecution.producers.looping import LoopThread, Post

if TYPE_CHECKING:
    import socket
    import ssl

    from consecution.producers.http_rules import HttpCounts, HttpRules
    from consecution.producers.inquiries import Inquiries
    from consecution.producers.offers import Offers

HEADERS_S = 10.0
KEEP_ALIVE_S = 15
CLOSE_S = 5
CLOSE_TURNS = 10
HEADERS_BYTES_MAX = 32 << 10


class ImpatientProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Closes a connection that takes longer than 10 s to say what it wants: there may be only so many of them."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADERS_S, self._lose_patience)

    def data_received(self, data: bytes) -> None:
        """Wait from the first byte of a request to the last one of its headers."""
        super().data_received(data)
        if not self._is_between:
            self._stop_waiting()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADERS_S, self._lose_patience)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_between(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _lose_patience(self) -> None:
        self._timer = None
        if self._is_between:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpServer:
    """Serves one listening socket, which it owns.

    Attributes:
        post: Takes words to the thread.
        service: What answers; its ``is_open`` may be set from any thread.
    """

    def __init__(
        self, rules: HttpRules, counts: HttpCounts, offers: Offers, inquiries: Inquiries, listener: socket.socket
    ) -> None:
        self._listener = listener
        self._thread = LoopThread(f"consecution-http-{address_of(listener)[1]}")
        self.service = HttpService(rules, counts, offers, inquiries)
        self.post = Post(self._thread.loop, self.service.hear)
        self.service.post = self.post

    def start(self, *, clients_max: int, tls: ssl.SSLContext | None) -> None:
        """Take requests."""
        try:
            self._thread.run(self._start(clients_max, tls))
        except BaseException:
            self._thread.stop()
            self._listener.close()
            raise

    async def _start(self, clients_max: int, tls: ssl.SSLContext | None) -> None:
        config = uvicorn.Config(
            self.service.app,
            http=cast("Any", ImpatientProtocol),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=clients_max + 1,  # it refuses the connection that reaches the limit
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=CLOSE_S,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
        )
        config.load()
        if tls is not None:
            config.ssl = tls
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.001)

    def stop(self) -> None:
        """Let the requests in hand be answered, and end."""
        try:
            self._thread.run(self._stop())
        finally:
            self._thread.stop()

    async def _stop(self) -> None:
        await asyncio.sleep(0)  # what was posted before is heard first
        self.service.end()
        self._server.should_exit = True
        await self._serving
        for _ in range(CLOSE_TURNS):  # who was accepted meanwhile, or outlasted the patience; a socket closes later
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
