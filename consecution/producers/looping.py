"""An event loop in a thread of its own, for producers that talk to the network.

Rules of this module: the run's thread starts and stops it; words from there to the loop go through `Post`, which wakes
the loop once for many of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class LoopThread:
    """Runs a loop until `stop`."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine in the loop and wait for what it gives, or raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def stop(self) -> None:
        """Cancel what still runs, and end the thread."""
        self.run(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


class Post:
    """Words for a loop; thread-safe. After the loop's end they are dropped.

    Args:
        loop: Where they are heard.
        hear: Called there with each of them, in order.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hear: Callable[[Any], None]) -> None:
        self._loop = loop
        self._hear = hear
        self._words: deque[Any] = deque()
        self._is_called = False

    def send(self, word: object) -> None:
        """Let the loop hear a word soon."""
        self._words.append(word)
        if not self._is_called:
            self._is_called = True
            with suppress(RuntimeError):  # the loop is closed: nobody is left to hear
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_called = False  # first: a word that comes from here on calls again
        while self._words:
            self._hear(self._words.popleft())
