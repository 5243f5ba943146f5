"""HttpProducer: items that are posted.

Rules of this module:
1. All requests are served in one thread, in an event loop (http_server.py, http_service.py); the run's thread hears of
   items through `Offers`, and the loop hears of their outcome through `Post`.
2. 202 is said when all items of a request are in the journal; 200 when their trees are complete. Any other answer lets
   the sender send again; under an idempotency key that is never a second item.
3. Starlette and uvicorn are the extra ``http``; they are imported by `open`, where the producer runs.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, SourceError
from consecution.producers.base import SourceClass
from consecution.producers.http_rules import HttpCounts, HttpRules
from consecution.producers.inquiries import Inquiries
from consecution.producers.listening import address_of, check_host, check_port, check_tls, listen
from consecution.producers.network import NetworkProducer, key_maker
from consecution.producers.offers import Offers

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from consecution.producers.http_server import HttpServer

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1 << 20
CLIENTS_MAX = 1_000
QUEUE_ITEMS_MAX = 1_000
PATIENCE_S = 5.0
WAIT_MAX_S = 60.0
TOKEN_CHARS_MIN = 16


def _is_token(value: object) -> bool:
    return isinstance(value, str) and len(value) >= TOKEN_CHARS_MIN and value.isascii()


class HttpProducer(NetworkProducer):
    """Gives one item for each JSON value that is posted to ``/items``; handed over.

    A body of ``application/json`` is one item, of ``application/x-ndjson`` one item a line. The answer is 202 with the
    URL of a receipt once the items are in the journal; with ``?wait=processed`` it is 200 once their trees are
    complete, or 500 with the cause when one is a dead letter. ``GET /`` is a page on all of it, ``/openapi.json`` the
    same for programs.

    Args:
        port: To listen on; 0 for any free one, see `address`.
        host: Address to listen on.
        token: Bearer token that senders must have, or several of them; at least 16 characters each. Read it from the
            environment or from a file: what stands in the flow travels with it.
        key: An idempotency key of each item: a field's name or a function. The header ``Idempotency-Key`` goes first.
        tls: A server's context of the module ssl.
        insecure: Listen for other machines, though anybody may send.
        body_bytes_max: Of a request.
        clients_max: Connections at a time.
        queue_items_max: Items that may wait for the run, and that one request may hold.
        patience_s: How long a request waits for room in the run before it hears 429.
        wait_max_s: How long ``?wait=processed`` waits before it hears 202: still open.

    Raises:
        GraphError: An argument is wrong.

    >>> import http.client, threading
    >>> producer = HttpProducer(port=0)
    >>> producer.open()
    >>> def post(answers):
    ...     client = http.client.HTTPConnection(*producer.address)
    ...     client.request("POST", "/items", '{"n": 1}', {"Content-Type": "application/json"})
    ...     answers.append(client.getresponse().status)
    ...     client.close()
    >>> answers = []
    >>> sender = threading.Thread(target=post, args=(answers,))
    >>> sender.start()
    >>> items = []
    >>> while not items:
    ...     items = producer.read(10, 1.0).items
    >>> producer.acknowledge(0, 1)
    >>> sender.join()
    >>> items, answers
    ([{'n': 1}], [202])
    >>> producer.close()
    """

    kind = "http"
    source = SourceClass.HANDED_OVER

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        token: str | Sequence[str] | None = None,
        key: str | Callable[[Any], object] | None = None,
        tls: ssl.SSLContext | None = None,
        insecure: bool = False,
        body_bytes_max: int = BODY_BYTES_MAX,
        clients_max: int = CLIENTS_MAX,
        queue_items_max: int = QUEUE_ITEMS_MAX,
        patience_s: float = PATIENCE_S,
        wait_max_s: float = WAIT_MAX_S,
        name: str | None = None,
    ) -> None:
        self.name = name
        self._port, self._host = check_port("HttpProducer", port), host
        tokens = (token,) if isinstance(token, str) else tuple(token) if isinstance(token, Iterable) else ()
        if token is not None and not (tokens and all(map(_is_token, tokens))):
            msg = f"HttpProducer(token=…): expected one or more tokens of at least {TOKEN_CHARS_MIN} ASCII characters"
            msg += "; `python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
            raise GraphError(msg)
        check_tls("HttpProducer", tls)
        limits = {
            "body_bytes_max": body_bytes_max, "clients_max": clients_max, "queue_items_max": queue_items_max,
            "patience_s": patience_s, "wait_max_s": wait_max_s,
        }  # fmt: skip
        for what, value in limits.items():
            if value <= 0:
                msg = f"HttpProducer({what}={value}): expected a number above 0"
                raise GraphError(msg)
        check_host(
            "HttpProducer",
            host,
            is_guarded=bool(tokens),
            insecure=insecure,
            cure="give a token= that senders must have",
        )
        self.counts = HttpCounts()
        self._rules = HttpRules(
            name=name or self.kind,
            host=host,
            tokens=tuple(one.encode() for one in tokens),
            key_of=key_maker(key),
            is_insecure=insecure,
            body_bytes_max=body_bytes_max,
            items_max=queue_items_max,
            patience_s=patience_s,
            wait_max_s=wait_max_s,
        )
        self._tls = tls
        self._clients_max = clients_max
        self._queue_items_max = queue_items_max
        self._server: HttpServer | None = None
        self.inquiries: Inquiries = Inquiries()
        self.address: tuple[str, int] = (host, port)

    @property
    def label(self) -> str:
        """The name or kind, and where it listens."""
        return f"{super().label} {self.url}"

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8080``."""
        host, port = self.address
        return f"{'http' if self._tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"

    def obstacle(self) -> str | None:
        """Say what it needs and isn't installed."""
        missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
        return f"{' and '.join(missing)} isn't installed: pip install 'consecution[http]'" if missing else None

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Listen; a position means nothing to it.

        Raises:
            SourceError: The port is taken, or the extra ``http`` isn't installed.
        """
        self.close()
        try:
            from consecution.producers.http_server import HttpServer
        except ImportError as error:
            msg = f"producer {self.label!r} needs starlette and uvicorn ({error}): pip install 'consecution[http]'"
            raise SourceError(msg) from error
        listener = listen(f"producer {self.label!r}", self._host, self._port)
        self.address = address_of(listener)
        self._offers = Offers(self._queue_items_max)
        self._offers.open()
        self.inquiries.open()
        server = HttpServer(self._rules, self.counts, self._offers, self.inquiries, listener)
        server.start(clients_max=self._clients_max, tls=self._tls)
        self._server, self._hearer = server, server.post
        log.info("producer=%s listens on %s", self._rules.name, self.url)

    def admit(self, is_open: bool) -> None:
        """Answer 503 while nothing is taken, to those too whose items wait."""
        if self._server is not None:
            self._server.service.is_open = is_open
            if not is_open:
                self.refuse_waiting("the run takes no items now: it is paused, or ends")

    def close(self) -> None:
        """Answer what waits, and close all connections."""
        self.admit(is_open=False)
        server, self._server = self._server, None
        offers, self._offers = self._offers, None
        self.inquiries.close()
        if server is not None and offers is not None:
            server.stop()
            offers.close()
