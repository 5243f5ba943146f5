"""A producer's window: which items are unfinished, under which root, and what becomes of them (R14, R15, R16, R18).

Rules. It knows sequence numbers, roots and verdicts; it sends nothing, writes nothing, and time comes as an argument.
The engine settles verdicts, takes the changes, commits them, and only then sends what `replays` gives: `replays` gives
nothing while an attempt hasn't been taken (R15: attempts are journalled before the replay leaves).

Invariants:
(1) an unfinished item is in exactly one place: out under one root, waiting for its replay, or resumed and not yet sent;
(2) an item that has an attempt against it, or is a suspect, is alone in its load (R14);
(3) an item gets one outcome: completed, or a dead letter; then it is finished, and nothing changes it any more;
(4) what the window was given to introduce is unfinished or finished: nothing else, nothing missing;
(5) at most `pending_max` items are unfinished, apart from those that a journal made it resume;
(6) with `suspects_alone`, a suspect that is out is alone;
(7) in a careful window an item that is sent is alone, fresh ones too; a window that is held sends nothing at all;
(8) the bytes that count are those of the fresh batches that are out.

A window is careful while processes die again and again and no slot says which item did it: an item that damages its
process and lets it die later. One by one, items are completed before such a death, or it names the one that was out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.errors import CapacityError, ProtocolError
from consecution.value import value

from .backoff import Backoff
from .changes import Attempt, Changes, DeadLetter
from .levels import Robustness
from .load import Load, NoSnapshot, ranges_of
from .messages import WHOLE, Cause, Incarnation, Root, Verdict
from .ranges import Ranges
from .waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .load import Snapshot

AT_ONCE = 0.0  # as a time: before any reading of a monotonic clock
RESUMED_BATCH_MAX = 500
HELD_BACK_S = 1.0
FLUSH_EVERY_S = 0.1
NO_SNAPSHOT = NoSnapshot()
LOST = Cause(node="", exception="Lost", message="a process died, and this level of robustness does not replay")


@value
class Batch:
    """What goes out under one root.

    Attributes:
        root: 64 random bits; 0 at level NONE.
        seqs: Sequence number of each item: a range for fresh ones, mostly a tuple for replays.
        items: The items: a list, the receiver's to change, or a range.
        solo: Whether it is one item that must stay alone: holders pass it on as a chunk of its own (R14).
        attempt: Which attempt this is, of a solo item; 1 is the first.
        is_buffer_free: As of its `Snapshot`.
    """

    root: Root
    seqs: Sequence[int]
    items: Sequence[Any]
    solo: bool = False
    attempt: int = 1
    is_buffer_free: bool = False


class Window:
    """What one producer must still finish. Not thread-safe.

    Args:
        producer: Its incarnation.
        level: At NONE nothing is kept: batches leave under root 0 and are finished at once.
        replays_max: Replays of an item that fails; after 1 + `replays_max` attempts it is a dead letter.
        pending_max: How many items may be unfinished.
        kept_bytes_max: While the values of fresh batches that are out take more bytes, there is no room; None: however
            many they take. What waits for a replay counts as items alone.
        new_root: Gives a fresh root, never one twice.
        snapshot: Keeps the values of a batch, so that a replay gets them as they were. Not called at NONE and CONFIRM.
        exposed: Names the accumulating nodes that a replay after a failure at this node passes again (R17).
        backoff: How long replays wait.
        first_seq: The first sequence number to introduce.
        finished: What a journal says is finished below `first_seq`, as mark and ranges; the rest must be resumed. None:
            everything below `first_seq` is finished. The window keeps it and changes it.
        suspects_alone: While a suspect is open, nothing but one suspect is out at a time (modes on one machine).
        is_only: Nothing is under way in the whole run but what producers have out: no node pushes by itself. A crash
            while a careful window has one item out, and all others are held, is that item's attempt then.

    >>> window = Window(producer=1, level=Robustness.TRACK, replays_max=0, pending_max=10, new_root=lambda: 7,
    ...                 snapshot=lambda items: NO_SNAPSHOT, exposed=lambda node: frozenset())
    >>> batch = window.introduce(["a", "b"], now=0.0)
    >>> window.settle(Verdict(batch.root, producer=1), now=0.1)
    >>> window.take_changes().completed, window.mark, window.is_idle
    ([range(0, 2)], 2, True)
    """

    def __init__(
        self,
        *,
        producer: Incarnation,
        level: Robustness,
        replays_max: int,
        pending_max: int,
        new_root: Callable[[], Root],
        snapshot: Callable[[Sequence[Any]], Snapshot],
        exposed: Callable[[str], frozenset[str]],
        backoff: Backoff | None = None,
        first_seq: int = 0,
        finished: Ranges | None = None,
        suspects_alone: bool = False,
        is_only: bool = False,
        kept_bytes_max: int | None = None,
    ) -> None:
        self.producer = producer
        self.level = level
        self.replays_max = replays_max
        self.pending_max = pending_max
        self.next_seq = first_seq
        self.finished = Ranges(first_seq) if finished is None else finished
        self.unfinished = 0
        self.verdicts_ignored = 0
        self._kept_bytes_max = kept_bytes_max
        self._kept_bytes = 0
        self._new_root = new_root
        self._snapshot = snapshot
        self._exposed = exposed
        self._backoff = Backoff() if backoff is None else backoff
        self.suspects_alone = suspects_alone
        self._suspects_open = 0
        self._charges = 0  # attempts that were charged for deaths
        self._is_only = is_only
        self._is_careful = False
        self._is_held = False
        self._out: dict[Root, Load] = {}
        self._waiting = Waiting()
        self._resumed: dict[int, Any] = {}
        self._first_seq = first_seq
        self._taken_back = Ranges()  # every number that was resumed
        self._changes = Changes()
        self._quiet_since = AT_ONCE
        self._next_flush_at = AT_ONCE
        self._flush_number = 0

    # -- what is there

    @property
    def mark(self) -> int:
        """The lowest unfinished sequence number; `next_seq` when all are finished."""
        return self.finished.mark

    @property
    def is_idle(self) -> bool:
        """Whether nothing is unfinished."""
        return self.unfinished == 0

    @property
    def is_out(self) -> bool:
        """Whether any root is open; items may wait for a replay all the same."""
        return bool(self._out)

    def room(self) -> int:
        """How many items may be introduced now."""
        if self._kept_bytes_max is not None and self._kept_bytes >= self._kept_bytes_max:
            return 0
        return self._room_for_items()

    def _room_for_items(self) -> int:
        if self._is_held or self.has_suspects:
            return 0
        room = max(0, self.pending_max - self.unfinished)
        return min(room, 0 if self._out else 1) if self._is_careful else room

    @property
    def has_suspects(self) -> bool:
        """Whether a suspect is open, which must be alone."""
        return self._suspects_open > 0 and self.suspects_alone

    @property
    def is_held(self) -> bool:
        """Whether it may send nothing now."""
        return self._is_held

    def hold(self, is_held: bool) -> None:
        """Send nothing from now on, or send again: something of another window must be alone (R15)."""
        self._is_held = is_held

    @property
    def is_careful(self) -> bool:
        """Whether items go one by one."""
        return self._is_careful

    def be_careful(self, is_careful: bool) -> None:
        """Send items one by one from now on, or no longer; what is out stays out."""
        self._is_careful = is_careful
        for load in self._out.values():
            load.is_alone = False

    def lost_often(self, times: int) -> list[int]:
        """Give the unfinished items that were lost at least so often, ascending."""
        loads = [*self._out.values(), *self._waiting]
        return sorted(seq for load in loads if load.losses >= times for seq in load.seqs)

    # -- items in

    def introduce(self, items: Sequence[Any], now: float) -> Batch:
        """Put fresh items under a fresh root.

        Args:
            items: At least one, at most `room()`; they go out as they are, in this very list or range.
            now: Monotonic seconds.

        Returns:
            The batch to send, with the next sequence numbers.

        Raises:
            CapacityError: There is no room for so many.
            ValueError: `items` is empty.
        """
        count = len(items)
        if not 0 < count <= self.pending_max - self.unfinished or self._suspects_open:
            self._check_room(count)
        seqs = range(self.next_seq, self.next_seq + count)
        self.next_seq = seqs.stop
        if self.level is Robustness.NONE:
            self.finished.add(seqs.start, seqs.stop)
            return Batch(0, seqs, items)
        root = self._new_root()
        load = self._out[root] = Load(seqs, self._keep(items), charges=self._charges)
        load.is_alone = self._is_careful and count == len(self._out) == 1
        if self._kept_bytes_max is not None:
            load.size = load.snapshot.size
            self._kept_bytes += load.size
        self.unfinished += count
        self._quiet_since = now
        return Batch(root, seqs, items, load.is_alone, is_buffer_free=load.snapshot.is_buffer_free)

    def _check_room(self, count: int) -> None:
        if not count:
            message = "introduce was given no item; expected one at least"
            raise ValueError(message)
        room = self._room_for_items()  # not for bytes: a batch that there was room for may come in several
        if count > room:
            message = (
                f"window has {self.unfinished} unfinished items and room for {room} more, not for {count}; "
                f"expected at most pending_max={self.pending_max}: wait for verdicts, or give a larger pending_max"
            )
            raise CapacityError(message)

    def resume(self, seq: int, item: Any, attempts: int = 0, suspect: bool = False, crash: Cause | None = None) -> None:
        """Take back an item that the journal says must be finished first; `replays` sends it.

        Args:
            seq: Its number, below `first_seq` and not in `finished`.
            item: The item; the window keeps it.
            attempts: Attempts against it, the one that `crash` charges included.
            suspect: Whether a process died with it in work.
            crash: How the process died just now, when its slot names this item: the attempt, or the dead letter if
                that was the last one, is put into the changes.

        Raises:
            ValueError: The number isn't one to resume, or was resumed already.
        """
        if seq >= self._first_seq or seq in self.finished or seq in self._taken_back:
            message = (
                f"item {seq} can't be resumed: expected an unfinished number below first_seq={self._first_seq} "
                f"(finished: {self.finished!r}), once"
            )
            raise ValueError(message)
        self._taken_back.add(seq, seq + 1)
        self.unfinished += 1
        if not attempts and not suspect:
            self._resumed[seq] = item
            return
        load = Load((seq,), self._snapshot([item]), attempts=attempts, is_suspect=suspect, charges=self._charges)
        self._suspects_open += suspect
        if attempts > self.replays_max:
            self._bury(load, crash)
            return
        if crash is not None:
            self._changes.attempts.append(Attempt(seq, attempts, suspect, crash))
        self._waiting.add(load, AT_ONCE)

    def bury(self, item: Any, cause: Cause) -> None:
        """Make a dead letter of the next item, which can't be sent: it is introduced and fails at once."""
        seq = self.next_seq
        self.next_seq = seq + 1
        self.unfinished += 1
        self._bury(Load((seq,), self._keep([item]), attempts=1), cause)

    def _keep(self, items: Sequence[Any]) -> Snapshot:
        return self._snapshot(items) if self.level >= Robustness.TRACK else NO_SNAPSHOT

    # -- verdicts

    def settle(self, verdict: Verdict, now: float) -> None:
        """Apply a verdict to the items that still belong to its root; a root that isn't out changes nothing.

        Raises:
            ProtocolError: It names an index that the batch doesn't have; nothing was changed.
        """
        root = verdict.root
        load = self._out.get(root)
        if load is None:
            self.verdicts_ignored += 1
            return
        if verdict.failed or verdict.suspects:
            self._check_indexes(verdict, len(load.seqs))
        del self._out[root]
        self._kept_bytes -= load.size
        load.size = 0
        self._quiet_since = now
        if verdict.lost:
            self._changes.state_lost |= verdict.reached
            self._lose(load, verdict, now)
            return
        if verdict.dropped:
            self._changes.dropped += verdict.dropped
        if verdict.failed:
            self._fail(load, verdict, now)
        else:
            self._complete(load.seqs)
            if load.is_suspect:
                self._suspects_open -= 1

    def ackers_died(self, roots_of: Callable[[Root], bool], now: float) -> None:
        """Replay all that a dead acker held (R12); its verdicts, should any still come, are ignored.

        Args:
            roots_of: Whether a root was with that acker.
            now: Monotonic seconds.
        """
        for root in [root for root in self._out if roots_of(root)]:
            self.settle(Verdict(root, self.producer, lost=True), now)

    def _check_indexes(self, verdict: Verdict, count: int) -> None:
        named = [index for fail in verdict.failed for index in fail.indexes]
        named += [index for index in verdict.suspects if index != WHOLE]
        if named and not 0 <= min(named) <= max(named) < count:
            message = (
                f"verdict on root {verdict.root:x} names items {sorted(named)}; expected places in a batch of {count}"
            )
            raise ProtocolError(message)

    def _complete(self, seqs: Sequence[int]) -> None:
        completed = self._changes.completed
        for each in (seqs,) if isinstance(seqs, range) else ranges_of(seqs):
            if completed and completed[-1].stop == each.start:
                completed[-1] = range(completed[-1].start, each.stop)
            else:
                completed.append(each)
            self.finished.add(each.start, each.stop)
        self.unfinished -= len(seqs)

    def _fail(self, load: Load, verdict: Verdict, now: float) -> None:
        causes: dict[int, Cause | None] = {}
        went_on: set[int] = set()
        for fail in verdict.failed:
            for index in fail.indexes:
                causes.setdefault(index, fail.cause)
            if fail.went_on:
                went_on.update(fail.indexes)
        self._complete([seq for index, seq in enumerate(load.seqs) if index not in causes])
        for index, cause in sorted(causes.items(), key=_index):
            single = self._single(load, index)
            if self._charge(single, cause, now) and verdict.reached:
                # The cause names where it failed; without one, all that the tree reached may be passed again.
                exposed = verdict.reached if cause is None or index in went_on else self._exposed(cause.node)
                self._changes.state_lost |= verdict.reached & exposed

    def _lose(self, load: Load, verdict: Verdict, now: float) -> None:
        load.lose(self._charges)
        count = len(load.seqs)
        if self.level is not Robustness.REPLAY:
            for index in range(count):
                self._bury(load.part((index,)), (verdict.crash if verdict.suspects else None) or LOST)
            return
        if load.is_alone and self._is_only and verdict.crash is not None and not verdict.suspects:
            self._suspect(load, verdict.crash, now, is_charged=True)
            return
        is_whole = WHOLE in verdict.suspects
        suspects = range(count) if is_whole else sorted(set(verdict.suspects))
        is_charged = verdict.charged and (not is_whole or count == 1)
        for index in suspects:
            self._suspect(self._single(load, index), verdict.crash, now, is_charged=is_charged)
        if len(suspects) == count:
            return
        if suspects:
            load = load.part([index for index in range(count) if index not in suspects])
        self._waiting.add(load, now + self._backoff.delay_s(load.losses))

    def _suspect(self, load: Load, crash: Cause | None, now: float, *, is_charged: bool) -> None:
        if not load.is_suspect:
            load.is_suspect = True
            self._suspects_open += 1
        if is_charged:
            self._charges += 1
            self._charge(load, crash, now)
            return
        seq = load.seqs[0]
        self._changes.attempts.append(Attempt(seq, load.attempts, True, crash))
        self._waiting.add(load, now + self._backoff.spread_s(load.losses, seq))

    def _single(self, load: Load, index: int) -> Load:
        """Give a load of one item, with values of its own, so that it doesn't keep those of its batch."""
        if load.is_solo:
            return load
        single = load.part((index,))
        if self.level is Robustness.REPLAY:
            single.snapshot = self._snapshot([load.one(index)])
            single.picks = None
        return single

    def _charge(self, load: Load, cause: Cause | None, now: float) -> bool:
        """Count an attempt against an item; False when that was its last one."""
        load.attempts += 1
        if self.level is not Robustness.REPLAY or load.attempts > self.replays_max:
            self._bury(load, cause)
            return False
        self._changes.attempts.append(Attempt(load.seqs[0], load.attempts, load.is_suspect, cause))
        self._waiting.add(load, now + self._backoff.delay_s(max(load.attempts, load.losses)))
        return True

    def _bury(self, load: Load, cause: Cause | None) -> None:
        """Make a dead letter of the one item of a load."""
        seq = load.seqs[0]
        if not self.level.keeps_causes:
            cause = None
        self._changes.dead.append(DeadLetter(seq, load.attempts, cause, load.one(0)))
        self._suspects_open -= load.is_suspect
        self.finished.add(seq, seq + 1)
        self.unfinished -= 1

    # -- replays

    def replays(self, now: float) -> list[Batch]:
        """Give the replays that are due, each under a fresh root.

        Returns:
            Batches to send, in order; [] while `take_changes` has attempts to give.
        """
        if self._is_held or self._changes.attempts or not (self._waiting or self._resumed):
            return []
        self._load_resumed()
        batches = []
        was_out = bool(self._out)
        if self._is_careful:
            batches += self._replay_alone(now)
        elif self._suspects_open:
            batches += self._replays_of_suspects(now)
        if not self._is_careful and not self.has_suspects:
            while (load := self._waiting.pop(now, suspects=False)) is not None:
                batches.append(self._send_again(load))
        if batches and not was_out:
            self._quiet_since = now
        return batches

    def _replay_alone(self, now: float) -> list[Batch]:
        """Give one item that is due, when nothing is out; the others of its load wait for their turn."""
        if self._out:
            return []
        load = self._waiting.pop(now, suspects=True) or self._waiting.pop(now, suspects=False)
        if load is None:
            return []
        if len(load.seqs) > 1:
            self._waiting.add(load.part(range(1, len(load.seqs))), now)
            load = self._single(load, 0)
        load.is_alone = True
        return [self._send_again(load)]

    def _replays_of_suspects(self, now: float) -> list[Batch]:
        batches: list[Batch] = []
        while not (self.suspects_alone and self._out):
            load = self._waiting.pop(now, suspects=True)
            if load is None:
                break
            batches.append(self._send_again(load))
        return batches

    def next_replay_at(self) -> float | None:
        """When `replays` will have something; None when nothing waits, or what waits must await a verdict first."""
        if self._is_held or not (self._waiting or self._resumed):
            return None
        times: list[float | None] = []
        if self._is_careful and self._out:
            return None
        if not self.has_suspects:
            times.append(self._waiting.next_at(suspects=False))
            times.append(AT_ONCE if self._resumed else None)
        if not (self.suspects_alone and self._out):
            times.append(self._waiting.next_at(suspects=True))
        return min((time for time in times if time is not None), default=None)

    def _send_again(self, load: Load) -> Batch:
        root = self._new_root()
        self._out[root] = load
        self._changes.replayed += len(load.seqs)
        return Batch(root, load.seqs, load.items(), load.is_solo or load.is_alone, load.attempts + 1)

    def _load_resumed(self) -> None:
        """Put the resumed items that travel together into batches."""
        if not self._resumed:
            return
        seqs = sorted(self._resumed)
        for start in range(0, len(seqs), RESUMED_BATCH_MAX):
            some = tuple(seqs[start : start + RESUMED_BATCH_MAX])
            self._waiting.add(Load(some, self._snapshot([self._resumed[seq] for seq in some])), AT_ONCE)
        self._resumed = {}

    # -- the engine's round

    @property
    def has_changes(self) -> bool:
        """Whether `take_changes` would give something."""
        return bool(self._changes)

    def take_changes(self) -> Changes:
        """Give what changed since the last call, and forget it; falsy when nothing did."""
        changes, self._changes = self._changes, Changes()
        return changes

    def flush_due(self, now: float, *, draining: bool, ended: bool) -> int | None:
        """Give the number of the flush mark to send now, or None (R18).

        A mark is due, each 100 ms, while items are out and the producer is draining (or pausing for a move), has ended,
        or has been held back by its full window for 1 s without a verdict. At level NONE: while draining.

        Args:
            now: Monotonic seconds.
            draining: The producer stops for good or for a move.
            ended: Its source has nothing more.
        """
        if now < self._next_flush_at:
            return None
        if self.level is Robustness.NONE:
            is_due = draining
        else:
            is_held_back = self.room() == 0 and now - self._quiet_since >= HELD_BACK_S
            is_due = bool(self._out) and (draining or ended or is_held_back)
        if not is_due:
            return None
        self._next_flush_at = now + FLUSH_EVERY_S
        self._flush_number += 1
        return self._flush_number

    def check_invariants(self) -> None:
        """Raise AssertionError when an invariant of the module doesn't hold; O(items)."""
        self.finished.check_invariants()
        loads = [*self._out.values(), *self._waiting]
        seqs = [seq for load in loads for seq in load.seqs] + list(self._resumed)
        assert len(seqs) == len(set(seqs)) == self.unfinished, "(1)"
        for load in loads:
            assert load.seqs
            assert load.picks is None or len(load.picks) == len(load.seqs)
            assert not load.is_solo or len(load.seqs) == 1, f"(2) {load.seqs}"
            assert load.attempts <= self.replays_max, f"(2) {load.seqs}"
        assert not any(seq in self.finished for seq in seqs), "(3)"
        assert all(self.mark <= seq < self.next_seq for seq in seqs), "(4)"
        missing = _numbers(self.finished.missing(self.next_seq)) - set(seqs)
        assert all(seq < self._first_seq for seq in missing), f"(4) {sorted(missing)[:10]}"
        resumable = sum(seq < self._first_seq for seq in seqs)
        assert self.unfinished - resumable <= self.pending_max, "(5)"
        assert self._kept_bytes == sum(load.size for load in loads), "(8)"
        suspects_out = [load for load in self._out.values() if load.is_suspect]
        assert len(suspects_out) + sum(load.is_suspect for load in self._waiting) == self._suspects_open
        assert not (suspects_out and self.suspects_alone and len(self._out) > 1), "(6)"
        assert not any(load.is_alone for load in self._out.values()) or len(self._out) == 1, "(7)"


def _index(entry: tuple[int, Cause | None]) -> int:
    return entry[0]


def _numbers(ranges: Iterable[range]) -> set[int]:
    return {number for each in ranges for number in each}
