"""An event loop that lives on a `ManualClock`: what is awaited for an hour is there at once.

Rules of this module: when nothing is ready and a timer is next, the clock jumps to it. A wait without a timer, such as
for a thread, is a real one.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consecution.testing.clock import ManualClock


class JumpingSelector(selectors.DefaultSelector):
    """Moves the clock instead of waiting for a timer.

    Args:
        clock: The loop's.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Give what is ready; when that is nothing, let the time until the next timer pass at once."""
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._clock.advance(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The event loop.

    >>> from consecution.testing.clock import ManualClock
    >>> clock = ManualClock()
    >>> with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
    ...     runner.run(asyncio.sleep(3600))
    >>> clock.monotonic() >= 3600
    True
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(JumpingSelector(clock))
        self._virtual_clock = clock

    def time(self) -> float:
        """Give the clock's seconds."""
        return self._virtual_clock.monotonic()
