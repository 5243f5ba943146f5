"""How long a sink goes on trying while its other side is away.

Rules of this module: waits grow, and their sum is bounded by ``retry_s``; then the items fail, and the consecutor
replays them. A sink waits in its task's thread: what the task has not taken yet is held back, and so is the source.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from consecution.errors import GraphError, short_repr
from consecution.guarantee.backoff import Backoff

if TYPE_CHECKING:
    from consecution.clock import Clock

BACKOFF = Backoff(first_s=0.1, factor=2.0, max_s=5.0)

log = logging.getLogger(__name__)


class Patience:
    """The tries of one frame.

    >>> from consecution.testing.clock import ManualClock
    >>> patience = Patience(1.0, ManualClock())
    >>> [patience.waits("refused") for _ in range(5)]  # 0.1, 0.2, 0.4, then what is left: 0.3 s
    [True, True, True, True, False]

    Args:
        retry_s: Seconds in all; 0 never tries again.
        clock: Waits.
        label: Names the sink in the log.
    """

    def __init__(self, retry_s: float, clock: Clock, label: str = "sink") -> None:
        self._retry_s = retry_s
        self._clock = clock
        self._label = label
        self._since: float | None = None
        self.times = 0

    def waits(self, why: str, *, least_s: float = 0.0) -> bool:
        """Wait before another try.

        Args:
            why: What was said, for the log.
            least_s: As the other side wishes (``Retry-After``).

        Returns:
            False, without a wait, when the time is over.
        """
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        left = self._since + self._retry_s - now
        if left <= 0 or least_s > left:
            return False
        if not self.times:
            log.warning("%s: away, tried again for retry_s=%s: %s", self._label, self._retry_s, why)
        self.times += 1
        self._clock.sleep(min(left, max(least_s, BACKOFF.delay_s(self.times + 1))))
        return True

    def ended_well(self) -> None:
        """Tell in the log that it is back, if it was away; the next outage of the frame has the rest of the time."""
        if self.times:
            log.warning("%s: back after tries=%d", self._label, self.times)
            self.times = 0


def checked_retry_s(retry_s: object, where: str) -> float:
    """Give the seconds.

    Raises:
        GraphError: They are no number from 0 on.
    """
    if isinstance(retry_s, (int, float)) and not isinstance(retry_s, bool) and retry_s >= 0:
        return float(retry_s)
    msg = f"{where}: retry_s={short_repr(retry_s)}, expected seconds, 0 or more"
    raise GraphError(msg)
