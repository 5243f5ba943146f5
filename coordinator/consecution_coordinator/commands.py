"""What clients may ask to be done, and what is checked before.

Rules of this module: pure. A command answers at once; what it begins goes on in the course of its topology. A refusal
says what was expected and what to do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_client import Drain, Kill, Pause, Rebalance, Resume, Submit
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.cluster.to_client import Accepted, NeedBundle, State
from consecution.wire.placement import Phase, Role
from consecution.wire.plain import encode
from consecution_coordinator import deaths, ending, groups
from consecution_coordinator.course import Course
from consecution_coordinator.events import ForgetTopology, SaveTopology, VoidLetters
from consecution_coordinator.kept import Seat, Topology
from consecution_coordinator.moving import Move
from consecution_coordinator.placing import Room, spread
from consecution_coordinator.scaling import TASKS_MAX, rescale, widths_wanted
from consecution_coordinator.stuck import rooms_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consecution_coordinator.desk import Desk
    from consecution_coordinator.events import ClientAsked
    from consecution_coordinator.membership import Worker

_NAME = re.compile(r"[\w][\w.\-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
LEVELS = ("NONE", "CONFIRM", "TRACK", "REPLAY")
SLOTS_MAX = 1_024
BUNDLE_BYTES_MAX = 20 << 20


def unknown(name: str, courses: Mapping[str, Course]) -> Refused:
    """No such topology."""
    known = ", ".join(sorted(courses)) or "none"
    if members := groups.members_of(courses, name):
        names = ", ".join(one.name for one in members)
        return Refused(f"{name!r} is a group of topologies: name one of {names}", kind="unknown")
    return Refused(f"there is no topology {name!r}; the cluster has {known}", kind="unknown")


def obey(courses: dict[str, Course], event: ClientAsked, desk: Desk, *, library: str) -> object | None:
    """Do what a client asks.

    Returns:
        The answer; None when the message is a question and no command.
    """
    message = event.message
    if isinstance(message, Submit):
        return _submit(courses, message, event, desk)
    if not isinstance(message, (Pause, Resume, Drain, Kill, Rebalance)):
        return None
    course = courses.get(message.topology)
    if course is None:
        return unknown(message.topology, courses)
    if course.is_over:
        word = type(message).__name__.lower()
        return Refused(
            f"topology {course.name!r} is {course.kept.state.value}: there is nothing to {word}", kind="state"
        )
    by = f" (key {event.who}…)" if event.who else ""
    if isinstance(message, Pause):
        return pause(course, by, desk)
    if isinstance(message, Resume):
        return resume(course, by, desk)
    if isinstance(message, Drain):
        return drain(course, message.deadline_s, by, desk)
    if isinstance(message, Kill):
        return kill(course, by, desk)
    return rebalance(course, message, by, desk)


# ---- submit ----------------------------------------------------------------------------------------------------------


def _submit(courses: dict[str, Course], message: Submit, event: ClientAsked, desk: Desk) -> object:
    course = courses.get(message.name)
    if course is not None and course.kept.submission == message.submission:
        return Accepted(course.name, course.kept.run, course.kept.state, course.kept.reason)
    if course is not None and not course.is_over:
        return Refused(
            f"a topology named {message.name!r} is {course.kept.state.value} already; choose another --name, or end it "
            f"with `consecution drain {message.name}` or `consecution kill {message.name}`",
            kind="name",
        )
    wrong = what_is_wrong(message) or wrong_python(message, desk) or _wrong_group(courses, message)
    if wrong is not None:
        return wrong
    if event.have_bytes < message.bundle.size_bytes:
        return NeedBundle(message.bundle.sha256, event.have_bytes)
    is_open = course is not None and not groups.has_finished(courses, course)
    new = take_in(courses, message, event, desk, goes_on=is_open)
    if isinstance(new, Refused):
        return new
    new.settle(desk)
    return Accepted(new.name, new.kept.run, new.kept.state, new.kept.reason)


def _wrong_group(courses: dict[str, Course], message: Submit) -> Refused | None:
    if message.group or message.links:
        return Refused("a member of a group is submitted with its group: submit with the same release")
    if members := groups.members_of(courses, message.name):
        names = ", ".join(one.name for one in members)
        return Refused(f"{message.name!r} is a group of topologies ({names}); choose another --name", kind="name")
    return None


def take_in(
    courses: dict[str, Course], message: Submit, event: ClientAsked, desk: Desk, *, goes_on: bool
) -> Course | Refused:
    """Keep a submission that nothing is wrong with.

    Args:
        courses: All; the new one is put there, in the place of an earlier one of its name.
        message: The submission.
        event: Which brought it.
        desk: Of the event.
        goes_on: What an earlier run of this name left in journals is unfinished.
    """
    course = courses.get(message.name)
    if course is None and len(courses) >= desk.limits.names_max:
        over = sorted((c.kept.ended_at, name) for name, c in courses.items() if c.is_over)
        if not over:
            return Refused(f"the cluster runs {len(courses)} topologies, which is its bound", kind="capacity")
        del courses[over[0][1]]
        desk.put(ForgetTopology(over[0][1]))
    new = _new_course(message, course, desk, goes_on=goes_on)
    courses[message.name] = new
    desk.put(SaveTopology(new.name, encode(new.kept), encode(message)))
    desk.put(VoidLetters(new.name))
    by = f" with key {event.who}…" if event.who else ""
    new.tell_history(f"was submitted{by}: {message.flow.address}, bundle {message.bundle.sha256[:12]}", desk)
    return new


def _new_course(message: Submit, before: Course | None, desk: Desk, *, goes_on: bool) -> Course:
    """A new run of a name. Unless it is fresh, it goes on with journals that an unfinished run left behind."""
    run = before.kept.run + 1 if before is not None else 1
    kept = Topology(
        name=message.name,
        run=run,
        lineage=run,
        submission=message.submission,
        state=State.PENDING,
        submitted_at=desk.wall,
        n_ackers=0 if message.settings.level == "NONE" else max(1, message.ackers),
    )
    if before is not None:
        kept.number, kept.pause, kept.pass_number = before.kept.number, before.kept.pause, before.kept.pass_number
        feeds = [(feed.name, feed.kind) for feed in before.submit.plan.feeds]
        is_same = feeds == [(feed.name, feed.kind) for feed in message.plan.feeds]
        if is_same and not message.is_fresh and goes_on and before.has_journal:
            kept.starts_again = before.kept.starts_again or before.starts_over
            kept.is_doubled = before.kept.is_doubled
            kept.lineage = before.kept.lineage
            if not before.starts_over:  # else it begins anew: what was done is summed in nobody's memory any more
                kept.feeds = dict(before.kept.feeds)
            kept.seats = [
                Seat(s.role, s.index, feeds=s.feeds, home=s.home, identity=s.identity, term=s.term,
                     last_term=s.last_term, group=s.group)
                for s in before.kept.seats if s.feeds and s.term
            ]  # fmt: skip
    return Course(kept, message)


def what_is_wrong(message: Submit) -> Refused | None:
    """Check what a client says of a flow; it may be hostile."""
    plan = message.plan
    if not _NAME.fullmatch(message.name):
        return Refused(f"{message.name!r} can't name a topology; use up to 64 letters, digits, '.', '-' and '_'")
    if not _SHA256.fullmatch(message.bundle.sha256) or not 0 < message.bundle.size_bytes <= BUNDLE_BYTES_MAX:
        return Refused(
            f"the bundle has {message.bundle.size_bytes:,} bytes; expected 1 to {BUNDLE_BYTES_MAX:,}, with its SHA-256"
        )
    if message.settings.level not in LEVELS:
        return Refused(f"robustness {message.settings.level!r}; expected one of {', '.join(LEVELS)}")
    if not 0 <= message.slots <= SLOTS_MAX or not 0 <= message.ackers <= SLOTS_MAX:
        return Refused(f"{message.slots} slots and {message.ackers} ackers; expected 0 to {SLOTS_MAX} of each")
    if not plan.feeds:
        return Refused(
            f"flow {message.flow.address} has no producer, so nothing would ever enter; link one to it", kind="state"
        )
    numbers = [stage.number for stage in plan.stages]
    first = 0
    for stage in plan.stages:
        if stage.first != first or stage.parallelism < 1:
            return Refused("the plan's tasks aren't numbered from 0 without gaps: submit with the same release")
        first += stage.parallelism
    if not 1 <= first <= TASKS_MAX:
        return Refused(f"the flow has {first} tasks; expected 1 to {TASKS_MAX}: lower the parallelism of its nodes")
    named = {target for stage in plan.stages for target in stage.feeds_stages} | {
        stage for feed in plan.feeds for stage in feed.stages
    }
    if numbers != list(range(len(numbers))) or not named <= set(numbers):
        return Refused("the plan names stages that it doesn't have: submit with the same release")
    if [feed.place for feed in plan.feeds] != list(range(len(plan.feeds))):
        return Refused("the plan's producers aren't numbered from 0: submit with the same release")
    if message.slots > first + len(plan.feeds):
        return Refused(f"{message.slots} slots for {first} tasks; ask for at most as many slots as there are tasks")
    return None


def wrong_python(message: Submit, desk: Desk) -> Refused | None:
    """Refuse what another Python loaded than the workers run."""
    others = sorted({w.kept.python for w in desk.workers if w.is_alive} - {message.python})
    if not message.python or not others:
        return None
    return Refused(
        f"the flow was loaded by Python {message.python}, the workers run Python {others[0]}; submit from an "
        f"environment with Python {others[0]}",
        kind="version",
    )


# ---- pause, resume, drain, kill --------------------------------------------------------------------------------------


def pause(course: Course, by: str, desk: Desk) -> object:
    """Let its producers read no more."""
    kept = course.kept
    if kept.state is State.DRAINING or kept.state is State.STOPPING:
        return Refused(f"topology {course.name!r} is {kept.state.value}; that can't be paused", kind="state")
    if kept.is_paused:
        return Done(f"{course.name} is paused already")
    kept.is_paused = True
    course.tell_history(f"pause{by}", desk)
    if kept.state is State.RUNNING and course.move is None:
        course.follow_user(desk)
    return Done(f"{course.name} pauses: its producers read no more, what entered is finished")


def resume(course: Course, by: str, desk: Desk) -> object:
    """Let its producers read again."""
    kept = course.kept
    if not kept.is_paused:
        return Done(f"{course.name} isn't paused")
    kept.is_paused = False
    course.tell_history(f"resume{by}", desk)
    if kept.state is State.PAUSED and course.move is None:
        course.follow_user(desk)
    return Done(f"{course.name} goes on")


def drain(course: Course, deadline_s: float, by: str, desk: Desk) -> object:
    """Let it read no more and finish what entered; end it anyway after the deadline."""
    kept = course.kept
    if kept.state is State.STOPPING:
        return Done(f"{course.name} is stopping already")
    kept.drain_at = desk.wall + max(0.0, deadline_s)
    if kept.state is State.PENDING:
        course.tell_history(f"drain{by}", desk)
        kept.final = kept.state = State.DRAINED
        kept.ended_at = desk.wall
        return Done(f"{course.name} had not started")
    if kept.state is not State.DRAINING:
        course.tell_history(f"drain{by}", desk)
        if course.move is not None:
            course.give_up_move("it is drained", desk)
        if kept.state is not State.STARTING:
            course.follow_user(desk)
    return Done(f"{course.name} drains: it ends when what entered is finished, in {deadline_s:g} s at the latest")


def end(course: Course, why: str, desk: Desk) -> None:
    """End it now, and say why; what is unfinished stays in its journals."""
    kept = course.kept
    if kept.state is not State.PENDING:
        ending.stop(course, State.KILLED, why, desk)
        return
    kept.final = kept.state = State.KILLED
    kept.reason, kept.ended_at = why, desk.wall
    course.tell_history(f"is over: {why}", desk)


def kill(course: Course, by: str, desk: Desk) -> object:
    """End it now, because a user wants it."""
    kept = course.kept
    if kept.state is State.PENDING:
        course.tell_history(f"kill{by}", desk)
        kept.final = kept.state = State.KILLED
        kept.ended_at = desk.wall
        return Done(f"{course.name} had not started")
    course.tell_history(f"kill{by}", desk)
    if kept.state is State.STOPPING:
        if kept.final is not State.FINISHED:  # which releases its journals, so that there is nothing to go on with
            kept.final = State.KILLED
        return Done(f"{course.name} is stopping already")
    ending.stop(course, State.KILLED, "", desk)
    return Done(f"{course.name} ends; what is unfinished stays in its journals")


# ---- moves -----------------------------------------------------------------------------------------------------------


def rebalance(course: Course, message: Rebalance, by: str, desk: Desk) -> object:
    """Change the parallelism of nodes, or spread a topology over the slots that there are now.

    Either moves as little as possible (R6).
    """
    widths = widths_wanted(course, message.parallelism)
    if isinstance(widths, Refused):
        return widths
    refusal = _may_move(course)
    if refusal is not None:
        return refusal
    if widths:
        return rescale(course, widths, by, desk)
    if message.parallelism:
        return Done(f"{course.name} has that parallelism already; nothing changes")
    course.avoided.clear()
    targets = plan_moves(course, desk.rooms())
    if not targets:
        return Done(f"{course.name} is spread as evenly as it can be; nothing moves")
    course.move = Move(desk.now + desk.limits.move_s, targets=targets)
    moves = ", ".join(f"{role}-{index} to {worker}" for (role, index), worker in sorted(targets.items()))
    course.tell_history(f"rebalance{by}: moves {moves}", desk)
    return Done(f"moves {moves}")


def _may_move(course: Course) -> Refused | None:
    if course.kept.state not in (State.RUNNING, State.PAUSED):
        return Refused(
            f"topology {course.name!r} is {course.kept.state.value}; rebalance it while it runs", kind="state"
        )
    if course.move is not None:
        return Refused(f"topology {course.name!r} is being moved already; try again when that is done", kind="state")
    if course.starts_over:
        nodes = ", ".join(s.nodes[0] for s in course.submit.plan.stages if s.is_accumulating)
        return Refused(
            f"topology {course.name!r} accumulates in memory ({nodes}), so a move would begin it anew; let it end",
            kind="state",
        )
    return None


def _is_bound(course: Course, seat: Seat) -> bool:
    """Whether a seat's producers can't leave the disk that holds their journal."""
    sources = {feed.place: feed.source for feed in course.submit.plan.feeds}
    return course.has_journal and any(sources[place] != "re-readable" for place in seat.feeds)


def plan_moves(course: Course, rooms: list[Room]) -> dict[tuple[str, int], str]:
    """Which executors move where, so that all workers are loaded evenly; as few as possible."""
    seats = [s for s in course.kept.seats if s.role == Role.EXECUTOR.value and s.worker]
    own: dict[str, int] = {}
    for seat in seats:
        own[seat.worker] = own.get(seat.worker, 0) + 1
    others = [Room(room.name, room.slots, room.used - own.get(room.name, 0)) for room in rooms]
    ideal = spread(others, len(seats))
    surplus = {name: own.get(name, 0) - ideal.get(name, 0) for name in {*own, *ideal}}
    lacking = [name for name in sorted(surplus) for _ in range(-surplus[name])]
    targets: dict[tuple[str, int], str] = {}
    for seat in sorted(seats, key=lambda s: (len(s.feeds), -s.index)):
        if lacking and surplus.get(seat.worker, 0) > 0 and not _is_bound(course, seat):
            surplus[seat.worker] -= 1
            targets[seat.key] = lacking.pop(0)
    return targets


def leave(course: Course, worker: Worker, desk: Desk) -> None:
    """A worker wants to end: move what it runs, where there is another one; called again until nothing is left."""
    seats = [seat for seat in course.kept.seats if seat.worker == worker.name]
    rooms = [room for room in rooms_of(course, desk) if room.name != worker.name]
    if not seats or not course.is_live or course.move is not None or not rooms:
        return
    if course.kept.phase in (Phase.STARTING, Phase.DRAINING) or course.starts_over:
        deaths.on_worker_gone(course, worker.name, f"worker {worker.name} is leaving", desk)
        return
    free = [seat for seat in seats if not _is_bound(course, seat)]
    if not free:
        return
    counts = spread(rooms, len(free))
    places = [name for name in sorted(counts) for _ in range(counts[name])]
    targets = {seat.key: place for seat, place in zip(free, places, strict=True)}
    course.move = Move(desk.now + desk.limits.move_s, targets=targets)
    course.tell_history(f"worker {worker.name} is leaving: moves {len(free)} processes", desk)
