"""What the executor core hears, gives to run, and says: see core.py.

Rules of this module: values only.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeAlias

from consecution.executor.frames import EndMark, FlushMark, Frame
from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.executor.booking import Outcome
    from consecution.guarantee.changes import DeadLetter
    from consecution.guarantee.messages import Cause, Init, Sum, Verdict

Message: TypeAlias = Frame | FlushMark | EndMark


# ---- events ----------------------------------------------------------------------------------------------------------
@value
class Arrived:
    """A message for one of this executor's tasks; ``sender`` is a task number or -1 - a producer's place."""

    task: int
    sender: int
    message: Message


@value
class Taken:
    """The task ``target`` took ``items`` of what the task ``sender`` sent into work (R3)."""

    target: int
    sender: int
    items: int


@value
class Judged:
    """A verdict on one of a task's own roots."""

    task: int
    verdict: Verdict


@value
class Ran:
    """The shell has run work of a task.

    Attributes:
        work: What `next_work` gave.
        outcome: What it became; None for a Pull.
        pulled: What a Pull gave, as (place of the output, value).
        exhausted: The Pull was the last one of its node.
        cause: Why finish failed, if it did.
    """

    work: Work
    outcome: Outcome | None = None
    pulled: Sequence[tuple[int, object]] = ()
    exhausted: bool = False
    cause: Cause | None = None


@value
class Journalled:
    """The next consecutor has journalled the oldest frame that the door ``task`` still had open (R21)."""

    task: int


Event: TypeAlias = Arrived | Taken | Judged | Ran | Journalled


# ---- work and instructions -------------------------------------------------------------------------------------------
class Kind(enum.Enum):
    """What the shell is to call on a task's runner."""

    RUN = enum.auto()
    FLUSH = enum.auto()
    TIMER = enum.auto()
    PULL = enum.auto()
    RESUME = enum.auto()
    """Never given by `next_work`: the shell says what a task's event loop came to."""


@value
class Work:
    """One call of a runner: a frame, a flush, a timer or some more of finish."""

    task: int
    kind: Kind
    frame: Frame | None = None
    sender: int = 0
    node: int = -1
    mark: FlushMark | None = None


@value
class Send:
    """Send a message from one of this executor's tasks to a task, which may be in this executor."""

    sender: int
    task: int
    message: Message


@value
class Tell:
    """Tell the ackers: inits before the sums."""

    inits: Sequence[Init]
    sums: Sequence[Sum]


@value
class Credit:
    """Tell the executor or producer of ``sender`` that ``target`` took items into work."""

    target: int
    sender: int
    items: int


@value
class NodeFailed:
    """Something failed that isn't an item of a producer: an own value, a timer, finish; or any item at level NONE."""

    cause: Cause | None
    letter: DeadLetter | None = None
    node: int = -1


@value
class Lost:
    """Accumulating nodes whose state a replay of an own value passed again (R17)."""

    nodes: frozenset[str]


@value
class TaskEnded:
    """A task has ended; its runner may be torn down when the run ends."""

    task: int


Instruction: TypeAlias = Send | Tell | Credit | NodeFailed | Lost | TaskEnded
