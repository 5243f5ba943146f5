"""What the coordinator answers to clients; see the rules of the package."""

from __future__ import annotations

import enum
from dataclasses import field
from typing import TypeAlias

from consecution.value import value
from consecution.wire.cluster.from_worker import HostFigures, LogText
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.control import FeedCounts, ItemFate, Letter
from consecution.wire.placement import Phase


class State(enum.Enum):
    """Where a topology is in its life.

    Attributes:
        PENDING: Waits for slots.
        STARTING: Its processes are being started.
        RUNNING: Items flow.
        PAUSED: Its producers don't read.
        DRAINING: What entered is being finished.
        STOPPING: Its processes are tearing down.
        FINISHED: All producers ended, every item has its outcome.
        DRAINED: Ended by `Drain`; every item that entered has its outcome.
        KILLED: Ended by `Kill`, or by a drain that passed its deadline; journals keep what is unfinished.
        FAILED: It can't run: the reason says why.
    """

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPING = "stopping"
    FINISHED = "finished"
    DRAINED = "drained"
    KILLED = "killed"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self in (State.FINISHED, State.DRAINED, State.KILLED, State.FAILED)


@value
class NeedBundle:
    """How much of a bundle the coordinator has; the next `BundlePart` begins there."""

    sha256: str
    have_bytes: int


@value
class Accepted:
    """The topology is kept, and starts when there are slots.

    Attributes:
        name: Of the topology.
        run: Which submission of that name it is.
        state: PENDING or STARTING at first.
        reason: What it waits for; "" for nothing.
        members: Of a group: its topologies, upstream first; then the rest is of the first of them, but the name.
    """

    name: str
    run: int
    state: State
    reason: str = ""
    members: tuple[str, ...] = ()


@value
class ProcessStatus:
    """An executor or acker of a topology.

    Attributes:
        role: "executor" or "acker".
        index: Its number.
        worker: Where it runs or is to run; "" while it waits for a slot.
        state: "waiting", "backing off", "fetching", "starting", "born", "ready", "moving" or "gone".
        note: For people.
        tasks: Names of its tasks, as ``node`` or ``node[2]``.
        feeds: Names of its producers.
        restarts: Starts after the first.
        last_death: How it died last; "" when it never did.
        process: Operating system's id.
        incarnation: 64 bits; 0 before it is born.
        items_done: Items taken into work.
        queued: Items that wait before its tasks.
        oldest_s: Age of the piece of work in hand.
        open_roots: Open trees of an acker.
        refused: Packets refused.
        memory_bytes: Resident.
        cpu: Of one core.
    """

    role: str
    index: int
    worker: str
    state: str
    note: str = ""
    tasks: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    restarts: int = 0
    last_death: str = ""
    process: int = 0
    incarnation: int = 0
    items_done: int = 0
    queued: int = 0
    oldest_s: float = 0.0
    open_roots: int = 0
    refused: int = 0
    memory_bytes: int = 0
    cpu: float = 0.0


@value
class Summary:
    """A topology in one line.

    Attributes:
        name: Its name.
        run: Which submission of that name.
        state: Where it is in its life.
        reason: Why it waits or failed; "" when there is nothing to say.
        submitted_at: Seconds since 1970.
        elapsed_s: Since it was submitted, until its end.
        introduced: Items that entered; so are completed, failed, replayed, dropped and in_flight.
        completed: Items completed.
        failed: Dead letters, and failures that are no items, such as a finish that raised.
        replayed: Times that an item was sent again.
        dropped: Values that Routes dropped.
        in_flight: Unfinished items.
        workers: Names of the workers that run it.
        executors: How many executors it has.
        state_lost: Accumulating nodes whose result isn't certain.
        group: Of the joined topologies that it was submitted with; "" for none.
        place: Among those, upstream first.
        outputs_dropped: Items of async outputs that found no room.
    """

    name: str
    run: int
    state: State
    reason: str = ""
    submitted_at: float = 0.0
    elapsed_s: float = 0.0
    introduced: int = 0
    completed: int = 0
    failed: int = 0
    replayed: int = 0
    dropped: int = 0
    in_flight: int = 0
    workers: tuple[str, ...] = ()
    executors: int = 0
    state_lost: frozenset[str] = frozenset()
    group: str = ""
    place: int = 0
    outputs_dropped: int = 0

    @property
    def is_all_done(self) -> bool:
        """Whether it is finished, every item completed and no state lost."""
        return self.state in (State.FINISHED, State.DRAINED) and not self.failed and not self.state_lost


@value
class WorkerStatus:
    """A worker in one line.

    Attributes:
        name: Its name.
        state: "alive", "silent", "leaving", "expected" (after a restart of the coordinator) or "gone".
        host: Where its children are reached.
        slots: Executors that it takes.
        used: Executors that it runs or is to run.
        heard_s: Seconds since its last heartbeat.
        figures: Of its host.
        library: Version of this library.
        python: Version of Python.
        identity: Of its data folder, cut, for people.
    """

    name: str
    state: str
    host: str
    slots: int
    used: int
    heard_s: float
    figures: HostFigures
    library: str = ""
    python: str = ""
    identity: str = ""


@value
class Listing:
    """Answers `ListAll`.

    Attributes:
        topologies: By name.
        workers: By name.
        library: Of the coordinator.
        refused: Peers and messages that were refused since its start.
        up_s: Seconds since its start.
        is_insecure: It is bound off loopback without keys.
    """

    topologies: tuple[Summary, ...]
    workers: tuple[WorkerStatus, ...]
    library: str = ""
    refused: int = 0
    up_s: float = 0.0
    is_insecure: bool = False


@value
class StuckStatus:
    """A link between two processes that is stuck, though the coordinator hears both.

    Attributes:
        process: Which waits for an answer, such as "executor-0".
        worker: Where it runs.
        to: From which.
        to_worker: Where that runs.
        for_s: Seconds since the last answer.
        waiting: Messages that wait.
    """

    process: str
    worker: str
    to: str
    to_worker: str
    for_s: float
    waiting: int


@value
class Status:
    """Answers `AskStatus`.

    Attributes:
        summary: In one line.
        number: Of its placement.
        phase: Of its placement.
        processes: Executors and ackers.
        feeds: Its producers, as their owners told them last, or as they are kept.
        feed_workers: Where each feed runs, by its place; "" for one that waits.
        letters: How many dead letters are kept.
        newest_letters: At most five.
        events: What happened, oldest first, at most 50: (seconds since 1970, text).
        traceback: Of the failure that ended it.
        audits_fired: Trees that the audit found lost.
        node_failures: Failures that are no items of a producer.
        parallelism: How many tasks each node has now.
        changed: Nodes whose parallelism isn't the flow's any more.
        feed_homes: Worker and host whose disk has the journal of a producer that waits for it, by its place.
        stuck: Links between its processes on which nothing is confirmed.
    """

    summary: Summary
    number: int
    phase: Phase
    processes: tuple[ProcessStatus, ...] = ()
    feeds: tuple[FeedCounts, ...] = ()
    feed_workers: dict[int, str] = field(default_factory=dict)
    letters: int = 0
    newest_letters: tuple[Letter, ...] = ()
    events: tuple[tuple[float, str], ...] = ()
    traceback: str = ""
    audits_fired: int = 0
    node_failures: int = 0
    parallelism: dict[str, int] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    stuck: tuple[StuckStatus, ...] = ()
    feed_homes: dict[int, tuple[str, str]] = field(default_factory=dict)


@value
class LettersAre:
    """Answers `AskLetters`; ``next`` is where the next part begins, None at the end."""

    letters: tuple[Letter, ...]
    next: int | None = None


@value
class Pushed:
    """Answers `Push`: the items are in the journal, synced.

    Attributes:
        producer: Name of the producer.
        place: Of the producer in the plan.
        seqs: Numbers of the items there, in order.
    """

    producer: str
    place: int
    seqs: tuple[int, ...]


@value
class FatesAre:
    """Answers `AskFates`, in order."""

    fates: tuple[ItemFate, ...]


ToClient: TypeAlias = (
    Refused | Done | NeedBundle | Accepted | Listing | Status | LettersAre | LogText | Pushed | FatesAre
)

TO_CLIENT: tuple[type, ...] = (
    Refused,
    Done,
    NeedBundle,
    Accepted,
    Listing,
    Status,
    LettersAre,
    LogText,
    Pushed,
    FatesAre,
)
