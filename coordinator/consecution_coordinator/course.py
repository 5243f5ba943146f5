"""The course of one topology: who fills its seats, which placement that makes, and how it goes forward.

Rules of this module: pure. Whatever happens only changes what is kept and noted here (in `reports` what workers report,
in `deaths` who dies, in `ending` how it ends); `Course.settle` then brings the topology forward as far as it goes, and
publishes at most one placement for each event.

Invariants, checked by `check_invariants`:
 C1. A task belongs to one seat; so does a producer.
 C2. A listed member is the newest child of its seat, and was born at or before the placement's number.
 C3. Placement numbers, attempts, terms, pauses and passes never go back.
 C4. While it is PENDING or over, nothing is wanted anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_worker import ChildId, ChildPhase, ChildState
from consecution.wire.cluster.to_client import State
from consecution.wire.cluster.to_worker import ChildOrder, FeedStart
from consecution.wire.placement import Member, Phase, Placement, Role
from consecution.wire.plain import encode
from consecution_coordinator import crashes, ending, scaling, seating, stuck
from consecution_coordinator.events import Publish, SaveTopology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.wire.cluster.from_client import Submit
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.kept import Seat, Topology
    from consecution_coordinator.moving import Move
    from consecution_coordinator.scaling import Scale
    from consecution_coordinator.stuck import Stuck, Way


@dataclass(slots=True)
class Live:
    """What is known of the child of a seat, and forgotten at a restart of the coordinator.

    Attributes:
        child: As its worker told it last.
        due: When the next attempt may start.
        ready_at: When it was first seen ready.
        told_at: When its newest Told was told.
    """

    child: ChildState | None = None
    due: float = 0.0
    ready_at: float | None = None
    told_at: float = 0.0


@dataclass(slots=True)
class Course:
    """One topology.

    Attributes:
        kept: What is on disk of it.
        submit: How it was submitted.
        lives: By seat.
        move: The planned move, or change of parallelism, under way; None without one.
        kills: Children that are to be killed at once, with their workers.
        is_changed: Something that must be saved before anything is told.
        is_counted: Counts or positions changed; saved within a second.
        has_news: The placement changed.
        saved_at: When it was saved last.
        since: When the present wait of the course began (stopping).
        reserved: Slots that it leaves to others of its group while it is pending.
        known_letters: Producer and seq of each dead letter that is kept, so that none is kept twice.
        stuck: Ways from one worker to another on which nothing is confirmed.
        takers: Processes of other topologies that take what this one hands over, with their topologies, by incarnation.
        avoided: Workers that gave way to one that they didn't reach, and until when nothing is placed there.
    """

    kept: Topology
    submit: Submit
    lives: dict[tuple[str, int], Live] = field(default_factory=dict)
    move: Move | Scale | None = None
    kills: dict[ChildId, str] = field(default_factory=dict)
    is_changed: bool = False
    is_counted: bool = False
    has_news: bool = False
    saved_at: float = 0.0
    since: float = 0.0
    reserved: int = 0
    known_letters: set[tuple[str, int]] = field(default_factory=set)
    stuck: dict[Way, Stuck] = field(default_factory=dict)
    takers: dict[int, tuple[Course, Member]] = field(default_factory=dict)
    avoided: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for seat in self.kept.seats:
            self.lives.setdefault(seat.key, Live())

    # ---- what others ask -----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return self.kept.name

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.kept.state.is_over

    @property
    def has_journal(self) -> bool:
        """Whether its producers keep journals."""
        return self.submit.settings.level == "REPLAY"

    @property
    def starts_over(self) -> bool:
        """Whether a death makes the run begin anew (R17): it is finite and accumulates."""
        return (
            self.has_journal
            and self.submit.settings.resume == "start"
            and any(stage.is_accumulating for stage in self.submit.plan.stages)
            and not any(feed.is_endless for feed in self.submit.plan.feeds)
        )

    @property
    def is_live(self) -> bool:
        """Whether it has processes that are wanted."""
        return self.kept.state in (State.STARTING, State.RUNNING, State.PAUSED, State.DRAINING)

    def placement(self) -> Placement:
        """The newest one."""
        kept = self.kept
        return Placement(
            topology=kept.name,
            number=kept.number,
            phase=kept.phase,
            members=kept.members,
            n_ackers=max(1, kept.n_ackers),
            pause=kept.pause,
            pass_number=kept.pass_number,
            deaths=kept.deaths,
            rate_note=kept.reason,
            scaled=kept.scaled,
            is_moving=self.move is not None and self.move.pause > 0,
            outlets=kept.outlets,
            inlets=kept.inlets,
            starts_again=kept.starts_again,
            keeps_journal=bool(self.submit.links),
            is_careful=kept.is_careful,
        )

    def stage_tasks(self, number: int) -> tuple[int, ...]:
        """The tasks that a stage has now."""
        stage = self.submit.plan.stages[number]
        planned = tuple(range(stage.first, stage.first + stage.parallelism))
        return next((one.tasks for one in self.kept.scaled if one.stage == number), planned)

    def tasks(self) -> list[int]:
        """All tasks that there are now, ascending."""
        return sorted(task for stage in self.submit.plan.stages for task in self.stage_tasks(stage.number))

    def new_task(self) -> int:
        """A number for a task, above all that there ever were."""
        task = max(self.kept.next_task, self.submit.plan.n_tasks)
        self.kept.next_task = task + 1
        self.is_changed = True
        return task

    def new_index(self) -> int:
        """A number for an executor, above all that there ever were: a worker starts nothing twice under one id."""
        indexes = [seat.index for seat in self.kept.seats if seat.role == Role.EXECUTOR.value]
        index = max(self.kept.next_index, *(1 + one for one in indexes), 0)
        self.kept.next_index = index + 1
        self.is_changed = True
        return index

    def child_id(self, seat: Seat, attempt: int) -> ChildId:
        """The id of a start of a seat."""
        return ChildId(self.name, self.kept.run, seat.role, seat.index, attempt)

    def seat(self, key: tuple[str, int]) -> Seat | None:
        """The seat of a role and index."""
        return next((seat for seat in self.kept.seats if seat.key == key), None)

    def seat_of(self, id_: ChildId) -> Seat | None:
        """The seat whose newest start this is."""
        seat = self.seat((id_.role, id_.index))
        return seat if seat is not None and id_.run == self.kept.run and seat.attempt == id_.attempt else None

    def member(self, key: tuple[str, int]) -> Member | None:
        """The listed process of a seat."""
        return next((m for m in self.kept.members if (m.role.value, m.index) == key), None)

    def used(self) -> Iterator[str]:
        """The worker of each executor, one that is to come by a move too."""
        if self.is_live:
            new = [] if self.move is None else [seat for seat, _ in self.move.pending(self)]
            known = {seat.key for seat in self.kept.seats}
            for seat in (*self.kept.seats, *(seat for seat in new if seat.key not in known)):
                if seat.worker and seat.role == Role.EXECUTOR.value:
                    yield seat.worker

    def orders(self, worker: str) -> list[ChildOrder]:
        """What must run on a worker."""
        if not self.is_live:
            return []
        orders = [self._order(seat, seat.attempt) for seat in self.kept.seats if seat.worker == worker and seat.attempt]
        if self.move is not None:
            orders += [self._order(seat, attempt) for seat, attempt in self.move.pending(self) if seat.worker == worker]
        return sorted(orders, key=lambda order: order.id)

    def sit(self, seat: Seat, now: float) -> None:
        """Let a new or emptied seat be filled from now on."""
        self.lives[seat.key] = Live(due=now)

    def _order(self, seat: Seat, attempt: int) -> ChildOrder:
        submit = self.submit
        is_acker = seat.role == Role.ACKER.value
        starts: tuple[FeedStart, ...] = ()
        journal = ""
        if seat.feeds:
            if self.has_journal:
                journal = self.journal_of(seat)
            if not self.has_journal or seat.term > 1:
                known = (self.kept.feeds.get(place) for place in seat.feeds)
                starts = tuple(FeedStart(counts, self.kept.letters) for counts in known if counts is not None)
        return ChildOrder(
            id=self.child_id(seat, attempt),
            bundle="" if is_acker else submit.bundle.sha256,
            n_ackers=max(1, self.kept.n_ackers),
            settings=submit.settings,
            fingerprint="" if is_acker else submit.fingerprint,
            flow=None if is_acker else submit.flow,
            journal=journal,
            starts=starts,
            memory_bytes_max=0 if is_acker else submit.memory_bytes_max,
            is_joined=bool(submit.group) and not is_acker,
        )

    def journal_of(self, seat: Seat) -> str:
        """Name of the journal of a seat's producers; it changes with their owner."""
        return f"{self.name}.{self.kept.lineage}.g{seat.group}.t{seat.term}"

    # ---- what happens --------------------------------------------------------------------------------------------

    def tell_history(self, text: str, desk: Desk, *, is_warning: bool = False) -> None:
        """Add a line to the history and to the log."""
        events = self.kept.events
        events.append((desk.wall, text))
        del events[: max(0, len(events) - desk.limits.events_max)]
        desk.note(f"topology={self.name} run={self.kept.run} {text}", is_warning=is_warning)
        self.is_changed = True

    def forget_child(self, seat: Seat, due: float = 0.0) -> None:
        """Forget the process of a seat, but not what it counted."""
        child = self.lives[seat.key].child
        if child is not None and child.told is not None:
            seat.node_failures += child.told.node_failures
            self.kept.audits_fired += child.told.audits_fired
            self.kept.outputs_dropped += child.told.outputs_dropped
        self.lives[seat.key] = Live(due=due)

    # ---- going forward -------------------------------------------------------------------------------------------

    def settle(self, desk: Desk) -> bool:
        """Bring the topology forward as far as it goes, publish what changed, and save it.

        Returns:
            Whether something changed that workers may have to be told.
        """
        kept = self.kept
        if kept.state is State.PENDING:
            seating.try_start(self, desk)
        stuck.watch(self, desk)
        if self.is_live:
            crashes.watch(self, desk)
            self._place(desk)
            self._list_born()
            self._change_phase(desk)
            if self.move is not None:
                self.move.settle(self, desk)
            ending.end_when_done(self, desk)
        if kept.state is State.STOPPING:
            ending.end_when_gone(self, desk)
        if self.has_news:
            self._publish(desk)
        if self.is_changed or (self.is_counted and desk.now - self.saved_at >= desk.limits.save_s):
            has_changed = self.is_changed
            self.is_changed = self.is_counted = False
            self.saved_at = desk.now
            desk.put(SaveTopology(self.name, encode(kept)))
            return has_changed
        return False

    def _place(self, desk: Desk) -> None:
        """Give each seat a worker, and each worker's seat its next attempt when that is due."""
        for seat in list(self.kept.seats):
            if not seat.worker:
                seating.find_worker(self, seat, desk)
        for seat in self.kept.seats:
            if seat.worker and not seat.attempt and self.lives[seat.key].due <= desk.now:
                worker = desk.workers.get(seat.worker)
                if worker is not None and worker.is_leaving:
                    seat.worker = ""  # the next event finds it another one
                    continue
                seat.last_attempt += 1
                seat.attempt = seat.last_attempt
                self.is_changed = True
        if self.kept.state is not State.STOPPING:
            self._say_what_waits()

    def _say_what_waits(self) -> None:
        waiting = [seat for seat in self.kept.seats if not seat.worker]
        homes = sorted({seat.home for seat in waiting if seat.is_pinned})
        reason = ""
        if homes:
            reason = f"waits for worker {', '.join(homes)}, whose disk holds the journal of what was handed over"
        elif waiting:
            reason = f"waits for a worker: {len(waiting)} of its processes have no place"
        else:
            reason = stuck.reason(self)
        if not reason and self.kept.is_careful:
            reason = f"executors crashed {self.kept.crashes} times with no guilty item found: items go one by one"
        if reason != self.kept.reason:
            self.kept.reason = reason
            self.is_changed = True

    def _counting(self) -> list[Seat]:
        """The seats that must be filled before it runs: not those that wait for a host that is gone."""
        return [seat for seat in self.kept.seats if not (seat.is_pinned and not seat.worker)]

    def _born(self, seat: Seat) -> ChildState | None:
        child = self.lives[seat.key].child
        if child is None or not seat.attempt or child.phase is not ChildPhase.BORN or not child.incarnation:
            return None
        return child

    def _list_born(self) -> None:
        """List processes that were born since; at the beginning of a pass all at once."""
        kept = self.kept
        seats = self._counting()
        if not any(m.role is Role.EXECUTOR for m in kept.members):
            executors = [seat for seat in seats if seat.role == Role.EXECUTOR.value]
            is_first = kept.state is State.STARTING
            if is_first and not (executors and all(self._born(seat) for seat in seats)):
                return
        for seat in kept.seats:
            child = self._born(seat)
            if child is not None and self.member(seat.key) is None:
                kept.members = (*kept.members, self.member_of(seat, child))
                self.has_news = True

    def member_of(self, seat: Seat, child: ChildState) -> Member:
        """The member that a child is in the next placement."""
        return Member(
            incarnation=child.incarnation,
            birth=self.kept.number + 1,
            role=Role(seat.role),
            index=seat.index,
            address=child.address,
            worker=seat.worker,
            tasks=seat.tasks,
            feeds=seat.feeds,
            key=child.key,
            bridge=child.bridge,
        )

    def feeder(self, place: int) -> tuple[Member, bool] | None:
        """The listed process that has a producer, and whether it is known to be ready; None while there is none."""
        seat = next((seat for seat in self.kept.seats if place in seat.feeds), None)
        member = self.member(seat.key) if seat is not None else None
        return (member, self.is_ready(seat)) if seat is not None and member is not None else None

    def is_ready(self, seat: Seat) -> bool:
        """Whether the process of a seat is listed and set up."""
        member, child = self.member(seat.key), self.lives[seat.key].child
        return (
            member is not None
            and child is not None
            and child.incarnation == member.incarnation
            and child.ready >= member.birth
        )

    def _change_phase(self, desk: Desk) -> None:
        kept = self.kept
        if kept.state is State.STARTING:
            if kept.members and all(self.is_ready(seat) for seat in self._counting()):
                kept.has_run = True
                self.follow_user(desk)
                self.tell_history(f"runs: {len(kept.members)} processes are ready", desk)
        elif kept.state is State.DRAINING and kept.drain_at and desk.wall >= kept.drain_at:
            left = sum(counts.in_flight for counts in kept.feeds.values())
            ending.stop(self, State.KILLED, f"the drain passed its deadline with {left:,} items in flight", desk)

    def follow_user(self, desk: Desk) -> None:
        """Give it the phase that the user wants: it reads, unless it was paused or is being drained."""
        self._follow_user()
        self.has_news = True

    def _follow_user(self) -> None:
        kept = self.kept
        if kept.drain_at:
            kept.state, kept.phase = State.DRAINING, Phase.DRAINING
        elif kept.is_paused:
            if kept.phase is not Phase.PAUSED:
                kept.pause += 1
            kept.state, kept.phase = State.PAUSED, Phase.PAUSED
        else:
            kept.state, kept.phase = State.RUNNING, Phase.RUNNING

    def give_up_move(self, why: str, desk: Desk) -> None:
        """Stop a planned move; what runs goes on as before."""
        if self.move is None:
            return
        phase, has_paused = self.kept.phase, self.move.pause > 0
        self.move.undo(self)
        self.move = None
        if self.is_live and self.kept.state is not State.STARTING:
            self._follow_user()  # also when the move has paused nothing: who paused or resumed it waits for its end
            self.has_news = self.has_news or has_paused or self.kept.phase is not phase
        self.tell_history(f"the move was given up: {why}", desk)

    def _publish(self, desk: Desk) -> None:
        kept = self.kept
        kept.number += 1
        self.has_news = False
        self.is_changed = True
        numbers = [self._number_of(seat) for seat in kept.seats if self.member(seat.key) is not None]
        known = min(numbers, default=kept.number)
        if kept.state is not State.STARTING:  # those who begin anew are told why (R15)
            kept.deaths = tuple(death for death in kept.deaths if death.number >= known)
        if kept.state.is_over:
            kept.members = ()
        desk.put(Publish(self.placement()))

    def _number_of(self, seat: Seat) -> int:
        """The newest placement that the process of a seat surely has."""
        child = self.lives[seat.key].child
        if child is None:
            return 0
        return max(child.ready, child.told.number if child.told is not None else 0)

    # ---- a restart of the coordinator ----------------------------------------------------------------------------

    def take_back(self, now: float) -> None:
        """After a restart of the coordinator: a move that was under way is forgotten, its pause ends.

        What a user asked for during that move had to wait for it: it holds from now on.
        """
        kept = self.kept
        self.since = now
        if kept.state in (State.RUNNING, State.PAUSED, State.DRAINING):
            before = kept.state, kept.phase
            self._follow_user()
            self.has_news = self.has_news or before != (kept.state, kept.phase)
        if self.is_live and kept.state is not State.STARTING:
            scaling.retire_idle(self)

    def check_invariants(self) -> None:
        """Raise AssertionError when one of C1 to C4 doesn't hold."""
        kept = self.kept
        tasks = [task for seat in kept.seats for task in seat.tasks]
        feeds = [feed for seat in kept.seats for feed in seat.feeds]
        assert len(tasks) == len(set(tasks)), "C1"
        assert len(feeds) == len(set(feeds)), "C1"
        if kept.seats and self.is_live:
            assert sorted(tasks) == self.tasks(), "C1"
            assert sorted(feeds) == sorted(feed.place for feed in self.submit.plan.feeds), "C1"
        keys = [(m.role.value, m.index) for m in kept.members]
        assert len(keys) == len(set(keys)), "C2"
        if not self.has_news:
            assert all(m.birth <= kept.number for m in kept.members), "C2"
        if self.is_live:
            for member in kept.members:
                seat = self.seat((member.role.value, member.index))
                assert seat is not None, "C2"
                assert seat.attempt, "C2"
                assert (seat.tasks, seat.feeds) == (member.tasks, member.feeds), "C2"
        for seat in kept.seats:
            assert seat.attempt <= seat.last_attempt, "C3"
            assert seat.term <= seat.last_term, "C3"
        if kept.state is State.PENDING or self.is_over:
            assert not any(seat.attempt for seat in kept.seats), "C4"
