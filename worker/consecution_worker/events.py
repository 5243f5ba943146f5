"""What an agent is told, and what it wants done. Values only."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, TypeAlias

from consecution.value import value

if TYPE_CHECKING:
    from consecution.guarantee.messages import Cause
    from consecution.wire.cluster.from_worker import ChildId, FromWorker, HostFigures
    from consecution.wire.cluster.to_worker import (
        BundleInfo,
        ChildOrder,
        FetchLog,
        KeptJournal,
        NumbersNews,
        PlacementNews,
        ToWorker,
    )
    from consecution.wire.control import AskItems, PushIn, Up
    from consecution.wire.placement import Placement

Run: TypeAlias = tuple[int, int, int]

# ---- events ----------------------------------------------------------------------------------------------------------


@value
class Came:
    """The coordinator sent a message; ``request`` is the id that an answer repeats."""

    message: ToWorker
    request: str = ""


@value
class NewsCame:
    """The coordinator published something."""

    news: PlacementNews | NumbersNews


@value
class NotSent:
    """There is no connection to the coordinator now: what was to be sent is lost."""


@value
class CodeUnpacked:
    """The code of a bundle is there, checked and unpacked, now or long since."""

    sha256: str


@value
class CodeMissing:
    """The code of a bundle isn't there: its parts can be stored now."""

    sha256: str


@value
class CodeFailed:
    """The code of a bundle can't be had: another checksum, a zip that is refused, a full disk."""

    sha256: str
    reason: str


@value
class ChildStarted:
    """The process of a child runs."""

    id: ChildId
    process: int


@value
class ChildNotStarted:
    """The process of a child can't be started."""

    id: ChildId
    reason: str


@value
class ChildSaid:
    """A child said something on its channel."""

    id: ChildId
    message: Up


@value
class ChildMute:
    """A child's channel is broken though its process runs: bytes that are no message, or it reads nothing."""

    id: ChildId
    reason: str


@value
class ChildExited:
    """The process of a child has ended, and all that it said was told before.

    Attributes:
        id: Which child.
        code: Exit code; minus the signal's number when one killed it.
        runs: What its crash slot held.
        is_cut: The slot couldn't name all of it.
        log_tail: The end of its log.
        stack: What it wrote into its log since it was asked for its Python stack; "" when it wasn't.
    """

    id: ChildId
    code: int
    runs: tuple[Run, ...] = ()
    is_cut: bool = False
    log_tail: str = ""
    stack: str = ""


@value
class ChildFigures:
    """What psutil says of a child: resident bytes, share of one core, and whether it is stopped (SIGSTOP)."""

    memory_bytes: int
    cpu: float = 0.0
    is_stopped: bool = False


@value
class Looked:
    """The shell has looked at the host and at the children."""

    host: HostFigures
    children: dict[ChildId, ChildFigures] = field(default_factory=dict)


@value
class Leave:
    """Somebody wants this worker to end in good order (SIGTERM, Ctrl-C)."""


@value
class Tick:
    """Time has passed; comes after each batch of events, and when `AgentState.due` has come."""


AgentEvent: TypeAlias = (
    Came
    | NewsCame
    | NotSent
    | CodeUnpacked
    | CodeMissing
    | CodeFailed
    | ChildStarted
    | ChildNotStarted
    | ChildSaid
    | ChildMute
    | ChildExited
    | Looked
    | Leave
    | Tick
)

# ---- instructions ----------------------------------------------------------------------------------------------------


@value
class Send:
    """Send a message to the coordinator; it may be lost."""

    message: FromWorker


@value
class Listen:
    """Hear the news that the coordinator publishes at this port of its host; in place of an earlier one."""

    port: int


@value
class Redial:
    """Make the connections to the coordinator anew: nothing comes by those that are there."""


@value
class LookForCode:
    """See whether a bundle's code is there: `CodeUnpacked` or `CodeMissing` follows."""

    bundle: BundleInfo


@value
class StoreCode:
    """Add a part to a bundle that is being fetched; ``is_last``: check and unpack it, tell what became of it."""

    sha256: str
    data: bytes
    is_last: bool


@value
class RemoveCode:
    """Remove code that isn't named here and that nobody used for a while."""

    keep: frozenset[str]


@value
class RemoveJournal:
    """Remove a journal that nobody needs any more."""

    journal: KeptJournal


@value
class StartChild:
    """Start the process of a child: `ChildStarted` or `ChildNotStarted` follows."""

    order: ChildOrder


@value
class Relay:
    """Give a placement to a child."""

    id: ChildId
    placement: Placement


@value
class Carry:
    """Give a client's word to a child."""

    id: ChildId
    message: PushIn | AskItems


@value
class DumpStack:
    """Let a child write the Python stack of its threads to its log (SIGUSR1)."""

    id: ChildId


@value
class KillChild:
    """Kill a child's process (SIGKILL); `ChildExited` follows.

    Attributes:
        id: Which.
        is_blamed: That is the fault of the work in hand; if not, what its crash slot holds is forgotten.
    """

    id: ChildId
    is_blamed: bool = False


@value
class LeaveWord:
    """Leave word in the journal of a dead child on how it died: its next start blames the items that were in work.

    When none was, and items go one by one, it blames the only one that was under way.
    """

    order: ChildOrder
    cause: Cause


@value
class AnswerLog:
    """Read a part of a log and send it as `LogText` under this request id."""

    wanted: FetchLog
    request: str


@value
class Note:
    """Write a line to the worker's own log; a warning when a human may act."""

    text: str
    is_warning: bool = False


@value
class Exit:
    """End the agent: all is done, or the coordinator refused it for good (then ``reason`` says why)."""

    reason: str = ""


AgentInstruction: TypeAlias = (
    Send
    | Listen
    | Redial
    | LookForCode
    | StoreCode
    | RemoveCode
    | RemoveJournal
    | StartChild
    | Relay
    | Carry
    | DumpStack
    | KillChild
    | LeaveWord
    | AnswerLog
    | Note
    | Exit
)
