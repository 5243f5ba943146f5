"""What the coordinator tells its workers, and what it publishes; see the rules of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from consecution.value import value
from consecution.wire.cluster.from_worker import HEARTBEAT_S, SILENT_S, ChildId
from consecution.wire.cluster.parcel import CHUNK_BYTES, Refused
from consecution.wire.control import AskItems, FeedCounts, FlowPlace, PushIn, RunSettings
from consecution.wire.placement import Placement, Role

STOP_S = 10.0  # a child that isn't wanted any more may take this long to tear down; then it is killed


@value
class Registered:
    """The worker is in.

    Attributes:
        news_port: Port, on the coordinator's host, where news are published; see `news_address`.
        heartbeat_s: How often to tell how it stands.
        silent_s: After how much silence it is taken for dead.
        cluster: Random id of the coordinator's store, for people.
        is_encrypted: Children must make keys of their own for their links, and let in only keys of the placement.
    """

    news_port: int
    heartbeat_s: float = HEARTBEAT_S
    silent_s: float = SILENT_S
    cluster: str = ""
    is_encrypted: bool = False


@value
class RegisterAgain:
    """The coordinator doesn't know this session (it was restarted, or took the worker for dead): register with all."""


@value
class Heard:
    """Confirms a heartbeat.

    Attributes:
        number: Of the heartbeat.
        exits: All exits up to this number are kept; they needn't be told again.
        letters: So are all letters up to this number.
        wanted: Newest number of this worker's `Wanted`.
    """

    number: int
    exits: int
    letters: int
    wanted: int


@value
class BundleInfo:
    """A bundle that a worker needs.

    Attributes:
        sha256: In hexadecimal digits; its name everywhere.
        size_bytes: Of the zip.
    """

    sha256: str
    size_bytes: int


@value
class FeedStart:
    """Where a producer begins that ran elsewhere before, and whose journal isn't on this worker (R17).

    Attributes:
        counts: Newest that its last owner told: counts, mark, ranges, position and check.
        letters: Dead letters that the coordinator keeps of it; their seqs are finished.
    """

    counts: FeedCounts
    letters: int = 0


@value
class ChildOrder:
    """A child that must run on a worker. With the worker's own folders and host it makes a `Begin`.

    Attributes:
        id: Which.
        bundle: The bundle that is unpacked, and stands first on the path of the flow; "" for an acker.
        n_ackers: Of the topology.
        settings: The consecutor's.
        fingerprint: Of the Dag; "" for an acker.
        flow: Address, options and argv; folder and paths are the worker's to fill. None for an acker.
        journal: Name of a folder below the worker's journals, without separators; "" for none. It changes when the
            feeds are given to another owner: a folder under an older name is never resumed.
        starts: For feeds that come from elsewhere, where they begin if that folder is new.
        is_fresh: Move a journal that is there aside.
        is_encrypted: Its links use keys.
        memory_bytes_max: Kill it above this; 0 for no limit.
        is_joined: It belongs to a group of joined topologies.
    """

    id: ChildId
    bundle: str
    n_ackers: int
    settings: RunSettings
    fingerprint: str = ""
    flow: FlowPlace | None = None
    journal: str = ""
    starts: tuple[FeedStart, ...] = ()
    is_fresh: bool = False
    is_encrypted: bool = False
    memory_bytes_max: int = 0
    is_joined: bool = False

    @property
    def role(self) -> Role:
        """What it does."""
        return Role(self.id.role)


@dataclass(frozen=True, slots=True, order=True)
class KeptJournal:
    """A journal on a worker's disk: of a topology, under the name that its `ChildOrder` had."""

    topology: str
    name: str


@value
class Wanted:
    """All that must run on one worker; see rule 1 of the module.

    Attributes:
        number: Grows within a registration; an older one than the newest that came is ignored.
        session: Of the worker for which it was made.
        children: What must run. What runs and isn't here has `STOP_S` to exit, and is then killed.
        kills: What is to be killed at once.
        bundles: Those of the children; others may be removed.
        topologies: Those whose placements it relays.
        releases: Journals that nobody needs any more, since all who took what they held have finished.
    """

    number: int
    session: str
    children: tuple[ChildOrder, ...] = ()
    kills: tuple[ChildId, ...] = ()
    bundles: tuple[BundleInfo, ...] = ()
    topologies: tuple[str, ...] = ()
    releases: tuple[KeptJournal, ...] = ()


@value
class PlacementIs:
    """Answers `AskPlacement`; None when there is no such topology: its children are to end."""

    topology: str
    placement: Placement | None


@value
class BundleChunk:
    """Answers `AskBundle`; at most `CHUNK_BYTES`, empty at the end."""

    sha256: str
    offset: int
    size_bytes: int
    data: bytes


@value
class FetchLog:
    """Ask a worker for a part of a child's log; answered by `LogText` under the same request id.

    Attributes:
        topology: Of the child.
        role: "executor" or "acker".
        index: Its number.
        offset: From where on; negative: that many bytes before the end.
        bytes_max: How much.
    """

    topology: str
    role: str
    index: int
    offset: int = -8192
    bytes_max: int = CHUNK_BYTES


@value
class ForChild:
    """A client's word for a child, carried on to it; the child's answer comes back as it is.

    Attributes:
        id: Which child.
        push: Items to push; None for the other.
        ask: What became of items.
    """

    id: ChildId
    push: PushIn | None = None
    ask: AskItems | None = None

    def __post_init__(self) -> None:
        if (self.push is None) == (self.ask is None):
            message = "a word for a child is items to push or a question, and not both"
            raise ValueError(message)


ToWorker: TypeAlias = (
    Registered | RegisterAgain | Refused | Heard | Wanted | PlacementIs | BundleChunk | FetchLog | ForChild
)

TO_WORKER: tuple[type, ...] = (
    Registered,
    RegisterAgain,
    Refused,
    Heard,
    Wanted,
    PlacementIs,
    BundleChunk,
    FetchLog,
    ForChild,
)


@value
class PlacementNews:
    """A new placement."""

    placement: Placement


@value
class NumbersNews:
    """The newest placement number of each topology; each second."""

    numbers: dict[str, int]


NEWS: tuple[type, ...] = (PlacementNews, NumbersNews)
