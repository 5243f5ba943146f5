"""Pusher: items that the program hands over by a call.

Rules of this module:
1. ``push`` and ``end`` may be called from any thread, before ``open`` too; the rest from the reading thread.
2. Items come out in the order in which the pushes got in; each push of one thread is one place in that order.
3. The queue is bounded: a push into a full one waits, so that a fast caller can't fill the memory.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from consecution.errors import CapacityError, GraphError, SourceError
from consecution.producers.base import NOTHING_YET, Producer, Read, SourceClass
from consecution.producers.bell import Bell


class Pusher(Producer):
    """Gives what `push` is called with; handed over: the receipt of a push says when the item is in the journal.

    >>> pusher = Pusher()
    >>> pusher.open()
    >>> pusher.push("a")
    >>> pusher.read(10, 0.0).items
    ['a']
    >>> pusher.close()

    Args:
        queue_items_max: Items that may wait; a push beyond it waits.
    """

    kind = "manual"
    source = SourceClass.HANDED_OVER
    endless = True
    lives_in_caller = True

    def __init__(self, *, queue_items_max: int = 10_000, name: str | None = None) -> None:
        if queue_items_max < 1:
            msg = f"Pusher(queue_items_max={queue_items_max}): expected 1 or more items"
            raise GraphError(msg)
        self.name = name
        self._queue_items_max = queue_items_max
        self._queue: deque[tuple[Any, str | None, object]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._is_over = False
        self._was_told = False
        self._bell = Bell()  # rings while there is something to read

    def push(self, item: Any, *, key: str | None = None, token: object = None, timeout_s: float | None = None) -> None:
        """Hand over one item.

        Args:
            item: Any value that the pipeline's nodes take.
            key: An idempotency key: an item whose key the journal knows isn't taken again.
            token: Given back in `Read.tokens` beside the item; the handle's receipt.
            timeout_s: How long to wait while the queue is full; None waits until there is room, 0 not at all.

        Raises:
            CapacityError: The queue stayed full.
            SourceError: The pusher has ended.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_over or len(self._queue) < self._queue_items_max, timeout_s):
                msg = (
                    f"producer {self.label!r}: {len(self._queue)} pushed items wait, the most it holds, for {timeout_s}"
                    " s; the pipeline is slower than the pushes: push later, or raise queue_items_max"
                )
                raise CapacityError(msg)
            if self._is_over:
                msg = f"producer {self.label!r} has ended and takes no item; push before drain(), stop() or end()"
                raise SourceError(msg)
            self._queue.append((item, key, token))
            if len(self._queue) == 1:
                self._bell.ring()
            self._changed.notify_all()

    def end(self) -> None:
        """Take no more items; what waits is still read, and then the producer has ended."""
        with self._changed:
            self._is_over = True
            self._bell.ring()
            self._changed.notify_all()

    @property
    def waiting_items(self) -> int:
        """How many pushed items wait to be read."""
        return len(self._queue)

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin to read; what was pushed before is still there. A position means nothing to it."""
        with self._changed:
            self._was_told = False
            self._bell.open()
            if self._queue or self._is_over:
                self._bell.ring()

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """Give what was pushed; see `Producer.read`."""
        with self._changed:
            if not self._queue and not self._is_over and wait_s > 0:
                self._changed.wait_for(lambda: self._queue or self._is_over, wait_s)
            taken = [self._queue.popleft() for _ in range(min(items_max, len(self._queue)))]
            ended = self._is_over and not self._queue and not self._was_told
            self._was_told = self._was_told or ended
            if not self._queue:
                self._bell.hush()
            self._changed.notify_all()
        if not taken:
            return Read([], ended=True) if ended else NOTHING_YET
        items, keys, tokens = map(list, zip(*taken, strict=True))
        return Read(items, ended=ended, keys=keys, tokens=tokens)

    def fileno(self) -> int | None:
        """Give a pipe that is readable while items wait."""
        return self._bell.fileno()

    def ready_in(self) -> float | None:
        """Give 0.0 while items wait; else only ``fileno`` can tell."""
        return 0.0 if self._queue or (self._is_over and not self._was_told) else None

    def close(self) -> None:
        """Let go of the pipe; what waits is kept for another ``open``."""
        with self._changed:
            self._bell.close()
