"""What an executor says of itself to its parent, and what both make of each other's words.

Rules of this module: values in, values out.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.errors import (
    ClusterError,
    CodecError,
    ConsecutionError,
    GraphError,
    JournalError,
    OutputClosed,
    SourceError,
    UserCodeError,
    short_repr,
)
from consecution.guarantee.levels import Robustness
from consecution.journal.base import Stand
from consecution.local.opening import Settings
from consecution.wire.codec import pack, unpack
from consecution.wire.control import Begin, Broke, FeedCounts, Letter

if TYPE_CHECKING:
    from consecution.local.intake import Intake
    from consecution.report import Failure


def settings_of(begin: Begin) -> Settings:
    """The run's settings as the local runtime takes them."""
    one = begin.settings
    return Settings(
        name=one.name,
        level=Robustness[one.level],
        replays_max=one.replays_max,
        timeout_s=one.timeout_s,
        pending_max=one.pending_max,
        journal=None if begin.journal is None else Path(begin.journal),
        resume="position" if one.resume == "position" else "start",
    )


def counts_of(intake: Intake) -> list[FeedCounts]:
    """Where each producer stands. The counts of all are told with the first."""
    tally = intake.tally
    counts: list[FeedCounts] = []
    for feed in intake.feeds:
        is_first = not counts
        kept = feed.kept
        counts.append(
            FeedCounts(
                place=feed.place,
                name=feed.name,
                introduced=feed.introduced,
                completed=intake.completed if is_first else 0,
                failed=tally.failed if is_first else 0,
                replayed=tally.replayed if is_first else 0,
                dropped=tally.dropped if is_first else 0,
                in_flight=feed.window.unfinished,
                # Whoever goes on elsewhere goes by this: only what the journal holds counts.
                mark=feed.window.mark if kept is None else kept.mark,
                ranges=tuple(feed.window.finished) if kept is None else kept.ranges,
                position=None if kept is None or kept.position is None else pack(kept.position),
                check=None if kept is None or kept.check is None else pack(kept.check),
                is_at_end=feed.is_at_end,
                is_idle=feed.window.is_idle and not feed.changes and not intake.resumes(feed),
                waiting_for=intake.waiting_for(),
                listens_on=feed.producer.listens_on if feed.is_open else None,
            )
        )
    return counts


def stand_of(counts: FeedCounts) -> Stand:
    """Where a producer stood that ran on another host."""
    return Stand(
        mark=counts.mark,
        ranges=counts.ranges,
        next_seq=max(counts.introduced, counts.mark, *(stop for _, stop in counts.ranges), 0),
        failed=counts.failed,
        position=None if counts.position is None else unpack(counts.position),
        check=None if counts.check is None else unpack(counts.check),
    )


def letter_of(failure: Failure) -> Letter:
    """A failure as it travels."""
    try:
        item = pack(failure.item)
    except CodecError:
        item = None
    return Letter(failure.producer, failure.seq, item, short_repr(failure.item), failure.attempts, failure.cause)


def broke_of(error: BaseException, *, is_loading: bool) -> Broke:
    """Say why the process can't go on."""
    text = "".join(traceback.format_exception(error))[-4096:]
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (UserCodeError, "setup"),
        (SourceError, "source"),
        (JournalError, "journal"),
        (GraphError, "flow"),
        (OutputClosed, "output"),
        (ClusterError, "cluster"),
        (ConsecutionError, "internal"),
    )
    other = type(error), "flow" if is_loading else "internal"
    cls, kind = next((found for found in kinds if isinstance(error, found[0])), other)
    return Broke(kind, f"{cls.__name__}: {error}", text)


def error_of(broke: Broke) -> ConsecutionError:
    """What `broke_of` was told, for who started the process; the traceback goes along as a note."""
    if broke.kind == "output":
        closed = OutputClosed(broke.message)
        closed.__cause__ = BrokenPipeError(broke.message)
        return closed
    kinds: dict[str, type[ConsecutionError]] = {
        "flow": GraphError,
        "setup": UserCodeError,
        "source": SourceError,
        "journal": JournalError,
        "cluster": ClusterError,
    }
    kind = kinds.get(broke.kind, ConsecutionError)
    error = kind(broke.message.removeprefix(f"{kind.__name__}: "))
    if broke.traceback:
        error.add_note(f"In the executor:\n{broke.traceback.rstrip()}")
    return error
