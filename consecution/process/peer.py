"""A process at work in a topology: tasks, producers, or both, behind links.

Rules of this module: a thin shell round the cores, used from one thread. An executor is a peer with tasks; the calling
process of mode "processes" is a peer with producers alone; on a cluster the executor of the entry stage is both. It is
told placements by whoever is its parent, and never asks who lives.

The walk of a frame: `StageRunner.run` makes it; `Packing.prepare` packs it and takes out what can't travel; the core
books its id and then says `Send`; the link carries it; the receiving peer unpacks it into its core's queue, and tells
the link when it is taken into work.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from consecution.errors import CapacityError, CodecError, ProtocolError
from consecution.executor.causes import cause_of
from consecution.executor.core import ExecutorCore
from consecution.executor.door import DoorRunner
from consecution.executor.events import (
    Arrived,
    Credit,
    Instruction,
    Journalled,
    Judged,
    Kind,
    Lost,
    NodeFailed,
    Ran,
    Send,
    Taken,
    Tell,
)
from consecution.executor.frames import EndMark, FlushMark, Frame
from consecution.executor.own import OwnValues
from consecution.executor.runner import StageRunner
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Fail, Sum, Verdict
from consecution.guarantee.window import Window
from consecution.local.notices import NOBODY, Audience
from consecution.local.working import Working
from consecution.plan.exposure import exposure
from consecution.process.ackers import Ackers
from consecution.process.packing import Packing, frame_of
from consecution.process.traffic import Traffic
from consecution.report import Failure
from consecution.transport.links import Credited, Lagging, LeftOut, PlacementView, Received, Refused, Rejected
from consecution.transport.links import Peer as LinkPeer
from consecution.values import snapshot
from consecution.wire.control import PausedAt
from consecution.wire.messages import Audit as WireAudit
from consecution.wire.messages import Data, Verdicts
from consecution.wire.messages import EndMark as WireEndMark
from consecution.wire.messages import FlushMark as WireFlushMark
from consecution.wire.placement import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consecution.executor.door import TaskRunner
    from consecution.executor.event_loop import VirtualTime
    from consecution.executor.events import Work
    from consecution.executor.frames import Code
    from consecution.graph import Dag
    from consecution.journal.slots import Slots
    from consecution.local.intake import Intake
    from consecution.local.opening import Settings
    from consecution.plan.stages import Plan
    from consecution.producers.handover import Taker
    from consecution.transport.base import Transport, TransportNews
    from consecution.wire.placement import Placement

log = logging.getLogger(__name__)

OWN_PENDING_MAX = 8192
REMOTE = -(1 << 40)  # the sender of what came over a link, to whom the link gives credit
WORKS_A_TURN = 16
LONG_S = 0.001
FILES_LOOK_S = 0.002
NOT_FED = (Phase.STARTING, Phase.ENDED)  # what producers have for others waits for another phase


class Peer:
    """A process's part of a topology.

    Args:
        dag: The graph.
        plan: Its plan.
        settings: The consecutor's.
        transport: This process's links; owned by the caller.
        new_id: Gives ids.
        n_ackers: How many ackers there are.
        slot: Where the origins of the frame in work are written; None to write nothing.
        now: Gives monotonic seconds.
        doors: Tasks that are doors, with where they lead and whether they are async; those that this process runs.
        audience: Who is told of failures that are no items, when there is no intake to tell of them.
        virtual: The time that awaited code goes by; None: the real one.

    Attributes:
        is_open: Every acker has somebody who runs it.
        has_sent_end: The producers have told all tasks that they feed that nothing more comes.
        intake: The producers of this process; set by `take_intake`, None when it has none.
        plan: Stages and tasks as the newest placement has them.
        is_left_out: A placement left this process out: it must exit.
        node_failures: Failures that are no items, when there is no intake to count them.
        state_lost: Accumulating nodes whose state is lost, likewise.
        items_done: Items taken into work, in all.
        refused: Packets refused, in all.
        is_quiet: After a turn: nothing more is to be done before something comes or is due.
    """

    def __init__(
        self,
        dag: Dag,
        plan: Plan,
        settings: Settings,
        transport: Transport,
        *,
        new_id: Callable[[], int],
        n_ackers: int,
        slot: Slots | None = None,
        now: Callable[[], float] = time.monotonic,
        doors: Mapping[int, tuple[Taker, bool]] | None = None,
        audience: Audience = NOBODY,
        virtual: VirtualTime | None = None,
    ) -> None:
        self._dag = dag
        self._flow_plan = plan  # as the flow says; a placement may have other tasks
        self.plan = plan
        self._settings = settings
        self._transport = transport
        self._new_id = new_id
        self._now = now
        self._doors = doors or {}
        self._audience = audience
        self._virtual = virtual
        self._journalled: deque[int] = deque()  # doors, once for each frame that the next consecutor has journalled
        self.placement: Placement | None = None
        self.intake: Intake | None = None
        self.core = ExecutorCore(plan, settings.level, self.owner, remote_credit=self.has_credit)
        self.runners: dict[int, TaskRunner] = {}
        self.working = Working(self.runners, slot)
        self._packing = Packing()
        self._owner_of_root: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._ackers = Ackers(transport, n_ackers)
        self._received: dict[int, Received] = {}
        self._told: list[NodeFailed] = []
        self.is_open = False
        self.has_sent_end = False
        self._paused_at = 0
        self._undone = 0  # frames that came and were not worked on
        self._traffic = Traffic()
        self.is_left_out = False
        self.lags_behind = 0
        self.state_lost: frozenset[str] = frozenset()
        self.items_done = 0
        self.refused = 0
        self.is_quiet = False
        self._has_heard: bool | None = None  # what `wait` has heard of; None: nobody has asked since
        self._left = WORKS_A_TURN

    # ---- what others ask -----------------------------------------------------------------------------------------

    def owner(self, task: int) -> int | None:
        """The incarnation that runs a task; None while nobody does."""
        return self._owners.get(task)

    @property
    def tasks_ended(self) -> frozenset[int]:
        """Tasks of this process that have ended."""
        return self.core.ended

    def is_remote(self, task: int) -> bool:
        """Whether another process runs the task."""
        return task not in self.runners

    def has_credit(self, task: int) -> bool:
        """Whether the link to a task's owner gives credit; False while nobody runs it."""
        owner = self._owners.get(task)
        return owner is not None and self._transport.has_credit(owner, task)

    def prepare(self, frame: Frame) -> tuple[list[Frame], list[tuple[int, Exception]]]:
        """Pack a batch's frame; gives what to send, and the indexes of the items that can't travel, with why."""
        frames, bad = self._packing.prepare(frame, self._new_id)
        return frames, [(code, error) for code, _, error in bad if isinstance(code, int)]

    def roots_of(self, owner: int) -> Callable[[], int]:
        """Give what makes roots for a task, or for a producer (-1 - its place): verdicts find their way by them."""

        def new_root() -> int:
            root = self._new_id()
            self._owner_of_root[root] = owner
            return root

        return new_root

    def take_intake(self, intake: Intake) -> None:
        """Take the producers of this process."""
        self.intake = intake
        if self.placement is not None:
            intake.be_careful(self.placement.is_careful)

    # ---- placements ----------------------------------------------------------------------------------------------

    def place(self, placement: Placement) -> None:
        """Take a placement: links first, then tasks, then what died.

        Raises:
            UserCodeError: The setup of a node raised.
        """
        if self.placement is not None and placement.number <= self.placement.number:
            return
        me = placement.member(self._transport.incarnation)
        peers = {member.incarnation: LinkPeer(member.birth, member.address, member.key) for member in placement.members}
        tasks = frozenset() if me is None else frozenset(me.tasks)
        self.placement = placement
        self.is_open = False
        self._transport.place(PlacementView(placement.number, peers, tasks))
        self._traffic.place(peers)
        if me is None:
            return
        self._drop_tasks(tasks)
        self._replan(placement)
        self.core.is_still = placement.is_moving
        self.core.is_careful = placement.is_careful
        self._add_tasks(tasks)
        owners = {task: member.incarnation for member in placement.members for task in member.tasks}
        # A task that nobody ran for a while has another owner too: a death and a birth are two placements.
        changed = frozenset(task for task, owner in owners.items() if self._owners.get(task) != owner)
        self._owners = owners
        if changed:
            self._carry(self.core.reowned(changed))
            if self.has_sent_end and self.intake is not None:
                for feed in self.intake.feeds:
                    feed.sending.mark(EndMark(-1 - feed.place))
        if self.intake is not None:
            self.intake.be_careful(placement.is_careful)
            self.intake.hear_deaths(placement.deaths)
        self._take_ackers(placement)
        # At NONE nothing is told to an acker, and a cluster starts none.
        self.is_open = self._settings.level is Robustness.NONE or self._ackers.are_placed(placement)

    def _replan(self, placement: Placement) -> None:
        """Follow a stage that has more tasks or fewer from now on."""
        plan = self._flow_plan.with_tasks(placement.scaled)
        if plan == self.plan:
            return
        self.plan = plan
        self.core.replan(plan)
        for runner in self.runners.values():
            runner.replan(plan)
        if self.intake is not None:
            for feed in self.intake.feeds:
                feed.sending.replan(plan)

    def _drop_tasks(self, tasks: frozenset[int]) -> None:
        self._transport.watch(frozenset())  # what is awaited closes its files with its task
        for task in sorted(set(self.runners) - tasks):
            self.core.drop_task(task)
            for cause in self.runners.pop(task).teardown():
                self._node_failed(NodeFailed(cause))

    def _add_tasks(self, tasks: frozenset[int]) -> None:
        for task in sorted(tasks - set(self.runners)):
            runner = self._runner(task)
            runner.setup()
            self.runners[task] = runner
            window = Window(
                producer=self._transport.incarnation,
                level=self._settings.level,
                replays_max=self._settings.replays_max,
                pending_max=OWN_PENDING_MAX,
                new_root=self.roots_of(task),
                snapshot=snapshot,
                exposed=exposure(self._dag),
            )
            own = OwnValues(task, self._transport.incarnation, window, self._new_id)
            self.core.add_task(task, own, runner.finishing, runner.timers, is_door=task in self._doors)

    def _runner(self, task: int) -> TaskRunner:
        if task in self._doors:
            handover, is_async = self._doors[task]
            return DoorRunner(task, handover, is_async=is_async, journalled=lambda: self._has_journalled(task))
        working = self.working
        return StageRunner(
            self._dag,
            self.plan,
            task,
            new_id=self._new_id,
            now=self._now,
            on_push_of=working.note_pushed,
            on_await=(lambda origins: working.note_awaited(task, origins)) if working.has_slot else None,
            virtual=self._virtual,
        )

    def _has_journalled(self, task: int) -> None:
        """Hear from the next consecutor's thread that it has journalled a door's frame."""
        self._journalled.append(task)
        self._transport.wake()

    def _take_ackers(self, placement: Placement) -> None:
        """The roots that dead ackers held are replayed (R12)."""
        now = self._now()
        for index in self._ackers.place(placement):

            def was_held(root: int, index: int = index) -> bool:
                return self._ackers.is_of(root, index)

            for root in [root for root in self._owner_of_root if was_held(root)]:
                del self._owner_of_root[root]
            if self.intake is not None:
                for feed in self.intake.feeds:
                    feed.window.ackers_died(was_held, now)
            self._carry(self.core.ackers_died(was_held, now))

    # ---- the loop ------------------------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Hear what came, then work and feed until nothing is left or it has taken long; False when there was nothing.

        Then `is_quiet` says whether to wait, or to turn again.
        """
        did = self._has_heard
        self._has_heard = None
        if did is None:
            did = self._hear_all(0.0)
        while self._journalled:
            did = True
            door = self._journalled.popleft()
            if door in self.runners:  # else a placement has taken it away since, and its trees are lost
                self._carry(self.core.handle(Journalled(door), self._now()))
        self._left = WORKS_A_TURN
        now = self._now()
        while True:
            did = self._work(now) or did
            now = self._now()
            if self.intake is None or not self._left or not self._feed(self.intake, now):
                break
            self._left -= 1
            did = True
            if not any(feed.has_more for feed in self.intake.feeds):
                self._work(now)
                break
        self.is_quiet = self._left > 0
        if self._ackers.is_awaited and self.is_quiet and self._hear_all(0.0):  # not quiet: something more came
            self._has_heard, self.is_quiet = True, False
        if self._ackers.must_send(now, is_quiet=self.is_quiet):
            self._ackers.send()
        return did

    def _work(self, now: float) -> bool:
        """Run what there is to run; whether there was any. `_left` is 0 when it stops before it is done."""
        did = False
        while self._left:
            for ran in self.working.resumed():
                did = True
                self._ran(ran)
            work = self.core.next_work(now)
            instructions = self.core.instructions()
            self._carry(instructions)
            if work is not None:
                self._run(work)
                began, now = now, self._now()
                self._left = self._left - 1 if now - began <= LONG_S else 0  # others wait for what it became
            elif not instructions:
                break
            did = True
        return did

    def _feed(self, intake: Intake, now: float) -> bool:
        placement = self.placement
        if placement is None or placement.phase in NOT_FED:
            return False
        is_running = placement.phase is Phase.RUNNING
        did = intake.commit(now, is_ending=not is_running)
        if not self.has_sent_end and self.is_open:
            was_at_end = intake.is_at_end
            told = intake.feed(
                now,
                reads=is_running,
                draining=not is_running,
                resumes=placement.phase is Phase.DRAINING,
                is_still=placement.is_moving,
            )
            did = did or bool(told) or intake.is_at_end is not was_at_end
            for word in told:
                self._ackers.tell(word, now)
        for feed, task, message in intake.due():
            did = True
            self._deliver(task, -1 - feed.place, message)
        return did

    def advance(self) -> PausedAt | None:
        """End what has ended, drain what is drained.

        Returns:
            What confirms a pause that holds now, once: no root of a producer or task of this process is open (R6).
        """
        intake, placement = self.intake, self.placement
        if placement is None:
            return None
        is_draining = placement.phase is Phase.DRAINING
        if is_draining:
            self.core.skip_finish()
        if intake is None:
            return self._confirmed_pause(placement)
        is_over = is_draining or (placement.phase is Phase.RUNNING and intake.is_at_end)
        if is_over and not self.has_sent_end and intake.is_idle and self.is_open and intake.sync(self._now()):
            self.has_sent_end = True
            self.is_quiet = False  # the end marks wait to be sent
            for feed in intake.feeds:
                feed.end()
        return self._confirmed_pause(placement)

    def _confirmed_pause(self, placement: Placement) -> PausedAt | None:
        is_new = placement.phase is Phase.PAUSED and placement.pause > self._paused_at
        if not is_new or not self.core.is_quiet:
            return None
        feeds = () if self.intake is None else self.intake.feeds
        if any(feed.window.is_out for feed in feeds):
            return None
        is_tracked = self._settings.level is not Robustness.NONE
        if not is_tracked and (self.core.queued_items or any(one.has_open_tokens for one in self.runners.values())):
            return None  # no root says what waits, or what a holder keeps
        self._paused_at = placement.pause
        made = self.core.made + sum(feed.sending.made for feed in feeds) - self._traffic.void
        return PausedAt(placement.pause, made, self.core.done + self._undone - self._traffic.foreign)

    def due(self, now: float) -> float:
        """When something is due that no message tells of; infinite when nothing is."""
        until = [float("inf")]
        if (at := self.core.next_time(now)) is not None:
            until.append(at)
        if (at := self._ackers.due) is not None:
            until.append(at)
        due_s, files = self.working.waits_for()
        if due_s is not None:
            until.append(now + due_s)
        placement = self.placement
        if self.intake is not None and placement is not None and placement.phase not in NOT_FED:
            sends = self.is_open and not self.has_sent_end
            reads = sends and placement.phase is Phase.RUNNING
            resumes = sends and placement.phase is Phase.DRAINING
            may_replay = sends and not placement.is_moving
            times, readable = self.intake.wait_for(now, reads=reads, resumes=resumes, sends=may_replay)
            until += times
            files += readable
        if not self._transport.watch(frozenset(files)):
            until.append(now + FILES_LOOK_S)
        return min(until)

    def wait(self, wait_s: float) -> None:
        """Wait for messages, at most so long."""
        self._has_heard = self._hear_all(max(0.0, wait_s))

    def _hear_all(self, wait_s: float) -> bool:
        """Hear what has come, waiting at most so long for it; whether anything had."""
        all_news = self._transport.poll(wait_s)
        for news in all_news:
            self._hear(news)
        return bool(all_news)

    # ---- hearing -------------------------------------------------------------------------------------------------

    def _hear(self, news: TransportNews) -> None:
        if isinstance(news, Received):
            self._receive(news)
        elif isinstance(news, Refused):
            self._refuse(news)
        elif isinstance(news, LeftOut):
            log.warning("left out by placement %d, exiting", news.number)
            self.is_left_out = True
        elif isinstance(news, Lagging):
            self.lags_behind = max(self.lags_behind, news.number)
        elif isinstance(news, Rejected):
            self.refused += 1
            log.warning("refused: %s", news.reason)
        elif not isinstance(news, Credited):
            log.warning("%s", news.reason)

    def _receive(self, news: Received) -> None:
        message = news.message
        now = self._now()
        if isinstance(message, Data):
            try:
                frame = frame_of(message)
            except (CodecError, CapacityError) as error:
                self._unreadable(news, message, error)
                return
            self._received[id(frame)] = news
            self._carry(self.core.handle(Arrived(message.task, REMOTE, frame), now))
        elif isinstance(message, Verdicts):
            for verdict in message.verdicts:
                try:
                    self._settle(verdict, now)
                except ProtocolError as error:  # it names items that its batch hasn't
                    self.refused += 1
                    log.warning("refused: %s", error)
        elif isinstance(message, WireFlushMark):
            mark = FlushMark(message.origin, message.number)
            self._carry(self.core.handle(Arrived(message.task, REMOTE, mark), now))
        elif isinstance(message, WireEndMark):
            self._carry(self.core.handle(Arrived(message.task, REMOTE, EndMark(message.sender)), now))
        elif isinstance(message, WireAudit):
            self._answer_audit(news.sender, message.number)

    def _unreadable(self, news: Received, data: Data, error: Exception) -> None:
        """A frame whose items can't be read fails all of its items: they are replayed, or are dead letters."""
        self._undone += 1
        self._traffic.came(news.sender)
        self._transport.take_up(news)
        node = self._dag.names[self.plan.stage_of_task(data.task).head]
        cause = cause_of(node, error, None)
        frame = Frame(data.task, [], data.roots, data.ids, data.producers)
        codes: Sequence[Code] = range(data.count) if data.origins is None else data.origins
        indexes = frame.indexes_of(codes)
        for root, edge_id, producer in zip(data.roots, data.ids, data.producers, strict=True):
            fail = Fail(root, indexes.get(root, ()), cause)
            self._ackers.tell(Sum(root, producer, edge_id, fails=(fail,)), self._now())
        if not data.roots:
            self._node_failed(NodeFailed(cause))

    def _refuse(self, news: Refused) -> None:
        """Something for a task that isn't mine: its trees have lost it (R4)."""
        self.refused += 1
        if isinstance(news.message, Data):
            self._undone += 1
            self._traffic.came(news.sender)
            for root, producer in zip(news.message.roots, news.message.producers, strict=True):
                self._ackers.tell(Sum(root, producer, 0, refused=True), self._now())

    def _answer_audit(self, acker: int, number: int) -> None:
        self._ackers.send()
        roots = self.core.roots() | self._transport.roots()
        for runner in self.runners.values():
            roots |= runner.held_roots()
        if self.intake is not None:
            for feed in self.intake.feeds:
                roots |= feed.sending.roots_queued()
        self._transport.send(acker, WireAudit(number, self._ackers.roots_of(acker, roots)))

    def _settle(self, verdict: Verdict, now: float) -> None:
        owner = self._owner_of_root.get(verdict.root)
        if owner is None:
            return  # replayed already: its acker had died
        if owner < 0:
            assert self.intake is not None
            self.intake.feeds[-1 - owner].settle(verdict, now)
        elif owner in self.runners:
            self._carry(self.core.handle(Judged(owner, verdict), now))
        self._owner_of_root.pop(verdict.root, None)

    # ---- carrying ------------------------------------------------------------------------------------------------

    def _run(self, work: Work) -> None:
        if work.kind is Kind.RUN and work.frame is not None:
            received = self._received.pop(id(work.frame), None)
            self.items_done += len(work.frame.items)
            if received is not None:
                self._transport.take_up(received)
                self._traffic.came(received.sender)
        self._ran(self.working.run(work))

    def _ran(self, ran: Ran) -> None:
        """Pack what a run has made for other processes, and tell the core."""
        if ran.outcome is not None:
            fails = ran.outcome.fails
            frames: list[Frame] = []
            for frame in ran.outcome.frames:
                is_remote = self.is_remote(frame.task)
                if not is_remote and frame.task not in self._doors:
                    frames.append(frame)
                    continue
                packed = self._packed(frame, ran.work.task, fails)  # what can't travel fails where it was pushed
                if not is_remote:
                    for one in packed:
                        self._packing.forget(one)
                frames += packed
            ran.outcome.frames = frames
        self._carry(self.core.handle(ran, self._now()))

    def _packed(self, frame: Frame, task: int, fails: list[tuple[Fail, int]]) -> list[Frame]:
        """Pack a frame for another process, in several when it is too large; what can't travel fails."""
        producers = dict(zip(frame.roots, frame.producers, strict=True))
        node = self._dag.names[self.plan.stage_of_task(task).nodes[-1]]
        frames, bad = self._packing.prepare(frame, self._new_id)
        for code, item, error in bad:
            cause = cause_of(node, error, item)
            by_root = frame.indexes_of((code,))
            # What stays in this process may have it already.
            fails += [(Fail(root, indexes, cause, went_on=True), producers[root]) for root, indexes in by_root.items()]
            if not by_root:
                fails.append((Fail(0, (0,), cause), 0))
        return frames

    def _carry(self, instructions: Sequence[Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, Send):
                self._deliver(instruction.task, instruction.sender, instruction.message)
            elif isinstance(instruction, Tell):
                now = self._now()
                for init in instruction.inits:
                    self._ackers.tell(init, now)
                for one in instruction.sums:
                    self._ackers.tell(one, now)
            elif isinstance(instruction, Credit):
                self._credit(instruction)
            elif isinstance(instruction, NodeFailed):
                self._node_failed(instruction)
            elif isinstance(instruction, Lost):
                self._lost(instruction.nodes)

    def _credit(self, credit: Credit) -> None:
        if credit.sender == REMOTE:
            return  # the link gave it when the frame was taken up
        if credit.sender >= 0:
            self._carry(self.core.handle(Taken(credit.target, credit.sender, credit.items), self._now()))
        elif self.intake is not None:
            self.intake.feeds[-1 - credit.sender].sending.taken(credit.target, credit.items)

    def _deliver(self, task: int, sender: int, message: Frame | FlushMark | EndMark) -> None:
        """Carry a message to a task, here or over a link."""
        if task in self.runners:
            self._carry(self.core.handle(Arrived(task, sender, message), self._now()))
            return
        owner = self._owners.get(task)
        if isinstance(message, Frame):
            self._traffic.sent(owner)
        if owner is None:
            return  # its trees are lost with whom they were for; marks are sent again
        if isinstance(message, Frame):
            self._transport.send(owner, self._packing.data(message))
        elif isinstance(message, FlushMark):
            self._transport.send(owner, WireFlushMark(task, sender, message.origin, message.number))
        else:
            self._transport.send(owner, WireEndMark(task, message.sender))

    def _node_failed(self, failed: NodeFailed) -> None:
        if self.intake is not None:
            self.intake.node_failed(failed)
            return
        self._told.append(failed)
        if self._audience:
            one = failure_of(failed)
            self._audience.node_failed(one.producer, one.item, one.attempts, one.cause)

    def take_failures(self) -> list[NodeFailed]:
        """Failures that are no items, since the last call, when this process has no producers."""
        told, self._told = self._told, []
        return told

    def _lost(self, nodes: frozenset[str]) -> None:
        self.state_lost |= nodes
        if self.intake is not None:
            self.intake.tally.state_lost |= nodes

    def collected(self) -> dict[str, list[Any]]:
        """What Collect nodes of this process collected, by name."""
        found: dict[str, list[Any]] = {}
        for runner in self.runners.values():
            for name, items in runner.collected().items():
                found.setdefault(name, []).extend(items)
        return found

    def abandon(self) -> None:
        """Let go of what is awaited, where this process is dead and its memory lives on."""
        for runner in self.runners.values():
            if isinstance(runner, StageRunner):
                runner.abandon()

    def teardown(self) -> None:
        """Tear all nodes down, in reverse order."""
        self._transport.watch(frozenset())
        for runner in reversed(self.runners.values()):
            for cause in runner.teardown():
                self._node_failed(NodeFailed(cause))


def failure_of(failed: NodeFailed) -> Failure:
    """What failed and isn't an item of a producer, as reports name it."""
    letter, cause = failed.letter, failed.cause
    item = letter.item[1] if letter is not None and isinstance(letter.item, tuple) else None
    return Failure("" if cause is None else cause.node, -1, item, 1 if letter is None else letter.attempts, cause)
