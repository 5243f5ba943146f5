"""Random graphs as data.

Rules of this module: a `FlowPlan` is plain data, so that it can be printed, shrunk and built again in each process;
`building.build` makes a real Consecutor of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

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
        every_s: Its timer pushes a value of its own each time that so much has passed; 0 for no timer.
        is_async: It awaits something before it pushes.
        sums: It counts what comes, and pushes that when all is over.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    size: int = 2
    parallelism: int = 1
    grouping: str = ""
    routes: bool = False
    within_s: float = 0.0
    every_s: float = 0.0
    is_async: bool = False
    sums: bool = False


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

    def takers(self, node: NodePlan, number: int) -> list[NodePlan]:
        """The nodes behind one that a value with this number goes to: all, or one branch, or none."""
        behind = self.followers(node.name)
        if not node.routes or len(behind) < 2:
            return behind
        branch = branch_of(node, len(behind), number)
        return [] if branch is None else [behind[branch]]

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


def branch_of(plan: NodePlan, n_branches: int, number: int) -> int | None:
    """Which branch a routed value with this number takes; None drops it."""
    answer = (number + len(plan.name)) % (n_branches + 1)
    return None if answer == n_branches else answer


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
