"""What producers have in common that take items from senders in a thread of their own.

Rules of this module: the thread offers items (`Offers`); the run reads them, and says of each read, in order, that it
is journalled or refused; the thread hears that as words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from consecution.errors import short_repr, user_errors
from consecution.producers.base import Producer, Read
from consecution.producers.json_items import Bad

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.producers.offers import Offer, Offers


@dataclass(frozen=True, slots=True)
class Journalled:
    """Items that are in the journal, in the order in which they were read: (offer, number of the first, how many)."""

    items: list[tuple[Offer, int, int]]


@dataclass(frozen=True, slots=True)
class Refused:
    """Items that won't be taken, with why."""

    items: list[tuple[Offer, int]]
    reason: str


class Hearer(Protocol):
    """Takes words to the thread."""

    def send(self, word: object) -> None:
        """Let the thread hear a word soon."""


class NetworkProducer(Producer):
    """The run's side of a producer whose senders live in a thread of their own."""

    endless = True

    _offers: Offers | None = None
    _hearer: Hearer | None = None
    items_read = 0

    address: tuple[str, int]

    @property
    def listens_on(self) -> str | None:
        """Where senders reach it, as ``host:port``."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def read(self, items_max: int, wait_s: float) -> Read:
        """Give what was sent; see `Producer.read`."""
        assert self._offers is not None, "read() before open()"
        read = self._offers.read(items_max, wait_s)
        self.items_read += len(read.items)
        return read

    def acknowledge(self, first_seq: int, count: int) -> None:
        """Say yes to senders."""
        if self._offers is not None and self._hearer is not None:
            self._hearer.send(Journalled(self._offers.acknowledge(first_seq, count)))

    def fail(self, count: int, error: Exception) -> None:
        """Say no to senders."""
        if self._offers is not None and self._hearer is not None:
            told = [(offer, given) for offer, _, given in self._offers.acknowledge(0, count)]
            self._hearer.send(Refused(told, str(error)))

    def refuse_waiting(self, reason: str) -> None:
        """Say no to the senders of what was not read yet."""
        if self._offers is not None and self._hearer is not None:
            self._hearer.send(Refused(self._offers.withdraw_all(), reason))

    def fileno(self) -> int | None:
        """Give a descriptor that is readable while items wait."""
        return None if self._offers is None else self._offers.fileno()

    def ready_in(self) -> float | None:
        """Give 0.0 while items wait."""
        return None if self._offers is None else self._offers.ready_in()


def key_maker(key: str | Callable[[Any], object] | None) -> Callable[[Any], str] | None:
    """Give what finds an item's idempotency key, or raises `Bad`; None when items have none.

    Args:
        key: A field's name, or a function of the item.

    >>> find = key_maker("id")
    >>> find({"id": 7})
    '7'
    """
    if key is None:
        return None

    def find(item: Any) -> str:
        try:
            found = key(item) if callable(key) else cast("dict[str, object]", item)[key]
        except user_errors() as error:  # the function is user code, and the item is anything
            reason = f"the item has no idempotency key: {type(error).__name__}: {error}"
            raise Bad(reason) from error
        if isinstance(found, (str, int)):
            return str(found)
        reason = f"the idempotency key is {short_repr(found)}; expected text or a whole number"
        raise Bad(reason)

    return find
