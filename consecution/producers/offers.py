"""Items that senders hand over, from the network's thread to the run's.

Rules of this module:
1. `Offers.offer`, `withdraw` and `withdraw_all` may be called from any thread; the rest from the reading one.
2. Items come out in the order of the offers; an offer may be read in several parts.
3. What was read is acknowledged or failed, in the order in which it was read; what was withdrawn is never read.
4. The queue is bounded: an offer beyond it is refused, and whoever was refused is told when there is room again.
5. Nobody sends an item again that was never acknowledged? Then what was read counts as waiting until it is: so no more
   than the queue holds is lost at a death.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from consecution.producers.base import NOTHING_YET, Read
from consecution.producers.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Offer:
    """Items that one sender hands over together.

    Args:
        items: One or more.
        sender: Whoever hears of them; its owner's to interpret.
        keys: Idempotency keys, one for each item.
        tokens: What hears of each item's outcome, one for each.

    Attributes:
        read: How many of them the run has read.
    """

    __slots__ = ("items", "keys", "read", "sender", "tokens")

    def __init__(
        self,
        items: list[Any],
        sender: object = None,
        keys: Sequence[str | None] | None = None,
        tokens: Sequence[object] | None = None,
    ) -> None:
        assert items, "an offer holds at least one item"
        self.items = items
        self.sender = sender
        self.keys = keys
        self.tokens = tokens
        self.read = 0

    def __len__(self) -> int:
        """How many of its items wait to be read."""
        return len(self.items) - self.read


class Offers:
    """The queue.

    Args:
        items_max: Items that may wait.
        on_room: Called from the reading thread when half of it is free again after an offer was refused.
        until_acknowledged: What was read takes up room until it is acknowledged (rule 5).

    >>> offers = Offers(2)
    >>> offers.offer(Offer(["a", "b"])), offers.offer(Offer(["c"]))
    (True, False)
    >>> offers.read(1, 0.0).items, [count for _, _, count in offers.acknowledge(7, 1)]
    (['a'], [1])
    """

    def __init__(
        self, items_max: int, on_room: Callable[[], None] | None = None, *, until_acknowledged: bool = False
    ) -> None:
        self._items_max = items_max
        self._on_room = on_room
        self._until_acknowledged = until_acknowledged
        self._unacknowledged = 0  # read, and still counted
        self._waiting: deque[Offer] = deque()
        self._given: deque[tuple[Offer, int]] = deque()
        self._count = 0
        self._has_refused = False
        self._changed = threading.Condition(threading.Lock())
        self._bell = Bell()

    def __len__(self) -> int:
        """How many items wait."""
        return self._count

    @property
    def room(self) -> int:
        """How many items may be offered now; 0 counts as a refusal, so that `on_room` is called later."""
        with self._changed:
            room = self._items_max - self._count - self._unacknowledged
            self._has_refused = self._has_refused or room <= 0
            return max(0, room)

    def offer(self, offer: Offer) -> bool:
        """Queue all items of an offer, or none; never waits.

        Returns:
            False when there is no room for all of them now.
        """
        with self._changed:
            if self._count + self._unacknowledged + len(offer) > self._items_max:
                self._has_refused = True
                return False
            self._waiting.append(offer)
            self._count += len(offer)
            self._bell.ring()
            self._changed.notify_all()
        return True

    def withdraw(self, offer: Offer) -> int:
        """Take back what the run hasn't read of an offer; gives how many items that were."""
        with self._changed:
            left = len(offer)
            if left:
                self._waiting.remove(offer)
                self._count -= left
                del offer.items[offer.read :]
            return left

    def withdraw_all(self) -> list[tuple[Offer, int]]:
        """Take back all that the run hasn't read; gives each offer with how many items that were."""
        with self._changed:
            taken = [(offer, len(offer)) for offer in self._waiting]
            for offer, _ in taken:
                del offer.items[offer.read :]
            self._waiting.clear()
            self._count = 0
            return taken

    def open(self) -> None:
        """Begin to be read."""
        with self._changed:
            self._bell.open()
            if self._waiting:
                self._bell.ring()

    def read(self, items_max: int, wait_s: float) -> Read:
        """Give what waits; see `Producer.read`."""
        with self._changed:
            if not self._waiting and wait_s > 0:
                self._changed.wait_for(lambda: self._waiting, wait_s)
            items: list[Any] = []
            keys: list[str | None] = []
            tokens: list[object] = []
            has_keys = has_tokens = False
            while self._waiting and len(items) < items_max:
                offer = self._waiting[0]
                first, count = offer.read, min(items_max - len(items), len(offer))
                items += offer.items[first : first + count]
                keys += [None] * count if offer.keys is None else offer.keys[first : first + count]
                tokens += [None] * count if offer.tokens is None else offer.tokens[first : first + count]
                has_keys = has_keys or offer.keys is not None
                has_tokens = has_tokens or offer.tokens is not None
                offer.read += count
                self._given.append((offer, count))
                if not len(offer):
                    self._waiting.popleft()
            self._count -= len(items)
            if self._until_acknowledged:
                self._unacknowledged += len(items)
            if not self._waiting:
                self._bell.hush()
            has_room = self._takes_again()
        if has_room and self._on_room is not None:
            self._on_room()
        if not items:
            return NOTHING_YET
        return Read(items, keys=keys if has_keys else None, tokens=tokens if has_tokens else None)

    def acknowledge(self, first_seq: int, count: int) -> list[tuple[Offer, int, int]]:
        """Give whose items the next ``count`` ones are that were read: (offer, number of the first, how many)."""
        told = []
        has_room = False
        if self._until_acknowledged:
            with self._changed:
                self._unacknowledged -= count
                has_room = self._takes_again()
        while count:
            offer, given = self._given.popleft()
            if given > count:
                self._given.appendleft((offer, given - count))
                given = count
            told.append((offer, first_seq, given))
            first_seq += given
            count -= given
        if has_room and self._on_room is not None:
            self._on_room()
        return told

    def _takes_again(self) -> bool:
        """Whether whoever was refused is to be told of room now; only once for each time."""
        has_room = self._has_refused and self._count + self._unacknowledged <= self._items_max // 2
        self._has_refused = self._has_refused and not has_room
        return has_room

    def fileno(self) -> int | None:
        """Give a descriptor that is readable while items wait."""
        return self._bell.fileno()

    def ready_in(self) -> float | None:
        """Give 0.0 while items wait; else only the descriptor can tell."""
        return 0.0 if self._waiting else None

    def close(self) -> None:
        """Let go of the descriptor; what waits is withdrawn by whoever closes."""
        with self._changed:
            self._bell.close()
            self._given.clear()
            self._unacknowledged = 0
