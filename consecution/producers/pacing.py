"""Reading an iterator of unknown speed: large batches of a fast one, single items of a slow one.

Rules of this module:
1. An item that was taken waits for no slow item: after one slow item (longer than the time slice) reads take one item,
   and double while all items are fast.
2. The iterator is advanced in the calling thread only, and never after it ended or raised.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from consecution.errors import UserCodeError, user_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.clock import Clock

SLICE_S = 0.002
FAST_FROM = 256  # from so many items in a read on, the clock is asked once for each STRIDE items
STRIDE = 8


class Paced:
    """Takes items from ``iterator``, not more than fit in a time slice.

    Args:
        iterator: Closed by `close`, if it can be.
        label: Names the producer in messages.
        slice_s: How long one read may go on taking items.
    """

    def __init__(self, iterator: Iterator[Any], label: str, clock: Clock, slice_s: float = SLICE_S) -> None:
        self._iterator = iterator
        self._label = label
        self._monotonic = clock.monotonic
        self._slice_s = slice_s
        self._limit = 1
        self._error: BaseException | None = None
        self._is_over = False
        self._was_told = False

    def read(self, items_max: int, wait_s: float = 0.0) -> tuple[list[Any], bool]:
        """Give (items, ended); the items may be [] only at the end.

        Raises:
            UserCodeError: The iterator raised; the items before have been given.
        """
        items: list[Any] = []
        if not self._is_over:
            limit = min(self._limit, items_max)
            try:
                self._take(items, limit)
            except user_errors() as raised:
                self._is_over = True
                self._error = raised
        if self._error is not None and not items:
            error, self._error = self._error, None
            self._was_told = True
            msg = f"producer {self._label!r}: its code raised {type(error).__name__}: {error}; items before it are kept"
            raise UserCodeError(msg, node=self._label) from error
        ended = self._is_over and self._error is None and not self._was_told
        self._was_told = self._was_told or ended
        return items, ended

    def fileno(self) -> None:
        """Give no descriptor: an iterator is asked, it doesn't tell."""

    def close(self) -> None:
        """Close the iterator: a generator's ``finally`` runs now."""
        self._is_over = True
        close = getattr(self._iterator, "close", None)
        if callable(close):
            close()

    def _take(self, items: list[Any], limit: int) -> None:
        iterator, extend, monotonic = self._iterator, items.extend, self._monotonic
        deadline = monotonic() + self._slice_s
        stride = STRIDE if limit >= FAST_FROM else 1
        wanted = 0
        while wanted < limit:
            wanted = min(wanted + stride, limit)
            # extend() keeps what islice gave before an error
            extend(islice(iterator, wanted - len(items)))
            if len(items) < wanted:
                self._is_over = True
                return
            if monotonic() >= deadline:
                self._limit = max(1, len(items) // 2)
                return
        if limit == self._limit:
            self._limit = limit * 2
