"""What became of an item: asked from a producer's own threads, answered by the thread that owns the journal.

Rules of this module: `Inquiries.ask` may be called from any thread; the rest from the reading one. An inquiry that is
not answered is cancelled when the producer closes, so that nobody waits for ever.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.errors import CapacityError
from consecution.producers.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.guarantee.messages import Cause

WAITING_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an item.

    Attributes:
        seq: Its number, as its producer's `acknowledge` told it.
        state: "open", "completed" or "failed".
        attempts: How often it was tried; 0 when that isn't known (completed items).
        cause: Why it failed; None otherwise, and at level CONFIRM.
    """

    seq: int
    state: str
    attempts: int = 0
    cause: Cause | None = None


class Inquiries:
    """Inquiries that wait for the reading thread.

    >>> inquiries = Inquiries()
    >>> future = inquiries.ask(3)
    >>> inquiries.answer(lambda seq: Fate(seq, "completed"))
    >>> future.result().state
    'completed'
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Future[Fate | None]]] = deque()
        self._lock = threading.Lock()
        self._bell = Bell()
        self._is_closed = False

    def ask(self, seq: int) -> Future[Fate | None]:
        """Ask for the item with this number; None is the answer when there is none, or when it was forgotten.

        Raises:
            CapacityError: 10,000 inquiries wait already.
        """
        future: Future[Fate | None] = Future()
        with self._lock:
            if self._is_closed:
                future.cancel()
                return future
            if len(self._waiting) >= WAITING_MAX:
                message = f"{WAITING_MAX:,} inquiries wait for their answer; ask again later"
                raise CapacityError(message)
            self._waiting.append((seq, future))
            if len(self._waiting) == 1:
                self._bell.ring()
        return future

    def answer(self, look: Callable[[int], Fate | None]) -> None:
        """Answer all that wait."""
        while self._waiting:
            with self._lock:
                waiting, self._waiting = self._waiting, deque()
                self._bell.hush()
            for seq, future in waiting:
                if future.set_running_or_notify_cancel():
                    future.set_result(look(seq))

    def open(self) -> None:
        """Take inquiries."""
        with self._lock:
            self._bell.open()
            self._is_closed = False

    def fileno(self) -> int | None:
        """Give a descriptor that is readable while some wait; None when it is closed."""
        return self._bell.fileno()

    def close(self) -> None:
        """Cancel those that wait; take no more."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, deque()
            self._bell.close()
        for _, future in waiting:
            future.cancel()
