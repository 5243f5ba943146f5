"""Which worker a seat of a topology gets: at its start, and when its worker is gone.

Rules of this module: pure.

1. A topology that hasn't started waits until it fits. One that runs never waits for a slot: after a death its
   processes go where there is most room, beyond the slots if need be; a rebalance evens it out.
2. Producers with a journal go back to the disk that holds it. When that host is gone, those of re-readable sources are
   given to another owner under a new term (R17), which begins where the coordinator knows that the old one was; what
   was handed over waits for its host, and the tasks of that executor go on without it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State
from consecution.wire.placement import Phase, Role
from consecution_coordinator.kept import Seat
from consecution_coordinator.placing import acker_room, best_room, seats_for, share_out
from consecution_coordinator.stuck import rooms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.membership import Worker

RE_READABLE = "re-readable"


def slots_of(n: int) -> str:
    """``1 slot``, ``2 slots``.

    >>> slots_of(1), slots_of(3)
    ('1 slot', '3 slots')
    """
    return f"{n} slot{'' if n == 1 else 's'}"


def try_start(course: Course, desk: Desk) -> None:
    """Give a pending topology its seats when there is room; else say what it waits for."""
    kept, submit = course.kept, course.submit
    rooms = desk.rooms()
    free = sum(room.free for room in rooms)
    needed = (submit.slots or 1) + course.reserved
    if free < needed:
        total = sum(room.slots for room in rooms)
        where = (
            f"{free} of the cluster's {slots_of(total)} {'is' if free == 1 else 'are'} free"
            if total
            else "there is no worker"
        )
        group = f" for group {submit.group}" if course.reserved else ""
        reason = f"waits for {slots_of(needed)}{group}: {where}"
        if reason != kept.reason:
            kept.reason = reason
            course.is_changed = True
        return
    n_doors = sum(stage.is_door for stage in submit.plan.stages)  # a door takes no work from a processor
    executors = submit.slots or max(1, min(free - course.reserved, submit.plan.n_tasks - n_doors))
    seats = [
        Seat(Role.EXECUTOR.value, index, share.tasks, share.feeds, worker)
        for index, (share, worker) in enumerate(
            zip(share_out(submit.plan, executors), seats_for(rooms, executors), strict=True)
        )
    ]
    _keep_groups(kept.seats, seats)
    ackers = Counter(seat.worker for seat in kept.seats if seat.role == Role.ACKER.value)
    for index in range(kept.n_ackers):
        worker = acker_room(rooms, ackers) or ""
        ackers[worker] += 1
        seats.append(Seat(Role.ACKER.value, index, worker=worker))
    kept.seats = seats
    for seat in seats:
        course.sit(seat, desk.now)
    kept.state, kept.phase, kept.reason = State.STARTING, Phase.STARTING, ""
    for seat in list(seats):
        _come_home(course, seat, desk)
    where = ", ".join(sorted({seat.worker for seat in seats} - {""}))
    course.tell_history(f"starts with {executors} executor{'' if executors == 1 else 's'} on {where}", desk)


def _keep_groups(before: Sequence[Seat], seats: list[Seat]) -> None:
    """Let producers that share a journal of an earlier submission stay together, each group in a seat of its own."""
    groups = [seat for seat in before if seat.feeds and seat.term]
    if not groups:
        for seat in seats:
            seat.group = min(seat.feeds, default=0)
        return
    for seat in seats:
        seat.feeds = ()
    for index, group in enumerate(groups):
        seat = seats[index] if index < len(seats) else Seat(Role.EXECUTOR.value, len(seats))
        if index >= len(seats):
            seats.append(seat)
        seat.feeds, seat.group, seat.home, seat.identity = group.feeds, group.group, group.home, group.identity
        seat.term, seat.last_term = group.term, group.last_term


def find_worker(course: Course, seat: Seat, desk: Desk) -> None:
    """Give a seat without a worker a new one, if there is any (rule 2)."""
    rooms = rooms_of(course, desk)
    if seat.role == Role.ACKER.value:
        ackers = Counter(s.worker for s in course.kept.seats if s.role == Role.ACKER.value)
        worker = acker_room(rooms, ackers)
    else:
        near = Counter(s.worker for s in course.kept.seats)
        worker = best_room(rooms, near)
    home = _home_of(seat, desk)
    if home is not None:
        worker = home.name
    elif _must_wait(course, seat):
        _pin(course, seat, desk)
        return
    if worker is None:
        return
    seat.worker = worker
    _come_home(course, seat, desk)
    course.is_changed = True
    course.tell_history(f"{seat.role}-{seat.index} is placed on {worker}", desk)


def _home_of(seat: Seat, desk: Desk) -> Worker | None:
    """The worker whose disk holds the journal of a seat's producers, when it takes work."""
    worker = desk.workers.get(seat.home) if seat.feeds and seat.home else None
    if worker is None or not worker.takes_work or worker.kept.identity != seat.identity:
        return None
    return worker


def _must_wait(course: Course, seat: Seat) -> bool:
    """Whether what a seat's producers took in is nowhere but in a journal on a host that isn't here."""
    if not seat.feeds or not seat.home or not course.has_journal:
        return False
    sources = {feed.place: feed.source for feed in course.submit.plan.feeds}
    return any(sources[place] != RE_READABLE for place in seat.feeds)


def _pin(course: Course, seat: Seat, desk: Desk) -> None:
    """Let a seat wait for its home with its producers alone; its tasks get a seat of their own."""
    if not seat.is_pinned:
        seat.is_pinned = True
        names = ", ".join(feed.name for feed in course.submit.plan.feeds if feed.place in seat.feeds)
        course.tell_history(f"{names} waits for worker {seat.home}, whose disk holds its journal", desk)
    if seat.tasks:
        other = Seat(seat.role, course.new_index(), seat.tasks, last_death=seat.last_death)
        seat.tasks = ()
        course.kept.seats.append(other)
        course.sit(other, desk.now)
        course.is_changed = True
        find_worker(course, other, desk)


def _come_home(course: Course, seat: Seat, desk: Desk) -> None:
    """Note who owns a seat's producers now; a new owner has a new term, thus a new journal."""
    if not seat.feeds:
        return
    home = _home_of(seat, desk)
    if home is not None:
        seat.worker = home.name
        seat.is_pinned = False
        return
    if _must_wait(course, seat):
        seat.worker = ""
        _pin(course, seat, desk)
        return
    worker = desk.workers.get(seat.worker)
    if worker is None:
        return
    give_owner(seat, worker)


def give_owner(seat: Seat, worker: Worker) -> None:
    """Make a worker the owner of a seat's producers, under a new term."""
    seat.last_term += 1
    seat.term = seat.last_term
    seat.home, seat.identity = worker.name, worker.kept.identity
    seat.is_pinned = False
