"""Clocks: the one place where shells read the time.

Rules of this module: a core never sees a clock, it is given ``now``. Shells take a `Clock`, so that a test moves
the time itself (`consecution.testing.clock.ManualClock`) and no test waits for real seconds.
"""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """What tells the time. Safe to share between threads."""

    def monotonic(self) -> float:
        """Give seconds that never go back; only differences matter."""
        ...

    def time(self) -> float:
        """Give seconds since 1970 in UTC; the operator may set them forward or back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` of this clock pass in the calling thread; nothing when 0 or less."""
        ...


class SystemClock:
    """The machine's own clocks.

    >>> clock = SystemClock()
    >>> clock.monotonic() <= clock.monotonic()
    True
    """

    # Kept as plain attributes: a shell binds `clock.monotonic` once and pays for no call of ours.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Sleep for real; nothing when 0 or less."""
        if seconds > 0:
            time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
