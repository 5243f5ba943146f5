"""The course of one topology: from its submission to its end, through the deaths of its processes and workers.

Rules of this module: pure. Whatever happens only changes what is kept and noted here; `Course.settle` then brings the
topology forward as far as it goes, and publishes at most one placement for each event.

Invariants, checked by `check_invariants`:
 C1. A task belongs to one seat; so does a producer.
 C2. A listed member is the newest child of its seat, and was born at or before the placement's number.
 C3. Placement numbers, attempts, terms, pauses and passes never go back.
 C4. While it is PENDING or over, nothing is wanted anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_worker import ChildId, ChildPhase, ChildState
from consecution.wire.cluster.to_client import State
from consecution.wire.cluster.to_worker import ChildOrder, FeedStart
from consecution.wire.placement import Death, Member, Phase, Placement, Role
from consecution.wire.plain import encode
from consecution_coordinator import crashes, scaling, seating, stuck
from consecution_coordinator.events import Publish, SaveLetters, SaveTopology, VoidLetters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.wire.cluster.from_client import Submit
    from consecution.wire.cluster.from_worker import ChildExit, Letters
    from consecution.wire.control import FeedCounts
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.kept import Seat, Topology
    from consecution_coordinator.moving import Move
    from consecution_coordinator.scaling import Scale
    from consecution_coordinator.stuck import Stuck, Way

DEATHS_MAX = 64
HOPELESS = ("flow", "setup", "source", "journal", "bundle")  # kinds of Broke that another try wouldn't mend


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

    def on_child(self, state: ChildState, desk: Desk) -> None:
        """A worker told how a child stands."""
        if self.move is not None and self.move.on_child(state, self):
            return
        seat = self.seat_of(state.id)
        if seat is None:
            return
        live = self.lives[seat.key]
        before = live.child
        live.child, live.told_at = state, desk.now - state.told_age_s
        member = self.member(seat.key)
        if member is not None and member.incarnation == state.incarnation and state.ready >= member.birth:
            if live.ready_at is None:
                live.ready_at = desk.now
            elif seat.failures and desk.now - live.ready_at >= desk.limits.quick_s:
                seat.failures = 0
        if state.told is not None and (before is None or before.told != state.told):
            self._take_counts(seat, state)

    def _take_counts(self, seat: Seat, state: ChildState) -> None:
        """Keep what a child told of its producers; a mark never goes back within a pass (R17)."""
        assert state.told is not None
        if self.kept.state is State.STARTING and self.member(seat.key) is None:
            return  # of a pass that is over, or not yet listed
        for counts in state.told.feeds:
            known = self.kept.feeds.get(counts.place)
            if counts.place in seat.feeds and counts != known and (known is None or not _is_behind(counts, known)):
                self.kept.feeds[counts.place] = counts
                self.is_counted = True
        if state.told.is_doubled and not self.kept.is_doubled:
            self.kept.is_doubled = self.is_changed = True
        if not state.told.state_lost <= self.kept.state_lost:
            self.kept.state_lost |= state.told.state_lost
            self.is_changed = True

    def on_letters(self, letters: Letters, desk: Desk) -> None:
        """A child reported dead letters."""
        if letters.id.run != self.kept.run or letters.pass_number != self.kept.pass_number:
            return  # of a pass that was voided
        # An executor that is started again tells the letters of its journal again.
        new = [one for one in letters.letters if one.seq < 0 or (one.producer, one.seq) not in self.known_letters]
        room = desk.limits.letters_max - self.kept.letters
        taken = tuple(new[: max(0, room)])
        if taken:
            desk.put(SaveLetters(self.name, taken))
        self.known_letters.update((one.producer, one.seq) for one in taken if one.seq >= 0)
        self.kept.letters += len(taken)
        self.kept.node_letters += sum(letter.seq < 0 for letter in new)
        self.kept.newest_letters = (*self.kept.newest_letters, *new)[-5:]
        self.is_changed = True

    def on_exit(self, exit_: ChildExit, desk: Desk) -> None:
        """A child has ended."""
        self.kills.pop(exit_.id, None)
        if self.move is not None and self.move.is_new(exit_.id):
            self.give_up_move(f"{exit_.id} ended: {how_it_ended(exit_)}", desk)
        seat = self.seat_of(exit_.id)
        if seat is None or not self.is_live:
            return
        text = how_it_ended(exit_)
        self._note_end(seat, text, desk, is_blamed=bool(exit_.runs) or self.kept.is_careful)
        self.tell_history(f"{exit_.id} on {seat.worker} ended: {text}", desk)
        was_member = self._drop(seat, exit_ if exit_.was_wanted else None)
        if was_member and crashes.is_unexplained(exit_):
            crashes.count(self, exit_, desk)
        if not self.kept.has_run:
            if exit_.broke in HOPELESS:
                return self.fail(text, exit_.traceback or exit_.log_tail, desk)
            if seat.failures >= desk.limits.failures_max:
                times = (
                    f"{seat.role}-{seat.index} ended {seat.failures} times before it was ready; the last time: {text}"
                )
                return self.fail(times, exit_.traceback or exit_.log_tail, desk)
        if was_member:
            self._after_death(desk)
        return None

    def on_child_missing(self, id_: ChildId, desk: Desk) -> None:
        """A worker follows a wanted state with this child, and neither runs it nor told an exit."""
        if self.move is not None and self.move.is_new(id_):
            self.give_up_move(f"{id_} is gone", desk)
        seat = self.seat_of(id_)
        if seat is None or not self.is_live:
            return
        self._note_end(seat, "it is gone without a word", desk)
        self.tell_history(f"{id_} on {seat.worker} is gone without a word", desk)
        if self._drop(seat, None):
            self._after_death(desk)

    def on_worker_gone(self, worker: str, why: str, desk: Desk) -> None:
        """A worker is dead, was restarted, or has left: its children are gone."""
        self.kills = {id_: at for id_, at in self.kills.items() if at != worker}
        if self.move is not None and self.move.concerns(worker):
            self.give_up_move(why, desk)
        if not self.is_live:
            return
        was_member = False
        hit = [seat for seat in self.kept.seats if seat.worker == worker]
        for seat in hit:
            if seat.attempt:
                seat.restarts += 1
                seat.last_death = why
            was_member |= self._drop(seat, None)
            seat.worker, seat.attempt = "", 0
            self.forget_child(seat, desk.now)
        if hit:
            numbers = ", ".join(f"{seat.role}-{seat.index}" for seat in hit)
            self.tell_history(f"{why}: {numbers} must be placed again", desk)
        if was_member:
            self._after_death(desk)

    def _note_end(self, seat: Seat, text: str, desk: Desk, *, is_blamed: bool = False) -> None:
        """Count a death, and say when the seat's next attempt may start."""
        live = self.lives[seat.key]
        lived_s = desk.now - live.ready_at if live.ready_at is not None else 0.0
        seat.failures = 1 if lived_s >= desk.limits.quick_s else seat.failures + 1
        seat.restarts += 1
        seat.last_death = text
        seat.attempt = 0
        waits = desk.limits.backoff_s
        wait_s = waits[min(seat.failures - 1, len(waits) - 1)]
        self.forget_child(seat, desk.now + (min(wait_s, desk.limits.guilty_s) if is_blamed else wait_s))

    def forget_child(self, seat: Seat, due: float = 0.0) -> None:
        """Forget the process of a seat, but not what it counted."""
        child = self.lives[seat.key].child
        if child is not None and child.told is not None:
            seat.node_failures += child.told.node_failures
            self.kept.audits_fired += child.told.audits_fired
            self.kept.outputs_dropped += child.told.outputs_dropped
        self.lives[seat.key] = Live(due=due)

    def _drop(self, seat: Seat, exit_: ChildExit | None) -> bool:
        """Leave a seat's process out of the next placement, with what its slot held; whether it was listed."""
        member = self.member(seat.key)
        self.is_changed = True
        if member is None:
            return False
        self.kept.members = tuple(m for m in self.kept.members if m is not member)
        if exit_ is not None and exit_.cause is not None and exit_.incarnation == member.incarnation:
            death = Death(member.incarnation, exit_.runs, exit_.is_cut, exit_.cause, self.kept.number + 1)
            self.kept.deaths = (*self.kept.deaths, death)[-DEATHS_MAX:]
        if self.kept.state is not State.STARTING and not self.starts_over:
            self.lose_sums(seat)
        self.has_news = True
        return True

    def lose_sums(self, seat: Seat) -> None:
        """Name the nodes that summed in the memory of a seat's process, which is gone, while the run goes on (R17)."""
        for stage in self.submit.plan.stages:
            if stage.is_accumulating and set(self.stage_tasks(stage.number)) & set(seat.tasks):
                self.kept.state_lost |= set(stage.nodes)

    def _after_death(self, desk: Desk) -> None:
        """A listed process is gone: a move can't go on, and a finite accumulating run begins anew (R17)."""
        if self.move is not None:
            self.give_up_move("a process died meanwhile", desk)
        if self.starts_over and self.kept.state is not State.STARTING:
            self._start_over(desk)

    def _start_over(self, desk: Desk) -> None:
        kept = self.kept
        kept.pass_number += 1
        kept.starts_again = True
        kept.state, kept.phase = State.STARTING, Phase.STARTING
        kept.members = tuple(m for m in kept.members if m.role is Role.ACKER)
        for seat in kept.seats:
            if seat.role == Role.EXECUTOR.value:
                if seat.attempt:
                    self.kills[self.child_id(seat, seat.attempt)] = seat.worker
                    seat.attempt = 0
                    self.forget_child(seat, desk.now)
                seat.node_failures = 0
        kept.feeds, kept.letters, kept.newest_letters, kept.state_lost = {}, 0, (), frozenset()
        kept.node_letters = 0
        self.known_letters.clear()
        desk.put(VoidLetters(self.name))
        self.has_news = True
        self.tell_history(f"starts over with pass {kept.pass_number}: it accumulates, and a process died", desk)

    def fail(self, reason: str, traceback: str, desk: Desk) -> None:
        """It can't run."""
        self.kept.traceback = traceback[-8_000:]
        self.stop(State.FAILED, reason, desk)

    def stop(self, final: State, reason: str, desk: Desk) -> None:
        """Let all processes end; when they have, the topology is in the state ``final``.

        A run that is finished keeps its members listed under Phase.ENDED, so that journals are released; one that is
        drained or cut lists none, and journals stay.
        """
        kept = self.kept
        self.move = None
        kept.final, kept.reason = final, reason
        if final is not State.FINISHED:
            kept.members = ()
        kept.phase = Phase.ENDED
        kept.state = State.STOPPING
        kept.is_paused, kept.drain_at = False, 0.0
        self.since = desk.now
        self.has_news = True
        self.tell_history(f"stops: {final.value}{': ' + reason if reason else ''}", desk)

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
            self._end_when_done(desk)
        if kept.state is State.STOPPING:
            self._end_when_gone(desk)
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
            self.stop(State.KILLED, f"the drain passed its deadline with {left:,} items in flight", desk)

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

    def _end_when_done(self, desk: Desk) -> None:
        """End it when all producers and tasks have ended (R19), or when a drain has nothing left."""
        kept = self.kept
        if kept.state not in (State.RUNNING, State.DRAINING) or self.move is not None or self.has_news:
            return
        error = self._source_error()
        if error is not None and kept.state is State.RUNNING:
            kept.drain_at = math.inf
            self.tell_history(f"a source can't be read on, so what entered is finished: {error}", desk)
            self.follow_user(desk)
            return
        for seat in kept.seats:
            if seat.role == Role.ACKER.value:
                continue
            child = self.lives[seat.key].child
            if not self.is_ready(seat) or child is None or child.told is None:
                return
            told = child.told
            counts = {one.place: one for one in told.feeds}
            if any(place not in counts or not counts[place].is_idle for place in seat.feeds):
                return
            if kept.state is State.DRAINING:
                if told.number < kept.number:
                    return
            elif not set(seat.tasks) <= set(told.tasks_ended) or not all(counts[p].is_at_end for p in seat.feeds):
                return
        if error is not None:
            self.stop(State.FAILED, error, desk)
        elif kept.state is State.DRAINING:
            self.stop(State.DRAINED, "", desk)
        else:
            self.stop(State.FINISHED, "", desk)

    def _source_error(self) -> str | None:
        """Why a source couldn't be read to its end; None when all could."""
        for live in self.lives.values():
            if live.child is not None and live.child.told is not None and live.child.told.source_error is not None:
                return live.child.told.source_error
        return None

    def _end_when_gone(self, desk: Desk) -> None:
        """Say that it is over when no worker runs anything of it."""
        kept = self.kept
        runs = any(
            id_.topology == self.name and id_.run == kept.run
            for worker in desk.workers
            if worker.is_alive or worker.is_expected
            for id_ in (worker.children if worker.is_alive else (self.child_id(s, s.attempt) for s in kept.seats))
        )
        patience_s = desk.limits.stop_s + desk.limits.silent_s
        if runs and desk.now - self.since < patience_s:
            return
        kept.state = kept.final
        kept.ended_at = desk.wall
        kept.members = ()
        for seat in kept.seats:
            seat.attempt = 0
            self.forget_child(seat)
        self.kills = {}
        self.tell_history(f"is over: {kept.state.value}", desk)

    def give_up_move(self, why: str, desk: Desk) -> None:
        """Stop a planned move; what runs goes on as before."""
        if self.move is None:
            return
        was_pausing = self.move.pause
        self.move.undo(self)
        self.move = None
        if was_pausing and self.is_live and self.kept.state is not State.STARTING:
            self.follow_user(desk)
        self.tell_history(f"the move was given up: {why}", desk)

    def _publish(self, desk: Desk) -> None:
        kept = self.kept
        kept.number += 1
        self.has_news = False
        self.is_changed = True
        numbers = [self._number_of(seat) for seat in kept.seats if self.member(seat.key) is not None]
        known = min(numbers, default=kept.number)
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


def how_it_ended(exit_: ChildExit) -> str:
    """How a child ended, for people, in one line."""
    if exit_.message:
        return exit_.message
    if exit_.cause is not None and exit_.cause.message:
        return exit_.cause.message
    if exit_.code is None:
        return "it could not be started"
    return f"killed by signal {-exit_.code}" if exit_.code < 0 else f"exit code {exit_.code}"


def _is_behind(counts: FeedCounts, known: FeedCounts) -> bool:
    """Whether counts are older than what is known, or of a process that hasn't yet read where to begin."""
    return counts.mark < known.mark or (counts.mark == known.mark and counts.introduced < known.introduced)
