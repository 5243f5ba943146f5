"""What clients ask the coordinator; see the rules of the package."""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from consecution.value import value
from consecution.wire.cluster.parcel import CHUNK_BYTES
from consecution.wire.cluster.to_worker import BundleInfo
from consecution.wire.control import FlowPlace, RunSettings


@value
class StageFacts:
    """What a placement must know of a stage.

    Attributes:
        number: In the plan.
        nodes: Names of its nodes, the head first.
        parallelism: How many tasks.
        first: Number of its first task.
        feeds_stages: Stages that it sends to.
        is_accumulating: One of its nodes accumulates (R17).
        grouping: By which items find its tasks, as the flow says; "" when it says nothing.
        is_door: It is the end of a linked output, and runs no user code.
    """

    number: int
    nodes: tuple[str, ...]
    parallelism: int
    first: int
    feeds_stages: tuple[int, ...] = ()
    is_accumulating: bool = False
    grouping: str = ""
    is_door: bool = False


@value
class FeedFacts:
    """What a placement must know of a producer.

    Attributes:
        place: In the plan.
        name: Of the producer.
        kind: Such as "file" or "http".
        source: "re-readable", "handed over" or "fire and forget" (R17).
        is_endless: It has no end.
        stages: Stages that it feeds.
    """

    place: int
    name: str
    kind: str
    source: str
    is_endless: bool
    stages: tuple[int, ...]


@value
class PlanFacts:
    """A plan without code; made by the client, which has loaded the flow."""

    stages: tuple[StageFacts, ...]
    feeds: tuple[FeedFacts, ...]

    @property
    def n_tasks(self) -> int:
        """How many tasks all stages have together."""
        return sum(stage.parallelism for stage in self.stages)


@value
class LinkFacts:
    """A link that begins at a topology, to another of its group (R21).

    Attributes:
        output: Of the consecutor; "failed" for its dead letters.
        target: Name of the topology that takes.
        place: Of the producer in that one's plan.
    """

    output: str
    target: str
    place: int


@value
class Submit:
    """Run a flow. Answered by `NeedBundle` until the coordinator has all of its bundle, then by `Accepted`.

    Attributes:
        submission: Random id of this submission, kept over repetitions: it is done once.
        name: Of the topology.
        flow: Address within the bundle, options and argv.
        bundle: The zip.
        settings: The consecutor's.
        plan: Its stages and producers.
        fingerprint: Of the Dag.
        spec: The Dag as data: MessagePack, compressed by zlib.
        slots: Executors; 0: one for each task, as many as there are free slots.
        ackers: Acker processes; 0 for one (none at robustness NONE).
        is_fresh: Journals and positions of an earlier submission under this name are moved aside.
        memory_bytes_max: Of each executor; 0 for no limit.
        python: "3.11", of the client.
        group: Name of the group of joined topologies that it belongs to; "" for none.
        links: Those that begin at it, in the order of its consecutor.
        place: Among the members of its group, upstream first.
    """

    submission: str
    name: str
    flow: FlowPlace
    bundle: BundleInfo
    settings: RunSettings
    plan: PlanFacts
    fingerprint: str
    spec: bytes = b""
    slots: int = 0
    ackers: int = 0
    is_fresh: bool = False
    memory_bytes_max: int = 0
    python: str = ""
    group: str = ""
    links: tuple[LinkFacts, ...] = ()
    place: int = 0


@value
class SubmitGroup:
    """Run joined consecutors, a topology each; all of them are kept, or none. Answered as `Submit`.

    Attributes:
        name: Of the group.
        members: Upstream first; all of one submission, one bundle and this group.
    """

    name: str
    members: tuple[Submit, ...]


@value
class BundlePart:
    """A part of a bundle, at most `CHUNK_BYTES`; answered by `NeedBundle`."""

    bundle: BundleInfo
    offset: int
    data: bytes


@value
class ListAll:
    """Ask for all topologies and workers; answered by `Listing`."""


@value
class AskStatus:
    """Ask how a topology stands; answered by `Status`."""

    topology: str


@value
class AskLetters:
    """Ask for dead letters, from the given place on; answered by `LettersAre`."""

    topology: str
    first: int = 0


@value
class Pause:
    """Let producers read no more; what entered is finished."""

    topology: str


@value
class Resume:
    """Let producers read again."""

    topology: str


@value
class Drain:
    """Let producers read no more, finish what entered, and end; after ``deadline_s`` end anyway."""

    topology: str
    deadline_s: float = 300.0


@value
class Kill:
    """End it now. What is unfinished stays in its journals."""

    topology: str


@value
class Rebalance:
    """Spread a topology over the slots that there are now; only tasks that must move are moved (R6).

    Attributes:
        topology: Its name.
        parallelism: New parallelism by node; without one, processes are moved to even out workers.
    """

    topology: str
    parallelism: dict[str, int] = field(default_factory=dict)


@value
class AskLog:
    """Ask for a part of the log of an executor or acker; answered by `LogText`. See `FetchLog`."""

    topology: str
    role: str = "executor"
    index: int = 0
    offset: int = -8192
    bytes_max: int = CHUNK_BYTES


@value
class Push:
    """Push items into a `Pusher` of a running topology; answered by `Pushed` once they are journalled.

    Attributes:
        topology: Its name.
        items: Packed items.
        keys: Idempotency keys, one for each item: asked again under them, no item is pushed twice.
        producer: Name of the Pusher; "" for the only one.
    """

    topology: str
    items: bytes
    keys: tuple[str, ...]
    producer: str = ""


@value
class AskFates:
    """Ask what became of items that were pushed; answered by `FatesAre`.

    Attributes:
        topology: Its name.
        place: Of its producer, as `Pushed` told it.
        seqs: Their numbers there, at most 100.
    """

    topology: str
    place: int
    seqs: tuple[int, ...]


FromClient: TypeAlias = (
    Submit
    | SubmitGroup
    | BundlePart
    | ListAll
    | AskStatus
    | AskLetters
    | Pause
    | Resume
    | Drain
    | Kill
    | Rebalance
    | AskLog
    | Push
    | AskFates
)

FROM_CLIENT: tuple[type, ...] = (
    Submit,
    SubmitGroup,
    BundlePart,
    ListAll,
    AskStatus,
    AskLetters,
    Pause,
    Resume,
    Drain,
    Kill,
    Rebalance,
    AskLog,
    Push,
    AskFates,
)
