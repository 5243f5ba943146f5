"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading


class ManualClock:
    """A `consecution.clock.Clock` that a test drives; safe between threads.

    ``sleep`` moves the clock instead of waiting, so that an hour passes at once.

    >>> clock = ManualClock(time=1000.0)
    >>> clock.sleep(3600)
    >>> clock.time(), clock.monotonic()
    (4600.0, 3600.0)
    >>> clock.set_time(0.0)  # the operator sets the wall clock back: monotonic doesn't notice
    >>> clock.time(), clock.monotonic()
    (0.0, 3600.0)
    """

    def __init__(self, time: float = 0.0, monotonic: float = 0.0) -> None:
        self._time = time
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Give the monotonic seconds."""
        return self._monotonic

    def time(self) -> float:
        """Give the seconds since 1970 in UTC."""
        return self._time

    def sleep(self, seconds: float) -> None:
        """Move both clocks on at once; nothing when 0 or less."""
        if seconds > 0:
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both clocks on by ``seconds``, which is not negative."""
        if seconds < 0:
            msg = f"advance({seconds!r}): time doesn't go back; use set_time() for a wall clock that is set back"
            raise ValueError(msg)
        with self._lock:
            self._time += seconds
            self._monotonic += seconds

    def set_time(self, time: float) -> None:
        """Set the wall clock alone, as an operator or NTP does."""
        self._time = time
