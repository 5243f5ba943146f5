"""The end of a topology: when it has come, and how all of it is ended.

Rules of this module: pure. Ending is a state, no message (R19): first all processes are told to end (STOPPING), and
when no worker runs anything of it any more, the topology is over.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State
from consecution.wire.placement import Phase, Role

if TYPE_CHECKING:
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk


def fail(course: Course, reason: str, traceback: str, desk: Desk) -> None:
    """It can't run."""
    course.kept.traceback = traceback[-8_000:]
    stop(course, State.FAILED, reason, desk)


def stop(course: Course, final: State, reason: str, desk: Desk) -> None:
    """Let all processes end; when they have, the topology is in the state ``final``.

    A run that is finished keeps its members listed under Phase.ENDED, so that journals are released; one that is
    drained or cut lists none, and journals stay.
    """
    kept = course.kept
    course.move = None
    kept.final, kept.reason = final, reason
    if final is not State.FINISHED:
        kept.members = ()
    kept.phase = Phase.ENDED
    kept.state = State.STOPPING
    kept.is_paused, kept.drain_at = False, 0.0
    course.since = desk.now
    course.has_news = True
    course.tell_history(f"stops: {final.value}{': ' + reason if reason else ''}", desk)


def end_when_done(course: Course, desk: Desk) -> None:
    """End it when all producers and tasks have ended (R19); a drain ends producers where they are, and tasks as ever.

    That no item is unfinished isn't enough: at NONE nobody counts them, and what a timer pushes is no item.
    """
    kept = course.kept
    if kept.state not in (State.RUNNING, State.DRAINING) or course.move is not None or course.has_news:
        return
    error = _source_error(course)
    if error is not None and kept.state is State.RUNNING:
        kept.drain_at = math.inf
        course.tell_history(f"a source can't be read on, so what entered is finished: {error}", desk)
        course.follow_user(desk)
        return
    for seat in kept.seats:
        if seat.role == Role.ACKER.value:
            continue
        child = course.lives[seat.key].child
        if not course.is_ready(seat) or child is None or child.told is None:
            return
        told = child.told
        counts = {one.place: one for one in told.feeds}
        if any(place not in counts or not counts[place].is_idle for place in seat.feeds):
            return
        if not set(seat.tasks) <= set(told.tasks_ended):
            return
        if kept.state is State.DRAINING:
            if told.number < kept.number:
                return
        elif not all(counts[p].is_at_end for p in seat.feeds):
            return
    if error is not None:
        stop(course, State.FAILED, error, desk)
    elif kept.state is State.DRAINING:
        stop(course, State.DRAINED, "", desk)
    else:
        stop(course, State.FINISHED, "", desk)


def _source_error(course: Course) -> str | None:
    """Why a source couldn't be read to its end; None when all could."""
    for live in course.lives.values():
        if live.child is not None and live.child.told is not None and live.child.told.source_error is not None:
            return live.child.told.source_error
    return None


def end_when_gone(course: Course, desk: Desk) -> None:
    """Say that it is over when no worker runs anything of it."""
    kept = course.kept
    runs = any(
        id_.topology == course.name and id_.run == kept.run
        for worker in desk.workers
        if worker.is_alive or worker.is_expected
        for id_ in (worker.children if worker.is_alive else (course.child_id(s, s.attempt) for s in kept.seats))
    )
    patience_s = desk.limits.stop_s + desk.limits.silent_s
    if runs and desk.now - course.since < patience_s:
        return
    kept.state = kept.final
    kept.ended_at = desk.wall
    kept.members = ()
    for seat in kept.seats:
        seat.attempt = 0
        course.forget_child(seat)
    course.kills = {}
    course.tell_history(f"is over: {kept.state.value}", desk)
