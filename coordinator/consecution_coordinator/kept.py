"""What the coordinator keeps on disk of topologies and workers: enough to take a running cluster back.

Rules of this module: plain data, packed by ``consecution.wire.plain``. Whatever a restart may forget (what children
said last, deadlines, moves under way) isn't here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from consecution.plan.partitions import StageTasks  # noqa: TC001 (so it is here)
from consecution.wire.cluster.from_worker import HostFigures  # noqa: TC001 (plain.py reads the hints at run time)
from consecution.wire.cluster.to_client import State
from consecution.wire.control import FeedCounts, Letter  # noqa: TC001 (plain.py reads the hints at run time)
from consecution.wire.placement import Death, Inlet, Member, Outlet, Phase


@dataclass(slots=True)
class Seat:
    """An executor or acker of a topology: a number that stays, while the processes that fill it come and go.

    Attributes:
        role: "executor" or "acker".
        index: Its number.
        tasks: That it owns.
        feeds: Producers that it runs. They stay together for the life of their journal.
        worker: Where its process runs or is to run; "" while it has no place.
        attempt: Start that is wanted now; 0 while none is.
        last_attempt: Newest that was ever wanted; never goes back.
        home: Name of the worker whose disk holds the journal of the feeds; "" before the first.
        identity: Of that worker's data folder.
        term: Of the owner of the feeds; names the journal's folder.
        last_term: Newest term that was ever given; never goes back.
        group: Names the journal's folder too: the lowest feed at the beginning of the journal.
        is_pinned: The feeds wait for their home: what is in its journal is nowhere else (R17).
        restarts: Starts after the first.
        failures: Deaths at once, one after the other.
        last_death: How it died last, for people.
        node_failures: Failures that are no items, of processes that are gone.
        is_released: Its home has removed the journal, which nobody needs any more.
    """

    role: str
    index: int
    tasks: tuple[int, ...] = ()
    feeds: tuple[int, ...] = ()
    worker: str = ""
    attempt: int = 0
    last_attempt: int = 0
    home: str = ""
    identity: str = ""
    term: int = 0
    last_term: int = 0
    group: int = 0
    is_pinned: bool = False
    restarts: int = 0
    failures: int = 0
    last_death: str = ""
    node_failures: int = 0
    is_released: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """What names it within its topology."""
        return self.role, self.index


@dataclass(slots=True)
class Topology:
    """A topology.

    Attributes:
        name: Its name.
        run: Which submission of that name.
        lineage: Run whose journals it goes on with; its own when it began anew.
        submission: Id of the submission.
        state: Where it is in its life.
        final: State in which it will be over, while it is STOPPING.
        reason: Why it waits or failed.
        traceback: Of the failure that ended it.
        submitted_at: Seconds since 1970.
        ended_at: Seconds since 1970; 0.0 before.
        number: Of the newest placement; 0 before the first.
        phase: Of the newest placement.
        members: Of the newest placement.
        pause: Newest number of a pause.
        pass_number: Grows when the run starts over.
        deaths: That are still told.
        n_ackers: Fixed.
        seats: Executors and ackers.
        scaled: Stages whose parallelism was changed while it runs, by number.
        next_task: Lowest number that no task ever had; 0 while they are as the flow says.
        next_index: Lowest number that no executor ever had; 0 while none was added.
        is_paused: By a user, as opposed to a move.
        drain_at: When a drain that doesn't end is cut, in seconds since 1970; 0.0 without one.
        has_run: It was RUNNING once.
        feeds: Newest counts of each producer, by place.
        letters: Dead letters that are kept.
        newest_letters: At most five.
        node_letters: Letters of what is no item of a producer, in all.
        state_lost: Accumulating nodes whose result isn't certain.
        audits_fired: Trees that audits found lost, told by ackers that are gone.
        crashes: Of its executors, without a guilty item, each soon after the one before.
        crashed_at: The newest of them, in seconds since 1970.
        is_careful: There were so many that items go one by one.
        events: History: (seconds since 1970, text).
        outlets: Of the newest placement: where its linked outputs lead.
        inlets: Of the newest placement: what it takes from other topologies.
        must_drain: It is drained as soon as all before it are over.
        drain_by: When such a drain is cut, in seconds since 1970; 0.0 when nothing was said.
        starts_again: It began anew, so that what it pushes may have been pushed before.
        is_doubled: Some of what it took may have come twice.
        outputs_dropped: Items of async outputs that found no room, of processes that are gone.
    """

    name: str
    run: int
    lineage: int
    submission: str
    state: State
    submitted_at: float
    n_ackers: int
    final: State = State.KILLED
    reason: str = ""
    traceback: str = ""
    ended_at: float = 0.0
    number: int = 0
    phase: Phase = Phase.STARTING
    members: tuple[Member, ...] = ()
    pause: int = 0
    pass_number: int = 1
    deaths: tuple[Death, ...] = ()
    seats: list[Seat] = field(default_factory=list)
    scaled: tuple[StageTasks, ...] = ()
    next_task: int = 0
    next_index: int = 0
    is_paused: bool = False
    drain_at: float = 0.0
    has_run: bool = False
    feeds: dict[int, FeedCounts] = field(default_factory=dict)
    letters: int = 0
    newest_letters: tuple[Letter, ...] = ()
    node_letters: int = 0
    state_lost: frozenset[str] = frozenset()
    audits_fired: int = 0
    crashes: int = 0
    crashed_at: float = 0.0
    is_careful: bool = False
    events: list[tuple[float, str]] = field(default_factory=list)
    outlets: tuple[Outlet, ...] = ()
    inlets: tuple[Inlet, ...] = ()
    must_drain: bool = False
    drain_by: float = 0.0
    starts_again: bool = False
    is_doubled: bool = False
    outputs_dropped: int = 0


@dataclass(slots=True)
class WorkerKept:
    """A worker.

    Attributes:
        name: Its name.
        identity: Of its data folder.
        session: Of its newest start.
        slots: Executors that it takes.
        host: Where its children are reached.
        library: Version of its library.
        python: Version of its Python.
        figures: Of its host.
        exits: Newest number of an exit of this session that was taken in.
        letters: Newest number of letters of this session that were taken in.
        is_gone: It was silent for too long, or left.
    """

    name: str
    identity: str
    session: str
    slots: int
    host: str
    library: str
    python: str
    figures: HostFigures
    exits: int = 0
    letters: int = 0
    is_gone: bool = False
