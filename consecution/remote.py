"""Items that are pushed into a running topology from outside, and their receipts.

Rules of this module: a receipt asks when it is waited on, by the client that pushed it, from that client's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from consecution.errors import CapacityError, short_repr
from consecution.local.receipts import FAILED, OPEN, error_of
from consecution.wire.codec import pack_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consecution.errors import ConsecutionError
    from consecution.wire.control import ItemFate

PART_ITEMS_MAX = 500
PART_BYTES_MAX = 256 << 10
ITEM_BYTES_MAX = 900 << 10  # a control message holds 1 MiB

WaitAll: TypeAlias = "Callable[[Sequence[RemoteReceipt], float | None], bool]"


class RemoteReceipt:
    """What became of an item that was pushed into a topology. Used from its client's thread.

    Attributes:
        topology: Its name.
        producer: Name of the producer that took it.
        place: Of that producer in the topology's plan.
        seq: Its number there; the journal keeps its outcome under both.
        key: Its idempotency key.
        outcome: "open", "completed" or "failed", as it was heard last.
        attempts: Attempts counted against it, once it has failed.
        error: Why it failed, as a `UserCodeError`; None otherwise.
    """

    def __init__(self, topology: str, producer: str, place: int, seq: int, key: str, wait_all: WaitAll) -> None:
        self.topology = topology
        self.producer = producer
        self.seq = seq
        self.key = key
        self.outcome = OPEN
        self.attempts = 0
        self.error: ConsecutionError | None = None
        self.place = place
        self._wait_all = wait_all

    def take(self, fate: ItemFate) -> None:
        """Take what the client heard of it."""
        self.outcome = fate.state
        if fate.state == FAILED:
            self.attempts, self.error = fate.attempts, error_of(fate.cause)

    def wait(self, timeout: float | None = None) -> str:
        """Wait for the outcome; asks again and again. `Client.wait_all` waits for many.

        Args:
            timeout: Seconds; None waits for ever, 0 asks once.

        Returns:
            "completed" or "failed"; see `error` for why.

        Raises:
            TimeoutError: It is still open; the item goes on, and may be waited for again.
            NotDone: The topology is over, or has forgotten the item.
            Unreachable: The coordinator doesn't answer.
        """
        if not self._wait_all([self], timeout):
            message = (
                f"item {self.seq} of producer {self.producer!r} of {self.topology} is still open after {timeout} s; it"
                " goes on: wait again"
            )
            raise TimeoutError(message)
        return self.outcome

    def __repr__(self) -> str:
        """Say where the item stands."""
        return f"<receipt of item {self.seq} of {self.producer} of {self.topology}: {self.outcome}>"


def checked_key(key: object) -> str:
    """Give an idempotency key as it was given.

    Raises:
        TypeError: It is no text.
    """
    if isinstance(key, str):
        return key
    message = f"key={short_repr(key)}: expected a str, such as 'order-7'"
    raise TypeError(message)


def parts_of(items: Sequence[object]) -> Iterator[tuple[int, int, bytes]]:
    """Cut items into parts that travel: (place of the first, how many, packed).

    Raises:
        CodecError: An item can't be packed; names the place in it.
        CapacityError: An item is too large.

    >>> [(first, count) for first, count, _ in parts_of(["a"] * 700)]
    [(0, 500), (500, 200)]
    """
    first, size = 0, PART_ITEMS_MAX
    while first < len(items):
        part = list(items[first : first + size])
        packed = pack_items(part)
        if len(packed) > PART_BYTES_MAX and len(part) > 1:
            size = max(1, len(part) // 2)
            continue
        if len(packed) > ITEM_BYTES_MAX:
            message = (
                f"item {first} has {len(packed):,} bytes packed; at most {ITEM_BYTES_MAX:,} are pushed through a "
                "coordinator: send it to an HttpProducer, or push where it lies"
            )
            raise CapacityError(message)
        yield first, len(part), packed
        first += len(part)
        size = PART_ITEMS_MAX


def open_groups(receipts: Sequence[RemoteReceipt], size_max: int) -> Iterator[tuple[str, int, list[RemoteReceipt]]]:
    """Give those that are open in groups of one producer: (topology, place of the producer, receipts)."""
    groups: dict[tuple[str, int], list[RemoteReceipt]] = {}
    for receipt in receipts:
        if receipt.outcome == OPEN:
            groups.setdefault((receipt.topology, receipt.place), []).append(receipt)
    for (topology, place), members in groups.items():
        for first in range(0, len(members), size_max):
            yield topology, place, members[first : first + size_max]
