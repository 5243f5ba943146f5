"""A producer at work: its source, its window, its part of the journal, and what it sends.

Rules of this module: a thin shell, used from the engine's thread. What was read is either out under a root, waiting
for the journal (`_unjournalled`), or finished: never dropped. The mark's source position is known at any time (R17).
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consecution.errors import JournalError, SourceError, UserCodeError, short_repr
from consecution.executor.causes import cause_of
from consecution.executor.frames import EndMark, FlushMark
from consecution.guarantee.changes import Changes
from consecution.journal.base import REPLAY_KIND, JournalFull, ProducerHeader, ProducerRound
from consecution.local.asking import Asking
from consecution.local.restart import CRASH
from consecution.producers.base import Read, SourceClass
from consecution.producers.inquiries import Fate
from consecution.values import ATOMS
from consecution.wire.codec import ItemNotPackable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consecution.errors import ConsecutionError
    from consecution.guarantee.messages import Cause, Init, Sum, Verdict
    from consecution.guarantee.window import Batch, Window
    from consecution.journal.base import Journal, Outcome, Restored
    from consecution.journal.slots import Roots
    from consecution.local.notices import Notices
    from consecution.local.receipts import Receipts
    from consecution.local.sending import Sending
    from consecution.producers.base import Producer

log = logging.getLogger(__name__)

BATCH_FIRST = 64
BATCH_MAX = 4096
BATCH_MAX_REREAD = 4 * BATCH_MAX  # on one machine; elsewhere a batch is what a death takes, or what a frame holds
BATCH_S = 0.02  # a batch grows while the one before took less than half of this, and shrinks when it took more
BATCH_LARGE_S = 0.0025  # beyond `BATCH_MAX` it grows while the one before took less: more doesn't stay in the caches
NO_POSITION = object()
UNPACKABLE = "consecution: this item could not be packed"


@dataclass(slots=True)
class _Span:
    """Items that were read together: where they stand in the source."""

    first_seq: int
    count: int
    positions: Sequence[object]
    next_position: object
    last_item: object


@dataclass(frozen=True, slots=True)
class KeptPlace:
    """Where the journal says that a producer stands; see `ProducerRound`."""

    mark: int
    ranges: tuple[tuple[int, int], ...]
    next_seq: int
    position: object
    check: object


class Feed:
    """One producer of a run.

    Args:
        place: Among ``plan.feeds``.
        name: In the journal.
        producer: Closed; `begin` opens it.
        window: Its window.
        sending: What deals its batches to tasks.
        journal: None when nothing is journalled.
        receipts: Told when items are journalled.
        root_table: Maps roots to items for whoever reads the crash slots; None without a journal on disk.
        notices: What others are told of its outcomes; None when nobody is.
        room_min: While the window is nearly full, no batch is read before it has room for so many items, or for one
            batch if that is smaller; 1 where nodes hold items, which must be able to fill the window.
        batch_max: At most so many items under one root.

    Attributes:
        asking: What asks the producer.
        kept: What the journal's last transaction says; None before the first, and without a journal.
        has_more: The last read gave as many items as were asked for: the next one may give some at once.
    """

    def __init__(
        self,
        place: int,
        name: str,
        producer: Producer,
        window: Window,
        sending: Sending,
        *,
        journal: Journal | None,
        receipts: Receipts,
        root_table: Roots | None,
        notices: Notices | None = None,
        room_min: int = 1,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._room_min = room_min
        self._batch_max = batch_max
        self.place = place
        self.name = name
        self.producer = producer
        self.asking = Asking(producer, name)
        self.window = window
        self.sending = sending
        self._journal = journal
        self._receipts = receipts
        self._root_table = root_table
        self._notices = notices
        self._told_stand: tuple[int, tuple[tuple[int, int], ...]] | None = None
        self._unread: tuple[int, tuple[tuple[int, int], ...]] | None = None
        self._has_positions = producer.source is SourceClass.RE_READABLE
        self._spans: deque[_Span] = deque()
        self._unjournalled: Read | None = None
        self._backlog: Iterator[tuple[int, Any]] | None = None
        self._attempts: dict[int, tuple[int, bool]] = {}
        self._crashes: dict[int, Cause] = {}
        self._suspects_left: set[int] = set()  # of before the restart, not taken back yet
        self._batch = min(BATCH_FIRST, batch_max)
        self._append_max = BATCH_MAX  # less while the journal's disk is nearly full
        self._read_at: float | None = None  # when the last full batch was read
        self.has_more = True
        self.changes = Changes()
        self.is_exhausted = False
        self.is_open = False
        self.has_sent_end = False
        self._committed: tuple[int, int] | None = None
        self._asked: ProducerRound | None = None
        self.kept: KeptPlace | None = None
        self._position: object = NO_POSITION
        self._has_moved = False  # the source went on without an item
        self._check: object = None
        self._admits: bool | None = None

    @property
    def header(self) -> ProducerHeader:
        """How the journal names it."""
        return header_of(self.name, self.producer)

    @property
    def error(self) -> ConsecutionError | None:
        """What ends the reading: the producer's own code raised where what entered goes on."""
        return self.asking.error

    @property
    def introduced(self) -> int:
        """How many items entered, as far as the journal knows: what it doesn't know of, a death takes back."""
        if self._journal is None:
            return self.window.next_seq
        return 0 if self.kept is None else self.kept.next_seq

    # ---- begin ---------------------------------------------------------------------------------------------------

    def begin(self, restored: Restored | None, suspects: dict[int, Cause], *, is_charged: bool) -> None:
        """Open the source, and line up what a journal says is unfinished: it goes first.

        Args:
            restored: What the journal knows; None for a fresh start.
            suspects: Items that the process had in work when it died, with how.
            is_charged: Each was alone in its process: each is charged an attempt (R15).
        """
        if restored is None:
            self._open(None, None)
            return
        self._attempts = dict(restored.attempts)
        self._crashes = suspects
        for seq in suspects:
            count, _ = self._attempts.get(seq, (0, False))
            self._attempts[seq] = (count + is_charged, True)
        self._suspects_left = {seq for seq, (_, is_suspect) in self._attempts.items() if is_suspect}
        self.kept = KeptPlace(restored.mark, restored.ranges, restored.next_seq, restored.position, restored.check)
        if self._has_positions:
            if restored.position is not None:
                self._position, self._check = restored.position, restored.check
            self._open(restored.position, restored.check)
            if restored.mark < self.window.mark:  # a pass starts over, and its first items are dead letters of crashes
                self._unread = restored.mark, restored.ranges
            if restored.mark < self.window.next_seq:
                self._backlog = self._reread(restored.mark)
        else:
            assert self._journal is not None
            self._position = NO_POSITION if restored.position is None else restored.position
            self._open(restored.position, None)  # a clock's last due time; most such sources have no position
            self._backlog = self._journal.read_entries(self.name)

    def _open(self, position: object, check: object) -> None:
        self.asking.open(position, check)
        self.is_open = True

    def _reread(self, seq: int) -> Iterator[tuple[int, Any]]:
        """Read again what was introduced before the restart, from the mark on, which the source's position is of."""
        while seq < self.window.next_seq:
            read = self.asking.read(min(BATCH_MAX, self.window.next_seq - seq), 1.0)
            self._keep_span(seq, read)
            yield from enumerate(read.items, seq)
            seq += len(read.items)
            if read.ended:
                self.is_exhausted = True
                if seq < self.window.next_seq:
                    message = (
                        f"producer {self.name!r} ended at item {seq}, but {self.window.next_seq} were read before the "
                        "restart; a source that shrank can't be resumed: put the source back, or start anew (--fresh)"
                    )
                    raise SourceError(message)

    def _resume(self, now: float) -> list[Init | Sum]:
        """Take back some of what the journal says is unfinished, as far as the window has room."""
        assert self._backlog is not None
        taken = 0
        resumed: list[int] = []
        while taken < BATCH_MAX and self.window.room() > 0:
            entry = next(self._backlog, None)
            if entry is None:
                self._backlog = None
                self._suspects_left.clear()
                break
            seq, item = entry
            if seq in self.window.finished:
                continue
            count, is_suspect = self._attempts.get(seq, (0, False))
            crash = self._crashes.get(seq)
            if count > self.window.replays_max and crash is None:
                crash = CRASH  # another death came before this dead letter was in the journal
            if type(item) is tuple and len(item) == 3 and item[0] == UNPACKABLE:
                count, crash = self.window.replays_max + 1, cause_of(self.name, UserCodeError(item[2]), item[1])
            self.window.resume(seq, item, count, is_suspect, crash)
            resumed.append(seq)
            self._suspects_left.discard(seq)
            taken += 1
        if self._notices is not None:
            self._notices.open(resumed)
        self.take_changes()
        return []

    # ---- reading -------------------------------------------------------------------------------------------------

    @property
    def may_read(self) -> bool:
        """Whether a batch may be introduced now: there is room in the window, and credit.

        A window that fills up is refilled in batches of some size: else each verdict would let a batch in as small as
        the one that it settles, and small batches would never grow again.
        """
        is_left = not self.is_exhausted or self.has_backlog
        needs = 1 if self.window.is_careful else min(self._batch, self._room_min)
        return is_left and self.window.room() >= needs and self.sending.has_credit

    @property
    def awaits_suspects(self) -> bool:
        """Whether an item that must be alone under way is still to be taken back."""
        return bool(self._suspects_left) and self.window.suspects_alone

    @property
    def is_resuming(self) -> bool:
        """Whether items of before the restart are still to be sent."""
        return self._backlog is not None

    @property
    def has_backlog(self) -> bool:
        """Whether items of before the restart, or some that the journal had no space for, are still to be sent."""
        return self._backlog is not None or self._unjournalled is not None

    @property
    def is_at_end(self) -> bool:
        """Whether nothing more will be introduced."""
        return self.is_exhausted and not self.has_backlog

    def read(self, now: float, wait_s: float = 0.0) -> list[Init | Sum]:
        """Read what is there and queue it.

        Args:
            now: Monotonic seconds.
            wait_s: How long to wait for the first item.

        Returns:
            What to tell the ackers, in order.

        Raises:
            JournalFull: Not one item more fits on the disk; what was read is kept and tried again at the next call.
            SourceError: The source can't be read.
        """
        if self._backlog is not None:
            return self._resume(now)
        read = self._unjournalled
        if read is None:
            limit = min(self._batch, self.window.room())
            read = self.asking.read(limit, wait_s)
            self.has_more = len(read.items) == limit
            self._adapt(len(read.items), limit, now)
        if not read.items:
            self.is_exhausted = self.is_exhausted or read.ended
            if not self._has_positions and read.next_position is not None:
                self._position = read.next_position
                self._has_moved = True
            return []
        return self._journal_and_introduce(read, now)

    def _journal_and_introduce(self, read: Read, now: float) -> list[Init | Sum]:
        """Introduce what was read, or as much of it as the journal's disk has space for; the rest waits."""
        while True:
            self._unjournalled = read
            first, rest = read.parted(self._append_max)
            try:
                told = self._introduce(first, now)
            except JournalFull:
                if rest is None and first.next_position is not None:
                    raise
                self._append_max = max(1, len(first.items) // 2)
                if len(first.items) == 1:
                    raise
                continue
            self._append_max = min(BATCH_MAX, 2 * self._append_max)
            self._unjournalled = rest
            self.is_exhausted = self.is_exhausted or (read.ended and rest is None)
            return told

    def _adapt(self, count: int, limit: int, now: float) -> None:
        """Make batches as large as what is done in `BATCH_S`, so that slow items wait for few others."""
        if count == limit:
            took_s = 0.0 if self._read_at is None else now - self._read_at
            self._read_at = now
            if took_s > BATCH_S:
                self._batch = max(1, self._batch // 2)
            elif took_s < (BATCH_S / 2 if self._batch < BATCH_MAX else BATCH_LARGE_S):
                self._batch = min(self._batch_max, self._batch * 2)
        elif count * 4 < self._batch:
            self._batch = max(min(BATCH_FIRST, self._batch), self._batch // 2)

    def attend(self, *, reads: bool) -> None:
        """Tell the producer whether items are taken now, and answer what its threads ask."""
        if reads is not self._admits:
            self._admits = reads
            self.asking.admit(reads)
        if self.producer.inquiries is not None:
            self.producer.inquiries.answer(self.fate)

    def fate(self, seq: int) -> Fate | None:
        """What became of an item; None when there is none of that number, or when it was forgotten."""
        if not 0 <= seq < self.window.next_seq:
            return None
        if self._journal is not None:
            outcome = self._journal.outcome(self.name, seq)
            return None if outcome is None else Fate(seq, outcome.state, outcome.attempts, outcome.cause)
        is_open = seq >= self.window.mark and seq not in self.window.finished
        return Fate(seq, "open") if is_open else None  # without a journal outcomes are told once, and not kept

    def _introduce(self, read: Read, now: float) -> list[Init | Sum]:
        if read.keys is not None and self._journal is not None and not self._has_positions:
            known = self._known(read.keys, self._journal)
            if known:
                return self._introduce_new(read, known, now)
        return self._take(read, now)

    def _known(self, keys: Sequence[str | None], journal: Journal) -> dict[int, Outcome | int]:
        """Find what was handed over before: place in the read to its outcome, or to the place of the same key."""
        known: dict[int, Outcome | int] = {}
        seen: dict[str, int] = {}
        for place, key in enumerate(keys):
            if key is None:
                continue
            if key in seen:
                known[place] = seen[key]
            elif (outcome := journal.find_key(self.name, key)) is not None:
                known[place] = outcome
            else:
                seen[key] = place
        return known

    def _introduce_new(self, read: Read, known: dict[int, Outcome | int], now: float) -> list[Init | Sum]:
        """Introduce what is new of a read; whoever sent the rest again hears of the item that is there (R17)."""
        new = [place for place in range(len(read.items)) if place not in known]
        assert read.keys is not None
        rest = Read(
            [read.items[place] for place in new],
            keys=[read.keys[place] for place in new],
            tokens=None if read.tokens is None else [read.tokens[place] for place in new],
            next_position=read.next_position,
        )
        seqs = dict(zip(new, range(self.window.next_seq, self.window.next_seq + len(new)), strict=True))
        told = self._take(rest, now, acknowledges=False) if new else []
        for place in range(len(read.items)):
            before = known.get(place)
            if before is None:
                seq = seqs[place]
            else:
                assert self._journal is not None
                outcome = before if not isinstance(before, int) else self._journal.outcome(self.name, seqs[before])
                assert outcome is not None, "what was appended a moment ago is there"
                seq = outcome.seq
                if read.tokens is not None:
                    self._receipts.repeated(self.name, outcome, read.tokens[place])
            self.asking.acknowledge(seq, 1)
        return told

    def _take(self, read: Read, now: float, *, acknowledges: bool = True) -> list[Init | Sum]:
        first = self.window.next_seq
        items = read.items
        bad: list[tuple[int, Exception]] = []
        if self._journal is not None and not self._has_positions:
            bad = self._append(first, read)
        self._keep_span(first, read)
        if self._notices is not None:
            self._notices.open(range(first, first + len(items)))
        if not self._has_positions and read.next_position is not None:
            self._position = read.next_position
        if acknowledges:
            self.asking.acknowledge(first, len(items))
        if read.tokens is not None:
            self._receipts.journalled(self.name, first, read.tokens)
        if not bad:
            return self.send(self.window.introduce(items, now))
        told: list[Init | Sum] = []
        start = 0
        for index, error in bad:
            if index > start:
                told += self.send(self.window.introduce(items[start:index], now))
            self.window.bury(items[index], cause_of(self.name, error, items[index]))
            start = index + 1
        if start < len(items):
            told += self.send(self.window.introduce(items[start:], now))
        return told

    def _append(self, first: int, read: Read) -> list[tuple[int, Exception]]:
        """Journal what was read; gives the items that can't be journalled, each with why."""
        assert self._journal is not None
        items, keys = list(read.items), read.keys
        sync = self.producer.source is SourceClass.HANDED_OVER
        replay_of: list[Any] | None = read.tokens if self.producer.kind == REPLAY_KIND else None
        bad: list[tuple[int, Exception]] = []
        while True:
            try:
                self._journal.append(
                    self.name, first, items, keys, sync=sync, replay_of=replay_of, position=read.next_position
                )
            except ItemNotPackable as error:
                bad.append((error.index, error))
                items[error.index] = (UNPACKABLE, short_repr(items[error.index]), str(error))  # its seq is kept
            else:
                return sorted(bad, key=lambda one: one[0])

    def _keep_span(self, first: int, read: Read) -> None:
        if not self._has_positions or not read.items:
            return
        self._unread = None
        last = read.items[-1] if type(read.items[-1]) in ATOMS else None
        self._spans.append(_Span(first, len(read.items), read.positions, read.next_position, last))

    # ---- sending -------------------------------------------------------------------------------------------------

    def send(self, batch: Batch) -> list[Init | Sum]:
        """Queue the frames of a batch; gives what to tell the acker."""
        if self._root_table is not None and batch.root:
            try:
                self._root_table.put(batch.root, batch.seqs)
            except JournalFull:  # it has entered, so it goes on; a death would find nobody to blame among these items
                log.debug("no space to note a root producer=%s root=%x", self.name, batch.root)
        init, early = self.sending.queue(batch)
        return [message for message in (early, init) if message is not None]

    def replays(self, now: float) -> list[Init | Sum]:
        """Queue the replays that are due."""
        return [message for batch in self.window.replays(now) for message in self.send(batch)]

    def settle(self, verdict: Verdict, now: float) -> None:
        """Apply a verdict."""
        self.window.settle(verdict, now)
        if self._root_table is not None:
            self._root_table.remove(verdict.root)

    def flush(self, now: float, *, draining: bool) -> None:
        """Queue a flush mark when one is due (R18)."""
        number = self.window.flush_due(now, draining=draining, ended=self.is_at_end)
        if number is not None:
            self.sending.mark(FlushMark(self.window.producer, number))

    def end(self) -> None:
        """Queue the end marks: nothing is taken any more."""
        self.attend(reads=False)
        self.sending.mark(EndMark(-1 - self.place))
        self.has_sent_end = True

    # ---- journal -------------------------------------------------------------------------------------------------

    def take_changes(self) -> bool:
        """Take the window's changes; whether any must be committed before replays leave.

        What others are told of (R21) is offered to them now. Until they have it, and this is committed, no further
        changes are taken: a commit holds exactly what was told.
        """
        if self._told_stand is not None:
            return bool(self.changes.attempts) and self.may_commit
        if self.window.has_changes:
            new = self.window.take_changes()
            self.changes.completed += new.completed
            self.changes.dead += new.dead
            self.changes.attempts += new.attempts
            self.changes.dropped += new.dropped
            self.changes.replayed += new.replayed
            self.changes.state_lost |= new.state_lost
            if self._notices is not None and self._notices.announce(new):
                self._told_stand = self._stand()
        return bool(self.changes.attempts) and self.may_commit

    @property
    def may_commit(self) -> bool:
        """Whether whoever is told of its outcomes has journalled what it was told."""
        return self._notices is None or not self._notices.is_waiting

    @property
    def is_settled(self) -> bool:
        """Whether every item that entered has its outcome, committed."""
        return self.window.is_idle and not self.changes and not self.window.has_changes

    @property
    def is_changed(self) -> bool:
        """Whether the journal lags behind."""
        is_new = self._has_moved or (self._notices is not None and self.window.has_changes)
        return bool(self.changes) or is_new or self._committed != (self._stand()[0], self.window.next_seq)

    def _stand(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Mark and ranges; the mark not above what was read again: nobody knows the source's position there."""
        return self._unread or (self.window.mark, tuple(self.window.finished))

    def round(self) -> ProducerRound:
        """What the journal's next transaction holds of this producer."""
        window = self.window
        mark, ranges = self._told_stand or self._stand()
        self._advance(mark)
        self._asked = ProducerRound(
            self.name,
            self.changes,
            mark,
            ranges,
            window.next_seq,
            None if self._position is NO_POSITION else self._position,
            self._check,
        )
        return self._asked

    def committed(self) -> Changes:
        """Hear that the round is in the journal; gives its changes."""
        changes, self.changes = self.changes, Changes()
        self._has_moved = False
        self._committed = (self.window.mark, self.window.next_seq)
        if self._asked is not None:
            round_, self._asked = self._asked, None
            self.kept = KeptPlace(round_.mark, round_.ranges, round_.next_seq, round_.position, round_.check)
            self._committed = (round_.mark, round_.next_seq)
        self._told_stand = None
        return changes

    def _advance(self, mark: int) -> None:
        """Find the source's position of the lowest unfinished item."""
        if not self._has_positions:
            return
        below = None
        while self._spans and self._spans[0].first_seq + self._spans[0].count <= mark:
            span = self._spans.popleft()
            self._position, below = span.next_position, span.last_item
        if self._spans and mark >= self._spans[0].first_seq:
            self._position, below = self._spans[0].positions[mark - self._spans[0].first_seq], None
        elif below is None and (self._committed is not None and self._committed[0] == mark):
            return
        if self._position is not NO_POSITION:
            self._check = self.asking.check(self._position, below)

    def close(self) -> Cause | None:
        """Close the source; who handed over what the journal never had space for hears no.

        Returns:
            Why its own code could not close it.
        """
        if not self.is_open:
            return None
        unjournalled, self._unjournalled = self._unjournalled, None
        if unjournalled is not None:
            message = "the run ended before the journal had space for the item; hand it over again"
            self.asking.fail(len(unjournalled.items), JournalError(message))
        self.is_open = False
        return self.asking.close()


def batch_max_of(producer: Producer, pending_max: int, *, over_processes: bool) -> int:
    """Most items of a batch.

    Args:
        producer: What is read.
        pending_max: Of its window.
        over_processes: Tasks run in other processes: they work at the same time on what is in the window, if it is
            several batches.
    """
    if over_processes:
        return max(1, min(BATCH_MAX, pending_max // 4))
    if producer.source is not SourceClass.RE_READABLE:
        return BATCH_MAX
    return min(BATCH_MAX_REREAD, max(BATCH_MAX, pending_max // 2))  # what holders keep must not fill the window


def header_of(name: str, producer: Producer) -> ProducerHeader:
    """How the journal names a producer."""
    return ProducerHeader(name, producer.kind, producer.source.value, producer.endless)
