r"""TcpProducer: items from many TCP clients.

Rules of this module:
1. All connections live in one thread, in an event loop; the run's thread hears of items through `Offers`, and the loop
   hears of their outcome through `Post`.
2. A client is not read on while there is no room for what it sends, or while it doesn't read its answers.
3. A message without its end is no item: who dies in the middle of a line has not sent it.
4. Each message gets one answer, which names its number on the connection; without acknowledgements only errors.
5. Without acknowledgements nobody sends anything again, so little is read ahead of the journal: `UNTOLD_ITEMS_MAX`
   messages, `UNTOLD_READ_BYTES` that were read and not yet cut into messages, and what the kernel keeps of each
   connection, which is kept small.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, TypeAlias

from consecution.errors import GraphError, short_repr
from consecution.producers.base import SourceClass
from consecution.producers.listening import address_of, check_host, check_port, check_tls, listen
from consecution.producers.network import NetworkProducer, key_maker
from consecution.producers.offers import Offers
from consecution.producers.tcp_formats import format_named
from consecution.producers.tcp_rules import TcpCounts, TcpRules

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Any

    from consecution.producers.tcp_clients import TcpServer

log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 1 << 20
CLIENTS_MAX = 1_000
QUEUE_ITEMS_MAX = 10_000
UNTOLD_ITEMS_MAX = 4_096
"""One batch (R17)."""
UNTOLD_READ_BYTES = 16 << 10
UNTOLD_KERNEL_BYTES = 64 << 10

Acknowledge: TypeAlias = Literal["journalled", "processed"]


class TcpProducer(NetworkProducer):
    r"""Gives one item for each message that a client sends.

    With ``acknowledge`` items are handed over: a client hears ``ok N`` for its Nth message once it is in the journal,
    or once it is completely processed (``failed N why`` when it is a dead letter); what it didn't hear of is its own to
    send again. Without, they are fire and forget: journalled as they are read, and nobody is told.

    Args:
        port: To listen on; 0 for any free one, see `address`.
        host: Address to listen on.
        format: "text" (lines of UTF-8), "json" (a value a line), or "msgpack" (four bytes of length before each value).
        acknowledge: "journalled", "processed", or None for no answers but errors.
        key: An idempotency key of each item: a field's name or a function; an item that is sent again under a known key
            isn't taken twice.
        tls: A server's context of the module ssl; let it verify clients to know who may send.
        insecure: Listen for other machines, though anybody may send.
        message_bytes_max: Of a line or message; a longer one ends its connection.
        clients_max: Connections; one more is told so and closed.
        idle_timeout_s: Close a connection that sent nothing for so long; None: only a dead one is found, by TCP's own
            probes, after a minute.
        queue_items_max: Items that may wait for the run; then clients are not read on. None: 10,000, and without
            acknowledgements 4,096, which count until they are in the journal.

    Raises:
        GraphError: An argument is wrong.

    >>> import socket
    >>> producer = TcpProducer(port=0, acknowledge="journalled")
    >>> producer.open()
    >>> with socket.create_connection(producer.address) as client:
    ...     client.sendall(b"one\ntwo\n")
    ...     items = []
    ...     while len(items) < 2:
    ...         items += producer.read(10, 1.0).items
    ...     producer.acknowledge(0, 2)
    ...     answers = client.makefile().readline()
    >>> items, answers
    (['one', 'two'], 'ok 1\n')
    >>> producer.close()
    """

    kind = "tcp"

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        format: str = "text",
        acknowledge: Acknowledge | None = "journalled",
        key: str | Callable[[Any], object] | None = None,
        tls: ssl.SSLContext | None = None,
        insecure: bool = False,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        clients_max: int = CLIENTS_MAX,
        idle_timeout_s: float | None = None,
        queue_items_max: int | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name
        self._port, self._host = check_port("TcpProducer", port), host
        new_format = format_named(format)
        if acknowledge not in (None, "journalled", "processed"):
            msg = f"TcpProducer(acknowledge={short_repr(acknowledge)}): expected 'journalled', 'processed' or None"
            raise GraphError(msg)
        is_told = acknowledge is not None
        if queue_items_max is None:
            queue_items_max = QUEUE_ITEMS_MAX if is_told else UNTOLD_ITEMS_MAX
        for what, value in (("message_bytes_max", message_bytes_max), ("clients_max", clients_max),
                            ("queue_items_max", queue_items_max)):  # fmt: skip
            if value < 1:
                msg = f"TcpProducer({what}={value}): expected 1 or more"
                raise GraphError(msg)
        check_tls("TcpProducer", tls)
        import ssl

        is_guarded = tls is not None and tls.verify_mode is ssl.CERT_REQUIRED
        check_host(
            "TcpProducer", host, is_guarded=is_guarded, insecure=insecure,
            cure="give tls= a context that verifies clients (verify_mode=ssl.CERT_REQUIRED)",
        )  # fmt: skip
        self.acknowledges = acknowledge
        self.immutable_items = format == "text"
        self.counts = TcpCounts()
        self._rules = TcpRules(
            name=name or self.kind,
            new_format=new_format,
            acknowledges=acknowledge,
            key_of=key_maker(key),
            tls=tls,
            message_bytes_max=message_bytes_max,
            clients_max=clients_max,
            idle_timeout_s=idle_timeout_s,
            read_bytes=None if is_told else UNTOLD_READ_BYTES,
        )
        self._queue_items_max = queue_items_max
        self._server: TcpServer | None = None
        self.address: tuple[str, int] = (host, port)

    @property
    def source(self) -> SourceClass:  # type: ignore[override]
        """Handed over when clients hear of their items, else fire and forget."""
        return SourceClass.FIRE_AND_FORGET if self.acknowledges is None else SourceClass.HANDED_OVER

    @property
    def label(self) -> str:
        """The name or kind, and where it listens."""
        return f"{super().label} {self.address[0]}:{self.address[1]}"

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Listen; a position means nothing to it.

        Raises:
            SourceError: The port is taken.
        """
        from consecution.producers.tcp_clients import TcpServer

        self.close()
        is_told = self.acknowledges is not None
        listener = listen(
            f"producer {self.label!r}", self._host, self._port, kernel_bytes=None if is_told else UNTOLD_KERNEL_BYTES
        )
        self.address = address_of(listener)
        self._server = server = TcpServer(self._rules, self.counts, listener)
        self._offers = Offers(self._queue_items_max, server.has_room, until_acknowledged=not is_told)
        self._offers.open()
        server.start(self._offers)
        self._hearer = server.post
        log.info("producer=%s listens on %s:%d", self.name or self.kind, *self.address)

    def acknowledge(self, first_seq: int, count: int) -> None:
        """Say yes to whoever asked to hear when items are journalled."""
        if self.acknowledges == "journalled":
            super().acknowledge(first_seq, count)
        elif self._offers is not None:
            self._offers.acknowledge(first_seq, count)  # their senders hear later, or never

    def close(self) -> None:
        """Say no to what was not read, and close all connections."""
        self.refuse_waiting("the run has ended; send it again when it runs")
        server, self._server = self._server, None
        offers, self._offers = self._offers, None
        if server is not None and offers is not None:
            server.stop()
            offers.close()
