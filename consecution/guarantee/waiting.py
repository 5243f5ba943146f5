"""Loads that wait for their replay (protocol.md R14, R15).

Rules: a load leaves when it is due, earliest first, ties in the order of coming. Suspects wait apart from the others:
with `suspects_alone` the others wait until no suspect is open, and a suspect leaves only when nothing is out.
Knows no clock, no roots and no outcomes.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .load import Load


class Waiting:
    """Loads by the time when they are due. Not thread-safe."""

    __slots__ = ("_count", "_others", "_suspects")

    def __init__(self) -> None:
        self._count = 0
        self._others: list[tuple[float, int, Load]] = []
        self._suspects: list[tuple[float, int, Load]] = []

    def add(self, load: Load, due: float) -> None:
        """Let a load wait until `due`, monotonic seconds."""
        self._count += 1
        heappush(self._suspects if load.is_suspect else self._others, (due, self._count, load))

    def pop(self, now: float, *, suspects: bool) -> Load | None:
        """Take the first load that is due, of the suspects or of the others; None when there is none."""
        heap = self._suspects if suspects else self._others
        if not heap or heap[0][0] > now:
            return None
        return heappop(heap)[2]

    def next_at(self, *, suspects: bool) -> float | None:
        """When the first suspect, or the first other one, is due; None when there is none."""
        heap = self._suspects if suspects else self._others
        return heap[0][0] if heap else None

    def __iter__(self) -> Iterator[Load]:
        for _, _, load in sorted(self._others + self._suspects):
            yield load

    def __bool__(self) -> bool:
        return bool(self._others or self._suspects)

    def __len__(self) -> int:
        return len(self._others) + len(self._suspects)
