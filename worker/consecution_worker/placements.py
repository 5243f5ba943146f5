"""The newest placement of each topology that runs here, and when to ask for a newer one (R4).

Rules of this module: pure. News are published, and may be missed: a topology that lags behind the newest number, or of
which nothing was heard for a while, is asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.wire.placement import Placement

ASK_AGAIN_S = 0.5


class PlacementBook:
    """Placements by topology.

    Args:
        silence_s: After this long without a word on a topology it is asked for.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._newest: dict[str, Placement] = {}
        self._runs: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._heard_at: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}

    def follow(self, topologies: Iterable[str], runs: dict[str, int], now: float) -> None:
        """Follow exactly these; ``runs`` says which submission of the name is meant, where that is known."""
        wanted = set(topologies)
        for topology in set(self._heard_at) - wanted:
            self._forget(topology)
        for topology, run in runs.items():
            if run > self._runs.get(topology, 0):
                self._forget(topology)  # another topology under an old name: its numbers say nothing
                self._runs[topology] = run
        for topology in wanted:
            self._heard_at.setdefault(topology, now)

    def _forget(self, topology: str) -> None:
        for book in (self._newest, self._runs, self._told, self._heard_at, self._asked_at):
            book.pop(topology, None)

    def take(self, placement: Placement, now: float) -> bool:
        """Keep a placement; whether it is newer than what was known."""
        topology = placement.topology
        if topology not in self._heard_at:
            return False
        self._heard_at[topology] = now
        known = self._newest.get(topology)
        if known is not None and placement.number <= known.number:
            return False
        self._newest[topology] = placement
        return True

    def numbers(self, numbers: dict[str, int], now: float) -> None:
        """Take the newest numbers, as they are published."""
        for topology, number in numbers.items():
            if topology in self._heard_at:
                self._heard_at[topology] = now
                self._told[topology] = number

    def get(self, topology: str) -> Placement | None:
        """The newest placement; None when none is known."""
        return self._newest.get(topology)

    def known(self) -> dict[str, int]:
        """The newest number of each topology, for a heartbeat."""
        return {topology: self._newest[topology].number for topology in sorted(self._newest)}

    def to_ask(self, now: float) -> list[str]:
        """Topologies to ask for now; they are noted as asked for."""
        asked = [topology for topology in sorted(self._heard_at) if now >= self._ask_at(topology)]
        for topology in asked:
            self._asked_at[topology] = now
        return asked

    def due(self) -> float:
        """When the next one is to be asked for; infinity for never."""
        return min(map(self._ask_at, self._heard_at), default=math.inf)

    def _ask_at(self, topology: str) -> float:
        known = self._newest.get(topology)
        asked_at = self._asked_at.get(topology, -math.inf)
        number = 0 if known is None else known.number
        if asked_at == -math.inf and not number:
            return asked_at  # it has just been taken up: maybe it runs elsewhere already
        if number < self._told.get(topology, 0):
            return asked_at + ASK_AGAIN_S
        return max(self._heard_at[topology] + self._silence_s, asked_at + self._silence_s)
