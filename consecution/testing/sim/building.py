"""The real Consecutor of a `FlowPlan`, and where its items come from.

Rules of this module: each process builds its own; what is outside of the processes, who brings the items, is shared.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consecution.consecutor import Consecutor
from consecution.graph import Chunk
from consecution.graph.routing import Route
from consecution.producers.base import Producer, Read, SourceClass
from consecution.producers.sequence import SequenceProducer
from consecution.testing.sim.flows import BATCH, CHUNK, branch_of
from consecution.testing.sim.probes import AsyncProbe, BatchProbe, Probe, SumProbe, TimerProbe, key_of, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.testing.sim.flows import FlowPlan, NodePlan
    from consecution.testing.sim.oracle import Oracle
    from consecution.testing.sim.probes import Deeds


class Sender:
    """Somebody outside who brings items, and hands over again what wasn't confirmed.

    Args:
        numbers: Of the items.
        spread_s: They come evenly over so many seconds.
        now: Gives virtual time.

    Attributes:
        waiting: Numbers of items that nobody has taken.
        offered: Taken by a process that hasn't confirmed them.
    """

    def __init__(self, numbers: Sequence[int], spread_s: float, now: Callable[[], float]) -> None:
        self.waiting = list(numbers)
        self.offered: list[int] = []
        self._count = len(numbers)
        self._spread_s = spread_s
        self._now = now

    def __deepcopy__(self, memo: dict[int, Any]) -> Sender:
        """There is one, whoever asks."""
        return self

    def come(self) -> int:
        """How many items have come by now, taken or not."""
        if self._now() >= self._spread_s:
            return self._count
        return 1 + int(self._count * self._now() / self._spread_s)

    def next_in(self) -> float:
        """Seconds until the next one comes."""
        return max(0.001, self.come() * self._spread_s / self._count - self._now())

    def reconnect(self) -> None:
        """The process that had taken some is gone, or begins anew."""
        self.waiting[:0] = self.offered
        self.offered.clear()

    def take(self, items_max: int) -> list[int]:
        """Give some that have come."""
        there = self.come() - (self._count - len(self.waiting))
        taken = self.waiting[: max(0, min(items_max, there))]
        del self.waiting[: len(taken)]
        self.offered += taken
        return taken


class SimPush(Producer):
    """Items of a `Sender`, handed over: each is in the journal before the sender hears yes."""

    kind = "sim-push"
    source = SourceClass.HANDED_OVER

    def __init__(self, name: str, sender: Sender) -> None:
        self.name = name
        self._sender = sender

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """See `Producer.open`."""
        self._sender.reconnect()

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """See `Producer.read`."""
        sender = self._sender
        numbers = sender.take(items_max)
        return Read([["row", number] for number in numbers], ended=not sender.waiting)

    def ready_in(self) -> float | None:
        """See `Producer.ready_in`."""
        return self._sender.next_in()

    def acknowledge(self, first_seq: int, count: int) -> None:
        """See `Producer.acknowledge`."""
        del self._sender.offered[:count]

    def close(self) -> None:
        """See `Producer.close`."""


class SimList(SequenceProducer):
    """Rows that can be read again, as far as they have come."""

    kind = "sim-list"

    def __init__(self, name: str, sender: Sender) -> None:
        super().__init__([["row", number] for number in sender.waiting])
        self.name = name
        self._sender = sender

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """See `Producer.read`."""
        there = self._sender.come() - self._position
        if there <= 0 and self._position < len(self._rows):
            return Read([])
        return super().read(max(1, min(items_max, there)), wait_s)

    def ready_in(self) -> float | None:
        """See `Producer.ready_in`."""
        if self._sender.come() > self._position or self._position == len(self._rows):
            return 0.0
        return self._sender.next_in()


# ---- building --------------------------------------------------------------------------------------------------------


def build(plan: FlowPlan, oracle: Oracle, deeds: Deeds, senders: dict[str, Sender], **options: Any) -> Consecutor:
    """Make the Consecutor of a plan; each process makes its own."""
    sources: dict[str, Any] = {}
    for name, kind in plan.producers:
        sources[name] = SimPush(name, senders[name]) if kind == "push" else SimList(name, senders[name])
    heads: dict[str, Any] = {}
    tails: dict[str, Any] = dict(sources)
    for node in plan.nodes:
        heads[node.name], tails[node.name] = _nodes_of(node, plan, oracle, deeds)
    for name, source in sources.items():
        for node in plan.followers(name):
            source | heads[node.name]
    for node in plan.nodes:
        behind = [heads[one.name] for one in plan.followers(node.name)]
        if node.routes and len(behind) > 1:
            count = len(behind)
            tails[node.name] | Route(
                lambda value, node=node, count=count: branch_of(node, count, number_of(value)), *behind
            )
        else:
            for head in behind:
                tails[node.name] | head
    return Consecutor(heads[plan.nodes[0].name], "sim", **options)


def _nodes_of(node: NodePlan, plan: FlowPlan, oracle: Oracle, deeds: Deeds) -> tuple[Any, Any]:
    grouping: dict[str, Any] = {"parallelism": node.parallelism}
    if node.grouping in ("key", "partial_key"):
        grouping["key"] = key_of
        if node.grouping == "partial_key":
            grouping["grouping"] = "partial_key"
    elif node.grouping:
        grouping["grouping"] = node.grouping
    if node.kind != CHUNK:
        if node.every_s:
            grouping["every"] = timedelta(seconds=node.every_s)
        probe = _kind_of(node)(node, plan, oracle, deeds, **grouping)
        return probe, probe
    within = timedelta(seconds=node.within_s) if node.within_s else None
    chunk = Chunk(node.size, within=within, name=f"{node.name}-chunk", **grouping)
    probe = Probe(node, plan, oracle, deeds, parallelism=node.parallelism)
    chunk | probe
    return chunk, probe


def _kind_of(node: NodePlan) -> type[Probe]:
    if node.every_s:
        return TimerProbe
    if node.sums:
        return SumProbe
    if node.is_async:
        return AsyncProbe
    return BatchProbe if node.kind == BATCH else Probe
