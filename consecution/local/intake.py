"""The intake: all producers of a run, their journal and their counts, whatever the mode.

Rules of this module: a thin shell round the windows, used from one thread. Outcomes are told after the commit that
holds them (R17); a full disk stops the reading, never the finishing.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.errors import SourceError, UserCodeError
from consecution.executor.events import NodeFailed
from consecution.guarantee.levels import Robustness
from consecution.journal.base import JournalFull, Round
from consecution.local.notices import NOBODY
from consecution.local.stall import WINDOW_FULL
from consecution.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consecution.executor.events import Message
    from consecution.guarantee.messages import Init, Sum
    from consecution.journal.base import Journal
    from consecution.local.feed import Feed
    from consecution.local.notices import Audience
    from consecution.local.receipts import Receipts
    from consecution.local.stores import InWork
    from consecution.wire.placement import Death

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 0.05
FLUSH_LOOK_S = 0.1
FULL_RETRY_S = 0.5
FULL_TELL_S = 60.0
FAILURES_MAX = 1000
LOST_OFTEN = 3
NAMED_MAX = 20


@dataclass(slots=True)
class Tally:
    """Counts of a run, told after their commit."""

    completed: int = 0
    failed: int = 0
    replayed: int = 0
    dropped: int = 0
    node_failures: int = 0
    state_lost: frozenset[str] = frozenset()
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=FAILURES_MAX))
    told: int = 0
    """Failures in all; the newest of them are in `failures`."""
    introduced: int = 0
    """Items that entered and that no feed of this run counts; below 0 to leave out some that one does."""

    def add(self, failure: Failure) -> None:
        """Keep a failure."""
        self.failures.append(failure)
        self.told += 1


class Intake:
    """The producers at work.

    Args:
        feeds: One for each producer.
        level: The consecutor's robustness.
        journal: None when nothing is journalled.
        receipts: Of pushed items.
        tally: Counts to go on from, after a restart.
        files: What is in work beside the journal; None without one.
        audience: Other consecutors that are told of outcomes.
        marks_begin: The journal must know that a pass has begun before anything of it can come to another consecutor:
            after a death that one has items of a pass which, for this one, never was.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        level: Robustness,
        *,
        journal: Journal | None,
        receipts: Receipts,
        tally: Tally,
        files: InWork | None = None,
        audience: Audience = NOBODY,
        marks_begin: bool = False,
    ) -> None:
        self.feeds = list(feeds)
        self._marks_begin = marks_begin
        self._first = 0  # whose turn it is while items go one by one
        self.tally = tally
        self._files = files
        self._error: Exception | None = None
        self._level = level
        self._audience = audience
        self._journal = journal
        self._receipts = receipts
        self._committed_at = 0.0
        self._reads_at = 0.0  # not sooner: the disk was full
        self._commits_at = 0.0
        self._full: JournalFull | None = None
        self._full_told_at = -math.inf

    @property
    def error(self) -> Exception | None:
        """Why a source could not be read on; what had entered is finished, then it is raised."""
        return self._error or next((feed.error for feed in self.feeds if feed.error is not None), None)

    @property
    def is_at_end(self) -> bool:
        """Whether nothing more will be introduced."""
        return all(feed.is_at_end for feed in self.feeds)

    @property
    def is_idle(self) -> bool:
        """Whether every item that entered has its outcome, committed."""
        return all(feed.is_settled and not self.resumes(feed) for feed in self.feeds)

    def resumes(self, feed: Feed) -> bool:
        """Whether items that had entered before the restart are still to be sent: a drain finishes them too.

        After an error of a source they stay in the journal.
        """
        return feed.is_resuming and self.error is None

    @property
    def is_committed(self) -> bool:
        """Whether the journal lags behind in nothing."""
        return not any(feed.is_changed for feed in self.feeds)

    @property
    def has_space(self) -> bool:
        """Whether the journal took what it was last given."""
        return self._full is None

    @property
    def introduced(self) -> int:
        """Items that entered, over all restarts."""
        return self.tally.introduced + sum(feed.window.next_seq for feed in self.feeds)

    @property
    def completed(self) -> int:
        """Items completed; at level NONE those that no failure was told of."""
        if self._level is Robustness.NONE:
            return max(0, self.introduced - self.tally.node_failures)
        return self.tally.completed

    @property
    def has_suspects(self) -> bool:
        """Whether an item must be alone in work (R15), sent or still to be taken back."""
        return any(feed.window.has_suspects or feed.awaits_suspects for feed in self.feeds)

    @property
    def in_flight(self) -> int:
        """Unfinished items."""
        return sum(feed.window.unfinished for feed in self.feeds)

    def be_careful(self, is_careful: bool) -> None:
        """Send items one by one from now on, or no longer: processes die, and nobody knows of which item."""
        for feed in self.feeds:
            if feed.window.is_careful is is_careful:
                continue
            feed.window.be_careful(is_careful)
            if not is_careful:
                log.warning("items go in batches again producer=%s", feed.name)
                continue
            often = feed.window.lost_often(LOST_OFTEN)
            log.warning(
                "processes die again and again, and no item was found guilty: items go one by one from now on "
                "producer=%s items that were under way at each of the last %d deaths: %s",
                feed.name, LOST_OFTEN, _named(often) or "none that this process knows of",
            )  # fmt: skip

    def hear_deaths(self, deaths: Sequence[Death]) -> None:
        """Hear which processes died while this run goes on: the next start blames nobody for them any more (R15)."""
        if self._files is not None:
            self._files.heard(deaths)

    # ---- feeding -------------------------------------------------------------------------------------------------

    def feed(
        self, now: float, *, reads: bool, draining: bool, resumes: bool = False, is_still: bool = False
    ) -> list[Init | Sum]:
        """Send replays and flush marks that are due, and read some more.

        Args:
            now: Monotonic seconds.
            reads: Whether producers may read.
            draining: Whether the run, or a pause of it, waits for all that entered.
            resumes: Whether what had entered before the restart is sent though producers may not read.
            is_still: Something is to move: failed and lost items wait (R6).

        Returns:
            What to tell the ackers, in order.
        """
        told: list[Init | Sum] = []
        for feed in self._in_turn():
            self._hold(feed)
            feed.attend(reads=reads and self.error is None)
            if feed.sending.is_open and not is_still:
                told += feed.replays(now)
            may_send = reads or (resumes and self.resumes(feed))
            if may_send and self.error is None and now >= self._reads_at and feed.may_read:
                told += self._read(feed, now)
            feed.flush(now, draining=draining)
            while feed.sending.failures:
                self.node_failed(NodeFailed(feed.sending.failures.pop()))
        return told

    def _in_turn(self) -> list[Feed]:
        """The feeds; where only one item may be out in all, the one after that which sent last comes first."""
        feeds = self.feeds
        if len(feeds) > 1 and feeds[0].window.is_careful:
            for place, feed in enumerate(feeds):
                if feed.window.is_out:
                    self._first = (place + 1) % len(feeds)
            feeds = feeds[self._first :] + feeds[: self._first]
        return feeds

    def _hold(self, feed: Feed) -> None:
        """Let a producer send nothing while an item of another one must be alone under way (R15)."""
        if len(self.feeds) == 1:
            return
        others_are_out = any(other.window.is_out for other in self.feeds if other is not feed)
        if feed.window.is_careful:
            feed.window.hold(others_are_out)
            return
        resumes = self.error is None
        of_suspects = (one for one in self.feeds if one.window.has_suspects or (resumes and one.awaits_suspects))
        suspected = next(of_suspects, None)
        feed.window.hold(suspected is not None and (others_are_out if suspected is feed else True))

    def _read(self, feed: Feed, now: float) -> list[Init | Sum]:
        try:
            told = feed.read(now)
        except JournalFull as full:
            self._reads_at = self._is_full(full, now)
            return []
        except (SourceError, UserCodeError) as error:
            log.error("source failed producer=%s error=%s", feed.name, error)
            if isinstance(error, UserCodeError):  # in a worker's log; who runs it here is told at its end
                log.info("where it failed:", exc_info=error)
            self._error = error
            return []
        self._full = None
        if told and self._marks_begin:
            self._marks_begin = not (self.commit(now, force=True) and self.sync(now))
        return told

    def due(self) -> Iterator[tuple[Feed, int, Message]]:
        """Give what may be sent now: (feed, task, message), in send order."""
        for feed in self.feeds:
            for task, message in feed.sending.due():
                yield feed, task, message

    # ---- journal -------------------------------------------------------------------------------------------------

    def commit(self, now: float, *, force: bool = False, is_ending: bool = False) -> bool:
        """Commit what changed, when it is time, and tell it then.

        Args:
            now: Monotonic seconds.
            force: Now, whatever the time.
            is_ending: Somebody waits for the last outcomes.

        Returns:
            Whether something was committed.
        """
        is_urgent = force
        changed: list[Feed] = []
        for feed in self.feeds:
            is_urgent = feed.take_changes() or is_urgent
            if feed.is_changed and feed.may_commit:
                changed.append(feed)
        if not changed:
            return False
        if not is_urgent and now - self._committed_at < COMMIT_EVERY_S:
            is_awaited = len(self._receipts) > 0
            for feed in changed:
                is_over = feed.window.is_idle and (feed.is_at_end or is_ending)
                is_urgent = is_urgent or ((is_awaited or is_over) and bool(feed.changes))
            if not is_urgent:
                return False
        if self._journal is not None:
            if now < self._commits_at and not force:
                return False
            try:
                self._journal.commit(Round(tuple(feed.round() for feed in changed)))
            except JournalFull as full:
                self._commits_at = self._is_full(full, now)
                return False
            self._reads_at = 0.0  # what is finished makes space
        self._committed_at = now
        self._full = None
        for feed in changed:
            self._tell(feed)
        return True

    def sync(self, now: float) -> bool:
        """Let the disk hold all outcomes, before somebody in another process hears that all is over (R19).

        A task that has ended takes nothing more. If a power cut then took an outcome, the replay would find nobody.

        Returns:
            False when the disk is full: to be called again later.
        """
        if self._journal is None:
            return True
        if now < self._commits_at:
            return False
        try:
            self._journal.commit(Round(()), sync=True)
        except JournalFull as full:
            self._commits_at = self._is_full(full, now)
            return False
        return True

    def _tell(self, feed: Feed) -> None:
        """Count and tell what the journal holds now."""
        changes, tally = feed.committed(), self.tally
        tally.completed += sum(map(len, changes.completed))
        tally.failed += len(changes.dead)
        tally.replayed += changes.replayed
        tally.dropped += changes.dropped
        tally.state_lost |= changes.state_lost
        for letter in changes.dead:
            tally.add(Failure(feed.name, letter.seq, letter.item, letter.attempts, letter.cause))
        self._receipts.settle(feed.name, changes)

    def _is_full(self, full: JournalFull, now: float) -> float:
        """Intake stops; what entered goes on; gives when it is tried again (fault matrix 20)."""
        if self._full is None and now >= self._full_told_at + FULL_TELL_S:
            self._full_told_at = now
            log.warning("journal disk full, intake stopped: %s", full)
        self._full = full
        return now + FULL_RETRY_S

    def node_failed(self, failed: NodeFailed) -> None:
        """Count what failed and isn't an item of a producer (or any item, at level NONE)."""
        letter, cause = failed.letter, failed.cause
        name = cause.node if cause is not None else ""
        item = letter.item[1] if letter is not None and isinstance(letter.item, tuple) else None
        attempts = letter.attempts if letter is not None else 1
        self.tally.node_failures += 1
        self.tally.add(Failure(name, -1, item, attempts, cause))
        self._audience.node_failed(name, item, attempts, cause)

    # ---- waiting -------------------------------------------------------------------------------------------------

    def wait_for(
        self, now: float, *, reads: bool, resumes: bool = False, sends: bool = True
    ) -> tuple[list[float], list[int]]:
        """Say what to wait for: times at which something is due, and files that are readable then; see `feed`."""
        until: list[float] = []
        files: list[int] = []
        for feed in self.feeds:
            if feed.producer.inquiries is not None and (asked := feed.producer.inquiries.fileno()) is not None:
                files.append(asked)
            at = feed.window.next_replay_at()
            if at is not None and sends and feed.sending.is_open:  # else a placement opens the way, and wakes the loop
                until.append(at)
            if not feed.window.is_idle and (not reads or feed.is_at_end or not feed.window.room()):
                until.append(now + FLUSH_LOOK_S)  # a flush mark may become due (R18)
            if feed.is_changed and feed.may_commit:
                until.append(max(self._committed_at + COMMIT_EVERY_S, self._commits_at))
            if resumes and self.resumes(feed) and feed.may_read:
                until.append(now)
            if reads and self.error is None and feed.may_read:
                if now < self._reads_at:
                    until.append(self._reads_at)
                    continue
                if feed.has_backlog:
                    until.append(now)
                elif (ready := feed.asking.ready_in()) is not None:
                    until.append(now + ready)
                if (file := feed.asking.fileno()) is not None:
                    files.append(file)
        return until, files

    def waiting_for(self) -> str | None:
        """What holds the intake back, for people; None when nothing does."""
        if self._full is not None:
            return f"space for the journal: {self._full}"
        if any(not feed.window.room() and not feed.window.is_held for feed in self.feeds):
            return WINDOW_FULL
        waits = (feed.producer.waiting_for() for feed in self.feeds if feed.is_open)
        return next(filter(None, waits), None)

    def close(self) -> None:
        """Close all sources; what their own code raises there is a failure that is no item."""
        for feed in self.feeds:
            if (cause := feed.close()) is not None:
                log.warning("close failed producer=%s: %s: %s", feed.name, cause.exception, cause.message)
                self.node_failed(NodeFailed(cause))


def _named(seqs: Sequence[int]) -> str:
    """Numbers of items for people.

    >>> _named([1, 2, 5]), _named(range(30))[-20:]
    ('1, 2, 5', '18, 19 and 10 others')
    """
    more = f" and {len(seqs) - NAMED_MAX} others" if len(seqs) > NAMED_MAX else ""
    return ", ".join(map(str, seqs[:NAMED_MAX])) + more
