"""Random graphs as data, and the real Consecutor that a process makes of one.

Rules of this module: a `FlowPlan` is plain data, so that it can be printed, shrunk and built again in each process. The
nodes that it becomes are real ones; each tells the `Oracle` what it takes, pushes and raises. What a node does to a
value depends on the value and the plan alone.

A value on its way is ``[[copy, number of the push], [[item, token], …]]``; a row of a producer is ``["row", item]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from consecution.consecutor import Consecutor
from consecution.graph import Chunk, Node
from consecution.graph.routing import Route
from consecution.producers.base import Producer, Read, SourceClass
from consecution.producers.sequence import SequenceProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from consecution.testing.sim.oracle import Oracle

PASS, FILTER, SPLIT, CHUNK, BATCH = "pass", "filter", "split", "chunk", "batch"
GOOD, POISON, CRASH, SLOW = "good", "poison", "crash", "slow"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node.

    Attributes:
        name: Its.
        kind: PASS, FILTER (drops some), SPLIT (pushes several), CHUNK (gathers), BATCH (takes many at once).
        inputs: Names of nodes and producers.
        size: Of a chunk; how many a SPLIT pushes; a FILTER drops one of so many, 1 drops all.
        parallelism: Of the node.
        grouping: "" for none; "key" groups by the item's number.
        routes: Sends each value to one of the nodes behind it, or to none.
        within_s: A chunk leaves after this; 0 for never.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    size: int = 2
    parallelism: int = 1
    grouping: str = ""
    routes: bool = False
    within_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ItemPlan:
    """One item.

    Attributes:
        number: Unique in the run.
        producer: Name of who brings it.
        kind: GOOD; POISON raises, CRASH kills the process, SLOW takes time, at a node.
        node: Which node.
        times: How often it does so; 0: always.
        seconds: How long a SLOW one takes.
        late: A POISON one raises after the node has pushed.
    """

    number: int
    producer: str
    kind: str = GOOD
    node: str = ""
    times: int = 0
    seconds: float = 0.0
    late: bool = False


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """A graph, its producers and their items.

    Attributes:
        nodes: In topological order.
        producers: Name to "list" (re-readable) or "push" (handed over).
        items: All items.
        spread_s: Items come evenly over so many seconds; 0: all are there at once.
    """

    nodes: tuple[NodePlan, ...]
    producers: tuple[tuple[str, str], ...]
    items: tuple[ItemPlan, ...]
    spread_s: float = 0.0

    def of(self, producer: str) -> list[ItemPlan]:
        """The items of a producer, in order."""
        return [item for item in self.items if item.producer == producer]

    def entries(self) -> dict[str, tuple[str, ...]]:
        """By producer, the nodes that it feeds."""
        return {name: tuple(node.name for node in self.nodes if name in node.inputs) for name, _ in self.producers}

    def widths(self) -> dict[str, int]:
        """By node, to how many of its tasks each value goes."""
        return {node.name: node.parallelism if node.grouping == "all" else 1 for node in self.nodes}

    def followers(self, name: str) -> list[NodePlan]:
        """The nodes behind one."""
        return [node for node in self.nodes if name in node.inputs]

    def without_node(self, name: str) -> FlowPlan | None:
        """The graph with a node's followers linked to its inputs; None when that is no graph."""
        gone = next(node for node in self.nodes if node.name == name)
        nodes = []
        for node in self.nodes:
            if node is gone:
                continue
            inputs: list[str] = []
            for one in node.inputs:
                inputs += gone.inputs if one == name else (one,)
            nodes.append(replace(node, inputs=tuple(dict.fromkeys(inputs))))
        plan = replace(
            self, nodes=tuple(nodes), items=tuple(replace(i, kind=GOOD) if i.node == name else i for i in self.items)
        )
        return plan if nodes and all(plan.entries().values()) else None


def random_flow(random: Random, *, faults: frozenset[str], spread_s: float) -> FlowPlan:
    """Make a graph.

    Args:
        random: Decides.
        faults: Kinds of bad items that may come: POISON, CRASH, SLOW.
        spread_s: Over how many seconds they come.
    """
    producers = [("p0", random.choice(("list", "list", "push")))]
    if random.random() < 0.35:
        producers.append(("p1", random.choice(("list", "push"))))
    nodes: list[NodePlan] = []
    count = random.choice((1, 2, 3, 3, 4, 4, 5, 6, 7))
    for place in range(max(count, len(producers))):
        nodes.append(_random_node(random, place, nodes, [name for name, _ in producers]))
    for node in [n for n in nodes if sum(n.name in other.inputs for other in nodes) > 1]:
        if random.random() < 0.3:
            nodes[nodes.index(node)] = replace(node, routes=True)
    items = []
    number = 0
    for name, _ in producers:
        for _ in range(random.randint(1, random.choice((10, 40, 80)))):
            items.append(_random_item(random, number, name, nodes, faults))
            number += 1
    return FlowPlan(tuple(nodes), tuple(producers), tuple(items), spread_s)


def _random_node(random: Random, place: int, nodes: Sequence[NodePlan], producers: Sequence[str]) -> NodePlan:
    names = [node.name for node in nodes]
    if place < len(producers):
        inputs = [producers[place]]
        if place:  # one graph
            inputs.append(random.choice(names))
    else:
        inputs = sorted(random.sample(names, min(len(names), random.choice((1, 1, 1, 2)))))
        if random.random() < 0.15:
            inputs.append(random.choice(producers))
    kind = random.choice((PASS, PASS, PASS, FILTER, SPLIT, CHUNK, CHUNK, BATCH))
    size = {FILTER: random.choice((1, 2, 3, 5)), CHUNK: random.choice((2, 3, 5, 9))}.get(kind, 2)
    return NodePlan(
        name=f"n{place}",
        kind=kind,
        inputs=tuple(inputs),
        size=size,
        parallelism=random.choice((1, 1, 1, 2, 3)),
        grouping=random.choice(("", "", "shuffle", "key", "all", "global", "local", "partial_key")),
        within_s=random.choice((0.0, 0.0, 0.5, 3.0)) if kind == CHUNK else 0.0,
    )


def _random_item(
    random: Random, number: int, producer: str, nodes: Sequence[NodePlan], faults: frozenset[str]
) -> ItemPlan:
    roll = random.random()
    node = random.choice(nodes).name
    if roll < 0.04 and POISON in faults:
        return ItemPlan(number, producer, POISON, node, random.choice((0, 0, 1, 2)), late=random.random() < 0.3)
    if roll < 0.06 and CRASH in faults:
        return ItemPlan(number, producer, CRASH, node, random.choice((0, 1, 2)))
    if roll < 0.12 and SLOW in faults:
        return ItemPlan(number, producer, SLOW, node, 1, random.choice((0.05, 0.5, 2.0)))
    return ItemPlan(number, producer)


# ---- what user code does ---------------------------------------------------------------------------------------------


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


def _branch(plan: NodePlan, n_branches: int, value: Any) -> int | None:
    """Which branch a routed value takes; None drops it."""
    number: int = value[1][0][0] + len(plan.name)
    answer = number % (n_branches + 1)
    return None if answer == n_branches else answer


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

    def setup(self) -> None:
        """See `Node.setup`."""
        self.me = self.oracle.set_up(self.deeds.body().incarnation)

    def teardown(self) -> None:
        """See `Node.teardown`."""
        self.oracle.torn_down(self.me)

    def process(self, value: Any) -> None:
        """See `Node.process`."""
        parts = self._take(value)
        item = self.deeds.bad(self.plan.name, parts, POISON)
        if item is None:
            self._give(parts)
            return
        if item.late:
            self._give(parts)
        self.deeds.does(item)
        self.oracle.raises([token for _, token in parts])
        message = f"item {item.number}"
        raise Poison(message)

    def _take(self, value: Any) -> list[list[int]]:
        """Close what a value opened; gives its parts."""
        body = self.deeds.body()
        body.point()
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
            self.deeds.body().point()

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
            branch = _branch(self.plan, len(self.widths), [None, parts])
            times = 0 if branch is None else self.widths[branch]
        self.oracle.pushes([token for _, token in parts], times)


class BatchProbe(Probe):
    """A probe that takes many values at once; it raises before it has done anything."""

    process = Node.process  # type: ignore[assignment]  # it has process_batch instead

    def process_batch(self, items: list[Any]) -> None:
        """See `Node.process_batch`."""
        everything = [part for value in items if value[0] != "row" for part in value[1]]
        everything += [[value[1], -1] for value in items if value[0] == "row"]
        bad = self.deeds.bad(self.plan.name, everything, POISON)
        if bad is not None and len(items) > 1:
            message = f"a batch with item {bad.number}"
            raise Poison(message)
        for place, value in enumerate(items):
            parts = self._take(value)
            if bad is not None:
                self.deeds.does(bad)
                self.oracle.raises([token for _, token in parts])
                message = f"item {bad.number}"
                raise Poison(message)
            for left in self._made_of(parts):
                self._note(left)
                self.push([[self.me, self.count], left], of=place)


def key_of(value: Any) -> int:
    """The key of a value or a row."""
    number: int = value[1] if value[0] == "row" else value[1][0][0]
    return number % 5


# ---- producers -------------------------------------------------------------------------------------------------------


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
            tails[node.name] | Route(lambda value, node=node, count=count: _branch(node, count, value), *behind)
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
    kind = BatchProbe if node.kind == BATCH else Probe
    if node.kind != CHUNK:
        probe = kind(node, plan, oracle, deeds, **grouping)
        return probe, probe
    within = timedelta(seconds=node.within_s) if node.within_s else None
    chunk = Chunk(node.size, within=within, name=f"{node.name}-chunk", **grouping)
    probe = Probe(node, plan, oracle, deeds, parallelism=node.parallelism)
    chunk | probe
    return chunk, probe
