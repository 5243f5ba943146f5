"""Another parallelism for nodes of a topology, while it runs (R6).

Rules of this module: pure. The walk:

1. *preparing*: processes are started for new executors, where there are slots; all else goes on.
2. *pausing*: a placement pauses the producers. Each process confirms that pause by its number when no root of it is
   open; what failed waits. So nothing is under way between any two tasks.
3. *settling*: a placement, still paused, gives everybody the new tasks and the new owners of keys. Tasks that stay
   keep their number, their process and what their nodes hold; new ones are set up.
4. When all are ready, producers read again, and executors that are left without a task end.

Up to 4 all of it can be undone: when a process dies or a setup raises, the tasks are again as they were. When the pause
isn't confirmed in ten seconds, executors of tasks that lose keys, or that are no more, are killed (R6, R12).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from consecution.plan.partitions import PARTITIONS, StageTasks, dealt, moved
from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.placement import Role
from consecution_coordinator.kept import Seat
from consecution_coordinator.moving import Pausing
from consecution_coordinator.placing import Room, best_room, deal_more, take_away
from consecution_coordinator.stuck import rooms_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consecution.wire.cluster.from_client import StageFacts
    from consecution.wire.cluster.from_worker import ChildId, ChildState
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.moving import Key

KEYED = ("key", "partial_key")
TASKS_MAX = 4_096
Before = tuple[tuple[StageTasks, ...], dict[tuple[str, int], tuple[int, ...]]]


# ---- what is asked ---------------------------------------------------------------------------------------------------


def widths_wanted(course: Course, wanted: Mapping[str, int]) -> dict[int, int] | Refused:
    """Which stages are to have how many tasks; or why not."""
    stages = {name: stage for stage in course.submit.plan.stages for name in stage.nodes}
    found: dict[int, int] = {}
    named: dict[int, str] = {}
    for name, width in sorted(wanted.items()):
        stage = stages.get(name)
        if stage is None:
            known = ", ".join(sorted(stages))
            return Refused(f"topology {course.name!r} has no node {name!r}; it has {known}", kind="unknown")
        if width < 1:
            return Refused(f"{name}={width}: expected 1 or more tasks")
        if stage.grouping in KEYED and width > PARTITIONS:
            return Refused(
                f"{name}={width}: its keys are in {PARTITIONS} partitions, so at most {PARTITIONS} tasks have work"
            )
        if stage.grouping == "global" and width > 1:
            return Refused(f'{name}={width}: with grouping="global" all items go to one task; use another grouping')
        if found.setdefault(stage.number, width) != width:
            return Refused(
                f"{named[stage.number]!r} and {name!r} are one stage, fused into the same tasks, so both have the "
                "same parallelism; give one number, or part them by a grouping in the flow"
            )
        named[stage.number] = name
    widths = {stage.number: len(course.stage_tasks(stage.number)) for stage in course.submit.plan.stages} | found
    if sum(widths.values()) > TASKS_MAX:
        return Refused(f"that makes {sum(widths.values())} tasks; expected at most {TASKS_MAX} in a topology")
    return {number: width for number, width in found.items() if width != len(course.stage_tasks(number))}


def rescale(course: Course, widths: Mapping[int, int], by: str, desk: Desk) -> Done:
    """Begin to change the parallelism of stages; `widths` holds only those that change."""
    scale = _planned(course, widths, desk)
    course.move = scale
    course.tell_history(f"rebalance{by}: {scale.text}", desk)
    return Done(scale.text)


def _planned(course: Course, widths: Mapping[int, int], desk: Desk) -> Scale:
    """Which tasks come, go, and change hands."""
    kept = course.kept
    executors = [seat for seat in kept.seats if seat.role == Role.EXECUTOR.value]
    tasks_of = {seat.index: list(seat.tasks) for seat in executors}
    scaled = {one.stage: one for one in kept.scaled}
    new_seats = _new_seats(course, sum(max(0, w - len(course.stage_tasks(n))) for n, w in widths.items()), desk)
    tasks_of |= {seat.index: [] for seat in new_seats}
    texts: list[str] = []
    losing: set[int] = set()
    forgetful: set[str] = set()
    for number, width in sorted(widths.items()):
        stage = course.submit.plan.stages[number]
        before = course.stage_tasks(number)
        gone = take_away(tasks_of, before, len(before) - width)
        more = [course.new_task() for _ in range(width - len(before))]
        deal_more(tasks_of, before, more)
        tasks = (*(task for task in before if task not in gone), *more)
        owners = scaled[number].owners if number in scaled else dealt(before)
        scaled[number] = StageTasks(number, tasks, moved(owners, tasks))
        lose = set(gone)
        if stage.grouping in KEYED:
            lose |= {was for was, now in zip(owners, scaled[number].owners, strict=True) if was != now}
        losing |= lose
        forgetful |= set(stage.nodes) if stage.is_accumulating and lose else set()
        texts.append(f"{', '.join(stage.nodes)}: {len(before)} to {width} tasks{_keys(stage, owners, scaled[number])}")
    return Scale(
        give_up_at=desk.now + desk.limits.move_s,
        scaled=tuple(scaled[number] for number in sorted(scaled)),
        tasks={(Role.EXECUTOR.value, index): tuple(sorted(own)) for index, own in tasks_of.items()},
        seats=[seat for seat in new_seats if tasks_of[seat.index]],
        losing=frozenset(losing),
        forgetful=frozenset(forgetful),
        text="; ".join(texts),
    )


def _keys(stage: StageFacts, owners: tuple[int, ...], scaled: StageTasks) -> str:
    if stage.grouping not in KEYED:
        return ""
    n_moved = sum(was != now for was, now in zip(owners, scaled.owners, strict=True))
    return f", {n_moved} of {PARTITIONS} partitions of its keys move"


def _new_seats(course: Course, more: int, desk: Desk) -> list[Seat]:
    """Executors for new tasks: as many as there are free slots, and as the user wants at most."""
    rooms = {room.name: room for room in rooms_of(course, desk)}
    seats: list[Seat] = []
    near = Counter(seat.worker for seat in course.kept.seats if seat.worker)
    n_executors = sum(seat.role == Role.EXECUTOR.value for seat in course.kept.seats)
    at_most = course.submit.slots - n_executors if course.submit.slots else more
    while len(seats) < min(more, at_most) and any(room.free for room in rooms.values()):
        name = best_room(list(rooms.values()), near)
        assert name is not None
        near[name] += 1
        rooms[name] = Room(name, rooms[name].slots, rooms[name].used + 1)
        index = course.new_index()
        seats.append(Seat(Role.EXECUTOR.value, index, worker=name, attempt=1, last_attempt=1))
    return seats


# ---- the walk --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Scale(Pausing):
    """A change of parallelism under way.

    Attributes:
        scaled: Stages whose parallelism isn't the flow's, from then on.
        tasks: Of each executor, from then on.
        seats: New executors.
        losing: Tasks that lose keys, or are no more.
        forgetful: Nodes of which some sums are gone then (R17): of keys that moved, of tasks that are no more.
        text: What changes, for people.
        children: The new processes, as their workers told them.
        before: What it was, while it can be undone; None before the new tasks were given.
        number: Of the placement that gives the new tasks.
    """

    scaled: tuple[StageTasks, ...] = ()
    tasks: dict[Key, tuple[int, ...]] = field(default_factory=dict)
    seats: list[Seat] = field(default_factory=list)
    losing: frozenset[int] = frozenset()
    forgetful: frozenset[str] = frozenset()
    text: str = ""
    children: dict[Key, ChildState] = field(default_factory=dict)
    before: Before | None = None
    number: int = 0

    def is_new(self, id_: ChildId) -> bool:
        """Whether a child is one of the new processes."""
        return any(seat.key == (id_.role, id_.index) and seat.attempt == id_.attempt for seat in self.seats)

    def concerns(self, worker: str) -> bool:
        """Whether a new process is on this worker."""
        return any(seat.worker == worker for seat in self.seats)

    def on_child(self, state: ChildState, course: Course) -> bool:
        """Take in how a new process stands; False when it is none, or has a seat already."""
        if self.before is not None or state.id.run != course.kept.run or not self.is_new(state.id):
            return False
        self.children[(state.id.role, state.id.index)] = state
        return True

    def pending(self, course: Course) -> Iterator[tuple[Seat, int]]:
        """Processes that must run and have no seat yet: (seat, attempt)."""
        if self.before is None:
            yield from ((seat, seat.attempt) for seat in self.seats)

    def settle(self, course: Course, desk: Desk) -> None:
        """Bring the change forward as far as it goes."""
        if self.before is not None:
            self._finish(course, desk)
        elif not all(self._is_born(seat) for seat in self.seats):
            self.watch_the_clock(course, desk)
        elif not self.pause:
            self.begin_pause(course, desk)
        elif not self.confirm(course, desk) and desk.now < self.paused_until:
            pass  # what entered is being finished
        elif self._is_ending(course):
            course.give_up_move("all its producers have ended, so nothing more is to be spread", desk)
        elif self.is_confirmed:
            self._apply(course, desk)
        else:
            self._cut(course, desk)

    def _is_born(self, seat: Seat) -> bool:
        child = self.children.get(seat.key)
        return child is not None and child.phase is ChildPhase.BORN and child.incarnation != 0

    def _is_ending(self, course: Course) -> bool:
        """Whether end marks are under way, or may be at once: who was told an end must not get new neighbours (R19)."""
        told = [live.child.told for live in course.lives.values() if live.child is not None and live.child.told]
        feeds = [counts for one in told for counts in one.feeds]
        changed = {task for one in self.scaled for task in one.tasks} | self.losing
        ended = {task for one in told for task in one.tasks_ended}
        return all(counts.is_at_end and counts.is_idle for counts in feeds) or bool(changed & ended)

    def _apply(self, course: Course, desk: Desk) -> None:
        """Give everybody the new tasks, still paused."""
        kept = course.kept
        self.before = kept.scaled, {seat.key: seat.tasks for seat in kept.seats}
        kept.scaled = self.scaled
        for seat in self.seats:
            kept.seats.append(seat)
            course.sit(seat, desk.now)
            course.lives[seat.key].child = self.children.get(seat.key)
        for seat in kept.seats:
            seat.tasks = self.tasks.get(seat.key, seat.tasks)
        _follow_seats(course)
        for seat in self.seats:
            kept.members = (*kept.members, course.member_of(seat, self.children[seat.key]))
        self.number = kept.number + 1
        self.give_up_at = desk.now + desk.limits.move_s
        course.has_news = course.is_changed = True

    def _finish(self, course: Course, desk: Desk) -> None:
        """Go on when all who have other tasks now are ready."""
        assert self.before is not None
        had = self.before[1]
        changed = [seat for seat in course.kept.seats if seat.tasks != had.get(seat.key, ())]
        if not all(self._is_ready(seat, course) for seat in changed):
            self.watch_the_clock(course, desk)
            return
        self.before = None
        course.kept.state_lost |= self.forgetful
        retire_idle(course)
        course.move = None
        course.follow_user(desk)
        course.tell_history(f"has another parallelism: {self.text}", desk)

    def _is_ready(self, seat: Seat, course: Course) -> bool:
        child = course.lives[seat.key].child
        return child is not None and child.ready >= self.number

    def undo(self, course: Course) -> None:
        """Let the tasks be as they were."""
        if self.before is None:
            return
        kept = course.kept
        kept.scaled, had = self.before
        self.before = None
        kept.seats = [seat for seat in kept.seats if seat.key in had]
        for seat in self.seats:
            course.lives.pop(seat.key, None)
        for seat in kept.seats:
            seat.tasks = had[seat.key]
        _follow_seats(course)
        course.has_news = course.is_changed = True

    def _cut(self, course: Course, desk: Desk) -> None:
        """The pause wasn't confirmed in time: whoever loses something is killed, as if it had died (R6, R12)."""
        losers = [seat for seat in course.kept.seats if self.losing & set(seat.tasks)]
        self._apply(course, desk)
        self.before = None
        for seat in losers:
            if seat.attempt:
                course.kills[course.child_id(seat, seat.attempt)] = seat.worker
            member = course.member(seat.key)
            course.kept.members = tuple(one for one in course.kept.members if one is not member)
            seat.attempt = 0
            course.forget_child(seat, desk.now)
        course.kept.state_lost |= self.forgetful
        retire_idle(course)
        course.move = None
        course.follow_user(desk)
        killed = ", ".join(f"{seat.role}-{seat.index}" for seat in losers) or "nobody"
        course.tell_history(
            f"has another parallelism: {self.text}; the pause wasn't confirmed within {desk.limits.pause_s:g} s: "
            f"{killed} was killed",
            desk,
        )


def _follow_seats(course: Course) -> None:
    """Let each listed process have the tasks of its seat; those without a seat are left out."""
    kept = course.kept
    tasks = {seat.key: seat.tasks for seat in kept.seats}
    kept.members = tuple(
        replace(member, tasks=tasks[member.role.value, member.index])
        for member in kept.members
        if (member.role.value, member.index) in tasks
    )


def retire_idle(course: Course) -> None:
    """Take the seats of executors that have neither a task nor a producer any more; their processes end."""
    idle = {
        seat.key for seat in course.kept.seats if seat.role == Role.EXECUTOR.value and not (seat.tasks or seat.feeds)
    }
    if not idle:
        return
    course.kept.seats = [seat for seat in course.kept.seats if seat.key not in idle]
    for key in idle:
        course.lives.pop(key, None)
    _follow_seats(course)
    course.has_news = course.is_changed = True
