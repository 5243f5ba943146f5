"""What clients ask of the state, and the answers.

Rules of this module: pure, and changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_client import AskLetters, AskStatus, ListAll
from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.cluster.parcel import Refused
from consecution.wire.cluster.to_client import Listing, ProcessStatus, Status, Summary, WorkerStatus
from consecution.wire.control import FeedCounts
from consecution.wire.placement import Role
from consecution_coordinator import groups, stuck
from consecution_coordinator.commands import unknown
from consecution_coordinator.events import TellLetters
from consecution_coordinator.membership import MISSED
from consecution_coordinator.moving import Move

if TYPE_CHECKING:
    from collections import Counter

    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.events import ClientAsked
    from consecution_coordinator.kept import Seat
    from consecution_coordinator.membership import Worker

RANGES_SHOWN = 10


def answer(courses: dict[str, Course], event: ClientAsked, desk: Desk, *, library: str, up_s: float) -> object | None:
    """Answer a question; None when the answer comes from the store, by an instruction."""
    message = event.message
    if isinstance(message, ListAll):
        current = {one.name for course in courses.values() for one in groups.members_of(courses, course.submit.group)}
        topologies = tuple(
            summary(courses[name], desk) if name in current else replace(summary(courses[name], desk), group="")
            for name in sorted(courses)
        )
        used = desk.used()
        workers = tuple(worker_status(worker, used, desk) for worker in desk.workers)
        return Listing(topologies, workers, library, up_s=up_s)
    if isinstance(message, (AskStatus, AskLetters)):
        course = courses.get(message.topology)
        if course is None:
            return unknown(message.topology, courses)
        if isinstance(message, AskStatus):
            return status(course, desk)
        desk.put(TellLetters(event.peer, event.request, course.name, message.first))
        return None
    return Refused(f"{type(message).__name__} isn't answered here: use the same release on both sides")


def summary(course: Course, desk: Desk) -> Summary:
    """A topology in one line."""
    kept = course.kept
    counts = kept.feeds.values()
    end = kept.ended_at or desk.wall
    executors = [seat for seat in kept.seats if seat.role == Role.EXECUTOR.value]
    return Summary(
        name=kept.name,
        run=kept.run,
        state=kept.state,
        reason=kept.reason,
        submitted_at=kept.submitted_at,
        elapsed_s=max(0.0, end - kept.submitted_at),
        introduced=sum(one.introduced for one in counts),
        completed=sum(one.completed for one in counts),
        failed=sum(one.failed for one in counts) + node_failures(course),
        replayed=sum(one.replayed for one in counts),
        dropped=sum(one.dropped for one in counts),
        in_flight=sum(one.in_flight for one in counts),
        workers=tuple(sorted({seat.worker for seat in kept.seats} - {""})) if course.is_live else (),
        executors=len(executors) if course.is_live else 0,
        state_lost=kept.state_lost,
        group=course.submit.group,
        place=course.submit.place,
        outputs_dropped=_outputs_dropped(course),
    )


def _outputs_dropped(course: Course) -> int:
    children = (live.child for live in course.lives.values())
    told = (child.told for child in children if child is not None and child.told is not None)
    return course.kept.outputs_dropped + sum(one.outputs_dropped for one in told)


def status(course: Course, desk: Desk) -> Status:
    """How a topology stands."""
    kept = course.kept
    names = task_names(course)
    audits = kept.audits_fired
    for seat in kept.seats:
        child = course.lives[seat.key].child
        if child is not None and child.told is not None:
            audits += child.told.audits_fired
    where = {place: seat for seat in kept.seats for place in seat.feeds}
    return Status(
        summary=summary(course, desk),
        number=kept.number,
        phase=kept.phase,
        processes=tuple(process_status(course, seat, names, desk) for seat in sorted(kept.seats, key=lambda s: s.key))
        if course.is_live
        else (),
        feeds=tuple(_feed(course, facts.place, where.get(facts.place)) for facts in course.submit.plan.feeds),
        feed_workers={place: seat.worker for place, seat in where.items()},
        feed_homes={
            place: (seat.home, "" if (home := desk.workers.get(seat.home)) is None else home.kept.host)
            for place, seat in where.items()
            if seat.is_pinned and not seat.worker
        },
        letters=kept.letters,
        newest_letters=tuple(replace(letter, item=None) for letter in kept.newest_letters),
        events=tuple((at, text[:1000]) for at, text in kept.events),
        traceback=kept.traceback,
        audits_fired=audits,
        stuck=stuck.shown(course, desk) if course.is_live else (),
        node_failures=node_failures(course),
        parallelism={
            node: len(course.stage_tasks(stage.number)) for stage in course.submit.plan.stages for node in stage.nodes
        },
        changed=tuple(
            node
            for stage in course.submit.plan.stages
            if len(course.stage_tasks(stage.number)) != stage.parallelism
            for node in stage.nodes
        ),
    )


def node_failures(course: Course) -> int:
    """Failures that are no items of a producer, such as a finish or a teardown that raised.

    Processes with producers count them; of others, and of the last words of all, the letters tell.
    """
    counted = 0
    for seat in course.kept.seats:
        child = course.lives[seat.key].child
        counted += seat.node_failures
        if child is not None and child.told is not None:
            counted += child.told.node_failures
    return max(counted, course.kept.node_letters)


def _feed(course: Course, place: int, seat: Seat | None) -> FeedCounts:
    facts = course.submit.plan.feeds[place]
    counts = course.kept.feeds.get(place) or FeedCounts(place, facts.name, is_idle=False)
    if seat is not None and seat.is_pinned and not seat.worker:
        counts = replace(counts, waiting_for=f"worker {seat.home}, whose disk holds its journal")
    return replace(counts, ranges=counts.ranges[:RANGES_SHOWN])


def task_names(course: Course) -> dict[int, str]:
    """A name for each task: ``node``, or ``node[2]`` where a stage has several."""
    return {
        task: stage.nodes[0] if len(tasks) == 1 else f"{stage.nodes[0]}[{k}]"
        for stage in course.submit.plan.stages
        for tasks in (course.stage_tasks(stage.number),)
        for k, task in enumerate(tasks)
    }


def process_status(course: Course, seat: Seat, names: dict[int, str], desk: Desk) -> ProcessStatus:
    """An executor or acker as it stands."""
    live = course.lives[seat.key]
    child = live.child
    told = child.told if child is not None else None
    state, note = _state_of(course, seat, desk)
    feeds = {feed.place: feed.name for feed in course.submit.plan.feeds}
    return ProcessStatus(
        role=seat.role,
        index=seat.index,
        worker=seat.worker,
        state=state,
        note=note,
        tasks=tuple(names[task] for task in seat.tasks),
        feeds=tuple(feeds[place] for place in seat.feeds),
        restarts=seat.restarts,
        last_death=seat.last_death,
        process=child.process if child is not None else 0,
        incarnation=child.incarnation if child is not None else 0,
        items_done=told.items_done if told is not None else 0,
        queued=told.queued if told is not None else 0,
        oldest_s=told.oldest_s if told is not None else 0.0,
        open_roots=told.open_roots if told is not None else 0,
        refused=told.refused if told is not None else 0,
        memory_bytes=child.memory_bytes if child is not None else 0,
        cpu=child.cpu if child is not None else 0.0,
    )


def _state_of(course: Course, seat: Seat, desk: Desk) -> tuple[str, str]:
    live = course.lives[seat.key]
    member = course.member(seat.key)
    if not seat.worker:
        return "waiting", f"for worker {seat.home}" if seat.is_pinned else "for a worker"
    if not seat.attempt:
        return "backing off", f"{seat.failures} deaths at once; starts in {max(0.0, live.due - desk.now):.1f} s"
    if isinstance(course.move, Move) and seat.key in course.move.targets:
        return "moving", f"to {course.move.targets[seat.key]}"
    if live.child is None:
        return ("expected", "the coordinator was restarted") if member is not None else ("ordered", "")
    if member is not None and live.child.ready >= member.birth:
        return "ready", live.child.note
    if live.child.phase is ChildPhase.BORN:
        return "born", live.child.note
    return live.child.phase.value, live.child.note


def worker_status(worker: Worker, used: dict[str, int] | Counter[str], desk: Desk) -> WorkerStatus:
    """A worker in one line."""
    if worker.is_alive:
        state = "leaving" if worker.is_leaving else "alive"
        if desk.now - worker.heard_at > MISSED * desk.limits.heartbeat_s:
            state = "silent"
    else:
        state = "expected" if worker.is_expected else "gone"
    kept = worker.kept
    return WorkerStatus(
        name=kept.name,
        state=state,
        host=kept.host,
        slots=kept.slots,
        used=used.get(kept.name, 0),
        heard_s=max(0.0, desk.now - worker.heard_at),
        figures=kept.figures,
        library=kept.library,
        python=kept.python,
        identity=kept.identity[:8],
    )
