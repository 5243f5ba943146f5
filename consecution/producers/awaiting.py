"""Reading an async iterator from code that is not async.

Rules of this module: the iterator lives in an event loop of its own, in one background thread, so that it works inside
a running loop too (notebooks). There a task asks it for one item after the other, a few ahead of what was read: two at
first, and more while reads find that many, up to one read. So a slow iterator's thread never waits for the reader, a
fast one is read in batches, and a read that stops waiting cancels nothing. A file descriptor tells when an item is
there, so that nobody has to ask again and again.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from consecution.errors import UserCodeError, user_errors
from consecution.waiting import wait_readable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AHEAD_MIN = 2


class AsyncFeed:
    """Takes items from an async iterator, which is begun by the first read."""

    def __init__(self, iterator: AsyncIterator[Any], label: str) -> None:
        self._iterator = iterator
        self._label = label
        self._error: BaseException | None = None
        self._is_over = False
        self._is_told = False  # the end, or the error that is the end
        self._lock = threading.Lock()  # what is there, and the descriptor, change together
        self._items: deque[Any] = deque()
        self._ahead = AHEAD_MIN
        self._is_full = False
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Event()
        self._asking: asyncio.Future[None] | None = None
        self._has_begun = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"producer {label}", daemon=True)
        self._thread.start()

    def read(self, items_max: int, wait_s: float) -> tuple[list[Any], bool]:
        """Give (items, ended), waiting at most ``wait_s`` seconds for the first item.

        Raises:
            UserCodeError: The iterator raised; the items before have been given.
        """
        if self._is_told:
            return [], False
        if not self._has_begun:
            self._has_begun = True
            self._loop.call_soon_threadsafe(self._begin)
        if wait_s > 0:
            wait_readable([self._ready], wait_s)
        if not self._items and not self._is_over:
            return [], False
        with self._lock:
            items = self._take(items_max)
            is_at_end = self._is_over and not self._items
            # A full read, and one before an error, say nothing of what follows: the next one does.
            self._is_told = is_at_end and len(items) < items_max and not (items and self._error)
            if self._is_told or not (self._items or is_at_end):
                os.eventfd_read(self._ready)
        if self._is_told and self._error is not None:
            error = self._error
            msg = f"producer {self._label!r}: its code raised {type(error).__name__}: {error}; items before it are kept"
            raise UserCodeError(msg, node=self._label) from error
        return items, self._is_told

    def fileno(self) -> int:
        """A descriptor that is readable when `read` would give something."""
        return self._ready

    def close(self) -> None:
        """Cancel what is awaited, close the iterator and end the thread."""
        if self._loop.is_closed():
            return
        self._is_told = True
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        os.close(self._ready)

    def _take(self, items_max: int) -> list[Any]:
        """Take what is there; if that was as much as may be, more may be there the next time."""
        count = min(items_max, len(self._items))
        items = [self._items.popleft() for _ in range(count)]
        if self._is_full:
            self._ahead = max(AHEAD_MIN, min(2 * self._ahead, items_max))
            self._is_full = False
            self._loop.call_soon_threadsafe(self._room.set)
        elif count * 4 < self._ahead:
            self._ahead = max(AHEAD_MIN, self._ahead // 2)
        return items

    # ---- in the loop ---------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._asking = asyncio.ensure_future(self._ask())

    async def _ask(self) -> None:
        """Ask for items until there are no more, as far ahead as may be."""
        try:
            async for item in self._iterator:
                with self._lock:
                    self._items.append(item)
                    if len(self._items) == 1:
                        os.eventfd_write(self._ready, 1)
                    self._is_full = len(self._items) >= self._ahead
                    if self._is_full:
                        self._room.clear()
                if self._is_full:
                    await self._room.wait()
        except user_errors() as error:
            self._error = error
        with self._lock:
            self._is_over = True
            os.eventfd_write(self._ready, 1)

    async def _shut(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()
        await self._loop.shutdown_asyncgens()
