"""How an `HttpProducer` deals with requests, and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class HttpRules:
    """How requests are dealt with.

    Attributes:
        name: Of the producer.
        host: Where it listens.
        tokens: Bearer tokens, any of which lets a sender in; () lets in everybody.
        key_of: Gives an item's idempotency key, or raises `Bad`; None when items have none.
        is_insecure: Names of other hosts than this one are taken too, without a token.
        body_bytes_max: Of a request.
        items_max: Of a request.
        patience_s: How long a request waits for room in the run.
        wait_max_s: How long a request waits for outcomes.
    """

    name: str
    host: str
    tokens: tuple[bytes, ...]
    key_of: Callable[[Any], str] | None
    is_insecure: bool
    body_bytes_max: int
    items_max: int
    patience_s: float
    wait_max_s: float


@dataclass(slots=True)
class HttpCounts:
    """What an `HttpProducer` has answered since it was made: requests by status.

    >>> counts = HttpCounts()
    >>> counts.add(202)
    >>> counts.by_status
    {202: 1}
    """

    by_status: dict[int, int] = field(default_factory=dict)

    def add(self, status: int) -> None:
        """Count an answer."""
        self.by_status[status] = self.by_status.get(status, 0) + 1
