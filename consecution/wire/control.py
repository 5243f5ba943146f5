"""What a parent (the worker, or the calling process) and its child processes tell each other, over a pair of sockets.

Rules of this module: values only, packed by ``consecution.wire.plain``, each behind four bytes of length. The child is
an executor or an acker; it holds no key of the control plane, and speaks of the cluster to its parent alone.
The walk: the parent starts the child and sends `Begin`; the child binds its socket and says `Born`; the parent sends
each new placement as `Placed`; the child sets its nodes up when a placement lists it and says `Ready`; then `Told`
about four times a second, and `Paused`, `Finished` and `Broke` when they happen. The child exits when a placement at or
after its birth leaves it out, when the phase is ENDED, and when the pair of sockets is closed (its parent died).
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, TypeAlias

from consecution.guarantee.messages import Cause
from consecution.value import value
from consecution.wire.placement import Placement, Role

PROTOCOL_VERSION = 1
STUCK_S = 3.0
STUCK_MAX = 32  # links in one Told
ASKED_MAX = 100  # items in one question: so many causes fit into one answer


@value
class FlowPlace:
    """Where a child finds the flow, and how it was started.

    Attributes:
        address: ``file.py[:object]`` or ``pkg.module:object``.
        folder: Working directory; the first entry of ``sys.path`` too, unless ``paths`` are given.
        options: The ``-D`` options.
        argv: ``sys.argv`` of the flow.
        consecutor: Name of the consecutor of the group that this topology is.
        paths: First entries of ``sys.path``, in order.
    """

    address: str
    folder: str
    options: dict[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    consecutor: str = ""
    paths: tuple[str, ...] = ()


@value
class RunSettings:
    """The consecutor's settings, as the flow says them; every process checks that its own are the same.

    Attributes:
        name: The consecutor's.
        level: Name of the robustness: "NONE", "CONFIRM", "TRACK" or "REPLAY".
        replays_max: Replays of an item that fails.
        timeout_s: Of the audit.
        call_timeout_s: Of one ``process`` call.
        pending_max: Unfinished items of each producer; 0: as many as is usual.
        resume: "start" or "position".
    """

    name: str
    level: str
    replays_max: int
    timeout_s: float
    call_timeout_s: float
    pending_max: int
    resume: str = "start"


@value
class Begin:
    """The first word to a child.

    Attributes:
        topology: Its name.
        role: EXECUTOR or ACKER.
        index: Its number.
        bind: Address pattern for its PULL socket, such as ``tcp://127.0.0.1:*`` or ``ipc:///tmp/x/e0``.
        n_ackers: How many ackers the topology has.
        settings: The consecutor's.
        fingerprint: Of the Dag; the child compares it with that of the flow it loads. "" for an acker.
        spec: The Dag as data, to say where two differ; None leaves that out.
        feeds: For each producer the nodes that it feeds; () for those that the flow itself links.
        flow: Where the flow is; None for an acker.
        journal: Folder of the journal for feeds that run in this child; None for none.
        in_work: Folder for its crash slot; it writes ``slot`` there.
        is_fresh: A journal that is there is moved aside.
        is_encrypted: Links use keys: the child makes a pair for itself, and lets in only those of the placement.
        is_insecure: It may bind off loopback without keys.
        starts: Where producers begin that ran elsewhere before, if the journal's folder is new (R17).
        output: File that its output goes to from now on; None: where it went from the start.
        is_joined: Its consecutor is joined with others that are topologies of their own.
    """

    topology: str
    role: Role
    index: int
    bind: str
    n_ackers: int
    settings: RunSettings
    fingerprint: str = ""
    spec: dict[str, Any] | None = None
    feeds: tuple[tuple[int, ...], ...] = ()
    flow: FlowPlace | None = None
    journal: str | None = None
    in_work: str | None = None
    is_fresh: bool = False
    is_encrypted: bool = False
    is_insecure: bool = False
    starts: tuple[FeedCounts, ...] = ()
    output: str | None = None
    is_joined: bool = False


@value
class Placed:
    """A new placement; the parent sends each once, in order, and may leave out overtaken ones."""

    placement: Placement


@value
class PushIn:
    """Items that a client pushes into a producer of the child; answered by `PushedIn` once they are journalled.

    Attributes:
        request: Asked again under it, they are not pushed again.
        place: Of the producer in the plan.
        items: Packed items.
        keys: Idempotency keys, one for each item.
    """

    request: str
    place: int
    items: bytes
    keys: tuple[str, ...]


@value
class AskItems:
    """Ask what became of items, at most `ASKED_MAX`; answered by `ItemsAre`."""

    request: str
    place: int
    seqs: tuple[int, ...]


Down: TypeAlias = Begin | Placed | PushIn | AskItems
DOWN: tuple[type, ...] = (Begin, Placed, PushIn, AskItems)


@value
class Born:
    """The child has bound its socket.

    Attributes:
        incarnation: Taken by the child after its start (R1).
        address: Where its PULL socket is bound.
        process: Its process id.
        library: Version of this library.
        python: Version of Python, such as "3.11".
        key: Public CURVE key of its links; None without encryption.
        bridge: Where executors of joined topologies reach it; "" when its flow has none.
    """

    incarnation: int
    address: str
    process: int
    library: str
    python: str
    key: bytes | None = None
    bridge: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.incarnation < 1 << 64:
            message = f"incarnation {self.incarnation}, expected 64 bits and not 0"
            raise ValueError(message)


@value
class Ready:
    """The nodes and feeds that a placement gives to the child are set up."""

    number: int


@value
class Letter:
    """A dead letter, for reports.

    Attributes:
        producer: Name of its producer, or of the node that pushed it in finish or a timer.
        seq: Its number there; -1 for what is no item of a producer.
        item: Packed item; None when it can't be packed or isn't kept.
        item_repr: Its repr, cut.
        attempts: How often it was tried.
        cause: Why; None at level CONFIRM.
    """

    producer: str
    seq: int
    item: bytes | None
    item_repr: str
    attempts: int
    cause: Cause | None


@value
class FeedCounts:
    """Where a producer stands; counts are those of its journal, so they are exact over restarts.

    Attributes:
        place: Of the producer in the plan.
        name: In the journal.
        introduced: Items that entered.
        completed: Items completed.
        failed: Dead letters.
        replayed: Times that an item was sent again.
        dropped: Values that Routes dropped.
        in_flight: Unfinished items.
        mark: Lowest unfinished number.
        ranges: Finished numbers above the mark, as (start, stop).
        position: Packed position of the source at the mark; None when it has none.
        check: Packed check of that position.
        is_at_end: Nothing more will be introduced.
        is_idle: Every item that entered has its outcome, committed.
        waiting_for: What holds it back, for people; None when nothing does.
        listens_on: ``host:port`` where senders reach it; None when it doesn't listen.
    """

    place: int
    name: str
    introduced: int = 0
    completed: int = 0
    failed: int = 0
    replayed: int = 0
    dropped: int = 0
    in_flight: int = 0
    mark: int = 0
    ranges: tuple[tuple[int, int], ...] = ()
    position: bytes | None = None
    check: bytes | None = None
    is_at_end: bool = False
    is_idle: bool = True
    waiting_for: str | None = None
    listens_on: str | None = None


@value
class StuckLink:
    """A process from which no word has come for long, though one is owed.

    Attributes:
        to: Its incarnation.
        for_s: Since the last word.
        waiting: Messages that wait for it: frames, sums, verdicts, marks.
    """

    to: int
    for_s: float
    waiting: int


@value
class Told:
    """How a child stands; about four times a second, and at once when something ended.

    Attributes:
        number: Newest placement that it has.
        feeds: Its producers.
        tasks_ended: Tasks that have ended.
        letters: Dead letters since the last one, at most 100 a message.
        node_failures: Failures that are no items of a producer, in all.
        state_lost: Accumulating nodes whose result isn't certain.
        items_done: Items taken into work, in all, for rates.
        queued: Items that wait before its tasks.
        oldest_s: Seconds since the piece of work in hand began; 0 when there is none.
        late_s: Seconds since its main loop, which moves its links, told last; 0 when it tells this itself.
        audits_fired: Trees that the audit found lost, in all (ackers).
        open_roots: Open trees (ackers).
        refused: Packets refused, in all.
        source_error: Why a source can't be read on; None when all can.
        source_is_code: User code raised it.
        source_trace: Where in it, as Python tells it; empty when no code of a user raised.
        stuck: Links on which nothing was confirmed for `STUCK_S`.
        outputs_dropped: Items of async outputs that found no room.
        is_doubled: It took items that may have come before, from a run that began anew (R17).
    """

    number: int
    feeds: tuple[FeedCounts, ...] = ()
    tasks_ended: tuple[int, ...] = ()
    letters: tuple[Letter, ...] = ()
    node_failures: int = 0
    state_lost: frozenset[str] = frozenset()
    items_done: int = 0
    queued: int = 0
    oldest_s: float = 0.0
    late_s: float = 0.0
    audits_fired: int = 0
    open_roots: int = 0
    refused: int = 0
    source_error: str | None = None
    source_is_code: bool = False
    source_trace: str = ""
    stuck: tuple[StuckLink, ...] = ()
    outputs_dropped: int = 0
    is_doubled: bool = False


@value
class PausedAt:
    """The producers and tasks of this child have no open root; confirms a pause by its number.

    Attributes:
        pause: Which.
        made: Frames that it had made by then, in all.
        done: Frames that it had worked on, in all; at level NONE, where there are no roots, the sums must agree (R6).
    """

    pause: int
    made: int = 0
    done: int = 0


@value
class Collected:
    """What Collect nodes of an ended task collected.

    Attributes:
        task: The task.
        items: Packed items, by name of the node; sent in parts of at most 1,000 items.
        is_last: Whether this is the last part.
    """

    task: int
    items: dict[str, bytes]
    is_last: bool = True


@value
class Broke:
    """The child can't go on; it exits after this.

    Attributes:
        kind: "flow" (import, graph or fingerprint), "setup", "source", "journal", "output", "cluster" or "internal".
        message: What, where, why, what to do.
        traceback: Of the user's code; "" when there is none.
    """

    kind: str
    message: str
    traceback: str = ""


@value
class PushedIn:
    """Answers `PushIn`: the items are in the journal, or why they are not.

    Attributes:
        request: Of the question.
        producer: Name of the producer.
        seqs: Their numbers there, in order.
        error: Why they were not taken; "" when they were.
        is_final: Asking again gives the same answer.
    """

    request: str
    producer: str = ""
    seqs: tuple[int, ...] = ()
    error: str = ""
    is_final: bool = True


@value
class ItemFate:
    """What became of an item.

    Attributes:
        state: "open", "completed" or "failed"; "" when there is no such item, or when it was forgotten.
        attempts: How often it was tried, when it failed.
        cause: Why it failed.
    """

    state: str = ""
    attempts: int = 0
    cause: Cause | None = None


@value
class ItemsAre:
    """Answers `AskItems`.

    Attributes:
        request: Of the question.
        fates: Of the items, in order.
        error: Why there is no answer now; "" when there is one.
    """

    request: str
    fates: tuple[ItemFate, ...] = ()
    error: str = ""


Up: TypeAlias = Born | Ready | Told | PausedAt | Collected | Broke | PushedIn | ItemsAre
UP: tuple[type, ...] = (Born, Ready, Told, PausedAt, Collected, Broke, PushedIn, ItemsAre)
