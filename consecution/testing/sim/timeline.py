"""Virtual time: what happens next, in an order that a seed alone decides.

Rules of this module: nothing here reads a clock. Two things of the same time happen in the order in which they were
planned; time never goes back.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timeline:
    """What will happen, by time. Not thread-safe.

    Attributes:
        now: Seconds since the beginning.
        steps: How many things have happened.

    >>> timeline = Timeline()
    >>> seen = []
    >>> timeline.at(2.0, lambda: seen.append("b"))
    >>> timeline.at(1.0, lambda: seen.append("a"))
    >>> timeline.step(), timeline.step(), timeline.step(), seen, timeline.now
    (True, True, False, ['a', 'b'], 2.0)
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Plan something; what lies in the past happens next."""
        self._count += 1
        heapq.heappush(self._planned, (max(when, self.now), self._count, do))

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Plan something for ``delay_s`` from now."""
        self.at(self.now + delay_s, do)

    def step(self) -> bool:
        """Let the next thing happen; False when nothing is planned."""
        if not self._planned:
            return False
        when, _, do = heapq.heappop(self._planned)
        self.now = when
        self.steps += 1
        do()
        return True
