"""Deaths: what the end of a process, or of a worker, changes for its topology.

Rules of this module: pure. Whoever ends, its seat is emptied and what it had counted is kept; the next placement leaves
it out and says what it had in work, so that its trees fail at once (R12, R15). Only when a seat may be filled again is
decided here: where, in `seating`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.guarantee.crashes import tells_of_items
from consecution.wire.cluster.to_client import State
from consecution.wire.placement import Death, Phase, Role
from consecution_coordinator import crashes, ending
from consecution_coordinator.events import VoidLetters

if TYPE_CHECKING:
    from consecution.wire.cluster.from_worker import ChildExit, ChildId
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.kept import Seat

DEATHS_MAX = 64
HOPELESS = ("flow", "setup", "source", "journal", "bundle")  # kinds of Broke that another try wouldn't mend
OF_THE_HOST = ("source", "journal", "bundle")  # no code of the flow is to blame, and the message says all


def on_exit(course: Course, exit_: ChildExit, desk: Desk) -> None:
    """A child has ended."""
    course.kills.pop(exit_.id, None)
    if course.move is not None and course.move.is_new(exit_.id):
        course.give_up_move(f"{exit_.id} ended: {how_it_ended(exit_)}", desk)
    seat = course.seat_of(exit_.id)
    if seat is None or not course.is_live:
        return
    text = how_it_ended(exit_)
    _note_end(course, seat, text, desk, is_blamed=bool(exit_.runs) or course.kept.is_careful)
    course.tell_history(f"{exit_.id} on {seat.worker} ended: {text}", desk)
    was_member = _drop(course, seat, exit_ if exit_.was_wanted else None)
    if was_member and crashes.is_unexplained(exit_):
        crashes.count(course, exit_, desk)
    if not course.kept.has_run:
        if exit_.broke in HOPELESS:
            trace = "" if exit_.broke in OF_THE_HOST else exit_.traceback or exit_.log_tail
            return ending.fail(course, f"{text} (on worker {seat.worker})", trace, desk)
        if seat.failures >= desk.limits.failures_max:
            times = f"{seat.role}-{seat.index} ended {seat.failures} times before it was ready; the last time: {text}"
            return ending.fail(course, times, exit_.traceback or exit_.log_tail, desk)
    if was_member:
        _after_death(course, desk)
    return None


def on_missing(course: Course, id_: ChildId, desk: Desk) -> None:
    """A worker follows a wanted state with this child, and neither runs it nor told an exit."""
    if course.move is not None and course.move.is_new(id_):
        course.give_up_move(f"{id_} is gone", desk)
    seat = course.seat_of(id_)
    if seat is None or not course.is_live:
        return
    _note_end(course, seat, "it is gone without a word", desk)
    course.tell_history(f"{id_} on {seat.worker} is gone without a word", desk)
    if _drop(course, seat, None):
        _after_death(course, desk)


def on_worker_gone(course: Course, worker: str, why: str, desk: Desk) -> None:
    """A worker is dead, was restarted, or has left: its children are gone."""
    course.kills = {id_: at for id_, at in course.kills.items() if at != worker}
    if course.move is not None and course.move.concerns(worker):
        course.give_up_move(why, desk)
    if not course.is_live:
        return
    was_member = False
    hit = [seat for seat in course.kept.seats if seat.worker == worker]
    for seat in hit:
        if seat.attempt:
            seat.restarts += 1
            seat.last_death = why
        was_member |= _drop(course, seat, None)
        seat.worker, seat.attempt = "", 0
        course.forget_child(seat, desk.now)
    if hit:
        numbers = ", ".join(f"{seat.role}-{seat.index}" for seat in hit)
        course.tell_history(f"{why}: {numbers} must be placed again", desk)
    if was_member:
        _after_death(course, desk)


def _note_end(course: Course, seat: Seat, text: str, desk: Desk, *, is_blamed: bool = False) -> None:
    """Count a death, and say when the seat's next attempt may start."""
    live = course.lives[seat.key]
    lived_s = desk.now - live.ready_at if live.ready_at is not None else 0.0
    seat.failures = 1 if lived_s >= desk.limits.quick_s else seat.failures + 1
    seat.restarts += 1
    seat.last_death = text
    seat.attempt = 0
    waits = desk.limits.backoff_s
    wait_s = waits[min(seat.failures - 1, len(waits) - 1)]
    course.forget_child(seat, desk.now + (min(wait_s, desk.limits.guilty_s) if is_blamed else wait_s))


def _drop(course: Course, seat: Seat, exit_: ChildExit | None) -> bool:
    """Leave a seat's process out of the next placement, with what its slot held; whether it was listed."""
    member = course.member(seat.key)
    course.is_changed = True
    if member is None:
        return False
    course.kept.members = tuple(m for m in course.kept.members if m is not member)
    if exit_ is not None and exit_.cause is not None and exit_.incarnation == member.incarnation and _tells(exit_):
        death = Death(member.incarnation, exit_.runs, exit_.is_cut, exit_.cause, course.kept.number + 1)
        course.kept.deaths = (*course.kept.deaths, death)[-DEATHS_MAX:]
    if course.kept.state is not State.STARTING and not course.starts_over:
        lose_sums(course, seat)
    course.has_news = True
    return True


def _tells(exit_: ChildExit) -> bool:
    """Whether its end may be the fault of an item: an acker has none, and what broke has said why."""
    is_executor = exit_.id.role == Role.EXECUTOR.value
    return is_executor and not exit_.broke and tells_of_items(exit_.code, exit_.runs, is_cut=exit_.is_cut)


def lose_sums(course: Course, seat: Seat) -> None:
    """Name the nodes that summed in the memory of a seat's process, which is gone, while the run goes on (R17)."""
    for stage in course.submit.plan.stages:
        if stage.is_accumulating and set(course.stage_tasks(stage.number)) & set(seat.tasks):
            course.kept.state_lost |= set(stage.nodes)


def _after_death(course: Course, desk: Desk) -> None:
    """A listed process is gone: a move can't go on, and a finite accumulating run begins anew (R17)."""
    if course.move is not None:
        course.give_up_move("a process died meanwhile", desk)
    if course.starts_over and course.kept.state is not State.STARTING:
        _start_over(course, desk)


def _start_over(course: Course, desk: Desk) -> None:
    kept = course.kept
    kept.pass_number += 1
    kept.starts_again = True
    kept.state, kept.phase = State.STARTING, Phase.STARTING
    kept.members = tuple(m for m in kept.members if m.role is Role.ACKER)
    for seat in kept.seats:
        if seat.role == Role.EXECUTOR.value:
            if seat.attempt:
                course.kills[course.child_id(seat, seat.attempt)] = seat.worker
                seat.attempt = 0
                course.forget_child(seat, desk.now)
            seat.node_failures = 0
    kept.feeds, kept.letters, kept.newest_letters, kept.state_lost = {}, 0, (), frozenset()
    kept.node_letters = 0
    course.known_letters.clear()
    desk.put(VoidLetters(course.name))
    course.has_news = True
    course.tell_history(f"starts over with pass {kept.pass_number}: it accumulates, and a process died", desk)


def how_it_ended(exit_: ChildExit) -> str:
    """How a child ended, for people, in one line."""
    if exit_.message:
        return exit_.message
    if exit_.cause is not None and exit_.cause.message:
        return exit_.cause.message
    if exit_.code is None:
        return "it could not be started"
    return f"killed by signal {-exit_.code}" if exit_.code < 0 else f"exit code {exit_.code}"
