"""What a worker tells the coordinator; see the rules of the package."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from consecution.guarantee.messages import Cause
from consecution.value import value
from consecution.wire.control import ItemsAre, Letter, PushedIn, Told

LETTERS_BYTES_MAX = 256 << 10  # of one heartbeat; an item that is larger travels as its repr alone

EXITS_MAX = 64  # in one heartbeat; the rest waits for the next

LOG_TAIL_CHARS = 8_000

HEARTBEAT_S = 0.5

SILENT_S = 3.0


@dataclass(frozen=True, slots=True, order=True)
class ChildId:
    """One start of one process of a topology.

    Attributes:
        topology: Its name.
        run: Which submission of that name, from 1; a name may be submitted again once it has ended.
        role: "executor" or "acker" (the value of `Role`, so that ids have an order).
        index: Number of the executor or acker.
        attempt: From 1; grows with each start of this index, wherever.
    """

    topology: str
    run: int
    role: str
    index: int
    attempt: int

    def __str__(self) -> str:
        """For logs: ``airports/executor-0 (start 3)``."""
        return f"{self.topology}/{self.role}-{self.index} (start {self.attempt})"


class ChildPhase(enum.Enum):
    """How far a child is.

    Attributes:
        FETCHING: Its bundle is being fetched and unpacked.
        STARTING: The process runs and hasn't said `Born`.
        BORN: It has.
        STOPPING: It isn't wanted any more and has not exited yet.
    """

    FETCHING = "fetching"
    STARTING = "starting"
    BORN = "born"
    STOPPING = "stopping"


@value
class ChildState:
    """A child as its worker sees it now.

    Attributes:
        id: Which.
        phase: How far it is.
        process: Operating system's id; 0 before it is started.
        incarnation: From its Born; 0 before. So are address and key.
        address: Where its PULL socket is bound.
        key: Public key of its links; None without encryption.
        bridge: From its Born.
        ready: Newest number of its Ready; 0 before.
        paused: Newest pause that it confirmed by PausedAt; 0 before.
        made: Frames that it had made when it confirmed that pause.
        done: Frames that it had worked on then.
        told: Its newest Told, without the letters (they travel in `Letters`).
        age_s: Seconds since its start.
        told_age_s: Seconds since its newest Told, or since its start.
        memory_bytes: Resident; 0 when unknown.
        cpu: Of one core, 1.0 is a whole one; 0 when unknown.
        note: What holds it up ("waits for 3 MiB of its bundle"), for people.
    """

    id: ChildId
    phase: ChildPhase
    process: int = 0
    incarnation: int = 0
    address: str = ""
    key: bytes | None = None
    ready: int = 0
    paused: int = 0
    made: int = 0
    done: int = 0
    told: Told | None = None
    age_s: float = 0.0
    told_age_s: float = 0.0
    memory_bytes: int = 0
    cpu: float = 0.0
    note: str = ""
    bridge: str = ""


@value
class ChildExit:
    """A child has ended, or could not be started. Told until `Heard.exits` reaches its number.

    Attributes:
        number: Of this worker's session, from 1.
        id: Which child.
        incarnation: 0 when it wasn't born.
        code: Exit code; minus the signal's number when one killed it; None when it was never started.
        was_wanted: It ended though it was wanted. Ended unwanted or killed on demand, it is no death.
        runs: What its crash slot held: (root, first index, count); see `Death.runs`.
        is_cut: The slot couldn't name all of it.
        cause: How it died, as a user reads it; None for a good end.
        broke: Kind of its Broke: "flow", "setup", "source", "journal", "internal"; the worker's own are "bundle" and
            "start"; "" when it said nothing.
        message: Of its Broke, or of the worker.
        traceback: Of its Broke.
        log_tail: The end of its log, at most 8,000 characters.
        age_s: How long it ran.
    """

    number: int
    id: ChildId
    incarnation: int
    code: int | None
    was_wanted: bool
    runs: tuple[tuple[int, int, int], ...] = ()
    is_cut: bool = False
    cause: Cause | None = None
    broke: str = ""
    message: str = ""
    traceback: str = ""
    log_tail: str = ""
    age_s: float = 0.0


@value
class Letters:
    """Dead letters of a child, told until `Heard.letters` reaches the number.

    Attributes:
        number: Of this worker's session, from 1; shared by all its children.
        id: Which child.
        pass_number: Of the placement that it ran under (R17).
        letters: At most 100, and at most `LETTERS_BYTES_MAX` in one heartbeat.
    """

    number: int
    id: ChildId
    pass_number: int
    letters: tuple[Letter, ...]


@value
class HostFigures:
    """What psutil says of a worker's host."""

    cores: int
    memory_bytes: int
    memory_free_bytes: int = 0
    cpu: float = 0.0
    disk_free_bytes: int = 0


@value
class Register:
    """A worker wants to join, or to be taken back by a coordinator that was restarted.

    Attributes:
        name: Of the worker; unique in the cluster.
        identity: Random, kept in its data folder: the same one after a restart means the same disk, thus its journals.
        session: Random, of this start of the worker: a new one means that its earlier children are gone.
        slots: Executors that it takes.
        host: Address under which other hosts reach its children, for people and for status.
        figures: Cores and memory.
        library: Version of this library; the coordinator takes only its own.
        python: "3.11"; all workers must have the same.
        process: Operating system's id of the worker.
        children: What it runs now.
        tags: Free words, for people.
    """

    name: str
    identity: str
    session: str
    slots: int
    host: str
    figures: HostFigures
    library: str
    python: str
    process: int = 0
    children: tuple[ChildState, ...] = ()
    tags: tuple[str, ...] = ()


@value
class Heartbeat:
    """How a worker stands; see rule 2 of the module.

    Attributes:
        name: As registered; so is the session.
        number: Grows by one; an older one than the newest that was heard is ignored.
        wanted: Number of the newest `Wanted` that it follows.
        children: All that it runs, those that are ending too.
        exits: Not confirmed yet, oldest first, at most `EXITS_MAX`.
        letters: Not confirmed yet, oldest first.
        figures: Of its host.
        placements: Newest placement number that it has relayed, for each topology that it runs.
        is_leaving: It wants to end: its children are to be moved; when it runs none, it exits.
    """

    name: str
    session: str
    number: int
    wanted: int
    children: tuple[ChildState, ...] = ()
    exits: tuple[ChildExit, ...] = ()
    letters: tuple[Letters, ...] = ()
    figures: HostFigures = field(default=HostFigures(0, 0))
    placements: dict[str, int] = field(default_factory=dict)
    is_leaving: bool = False


@value
class AskPlacement:
    """Ask for the newest placement of a topology; answered by `PlacementIs`."""

    topology: str


@value
class AskBundle:
    """Ask for a part of a bundle; answered by `BundleChunk`."""

    sha256: str
    offset: int


@value
class LogText:
    """Answers `FetchLog`, under its request id.

    Attributes:
        text: The wanted part; control characters as they were written.
        next_offset: Where the next part begins.
        error: "" or why there is none.
    """

    text: str
    next_offset: int = 0
    error: str = ""


FromWorker: TypeAlias = Register | Heartbeat | AskPlacement | AskBundle | LogText | PushedIn | ItemsAre

FROM_WORKER: tuple[type, ...] = (Register, Heartbeat, AskPlacement, AskBundle, LogText, PushedIn, ItemsAre)
