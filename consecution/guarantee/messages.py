"""What executors, ackers and producers tell each other about trees (protocol.md R7 to R13).

Rules of this module: values only, never changed, without behaviour. A *root* and an *edge id* are 64 random bits; an
*index* is an item's place in the batch that its root stands for; an *incarnation* is one start of a process.

Births (R1, R5) don't travel beside every incarnation. `Init` and `Sum` carry `placement`, the newest number that their
sender had when it made them. Nobody sends to an incarnation that its placement doesn't list, so whoever `sent_to` or
`producer` names was born at or before that number. Once the reader's number has reached it, an incarnation that isn't
listed is dead, and before that it is not yet known: R5 needs no more, also when placements are skipped (schedule 20).
The default 0 stands for "born before the first placement", which is all that a run in one process needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Collection

Root: TypeAlias = int
Incarnation: TypeAlias = int
Origin: TypeAlias = tuple[int, int]  # (root, index)

NOWHERE: frozenset[int] = frozenset()
WHOLE = -1  # as an index in a crash slot: every item of the root (R15), when the runs of a frame didn't fit
NO_NAMES: frozenset[str] = frozenset()


@value
class Cause:
    """Why an item failed, as a user reads it.

    Attributes:
        node: Name of the node whose code failed.
        exception: Qualified name of the exception's type, such as ``ValueError``.
        message: The exception's text.
        traceback: At most 2 KiB, its end; empty for a crash.
        value: Repr of the value in work at that node, cut at 200 characters.
        host: Host on which it failed.
        process: Operating system's id of the process on which it failed.
    """

    node: str
    exception: str
    message: str
    traceback: str = ""
    value: str = ""
    host: str = ""
    process: int = 0


@value
class Fail:
    """Items of one root that failed for one cause (R10).

    Attributes:
        root: Whose.
        indexes: Of the items in its batch.
        cause: None at level CONFIRM.
        went_on: Values of theirs had left the node before it failed: a replay may pass again what lies behind it.
    """

    root: Root
    indexes: tuple[int, ...]
    cause: Cause | None
    went_on: bool = False


@value
class Init:
    """A producer introduced a batch (R7): ``word`` is the xor of the ids of its first frames.

    ``placement`` is the sender's newest number, as the module says.
    """

    root: Root
    producer: Incarnation
    word: int
    sent_to: frozenset[Incarnation]
    placement: int = 0


@value
class Sum:
    """What a task's running word of one root held when it was emptied (R9, R10).

    Attributes:
        sent_to: Incarnations to which frames of this root went since the last sum.
        fails: Rides in the sum that closes the frame in which the items failed.
        dropped: Values that a Route dropped.
        reached: Names of the accumulating nodes that values of this root reached (R17).
        refused: True when a frame of this root was refused from a living sender: the tree has lost something (R4).
        placement: The sender's newest number, as the module says.
    """

    root: Root
    producer: Incarnation
    word: int
    sent_to: frozenset[Incarnation] = NOWHERE
    fails: tuple[Fail, ...] = ()
    dropped: int = 0
    reached: frozenset[str] = NO_NAMES
    refused: bool = False
    placement: int = 0


@value
class Suspects:
    """What an incarnation had in work when it died abnormally (R15): origins, and how it died.

    An origin ``(root, WHOLE)`` names every item of the root.
    """

    incarnation: Incarnation
    origins: tuple[Origin, ...]
    cause: Cause


@value
class Verdict:
    """What became of a root (R10, R12), told once to its producer.

    Attributes:
        failed: Each failed index once, under the cause that came first; empty when every item of the root is completed.
        lost: The tree lost something by a death, or by what the audit found; nothing is known of its items.
        suspects: Indexes of this root's items that a dead incarnation had in work (``WHOLE``: all of them); each is
            charged or goes solo (R15).
        crash: How that incarnation died; without suspects how one did that had nothing in its slot; None when all that
            the tree names had something else in work, or were no crashes (a move, a host that is gone, the audit).
        charged: True when each of `suspects` was alone in its slot: each is charged an attempt.
        dropped: Values that Routes dropped.
        reached: Names of the accumulating nodes that the tree reached (R17).
    """

    root: Root
    producer: Incarnation
    failed: tuple[Fail, ...] = ()
    lost: bool = False
    suspects: tuple[int, ...] = ()
    crash: Cause | None = None
    charged: bool = False
    dropped: int = 0
    reached: frozenset[str] = NO_NAMES


@value
class Placed:
    """A placement came (R4, R5).

    Attributes:
        number: Its number; one that is not newer than the reader's is ignored.
        living: Incarnations that it lists; a mapping from incarnation to birth does as well.
        suspects: What those had in work that died abnormally (R15). A placement repeats the suspects of the ones before
            it that some acker may have skipped; whom the reader knows already is ignored.
    """

    number: int
    living: Collection[Incarnation]
    suspects: tuple[Suspects, ...] = ()


@value
class Audit:
    """An incarnation names the roots that it has queued, in work, held, unsent, without credit or unconfirmed (R13).

    Attributes:
        incarnation: Who names them.
        roots: Those whose acker is the reader.
        number: The round of the reader that it answers; it is made when that round was heard, not before.
    """

    incarnation: Incarnation
    roots: Collection[Root]
    number: int


@value
class Tick:
    """Time has passed; each second or so."""
