"""Everything that a seed decides, as plain data: the flow, the cluster, the faults.

Rules of this module: `scenario_of` is a function of the seed and its family alone; a shrinker changes the scenario, not
the seed. Each seed switches some kinds of fault off (swarm testing), so that rare combinations are not drowned by
common ones. What a family has of its own is drawn apart, so that a seed of another one goes on meaning what it means.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from random import Random

from consecution.testing.sim.flows import (
    BATCH,
    CHUNK,
    CRASH,
    GOOD,
    POISON,
    SLOW,
    FlowPlan,
    ItemPlan,
    NodePlan,
    random_flow,
)
from consecution.testing.sim.network import Weather


class Kind(enum.Enum):
    """What can happen to processes, disks and the network.

    Attributes:
        KILL: A process is killed between two turns.
        KILL_AT: A process is killed in the middle of one.
        PAUSE: A process is stopped for a while; what comes for it waits.
        DROP: A living process is taken for dead, and isn't told so.
        RESET: The connections between two hosts break.
        CUT: Nothing gets through between two hosts for a while.
        CLOG: Everything between two hosts is late.
        FULL: A disk takes nothing for a while.
        POWER: A host loses its power: its processes are gone, and what was not synced.
        JUMP: A host's clock leaps ahead, as after a suspend.
        LOSS: Packets vanish as long as there is a storm.
        CRASH_WORKER: A worker dies, with all of its processes, and is started again.
        FREEZE: A worker and all of its processes are stopped for a while.
        LEAVE: A worker is asked to end; a new one comes in its place.
        CRASH_COORDINATOR: The coordinator dies in the middle of what it does, and is started again.
        FREEZE_COORDINATOR: The coordinator is stopped for a while.
        REBALANCE: Somebody asks for it.
        SCALE: Somebody changes a node's parallelism.
        STOP: Somebody pauses the topology for a while.
        DRAIN: Somebody drains the topology, and submits it again when it is over.
        KILL_RUN: Somebody kills the topology, and submits it again when it is over.
    """

    KILL = "kill"
    KILL_AT = "kill-at"
    PAUSE = "pause"
    DROP = "drop"
    RESET = "reset"
    CUT = "cut"
    CLOG = "clog"
    FULL = "full"
    POWER = "power"
    JUMP = "jump"
    LOSS = "loss"
    CRASH_WORKER = "crash-worker"
    FREEZE = "freeze"
    LEAVE = "leave"
    CRASH_COORDINATOR = "crash-coordinator"
    FREEZE_COORDINATOR = "freeze-coordinator"
    REBALANCE = "rebalance"
    SCALE = "scale"
    STOP = "stop"
    DRAIN = "drain"
    KILL_RUN = "kill-run"


_CLUSTER_ALONE = (
    Kind.CRASH_WORKER,
    Kind.FREEZE,
    Kind.LEAVE,
    Kind.CRASH_COORDINATOR,
    Kind.FREEZE_COORDINATOR,
    Kind.REBALANCE,
    Kind.SCALE,
    Kind.STOP,
)
OF_ENDINGS = (Kind.DRAIN, Kind.KILL_RUN)
OF_PARENT = tuple(kind for kind in Kind if kind not in (*_CLUSTER_ALONE, *OF_ENDINGS))
OF_CLUSTER = tuple(kind for kind in Kind if kind is not Kind.DROP and kind not in OF_ENDINGS)

GENTLE = frozenset(
    (
        Kind.RESET,
        Kind.LOSS,
        Kind.JUMP,
        Kind.CRASH_COORDINATOR,
        Kind.FREEZE_COORDINATOR,
        Kind.REBALANCE,
        Kind.SCALE,
        Kind.STOP,
    )
)
"""What kills nobody, and makes nobody take somebody for dead."""

ITEM_KINDS = (POISON, CRASH, SLOW)


class Family(enum.Enum):
    """What is simulated beside faults.

    Attributes:
        REPLAY: Level REPLAY alone.
        LEVELS: The levels below it, which replay nothing and keep no journal.
        ENDINGS: Clusters whose users drain and kill the topology in the midst of faults, and submit it again; with
            timers, async nodes and sums.
    """

    REPLAY = "replay"
    LEVELS = "levels"
    ENDINGS = "endings"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something bad that happens.

    Attributes:
        kind: What.
        at: Virtual seconds.
        pick: Whom it hits, by its place among those that it can hit.
        other: The second host of a pair, likewise.
        seconds: How long it lasts, or how far a clock jumps.
        points: After how many points a KILL_AT strikes.
    """

    kind: Kind
    at: float
    pick: int = 0
    other: int = 0
    seconds: float = 0.0
    points: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run, before it begins.

    Attributes:
        seed: What all that is not said here depends on.
        flow: The graph and its items.
        n_executors: How many.
        n_ackers: How many.
        n_hosts: How many.
        timeout_s: Of the audit.
        replays_max: Replays of an item that fails.
        pending_max: Unfinished items of each producer.
        window_items: Credit of a task on a link.
        storm: The weather until `storm_s`.
        storm_s: When the faults end.
        faults: In order of their times.
        has_cluster: A coordinator and workers run it, not one parent.
        control_loss: Share of words between workers and coordinator that are lost in the storm.
        news_loss: Share of publications that vanish in it.
        level: Name of the robustness.
    """

    seed: int
    flow: FlowPlan
    n_executors: int
    n_ackers: int
    n_hosts: int
    timeout_s: float
    replays_max: int
    pending_max: int
    window_items: int
    storm: Weather
    storm_s: float
    faults: tuple[Fault, ...]
    has_cluster: bool = False
    control_loss: float = 0.0
    news_loss: float = 0.0
    level: str = "REPLAY"

    @property
    def is_gentle(self) -> bool:
        """Whether no process dies, and none is taken for dead."""
        return not any(item.kind == CRASH for item in self.flow.items) and all(
            fault.kind in GENTLE for fault in self.faults
        )


def scenario_of(seed: int, family: Family = Family.REPLAY) -> Scenario:
    """Make the scenario of a seed of a family."""
    if family is Family.ENDINGS:
        return _endings(seed)
    return _levels(_replay(seed)) if family is Family.LEVELS else _replay(seed)


def _endings(seed: int) -> Scenario:
    """A run on a cluster that somebody ends, once or twice."""
    plain = _replay(3 * seed + 2)
    random = Random(f"endings/{seed}")
    nodes = tuple(_with_time(random, node) for node in plain.flow.nodes)
    sums = Random(f"sums/{seed}")
    if sums.random() < 0.3:
        nodes = tuple(_with_sum(sums, node) for node in nodes)
    awaiting = {node.name for node in nodes if node.is_async}
    items = tuple(_gentler(item, is_gentle=True) if item.node in awaiting else item for item in plain.flow.items)
    ends = [
        Fault(
            random.choice(OF_ENDINGS), round(random.uniform(0.1, 1.0) * plain.storm_s, 4), points=random.randrange(10)
        )
        for _ in range(random.choice((0, 1, 1, 2)))
    ]
    faults = tuple(sorted((*_apart(plain.faults), *ends), key=lambda fault: fault.at))
    return replace(plain, seed=seed, flow=replace(plain.flow, nodes=nodes, items=items), faults=faults)


def _with_sum(random: Random, node: NodePlan) -> NodePlan:
    """A node that maybe sums, so that the run starts over when a process dies."""
    is_plain = node.kind not in (CHUNK, BATCH) and not node.every_s and not node.is_async
    return replace(node, sums=True) if is_plain and random.random() < 0.6 else node


def _apart(faults: tuple[Fault, ...]) -> list[Fault]:
    """All but what freezes in the midst of another freeze: virtual ones don't add up."""
    until = {Kind.FREEZE: 0.0, Kind.FREEZE_COORDINATOR: 0.0}
    kept = []
    for fault in faults:
        if fault.kind in until:
            if fault.at <= until[fault.kind]:
                continue
            until[fault.kind] = fault.at + fault.seconds
        kept.append(fault)
    return kept


def _with_time(random: Random, node: NodePlan) -> NodePlan:
    """A node that has a timer, or awaits something, or neither."""
    roll = random.random()
    if node.kind in (CHUNK, BATCH) or roll < 0.5:
        return node
    if roll < 0.75:
        return replace(node, every_s=random.choice((0.1, 0.5, 2.0)))
    return replace(node, is_async=True)


def _levels(plain: Scenario) -> Scenario:
    """The same run at a lower level: without a journal producers must be re-readable, and crashes must end."""
    random = Random(f"levels/{plain.seed}")
    level = random.choice(("NONE", "CONFIRM", "TRACK"))
    is_gentle = random.random() < 0.5
    items = tuple(_gentler(item, is_gentle=is_gentle) for item in plain.flow.items)
    producers = tuple((name, "list") for name, _ in plain.flow.producers)
    faults = tuple(fault for fault in plain.faults if not is_gentle or fault.kind in GENTLE)
    return replace(plain, flow=replace(plain.flow, items=items, producers=producers), faults=faults, level=level)


def _gentler(item: ItemPlan, *, is_gentle: bool) -> ItemPlan:
    if item.kind != CRASH:
        return item
    return replace(item, kind=GOOD) if is_gentle else replace(item, times=1)


def _replay(seed: int) -> Scenario:
    random = Random(f"scenario/{seed}")
    has_cluster = seed % 3 == 2
    on = [kind for kind in (OF_CLUSTER if has_cluster else OF_PARENT) if random.random() < 0.5]
    bad = frozenset(kind for kind in ITEM_KINDS if random.random() < 0.5)
    storm_s = random.choice((3.0, 10.0, 20.0) if has_cluster else (0.3, 1.0, 3.0, 10.0))
    spreads = (0.5, 0.8, 1.2) if has_cluster else (0.0, 0.5, 1.0)  # a cluster's faults need time to strike
    flow = random_flow(random, faults=bad, spread_s=random.choice(spreads) * storm_s)
    storm = Weather(
        delay_s=random.choice((0.0001, 0.001, 0.02)),
        jitter_s=random.choice((0.0005, 0.01, 0.1)),
        loss=random.choice((0.01, 0.1)) if Kind.LOSS in on else 0.0,
        packets_max=random.choice((2, 10, 1000)),
    )
    return Scenario(
        seed=seed,
        flow=flow,
        n_executors=random.choice((1, 2, 2, 3, 3, 4)),
        n_ackers=random.choice((1, 1, 2, 3)),
        n_hosts=random.choice((1, 2, 3)),
        timeout_s=random.choice((1.0, 3.0, 3.0, 10.0)),
        replays_max=random.choice((0, 1, 3, 3)),
        pending_max=random.choice((3, 10, 30, 100)),
        window_items=random.choice((4, 16, 64, 16_384)),
        storm=storm,
        storm_s=storm_s,
        faults=_faults(random, [kind for kind in on if kind is not Kind.LOSS], storm_s),
        has_cluster=has_cluster,
        control_loss=random.choice((0.02, 0.2)) if Kind.LOSS in on else 0.0,
        news_loss=random.choice((0.0, 0.1, 0.5)),
    )


def _faults(random: Random, kinds: list[Kind], storm_s: float) -> tuple[Fault, ...]:
    if not kinds:
        return ()
    faults = [
        Fault(
            kind=random.choice(kinds),
            at=round(random.uniform(0.0, storm_s), 4),
            pick=random.randrange(1000),
            other=random.randrange(1000),
            seconds=random.choice((0.05, 0.5, 2.0, 4.0, 8.0)),
            points=random.randint(1, 60),
        )
        for _ in range(random.choice((0, 1, 2, 3, 5, 8, 13)))
    ]
    return tuple(sorted(faults, key=lambda fault: fault.at))
