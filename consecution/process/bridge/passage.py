"""A passage: where a process hands over what one linked output of its consecutor is pushed (R21).

Rules of this module: to doors and to producers it looks as a `Handover` does; what takes the items is in another
topology. Its methods may be called from any thread.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from consecution.errors import CodecError
from consecution.process.bridge.sender import Piece
from consecution.producers.handover import ASYNC_ITEMS_MAX, BoundedTaker
from consecution.wire.codec import pack_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ITEMS_MAX = 4096  # in one piece


class Passage(BoundedTaker):
    """One linked output, as this process sees it.

    Args:
        name: ``consecutor.output``.
        hand: Takes pieces on their way.
        is_async: Nothing is promised.
        items_max: Items of an async output that may wait.

    Attributes:
        offered: Items that were handed over.
        dropped: Items of an async output that found no room, or were given up.
    """

    def __init__(
        self, name: str, hand: Callable[[Piece], None], *, is_async: bool = False, items_max: int = ASYNC_ITEMS_MAX
    ) -> None:
        super().__init__(items_max)
        self.name = name
        self.is_async = is_async
        self._hand = hand

    def offer(self, items: list[Any], taken: Callable[[], None] | None = None) -> None:
        """Hand items over.

        Args:
            items: At least one; all of them travel.
            taken: Called, from another thread, once all of them are journalled.
        """
        with self._lock:
            self._offer(items, taken)

    def give_up(self) -> int:
        """Count what waits as dropped: the process ends. Gives how many."""
        with self._lock:
            lost, self._waiting = self._waiting, 0
            self.dropped += lost
        return lost

    def _offer(self, items: list[Any], taken: Callable[[], None] | None) -> None:
        self.offered += len(items)
        self._waiting += len(items)
        parts = list(_parts(items))
        for number, (packed, count) in enumerate(parts):
            last = taken if number == len(parts) - 1 else None
            self._hand(Piece(packed, count, partial(self._taken, count, last)))

    def _taken(self, count: int, taken: Callable[[], None] | None) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - count)  # it may have been given up
        if taken is not None:
            taken()


def _parts(items: list[Any]) -> Iterator[tuple[bytes, int]]:
    """Pack items, in several parts when one would be too large."""
    for first in range(0, len(items), ITEMS_MAX):
        part = items[first : first + ITEMS_MAX]
        try:
            packed = pack_items(part)
        except CodecError:
            if len(part) == 1:
                raise
            half = len(part) // 2
            yield from _parts(part[:half])
            yield from _parts(part[half:])
        else:
            yield packed, len(part)
