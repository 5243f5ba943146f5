"""What a `TcpProducer` asks of its clients, and what it counts of them.

Rules of this module: values only; what is done by them stands in tcp_clients.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from consecution.producers.tcp_formats import Format


@dataclass(slots=True)
class TcpCounts:
    """What a `TcpProducer` has seen since it was made.

    Attributes:
        clients: Connections that are open now.
        connected: Connections in all.
        bad: Messages that are no items: no JSON, no text, too long, without an end.
        refused: Clients beyond ``clients_max``.
        dropped: Connections that were closed because they were silent, or read none of their answers.
    """

    clients: int = 0
    connected: int = 0
    bad: int = 0
    refused: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class TcpRules:
    """How clients are dealt with.

    Attributes:
        name: Of the producer, for logs.
        new_format: Makes the format of a connection.
        acknowledges: "journalled", "processed", or None for no answers but errors.
        key_of: Gives an item's idempotency key, or raises `Bad`; None when items have none.
        tls: A server's context; None for plain TCP.
        message_bytes_max: Of a message.
        clients_max: Connections.
        idle_timeout_s: Close a connection that sent nothing for so long; None never does.
        read_bytes: The most that is read of a connection at a time; None: as much as asyncio likes.
    """

    name: str
    new_format: Callable[[int], Format]
    acknowledges: str | None
    key_of: Callable[[Any], str] | None
    tls: ssl.SSLContext | None
    message_bytes_max: int
    clients_max: int
    idle_timeout_s: float | None
    read_bytes: int | None = None
