"""The executor core: what its tasks work on next, and what their runs mean for links, ledger and upstream.

Rules of this module: pure. No user code, clock, socket or thread: the shell calls `handle` for what arrives, runs what
`next_work` gives, and carries out the instructions. One instruction is about a frame, never about an item.

Invariants, cited by number:
 E1. Frames and marks between two tasks keep their order (R20).
 E2. A task whose outputs lack credit takes no new frame (R3); marks and what it has run already go on.
 E3. Ids of output frames are in the running word before the frames that they were made of are closed in it (R9).
 E4. A task ends after all its upstream, after its own finish pushes have their outcome (R19), and with nothing queued.
     What comes later, from a new owner of something upstream that must do a part again, opens it until it is done.
 E5. A flush mark is forwarded once for each (origin, number) (R18).
 E6. A frame that a door took closes when the next consecutor has journalled all of it, in the order in which it was
     taken, and not before (R21); a door that waits for `DOOR_ITEMS_MAX` items takes no further frame.
 E7. A task whose async nodes have as much in work as they may takes no new frame. A solo frame is alone under way, so
     that what a crash leaves in the slot is it (R15). Nothing of a task ends while something is under way.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.executor.booking import Outcome
from consecution.executor.events import (
    Arrived,
    Credit,
    Event,
    Instruction,
    Journalled,
    Kind,
    Lost,
    Message,
    NodeFailed,
    Ran,
    Send,
    Taken,
    TaskEnded,
    Tell,
    Work,
)
from consecution.executor.frames import EndMark, FlushMark, Frame
from consecution.guarantee.levels import Robustness
from consecution.guarantee.window import FLUSH_EVERY_S
from consecution.guarantee.words import RunningWords

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.executor.own import OwnValues
    from consecution.guarantee.changes import Changes
    from consecution.guarantee.messages import Incarnation
    from consecution.plan.stages import Plan

CREDIT_ITEMS = 4096
DOOR_ITEMS_MAX = 4096


@dataclass(slots=True)
class _Task:
    number: int
    targets: tuple[int, ...]  # to whom marks go, and whose credit it needs
    upstream: frozenset[int]  # senders that must end: tasks, and -1 - a producer's place
    words: RunningWords
    own: OwnValues
    finishing: deque[int]
    timers: dict[int, float]
    queue: deque[tuple[int, Message]] = field(default_factory=deque)
    outbox: dict[int, deque[Message]] = field(default_factory=dict)
    outstanding: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    flushed: dict[Incarnation, int] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    is_ended: bool = False
    is_flushed_at_end: bool = False
    is_pulling: bool = False
    is_door: bool = False
    at_door: deque[Frame] = field(default_factory=deque)  # taken by a door and not yet journalled by the next one
    at_door_items: int = 0
    under_way: int = 0  # items that its async nodes have in work
    has_room: bool = True  # for another frame, in its async nodes
    is_solo: bool = False  # what is under way is a solo frame

    @property
    def all_upstream_ended(self) -> bool:
        return self.upstream <= self.ended


class ExecutorCore:
    """The tasks of one executor.

    Args:
        plan: The plan of the Dag.
        level: The consecutor's robustness.
        incarnation_of: Gives the incarnation of the executor that runs a task; None while nobody does.
        credit_items: How many items may be under way to one task from another.
        remote_credit: Asks the link for credit of a task in another process (R3); None when all tasks are in this one.

    Attributes:
        is_still: Something is to move: no timer is called, no more of finish is pulled (R6).
        is_careful: Items go one by one, so that a crash tells whose fault it is: no timer is called (R15).
        made: Frames that its tasks have made, in all.
        done: Frames that its tasks have worked on, in all.
    """

    def __init__(
        self,
        plan: Plan,
        level: Robustness,
        incarnation_of: Callable[[int], Incarnation | None],
        *,
        credit_items: int = CREDIT_ITEMS,
        remote_credit: Callable[[int], bool] | None = None,
    ) -> None:
        self._plan = plan
        self._level = level
        self._incarnation_of = incarnation_of
        self._credit_items = credit_items
        self._remote_credit = remote_credit
        self._tasks: dict[int, _Task] = {}
        self._order: list[_Task] = []
        self._out: list[Instruction] = []
        self.is_still = False
        self.is_careful = False
        self.made = 0
        self.done = 0

    def add_task(
        self,
        number: int,
        own: OwnValues,
        finishing: Sequence[int],
        timers: dict[int, float],
        *,
        is_door: bool = False,
    ) -> None:
        """Take a task.

        Args:
            number: The task.
            own: Its own values' window.
            finishing: Nodes with a finish, in topological order.
            timers: Seconds between two calls of on_timer, by node.
            is_door: It is a door: a frame that its run leaves open is closed by `Journalled` (E6).
        """
        targets, upstream = self._neighbours(number)
        task = _Task(number, targets, upstream, RunningWords(), own, deque(finishing), dict(timers))
        task.is_door = is_door
        self._tasks[number] = task
        self._order = sorted(self._tasks.values(), key=lambda one: -one.number)

    def _neighbours(self, number: int) -> tuple[tuple[int, ...], frozenset[int]]:
        tasks, producers = self._plan.upstream_tasks(number)
        targets = self._plan.downstream_tasks(self._plan.stage_of_task(number))
        return targets, tasks | {-1 - producer for producer in producers}

    def replan(self, plan: Plan) -> None:
        """Take a plan in which stages have more tasks or fewer; its own tasks must be in it.

        What waits for a task that is no more was for a process that is dead, or is a mark (R6, R12).
        """
        self._plan = plan
        for task in self._order:
            task.targets, task.upstream = self._neighbours(task.number)
            task.ended &= task.upstream
            for gone in set(task.outbox) - set(task.targets):
                del task.outbox[gone]
                task.outstanding.pop(gone, None)

    @property
    def is_quiet(self) -> bool:
        """Whether no task waits for the outcome of a value of its own, for the next consecutor, or awaits one (R6)."""
        return all(task.own.is_idle and not task.at_door and not task.under_way for task in self._order)

    def drop_task(self, number: int) -> None:
        """Give a task up: another executor has it now. What it has queued is lost with it (R6: nothing, or R12)."""
        del self._tasks[number]
        self._order = sorted(self._tasks.values(), key=lambda one: -one.number)

    def reowned(self, tasks: frozenset[int]) -> list[Instruction]:
        """Hear that other executors run these tasks now: who has ended says so again, to them (R19)."""
        for task in self._order:
            if task.is_ended:
                self._out.extend(
                    Send(task.number, target, EndMark(task.number)) for target in task.targets if target in tasks
                )
        return self.instructions()

    def ackers_died(self, roots_of: Callable[[int], bool], now: float) -> list[Instruction]:
        """Replay the tasks' own values whose acker died (R12)."""
        for task in self._order:
            task.own.window.ackers_died(roots_of, now)
            self._book_own(task.own.window.take_changes())
            self._send_own(task, now)
        return self.instructions()

    def roots(self) -> set[int]:
        """Roots of the frames that wait here, for the audit (R13)."""
        waiting = (m for task in self._order for _, m in task.queue)
        unsent = (m for task in self._order for outbox in task.outbox.values() for m in outbox)
        at_doors = (frame for task in self._order for frame in task.at_door)
        return {root for each in (waiting, unsent, at_doors) for m in each if isinstance(m, Frame) for root in m.roots}

    @property
    def is_ended(self) -> bool:
        """Whether all its tasks have ended."""
        return all(task.is_ended for task in self._order)

    @property
    def ended(self) -> frozenset[int]:
        """Its tasks that have ended."""
        return frozenset(task.number for task in self._order if task.is_ended)

    @property
    def queued_items(self) -> int:
        """How many items wait before its tasks."""
        return sum(
            len(message.items) for task in self._order for _, message in task.queue if isinstance(message, Frame)
        )

    def queued_frames(self, task: int) -> int:
        """How many frames and marks wait before a task; safe to ask from another thread."""
        return len(self._tasks[task].queue)

    def skip_finish(self) -> None:
        """The run is drained: no ``finish`` is called any more, tasks end as they are."""
        for task in self._order:
            task.finishing.clear()

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Apply one event.

        Args:
            event: What happened.
            now: Monotonic seconds; only differences matter.

        Returns:
            What the shell must do, in order.
        """
        if isinstance(event, Ran):
            self._ran(event, now)
        elif isinstance(event, Arrived):
            self._arrived(self._tasks[event.task], event.sender, event.message)
        elif isinstance(event, Taken):
            task = self._tasks[event.sender]
            task.outstanding[event.target] = task.outstanding.get(event.target, 0) - event.items
            self._drain_outbox(task, event.target)
        elif isinstance(event, Journalled):
            self._journalled(self._tasks[event.task], now)
        else:
            task = self._tasks[event.task]
            self._book_own(task.own.settle(event.verdict, now))
            self._send_own(task, now)
        out, self._out = self._out, []
        return out

    # ---- choosing work -------------------------------------------------------------------------------------------

    def next_work(self, now: float) -> Work | None:
        """Give what to run next, the task furthest downstream first; None when nothing can run now.

        The shell runs it and reports `Ran` before it asks again; what it must send meanwhile is given by `handle`.
        """
        for task in self._order:
            if task.is_ended:
                continue
            work = self._work_of(task, now)
            if work is not None:
                return work
        return None

    def instructions(self) -> list[Instruction]:
        """Give what `next_work` left to do, such as credit for what it took."""
        out, self._out = self._out, []
        return out

    def next_time(self, now: float) -> float | None:
        """When a timer, a replay of own values or a flush is due; None when only messages can bring work."""
        times: list[float] = []
        for task in self._order:
            if task.is_ended:
                continue
            if task.due and self._has_timers(task):
                times += task.due.values()
            if (at := task.own.window.next_replay_at()) is not None:
                times.append(at)
            if not task.own.is_idle and task.all_upstream_ended:
                times.append(now + FLUSH_EVERY_S)
        return min(times, default=None)

    def _work_of(self, task: _Task, now: float) -> Work | None:
        for node, every_s in task.timers.items() if self._has_timers(task) else ():
            due = task.due.setdefault(node, now + every_s)
            if now >= due:
                task.due[node] = now + every_s
                return Work(task.number, Kind.TIMER, node=node)
        at = task.own.window.next_replay_at()
        if at is not None and at <= now:
            self._send_own(task, now)
        if task.queue:
            sender, message = task.queue[0]
            if isinstance(message, FlushMark):
                task.queue.popleft()
                return Work(task.number, Kind.FLUSH, mark=message)
            assert isinstance(message, Frame)
            if self._has_credit(task) and task.at_door_items < DOOR_ITEMS_MAX and _may_take(task, message):
                task.queue.popleft()
                if sender != task.number:
                    self._out.append(Credit(task.number, sender, len(message.items)))
                return Work(task.number, Kind.RUN, frame=message, sender=sender)
            return None
        if task.all_upstream_ended:
            return self._work_at_end(task, now)
        return None

    def _has_timers(self, task: _Task) -> bool:
        """Whether its timers fire: at its end one at a time, or it would wait for ever for what they push (R19)."""
        if self.is_still or self.is_careful:
            return False
        if not task.all_upstream_ended:
            return True
        return task.own.is_idle and bool(task.queue or task.under_way)

    def _work_at_end(self, task: _Task, now: float) -> Work | None:
        """All upstream has ended and nothing is queued: flush, then finish node by node, then end (R19)."""
        if task.under_way and not (task.is_pulling and task.has_room):  # E7
            return None
        if not task.is_flushed_at_end:
            task.is_flushed_at_end = True
            return Work(task.number, Kind.FLUSH)
        if task.finishing and self.is_still:
            return None
        if task.finishing and task.own.wants_more and (task.is_pulling or task.own.is_idle):
            task.is_pulling = True
            return Work(task.number, Kind.PULL, node=task.finishing[0])
        if not task.own.is_idle:
            number = task.own.window.flush_due(now, draining=False, ended=True)
            if number is not None:
                return Work(task.number, Kind.FLUSH, mark=FlushMark(task.own.window.producer, number))
            return None
        if not task.finishing and not any(task.outbox.values()) and not task.at_door:
            self._end(task)
        return None

    def _has_credit(self, task: _Task) -> bool:
        return all(self._may_send(task, target) for target in task.targets)

    def _may_send(self, task: _Task, target: int) -> bool:
        if target in self._tasks or self._remote_credit is None:
            return task.outstanding.get(target, 0) < self._credit_items
        return not task.outbox.get(target) and self._remote_credit(target)

    # ---- events --------------------------------------------------------------------------------------------------

    def _arrived(self, task: _Task, sender: int, message: Message) -> None:
        if isinstance(message, EndMark):
            if message.sender in task.upstream:
                task.ended.add(message.sender)
            return
        if isinstance(message, FlushMark):
            if task.flushed.get(message.origin, 0) >= message.number:
                return
            task.flushed[message.origin] = message.number
            if _supersede(task.queue, message):
                return
        task.queue.append((sender, message))
        task.is_ended = task.is_flushed_at_end = False

    def _ran(self, event: Ran, now: float) -> None:
        work = event.work
        task = self._tasks[work.task]
        if work.kind is Kind.PULL:
            task.own.add(event.pulled)
            if event.cause is not None:
                self._out.append(NodeFailed(event.cause, node=work.node))
            if event.exhausted:
                task.finishing.popleft()
                task.is_pulling = False
                task.is_flushed_at_end = self._level is not Robustness.NONE
            self._send_own(task, now)
            return
        assert event.outcome is not None
        self.done += work.kind is Kind.RUN
        task.under_way, task.has_room = event.outcome.under_way, event.outcome.has_room
        task.is_solo = task.under_way > 0 and (task.is_solo or (work.frame is not None and work.frame.solo))
        if task.is_door and work.frame is not None and not event.outcome.closed:
            task.at_door.append(work.frame)
            task.at_door_items += len(work.frame.items)
        self._book(task, event.outcome, now)
        if work.mark is not None:
            for target in task.targets:
                self._send(task, target, work.mark)

    def _journalled(self, task: _Task, now: float) -> None:
        frame = task.at_door.popleft()
        task.at_door_items -= len(frame.items)
        self._book(task, Outcome(closed=[frame]), now)

    def _book(self, task: _Task, outcome: Outcome, now: float) -> None:
        words = task.words
        sent: list[Frame] = []
        for frame in outcome.frames:
            incarnation = self._incarnation_of(frame.task)
            if incarnation is None:  # nobody runs that task now: the tree has lost something (R12)
                for root, producer in zip(frame.roots, frame.producers, strict=True):
                    words.refused(root, producer)
                continue
            sent.append(frame)
            self.made += 1
            for root, producer, edge_id in zip(frame.roots, frame.producers, frame.ids, strict=True):
                words.created(root, producer, edge_id, incarnation)
        for fail, producer in outcome.fails:
            if fail.root:
                words.failed(fail, producer)
            else:
                self._out.append(NodeFailed(fail.cause))
        for root, producer, count in outcome.dropped:
            if root:
                words.dropped(root, producer, count)
        for root, producer, names in outcome.reached:
            words.reached(root, producer, names)
        for frame in outcome.closed:  # E3
            for root, producer, edge_id in zip(frame.roots, frame.producers, frame.ids, strict=True):
                words.closed(root, producer, edge_id)
        for frame in sent:
            self._send(task, frame.task, frame)
        sums = words.take()
        if sums:
            self._out.append(Tell((), sums))
        if outcome.own:
            task.own.add(outcome.own)
            self._send_own(task, now)

    def _send_own(self, task: _Task, now: float) -> None:
        frames, inits = task.own.frames(now)
        if inits:
            self._out.append(Tell(inits, ()))
        self.made += len(frames)
        for frame in frames:
            task.queue.append((task.number, frame))

    def _book_own(self, changes: Changes) -> None:
        self._out.extend(NodeFailed(letter.cause, letter) for letter in changes.dead)
        if changes.state_lost:
            self._out.append(Lost(changes.state_lost))

    # ---- sending -------------------------------------------------------------------------------------------------

    def _send(self, task: _Task, target: int, message: Message) -> None:
        outbox = task.outbox.setdefault(target, deque())
        if isinstance(message, FlushMark):
            for waiting in outbox:  # a link carries only the newest waiting one (R18)
                if isinstance(waiting, FlushMark) and waiting.origin == message.origin:
                    outbox.remove(waiting)
                    break
        outbox.append(message)
        self._drain_outbox(task, target)

    def _drain_outbox(self, task: _Task, target: int) -> None:
        outbox = task.outbox.get(target)
        while outbox:
            message = outbox[0]
            if isinstance(message, Frame) and (target in self._tasks or self._remote_credit is None):
                outstanding = task.outstanding.get(target, 0)
                if outstanding and outstanding + len(message.items) > self._credit_items:
                    return  # one frame may always go when none is outstanding (R3)
                task.outstanding[target] = outstanding + len(message.items)
            outbox.popleft()
            self._out.append(Send(task.number, target, message))

    def _end(self, task: _Task) -> None:
        assert not task.is_ended, "E4"
        task.is_ended = True
        for target in task.targets:
            self._send(task, target, EndMark(task.number))
        self._out.append(TaskEnded(task.number))

    def check_invariants(self) -> None:
        """Raise AssertionError when a rule of the module is broken."""
        for task in self._order:
            assert all(count >= 0 for count in task.outstanding.values()), "R3: credit was given back twice"
            assert task.ended <= task.upstream, "R19: an end of somebody who isn't upstream"
            assert task.at_door_items == sum(len(frame.items) for frame in task.at_door), "E6"
            if task.is_ended:
                assert not task.queue, "E4: ended with a frame queued"
                assert not task.at_door, "E6: ended before the next consecutor had it all"
                assert not task.under_way, "E7: ended with something under way"


def _may_take(task: _Task, frame: Frame) -> bool:
    """Whether the task's async nodes may be given a frame (E7)."""
    if not task.under_way:
        return True
    return task.has_room and not frame.solo and not task.is_solo


def _supersede(queue: deque[tuple[int, Message]], mark: FlushMark) -> bool:
    """Put a flush mark in the place of an older one that waits with no frame behind it; False when there is none.

    While a task has no credit marks still come each 100 ms: so they can't pile up.
    """
    for place in range(len(queue) - 1, -1, -1):
        sender, waiting = queue[place]
        if not isinstance(waiting, FlushMark):
            return False
        if waiting.origin == mark.origin:
            queue[place] = (sender, mark)
            return True
    return False
