"""The nodes of a random graph: real ones, which tell the `Oracle` what they take, push and raise.

Rules of this module: what a node does to a value depends on the value and the plan alone, and on how often a bad item
has done its deed.

A value on its way is ``[[copy, number of the push], [[item, token], …]]``; a row of a producer is ``["row", item]``;
what a timer has pushed is ``["tick", number]``, which every node passes on as it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from consecution.graph import Node
from consecution.testing.sim.flows import CHUNK, CRASH, FILTER, POISON, SLOW, SPLIT, branch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.testing.sim.flows import FlowPlan, ItemPlan, NodePlan
    from consecution.testing.sim.oracle import Oracle


AWAITS_S = 0.02
PUSHES_MAX = 10
"""A call pushes fewer."""


class Body(Protocol):
    """The process in which user code runs, for the code that does bad things to it.

    Attributes:
        incarnation: Its.
    """

    incarnation: int

    def spend(self, seconds: float) -> None:
        """Take time."""

    def crash(self) -> None:
        """Die here and now, as after a segmentation fault."""

    def point(self) -> None:
        """A place at which the process may be killed."""


class Poison(Exception):
    """What a POISON item raises."""


class Deeds:
    """What bad items do, and how often they have done it; shared by all processes of a run.

    Args:
        plan: The flow.
        body: Gives the process that runs now.
    """

    def __init__(self, plan: FlowPlan, body: Callable[[], Body]) -> None:
        self.body = body
        self._by_item = {item.number: item for item in plan.items}
        self._done: dict[int, int] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Deeds:
        """All running copies share one."""
        return self

    def bad(self, node: str, parts: Sequence[Sequence[int]], kind: str) -> ItemPlan | None:
        """Whether a value holds an item that is bad of that kind at this node, and hasn't done enough of it."""
        for number, _ in parts:
            item = self._by_item[number]
            if item.kind == kind and item.node == node and not 0 < item.times <= self._done.get(number, 0):
                return item
        return None

    def does(self, item: ItemPlan) -> None:
        """Note that it does it now."""
        self._done[item.number] = self._done.get(item.number, 0) + 1


class Probe(Node):
    """A node that does what its plan says and tells the oracle."""

    def __init__(self, plan: NodePlan, flow: FlowPlan, oracle: Oracle, deeds: Deeds, **options: Any) -> None:
        super().__init__(plan.name, **options)
        self.plan = plan
        self.oracle = oracle
        self.deeds = deeds
        self.widths = [node.parallelism if node.grouping == "all" else 1 for node in flow.followers(plan.name)]
        self.me = 0
        self.count = 0
        self.ticks: list[int] = []  # of the value in work

    def setup(self) -> None:
        """See `Node.setup`."""
        self.me = self.oracle.set_up(self.deeds.body().incarnation)

    def teardown(self) -> None:
        """See `Node.teardown`."""
        self.oracle.torn_down(self.me)

    def process(self, value: Any) -> None:
        """See `Node.process`."""
        value = self._pass_ticks(value)
        if not value:
            return
        parts = self._take(value)
        item = self.deeds.bad(self.plan.name, parts, POISON)
        if item is None:
            self._give(parts)
            return
        if item.late:
            self._give(parts)
        raise self._does_harm(item, parts)

    def _does_harm(self, item: ItemPlan, parts: list[list[int]]) -> Poison:
        """Tell that a call with a bad item raises; gives what to raise."""
        self.deeds.does(item)
        self.oracle.raises([token for _, token in parts])
        self.oracle.ticks.fails(self.ticks)
        return Poison(f"item {item.number}")

    def _pass_ticks(self, value: Any) -> Any:
        """Pass on what timers have pushed; gives what is left of the value, false when nothing is."""
        pieces = value if self.plan.kind == CHUNK else [value]
        ticks = [piece for piece in pieces if piece[0] == "tick"]
        self.ticks = [number for _, number in ticks]
        rest = [piece for piece in pieces if piece[0] != "tick"]
        for tick in ticks:
            self.oracle.ticks.comes(tick[1], self.plan.name)
            if rest:
                self.oracle.ticks.joins(tick[1], self.plan.name)
            else:
                self.push(tick)
        return rest if self.plan.kind == CHUNK else value if rest else None

    def _point(self) -> None:
        """A place at which the process may be killed."""
        self.deeds.body().point()

    def _take(self, value: Any) -> list[list[int]]:
        """Close what a value opened; gives its parts."""
        body = self.deeds.body()
        self._point()
        pieces = value if self.plan.kind == CHUNK else [value]
        parts: list[list[int]] = []
        numbers = [[piece[1], -1] for piece in pieces if piece[0] == "row"]
        numbers += [part for piece in pieces if piece[0] != "row" for part in piece[1]]
        if (item := self.deeds.bad(self.plan.name, numbers, CRASH)) is not None:
            self.deeds.does(item)
            body.crash()
        for piece in pieces:
            if piece[0] == "row":
                parts.append([piece[1], self.oracle.enters(piece[1], self.plan.name)])
            else:
                self.oracle.takes(self.me, piece[0], [token for _, token in piece[1]])
                parts += piece[1]
        if self.plan.grouping == "key" and self.plan.kind != CHUNK:
            self.oracle.keyed(self.plan.name, key_of(value), self.me)
        if (item := self.deeds.bad(self.plan.name, parts, SLOW)) is not None:
            self.deeds.does(item)
            body.spend(item.seconds)
        return parts

    def _give(self, parts: list[list[int]]) -> None:
        for left in self._made_of(parts):
            self._note(left)
            self.push([[self.me, self.count], left])
            self._point()

    def _made_of(self, parts: list[list[int]]) -> list[list[list[int]]]:
        plan = self.plan
        if plan.kind == FILTER and (parts[0][0] + 1) % plan.size == 0:
            return []
        return [parts] * (plan.size if plan.kind == SPLIT else 1)

    def _note(self, parts: list[list[int]]) -> None:
        """Say that a value is pushed: to all behind, or to one branch."""
        self.count += 1
        times = sum(self.widths)
        if self.plan.routes:
            branch = branch_of(self.plan, len(self.widths), parts[0][0])
            times = 0 if branch is None else self.widths[branch]
        self.oracle.pushes([token for _, token in parts], times)


class BatchProbe(Probe):
    """A probe that takes many values at once; it raises before it has done anything."""

    process = Node.process  # type: ignore[assignment]  # it has process_batch instead

    def process_batch(self, items: list[Any]) -> None:
        """See `Node.process_batch`."""
        everything = [part for value in items if value[0] not in ("row", "tick") for part in value[1]]
        everything += [[value[1], -1] for value in items if value[0] == "row"]
        bad = self.deeds.bad(self.plan.name, everything, POISON)
        if bad is not None and len(items) > 1:
            message = f"a batch with item {bad.number}"
            raise Poison(message)
        self.ticks = []
        for place, value in enumerate(items):
            if value[0] == "tick":
                self.oracle.ticks.comes(value[1], self.plan.name)
                self.push(value, of=place)
                continue
            parts = self._take(value)
            if bad is not None:
                raise self._does_harm(bad, parts)
            for left in self._made_of(parts):
                self._note(left)
                self.push([[self.me, self.count], left], of=place)


class TimerProbe(Probe):
    """A probe whose timer pushes values of its own."""

    def on_timer(self) -> None:
        """See `Node.on_timer`."""
        self.push(["tick", self.oracle.ticks.starts(self.me, self.plan.name)])


class SumProbe(Probe):
    """A probe that counts what comes, and gives its sum away when all is over."""

    def _give(self, parts: list[list[int]]) -> None:
        self.oracle.sums.counts(self.me, self.plan.name, [token for _, token in parts])
        super()._give(parts)

    def finish(self) -> None:
        """See `Node.finish`."""
        self.oracle.sums.finishes(self.me)
        self.push(["tick", self.oracle.ticks.starts(self.me, self.plan.name)])


class AsyncProbe(Probe):
    """A probe that awaits before it pushes: what began later may be done earlier, and goes on in order all the same.

    The process isn't killed in the midst of it: an exception that is no `Exception` stays in its task.
    """

    def setup(self) -> None:
        """See `Node.setup`."""
        super().setup()
        self.turns = 0

    async def process(self, value: Any) -> None:  # type: ignore[override]  # a node's process may be async
        """See `Node.process`."""
        if not self._pass_ticks(value):
            return
        self.turns += 1
        turn = self.turns
        parts = self._take(value)
        await asyncio.sleep(AWAITS_S * (1 + parts[0][0] % 5))
        item = self.deeds.bad(self.plan.name, parts, POISON)
        if item is None or item.late:
            for place, left in enumerate(self._made_of(parts)):
                self._note(left)
                self.push([[self.me, PUSHES_MAX * turn + place], left])
        if item is not None:
            self.ticks = []
            raise self._does_harm(item, parts)

    def _point(self) -> None:
        """See `Probe._point`."""


def number_of(value: Any) -> int:
    """The number of a value's first item, of a row's or of a tick."""
    number: int = value[1] if value[0] in ("row", "tick") else value[1][0][0]
    return number


def key_of(value: Any) -> int:
    """The key of a value."""
    return number_of(value) % 5
