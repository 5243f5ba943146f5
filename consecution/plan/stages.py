"""From a Dag to stages: which nodes are fused into one task, and where regrouping makes frames.

Rules of this module: pure; a plan is a function of the Dag alone, so that every process computes the same one.

Invariants, cited by number in asserts and tests:
 P1. A stage has one head: every other node of it has all its inputs from nodes of the same stage.
     So a new stage only ever depends on stages that began before it, and the stages are acyclic.
 P2. All nodes of a stage have the same parallelism.
 P3. A node with a grouping that the user named, or with inputs from more than one stage or from a producer,
     is the head of its stage.
 P4. Tasks are numbered densely: the tasks of stage s are ``first .. first + parallelism - 1``. A task that a rebalance
     adds gets a number above all others, so that no task that stays is renumbered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consecution.plan.partitions import dealt
from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consecution.graph import Dag
    from consecution.plan.partitions import StageTasks

SHUFFLE, KEY, ALL, GLOBAL, LOCAL, PARTIAL_KEY = "shuffle", "key", "all", "global", "local", "partial_key"


@value
class Channel:
    """An edge between stages, or from a producer into one: what regroups and makes frames.

    Attributes:
        number: Place in `Plan.channels`.
        source: Node that pushes; None for a channel that leaves a producer.
        producer: Place of the producer among `Plan.feeds`; None for a channel between stages.
        output: Name of the output that feeds it.
        branch: Place among a Route's branches; None elsewhere.
        stage: Stage that it enters, at that stage's head.
        grouping: How items find their task: one of the six names of design.md section 4.
    """

    number: int
    source: int | None
    producer: int | None
    output: str
    branch: int | None
    stage: int
    grouping: str


@value
class Stage:
    """Nodes fused into one task, times its parallelism.

    Attributes:
        number: Place in `Plan.stages`.
        head: The node that everything enters at.
        nodes: All of its nodes.
        parallelism: How many tasks it has.
        first: Number of its first task, in the flow.
        scaled: Its tasks and who owns which partition, when a rebalance has changed that; None as the flow says.
    """

    number: int
    head: int
    nodes: tuple[int, ...]
    parallelism: int
    first: int
    scaled: StageTasks | None = None

    @property
    def tasks(self) -> Sequence[int]:
        """Numbers of this stage's tasks, in order of their copies."""
        return range(self.first, self.first + self.parallelism) if self.scaled is None else self.scaled.tasks

    @property
    def owners(self) -> tuple[int, ...]:
        """The task that owns each of the 64 partitions of its keys."""
        return dealt(self.tasks) if self.scaled is None else self.scaled.owners


@value
class Plan:
    """Stages, channels and tasks of a Dag; see `plan_of`.

    Attributes:
        stages: In topological order.
        channels: By number.
        stage_of: Stage of each node, by the node's place.
        feeds: For each producer the nodes that it feeds.
    """

    stages: tuple[Stage, ...]
    channels: tuple[Channel, ...]
    stage_of: tuple[int, ...]
    feeds: tuple[tuple[int, ...], ...]

    @property
    def n_tasks(self) -> int:
        """How many tasks all stages have together."""
        return sum(stage.parallelism for stage in self.stages)

    def stage_of_task(self, task: int) -> Stage:
        """The stage whose copy ``task`` is."""
        for stage in self.stages:
            if task in stage.tasks:
                return stage
        message = f"task {task} is not in this plan, which has {self.n_tasks}"
        raise IndexError(message)

    def leaving(self, stage: Stage) -> tuple[Channel, ...]:
        """Channels that the nodes of ``stage`` feed, in order of their number."""
        return tuple(c for c in self.channels if c.source is not None and self.stage_of[c.source] == stage.number)

    def entering(self, stage: Stage) -> tuple[Channel, ...]:
        """Channels into ``stage``, in order of their number."""
        return tuple(c for c in self.channels if c.stage == stage.number)

    def of_producer(self, producer: int) -> tuple[Channel, ...]:
        """Channels that a producer feeds."""
        return tuple(c for c in self.channels if c.producer == producer)

    def with_tasks(self, scaled: Iterable[StageTasks]) -> Plan:
        """This plan, with other tasks for some of its stages.

        A channel that pairs tasks because both stages had as many deals in turn once they haven't.

        Raises:
            IndexError: It names a stage that this plan hasn't.
        """
        stages = list(self.stages)
        for one in scaled:
            if not 0 <= one.stage < len(stages):
                message = f"stage {one.stage} is not in this plan, which has {len(stages)}"
                raise IndexError(message)
            stages[one.stage] = replace(stages[one.stage], parallelism=len(one.tasks), scaled=one)
        return replace(
            self, stages=tuple(stages), channels=tuple(self._regrouped(channel, stages) for channel in self.channels)
        )

    def _regrouped(self, channel: Channel, stages: Sequence[Stage]) -> Channel:
        if channel.grouping != LOCAL or channel.source is None:
            return channel
        source, target = stages[self.stage_of[channel.source]], stages[channel.stage]
        is_changed = source.scaled is not None or target.scaled is not None
        is_paired = source.parallelism == target.parallelism
        return replace(channel, grouping=SHUFFLE) if is_changed and not is_paired else channel

    def upstream_tasks(self, task: int) -> tuple[frozenset[int], frozenset[int]]:
        """Who sends marks to ``task``: tasks, and producers by their place among `feeds`."""
        stage = self.stage_of_task(task)
        tasks: set[int] = set()
        producers: set[int] = set()
        for channel in self.entering(stage):
            if channel.producer is not None:
                producers.add(channel.producer)
            else:
                assert channel.source is not None
                tasks.update(self.stages[self.stage_of[channel.source]].tasks)
        return frozenset(tasks), frozenset(producers)

    def downstream_tasks(self, stage: Stage) -> tuple[int, ...]:
        """Tasks to which the tasks of ``stage`` send marks, ascending."""
        found = {task for channel in self.leaving(stage) for task in self.stages[channel.stage].tasks}
        return tuple(sorted(found))

    def downstream_of_producer(self, producer: int) -> tuple[int, ...]:
        """Tasks that a producer feeds, ascending."""
        found = {task for channel in self.of_producer(producer) for task in self.stages[channel.stage].tasks}
        return tuple(sorted(found))


def plan_of(dag: Dag, feeds: Sequence[tuple[int, ...]] | None = None) -> Plan:
    """Cut a Dag into stages.

    Args:
        dag: The frozen graph; its nodes are in topological order.
        feeds: For each producer the places of the nodes that it feeds; None: those that were linked in the graph.

    Returns:
        The plan; the same Dag and feeds always give the same one.
    """
    feeds = tuple(entries for _, entries in dag.sources) if feeds is None else tuple(feeds)
    fed_by_producer = {entry for entries in feeds for entry in entries}
    stage_of: list[int] = []
    members: list[list[int]] = []
    for place in range(len(dag.nodes)):
        home = _home(dag, place, stage_of, fed_by_producer)
        if home is None:
            home = len(members)
            members.append([])
        members[home].append(place)
        stage_of.append(home)
    stages: list[Stage] = []
    first = 0
    for number, nodes in enumerate(members):
        parallelism = dag.nodes[nodes[0]]._slot.options.parallelism
        stages.append(Stage(number, nodes[0], tuple(nodes), parallelism, first))
        first += parallelism
    return Plan(tuple(stages), tuple(_channels(dag, feeds, stages, stage_of)), tuple(stage_of), feeds)


def _home(dag: Dag, place: int, stage_of: Sequence[int], fed_by_producer: set[int]) -> int | None:
    """The stage that the node joins, or None when it is the head of a new one (P1 to P3)."""
    edges = dag.inputs(place)
    options = dag.nodes[place]._slot.options
    if not edges or place in fed_by_producer or options.grouping is not None or options.key is not None:
        return None
    homes = {stage_of[edge.source] for edge in edges}
    if len(homes) > 1:
        return None
    if dag.nodes[edges[0].source]._slot.options.parallelism != options.parallelism:
        return None
    return homes.pop()


def _channels(
    dag: Dag, feeds: Sequence[tuple[int, ...]], stages: Sequence[Stage], stage_of: Sequence[int]
) -> list[Channel]:
    channels: list[Channel] = []
    for producer, entries in enumerate(feeds):
        for entry in entries:
            stage = stage_of[entry]
            grouping = _grouping(dag, entry, None)
            channels.append(Channel(len(channels), None, producer, "default", None, stage, grouping))
    for edge in dag.edges:
        target = stage_of[edge.target]
        if stage_of[edge.source] != target:
            grouping = _grouping(dag, edge.target, edge.source)
            channels.append(Channel(len(channels), edge.source, None, edge.output, edge.branch, target, grouping))
        else:
            assert stages[target].head != edge.target, "P1: the head of a stage has no input from inside it"
    return channels


def grouping_of(dag: Dag, node: int) -> str:
    """The grouping that a node asks for, by its name or by its key; "" when it asks for none."""
    options = dag.nodes[node]._slot.options
    if options.grouping is not None:
        return options.grouping
    return "" if options.key is None else KEY


def _grouping(dag: Dag, target: int, source: int | None) -> str:
    options = dag.nodes[target]._slot.options
    if named := grouping_of(dag, target):
        return named
    if source is not None and dag.nodes[source]._slot.options.parallelism == options.parallelism:
        return LOCAL
    return SHUFFLE
