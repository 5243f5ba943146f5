"""The event loop of one task: it runs in the task's own thread, a step at a time, so nodes meet one thread alone.

Rules of this module: `EventLoop.step` never waits; who waits for more looks at `fileno` and `due_in_s`. Where a loop
runs in the thread already, as in a notebook, ours gets a thread of its own, which works while the caller waits for it.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

T = TypeVar("T")

STEP_S = 0.005
PASS_S = 1e-6
"""What a pass of a loop takes in virtual time, so that one which spins ends its step too."""


@dataclass(frozen=True, slots=True)
class VirtualTime:
    """Time that passes only where it is told to.

    Attributes:
        now: Gives monotonic seconds.
        spend: Lets so many seconds pass.
    """

    now: Callable[[], float]
    spend: Callable[[float], None]


class _SteppingSelector(selectors.DefaultSelector):
    """Ends a step of its loop where the loop would wait.

    Args:
        virtual: The time to go by; None: the real one.

    Attributes:
        loop: Whose it is; set once it is made.
        now: Gives monotonic seconds.
        is_stepping: While a step is taken.
        until_s: By ``now``: when the step must end though there is more to do.
        wait_s: How long the loop would have waited; None: for its files alone.
    """

    loop: asyncio.AbstractEventLoop
    is_stepping = False
    until_s = 0.0
    wait_s: float | None = None

    def __init__(self, virtual: VirtualTime | None) -> None:
        super().__init__()
        self.now = time.monotonic if virtual is None else virtual.now
        self._virtual = virtual

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Give what is ready."""
        if not self.is_stepping:
            return self._wait(timeout)
        ready = super().select(0)
        if self._virtual is not None:
            self._virtual.spend(PASS_S)
        if timeout is None or timeout > 0:
            if not ready:
                self.wait_s = timeout
                self.loop.stop()
        elif self.now() >= self.until_s:
            self.wait_s = 0.0
            self.loop.stop()
        return ready

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._virtual is None or timeout is None:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._virtual.spend(max(PASS_S, timeout))
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    """Asyncio's own, by virtual time."""

    def __init__(self, selector: selectors.BaseSelector, virtual: VirtualTime) -> None:
        super().__init__(selector)
        self._virtual = virtual

    def time(self) -> float:
        """Give the seconds."""
        return self._virtual.now()


class EventLoop:
    """The event loop of one task, made at its first use.

    Args:
        new_loop: Makes the loop, which can't be stepped then (`is_stepped`); None: one of asyncio's own.
        virtual: The time that asyncio's own goes by; None: the real one.

    Attributes:
        is_stepped: Whether `step` can be used.
    """

    def __init__(
        self, new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None, virtual: VirtualTime | None = None
    ) -> None:
        self.is_stepped = new_loop is None
        self._virtual = virtual
        self._selector = _SteppingSelector(virtual)
        self._runner = asyncio.Runner(loop_factory=new_loop or self._new_loop)
        self._thread: ThreadPoolExecutor | None = None
        self._is_touched = False
        self._stepped_at = 0.0

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        selector, virtual = self._selector, self._virtual
        loop = asyncio.SelectorEventLoop(selector) if virtual is None else _VirtualLoop(selector, virtual)
        selector.loop = loop
        return loop

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Asyncio's loop; not running between two calls."""
        return self._runner.get_loop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and give its result; what else is under way goes on meanwhile."""
        self.touch()
        return self._in_thread(lambda: self._runner.run(coroutine))

    def touch(self) -> None:
        """Hear that code ran outside of the loop that may have given it something to do."""
        self._is_touched = True

    def step(self) -> None:
        """Run what is ready, for `STEP_S` at most; never waits."""
        self._is_touched = False
        self._in_thread(self._step)
        self._stepped_at = self._selector.now()

    def _step(self) -> None:
        selector = self._selector
        loop = self.loop
        selector.until_s = selector.now() + STEP_S
        selector.is_stepping = True
        try:
            loop.run_forever()
        finally:
            selector.is_stepping = False

    @property
    def due_in_s(self) -> float | None:
        """Seconds until a step has something to do; None when only `fileno` can tell."""
        if self._is_touched:
            return 0.0
        wait_s = self._selector.wait_s
        return None if wait_s is None else max(0.0, self._stepped_at + wait_s - self._selector.now())

    def fileno(self) -> int:
        """Give a descriptor that is readable when something has come for the loop."""
        return self._selector.fileno()

    def cancel(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Cancel tasks, and wait for their ends."""
        waiting = set(tasks)
        if waiting:
            self.run(_cancelled(waiting))

    def close(self) -> None:
        """Cancel what is left."""
        if self._thread is None:
            self._runner.close()
        else:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()
        self._selector.close()

    def _in_thread(self, call: Callable[[], T]) -> T:
        """Call where no other loop runs."""
        if self._thread is None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return call()
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="consecution-loop")
        return self._thread.submit(call).result()


async def _cancelled(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
