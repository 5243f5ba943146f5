"""Report: what a run came to; Progress: where it stands.

Rules of this module: values only. Counts are exact, over restarts too, when a journal is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consecution.guarantee.messages import Cause


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed for good.

    Attributes:
        producer: Who introduced it; the node's name for a value that finish or a timer pushed.
        seq: Its number there; -1 for what is no item of a producer.
        item: The item as it was introduced; None when it isn't kept.
        attempts: Attempts counted against it.
        cause: Why; None at level CONFIRM.
    """

    producer: str
    seq: int
    item: Any
    attempts: int
    cause: Cause | None

    def __str__(self) -> str:
        """One line that names the item, the node and the cause."""
        failed = what_failed(self.producer, self.seq, self.cause, has_item=self.item is not None)
        return failed if self.cause is None else f"{failed}: {self.cause.exception}: {self.cause.message}"


def what_failed(producer: str, seq: int, cause: Cause | None, *, has_item: bool) -> str:
    """Say what failed, and at which node.

    Args:
        producer: As of `Failure`.
        seq: As of `Failure`.
        cause: As of `Failure`.
        has_item: There is something that it failed with; a ``teardown`` or a producer's ``close`` has nothing.

    >>> what_failed("rows", 3, None, has_item=True)
    'item 3 of rows failed'
    """
    what = f"item {seq} of {producer}" if seq >= 0 else f"a value of {producer}"
    if cause is None:
        return f"{what} failed"
    if seq < 0 and not has_item and cause.node == producer:
        return f"{producer} failed outside of any item"
    return f"{what} failed at node {cause.node!r}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to. True only if all items completed and no state was lost.

    Attributes:
        introduced: Items that entered.
        completed: Items that were processed completely.
        failed: Items that failed for good: dead letters.
        replayed: Times that an item was sent again.
        dropped: Values that a Route dropped.
        outputs_dropped: Items of async outputs for which the next consecutor had no room, in this run.
        audits_fired: Trees that the audit found to have lost something, in this run; their items were sent again. It
            should be 0: more is a bug, to be reported.
        elapsed_s: Seconds of this run.
        failures: The newest failures, oldest first, at most 1,000.
        collected: What Collect nodes collected, by their names.
        state_lost: Accumulating nodes whose result isn't certain.
        by_consecutor: Reports of the connected consecutors, by name.
        is_finished: False when the run was drained or stopped before its producers ended.
    """

    introduced: int = 0
    completed: int = 0
    failed: int = 0
    replayed: int = 0
    dropped: int = 0
    elapsed_s: float = 0.0
    failures: tuple[Failure, ...] = ()
    collected: dict[str, list[Any]] = field(default_factory=dict)
    state_lost: frozenset[str] = frozenset()
    by_consecutor: dict[str, Report] = field(default_factory=dict)
    is_finished: bool = True
    outputs_dropped: int = 0
    audits_fired: int = 0

    def __bool__(self) -> bool:
        """Whether every item that entered is completed, and every result certain."""
        return self.introduced == self.completed and not self.failed and not self.state_lost

    def __str__(self) -> str:
        """One line of counts."""
        parts = [f"{self.introduced:,} introduced", f"{self.completed:,} completed", f"{self.failed:,} failed"]
        if self.replayed:
            parts.append(f"{self.replayed:,} replayed")
        if self.dropped:
            parts.append(f"{self.dropped:,} dropped")
        if self.outputs_dropped:
            parts.append(f"{self.outputs_dropped:,} dropped by async outputs")
        if self.state_lost:
            parts.append("state lost at " + ", ".join(sorted(self.state_lost)))
        return f"{', '.join(parts)} in {self.elapsed_s:.2f} s"


def combined(reports: Mapping[str, Report], *, elapsed_s: float) -> Report:
    """Give one report of several consecutors that ran together.

    Args:
        reports: By the consecutor's name, upstream first.
        elapsed_s: Of all of them together.

    Returns:
        Their sums. ``collected`` has each node's name; one that several of them have is "consecutor.node" for each.

    >>> both = combined({"a": Report(introduced=2, completed=2), "b": Report(introduced=1, failed=1)}, elapsed_s=1.0)
    >>> print(both, bool(both), both.by_consecutor["a"].completed)
    3 introduced, 2 completed, 1 failed in 1.00 s False 2
    """
    parts = list(reports.values())
    names = [name for part in parts for name in part.collected]
    collected = {
        name if names.count(name) == 1 else f"{consecutor}.{name}": items
        for consecutor, part in reports.items()
        for name, items in part.collected.items()
    }
    return Report(
        introduced=sum(part.introduced for part in parts),
        completed=sum(part.completed for part in parts),
        failed=sum(part.failed for part in parts),
        replayed=sum(part.replayed for part in parts),
        dropped=sum(part.dropped for part in parts),
        outputs_dropped=sum(part.outputs_dropped for part in parts),
        audits_fired=sum(part.audits_fired for part in parts),
        elapsed_s=elapsed_s,
        failures=tuple(failure for part in parts for failure in part.failures),
        collected=collected,
        state_lost=frozenset(node for part in parts for node in part.state_lost),
        by_consecutor=dict(reports),
        is_finished=all(part.is_finished for part in parts),
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands; see the ``progress`` argument of `Consecutor.run`.

    Attributes:
        introduced: As in Report; so are completed, failed, replayed and elapsed_s.
        completed: Items completed.
        failed: Dead letters.
        replayed: Times that an item was sent again.
        in_flight: Items introduced and unfinished.
        elapsed_s: Seconds of this run.
        waiting_for: What holds the run back, for people; None when nothing does.
    """

    introduced: int
    completed: int
    failed: int
    replayed: int
    in_flight: int
    elapsed_s: float
    waiting_for: str | None = None


def joint_progress(parts: Sequence[Progress], elapsed_s: float) -> Progress:
    """Where several consecutors together stand.

    Args:
        parts: Of each, upstream first; what holds the last one back holds all of them back.
        elapsed_s: Of all of them together.
    """
    return Progress(
        introduced=sum(part.introduced for part in parts),
        completed=sum(part.completed for part in parts),
        failed=sum(part.failed for part in parts),
        replayed=sum(part.replayed for part in parts),
        in_flight=sum(part.in_flight for part in parts),
        elapsed_s=elapsed_s,
        waiting_for=next((part.waiting_for for part in reversed(parts) if part.waiting_for), None),
    )
