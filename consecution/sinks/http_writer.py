"""HttpWriter: items as the bodies of HTTP requests.

Rules of this module:
1. An item is done when a request that held it was answered by 2xx; nothing else counts.
2. What passes by itself (no connection, 5xx, 408, 425, 429) is tried again with growing waits, then all items of the
   request fail. What doesn't (any other answer) fails its item: a request of several is sent again item by item.
3. Headers and the secret parts of the address (password, query) are never shown.
"""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.errors import GraphError, short_repr
from consecution.graph.node import Node
from consecution.sinks.errors import SinkError
from consecution.sinks.formats import JsonLines, as_record
from consecution.sinks.patience import Patience, checked_retry_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FORMATS = {"jsonl": "application/x-ndjson", "json": "application/json", "object": "application/json"}
PASSING = frozenset({408, 425, 429}) | frozenset(range(500, 600))
ANSWER_BYTES_MAX = 65_536
SHOWN_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``status`` 0 when there was no answer at all."""

    status: int
    text: str
    retry_after_s: float = 0.0

    @property
    def is_ok(self) -> bool:
        """Whether the items are taken."""
        return 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether another try may be answered otherwise."""
        return self.status == 0 or self.status in PASSING

    def __str__(self) -> str:
        """One line."""
        return self.text if self.status == 0 else f"{self.status} {self.text}".strip()


class HttpWriter(Node):
    """Sends items to an HTTP server; pushes nothing.

    A frame becomes requests of at most ``items_max`` items, over one connection that is kept. Items whose request is
    answered by 2xx are done; a replay, also after a kill, may send an item twice, so the server should know items by a
    key of theirs, or by ``idempotency_key``.

    Args:
        url: ``http://…`` or ``https://…``.
        format: Of a request's body: "jsonl" (a JSON line for each item), "json" (a JSON array), "object" (one item, as
            it is, for each request).
        method: "POST", "PUT" or "PATCH".
        headers: Sent with each request.
        items_max: Items of a request.
        idempotency_key: Field or function of an item; sent as ``Idempotency-Key``. Only with format "object".
        timeout_s: How long to wait for a connection, and for an answer.
        retry_s: How long a frame is tried again while the server is away or says 5xx, 408, 425 or 429 (``Retry-After``
            in seconds is followed); 0 not at all. Then its items fail, and are replayed later.
        ca_file: Certificates to trust instead of the system's, as PEM.
        certificate_file: Certificate to show to servers that ask who sends, as PEM, with those that vouch for it.
        key_file: Its private key, as PEM; None: it is in the same file.
        clock: Waits.
        name: As of any node; so are the other options.

    Raises:
        GraphError: The arguments don't fit together.
    """

    def __init__(
        self,
        url: str,
        *,
        format: str = "jsonl",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        items_max: int = 500,
        idempotency_key: str | Callable[[Any], str] | None = None,
        timeout_s: float = 10.0,
        retry_s: float = 30.0,
        ca_file: str | None = None,
        certificate_file: str | None = None,
        key_file: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        name: str | None = None,
        parallelism: int = 1,
        key: Any = None,
        grouping: str | None = None,
    ) -> None:
        super().__init__(name, parallelism=parallelism, key=key, grouping=grouping)
        self._url = _checked_url(url)
        port = "" if self._url.port is None else f":{self._url.port}"
        self._where = f"HttpWriter: {self._url.scheme}://{self._url.hostname}{port}{self._url.path}"
        if format not in FORMATS or method not in ("POST", "PUT", "PATCH") or items_max < 1 or timeout_s <= 0:
            msg = (
                f"{self._where}: format={short_repr(format)}, method={short_repr(method)}, items_max={items_max},"
                f" timeout_s={timeout_s}; expected a format of {', '.join(map(repr, FORMATS))}, POST, PUT or PATCH, 1"
                " or more items, and seconds above 0"
            )
            raise GraphError(msg)
        if idempotency_key is not None and format != "object":
            msg = f"{self._where}: idempotency_key= names one item, and a request of format={format!r} has many; say"
            raise GraphError(msg + " format='object'")
        self._format = format
        self._method = method
        self._headers = {"Content-Type": FORMATS[format], "User-Agent": "consecution", **self._checked(headers)}
        self._items_max = 1 if format == "object" else items_max
        self._idempotency_key = idempotency_key
        self._timeout_s = timeout_s
        self._retry_s = checked_retry_s(retry_s, self._where)
        is_secret = any(file is not None for file in (ca_file, certificate_file, key_file))
        if is_secret and self._url.scheme != "https":
            msg = f"{self._where}: ca_file=, certificate_file=, key_file=: expected an https:// address"
            raise GraphError(msg)
        if key_file is not None and certificate_file is None:
            msg = f"{self._where}: key_file=: expected certificate_file= too, whose key it is"
            raise GraphError(msg)
        self._ca_file = ca_file
        self._certificate_file, self._key_file = certificate_file, key_file
        self._clock = clock
        self._lines = JsonLines()
        self._connection: http.client.HTTPConnection | None = None

    def _checked(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        try:
            return dict(headers or {})
        except (TypeError, ValueError) as error:
            msg = f"{self._where}: headers= is no dict ({error}); expected one, such as {{'X-Shop': 'north'}}"
            raise GraphError(msg) from None

    def setup(self) -> None:
        """Make the connection, which opens itself with the first request.

        Raises:
            SinkError: The certificates can't be read.
        """
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            return
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except (OSError, ssl.SSLError) as error:
            msg = f"{self._where}: ca_file={self._ca_file!r} can't be read: {error}; expected certificates as PEM"
            raise SinkError(msg) from error
        if self._certificate_file is not None:
            try:
                context.load_cert_chain(self._certificate_file, self._key_file)
            except (OSError, ssl.SSLError) as error:
                msg = (
                    f"{self._where}: certificate_file={self._certificate_file!r}, key_file={self._key_file!r} can't be "
                    f"used: {error}; expected a certificate and its key, without a password, as PEM"
                )
                raise SinkError(msg) from error
        self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)

    def process_batch(self, items: list[Any]) -> None:
        """Send a frame.

        Raises:
            TypeError: A value is of a type that JSON has not; nothing was sent.
            ValueError: A value is NaN, or a key can't be sent; the same holds.
        """
        bodies = [self._body(items[start : start + self._items_max]) for start in range(0, len(items), self._items_max)]
        keys = [None if self._idempotency_key is None else self._key_of(item) for item in items]
        patience = Patience(self._retry_s, self._clock, self._where)
        away: Answer | None = None
        for number, body in enumerate(bodies):
            start = number * self._items_max
            part = items[start : start + self._items_max]
            # One patience for the frame: who was away for all of it isn't waited for once more by each request.
            answer = away or self._send(body, keys[start], patience)
            if answer.is_ok:
                continue
            if answer.may_pass:
                away = answer
            if answer.may_pass or len(part) == 1:
                self._fail(range(start, start + len(part)), answer)
                continue
            for index, item in enumerate(part, start):
                alone = away or self._send(self._body([item]), keys[index], patience)
                if not alone.is_ok:
                    away = alone if alone.may_pass else None
                    self._fail([index], alone)

    def teardown(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _fail(self, indexes: Sequence[int], answer: Answer) -> None:
        cure = "" if answer.may_pass else "; the item is not what the server expects"
        for index in indexes:
            said = "gave" if answer.status == 0 else "answered"
            self.fail(index, SinkError(f"{self._where} {said} {answer}{cure}"))

    def _body(self, items: Sequence[Any]) -> bytes:
        lines = self._lines.encode(items)
        if self._format == "jsonl":
            return lines
        if self._format == "object":
            return lines.rstrip(b"\n")
        # Inside of JSON text a newline is always escaped.
        return b"[" + lines.rstrip(b"\n").replace(b"\n", b",") + b"]"

    def _send(self, body: bytes, key: str | None, patience: Patience) -> Answer:
        """Send a request until it is answered for good."""
        headers = self._headers if key is None else {**self._headers, "Idempotency-Key": key}
        while True:
            answer = self._try(body, headers)
            if not answer.may_pass:
                patience.ended_well()
                return answer
            if not patience.waits(str(answer), least_s=answer.retry_after_s):
                return answer

    def _key_of(self, item: Any) -> str:
        if callable(self._idempotency_key):
            key: Any = self._idempotency_key(item)
        else:
            record: Any = as_record(item)
            key = record[self._idempotency_key]
        text = str(key)
        if text.isascii() and text.isprintable() and text.strip():
            return text
        msg = f"item {short_repr(item)} has the idempotency key {short_repr(key)}; expected printable ASCII"
        raise ValueError(msg)

    def _try(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connection
        assert connection is not None, "process_batch() before setup()"
        was_open = connection.sock is not None
        try:
            return self._exchange(connection, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            # A server may close a connection that it kept, at any moment: that is no outage.
            if not (was_open and isinstance(error, (ConnectionError, http.client.RemoteDisconnected))):
                return Answer(0, f"no answer: {type(error).__name__}: {error}"[:SHOWN_CHARS_MAX])
        try:
            return self._exchange(connection, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answer(0, f"no answer: {type(error).__name__}: {error}"[:SHOWN_CHARS_MAX])

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> Answer:
        target = self._url.path or "/"
        if self._url.query:
            target += f"?{self._url.query}"
        connection.request(self._method, target, body, dict(headers))
        response = connection.getresponse()
        text = response.read(ANSWER_BYTES_MAX)
        if not response.isclosed():  # the rest of a long answer is of no use
            connection.close()
        shown = f"{response.reason} {text.decode(errors='replace')}".strip()[:SHOWN_CHARS_MAX]
        wait = response.headers.get("Retry-After", "")
        return Answer(response.status, shown, float(wait) if wait.isascii() and wait.isdigit() else 0.0)


def _checked_url(url: object) -> SplitResult:
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isascii() and " " not in url else None
        if parts is not None and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            if parts.username is None and parts.password is None:
                return parts
            msg = "HttpWriter: the address holds a user or password; say headers={'Authorization': …} instead"
            raise GraphError(msg)
    except ValueError:  # a port that is no number
        parts = None
    shown = short_repr(url) if not isinstance(url, str) else repr(url.split("?", 1)[0])
    msg = f"HttpWriter({shown}): expected an address such as https://host/path, escaped by %"
    raise GraphError(msg)
