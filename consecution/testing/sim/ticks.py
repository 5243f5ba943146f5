"""Values that timers push: no item's, and owed all the same by the task that pushed them, as long as it lives.

Rules of this module: it sees what nodes say and what placements list, and looks into no core. A tick must come, at
least once, to every node that its way leads to, unless calls that took it have failed too often, or its task went
with a process that died or was left out, or with a topology that was killed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.testing.sim.promises import Promise, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.testing.sim.flows import FlowPlan


@dataclass(slots=True)
class Tick:
    """One value of a timer.

    Attributes:
        copy: The running copy of the node that pushed it.
        node: The node's name.
        came: Nodes that it has come to.
        joined: Nodes that pass it on no more: they made one value of it and of items.
        fails: Calls with it that have raised.
        is_owed: Its copy has ended in good order.
    """

    copy: int
    node: str
    came: set[str] = field(default_factory=set)
    joined: set[str] = field(default_factory=set)
    fails: int = 0
    is_owed: bool = False


class Ticks:
    """All ticks of a run.

    Args:
        flow: The graph.
        attempts_max: 1 + replays_max.
    """

    def __init__(self, flow: FlowPlan, attempts_max: int) -> None:
        self._flow = flow
        self._nodes = {node.name: node for node in flow.nodes}
        self._attempts_max = attempts_max
        self._ticks: list[Tick] = []
        self._open: dict[int, list[Tick]] = {}  # by copy, of those that haven't ended

    def __len__(self) -> int:
        """How many there were."""
        return len(self._ticks)

    def starts(self, copy: int, node: str) -> int:
        """A running copy of a node pushes one; gives its number."""
        tick = Tick(copy, node)
        self._ticks.append(tick)
        self._open.setdefault(copy, []).append(tick)
        return len(self._ticks) - 1

    def comes(self, number: int, node: str) -> None:
        """One has come to a node."""
        self._ticks[number].came.add(node)

    def joins(self, number: int, node: str) -> None:
        """A node has made one value of it and of items: with them it goes on, and fails with them."""
        self._ticks[number].joined.add(node)

    def fails(self, numbers: Iterable[int]) -> None:
        """A call that took these has raised."""
        for number in numbers:
            self._ticks[number].fails += 1

    def ends(self, copy: int, *, is_good: bool) -> None:
        """A running copy is no more; in good order it owes what it has pushed."""
        for tick in self._open.pop(copy, ()):
            tick.is_owed = is_good

    def check(self) -> None:
        """Compare, when all is over.

        Raises:
            Violation: One that is owed is lost.
        """
        for number, tick in enumerate(self._ticks):
            if not tick.is_owed or tick.fails >= self._attempts_max:
                continue
            missing = self._way(number) - tick.came
            if missing:
                found = f"tick {number} of {tick.node} never came to {sorted(missing)}, and nothing was told of it"
                raise Violation(Promise.ONE_OUTCOME, found)

    def _way(self, number: int) -> set[str]:
        """The nodes that a tick comes to: behind the one that pushed it, along the branches that it takes."""
        found: set[str] = set()
        tick = self._ticks[number]
        ahead = [self._nodes[tick.node]]
        while ahead:
            for taker in self._flow.takers(ahead.pop(), number):
                if taker.name not in found:
                    found.add(taker.name)
                    ahead += [] if taker.name in tick.joined else [taker]
        return found
