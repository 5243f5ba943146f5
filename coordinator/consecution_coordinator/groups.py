"""Groups: topologies that were submitted together, because their consecutors are joined (R21).

Rules of this module: pure. Each member is a course of its own; `settle` passes on what one of them means for others.

G1. Where a linked output leads is in the placement of who pushes: the process of the next member that has the producer
    and is ready. Who may come, and whether nothing more comes, is in the placement of who takes.
G2. A member takes until all before it are over. When one of those was drained, killed or has failed, it is drained
    then: what it has is finished, and a later submission goes on.
G3. A member that ends otherwise than finished ends those before it: nobody takes what they hand over. What they have
    stays in their journals.
G4. Journals of members that hand over are kept until all members have finished: a death before that would else begin
    anew what is done.
G5. Whoever took items of a run that began anew may have some of them twice, and so may all behind it: their sums aren't
    certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State
from consecution.wire.cluster.to_worker import KeptJournal
from consecution.wire.placement import Inlet, Outlet, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consecution.wire.cluster.from_client import LinkFacts
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.kept import Seat
    from consecution_coordinator.membership import Worker

DRAIN_S = 300.0
ROUNDS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Before:
    """A link that ends at a member.

    Attributes:
        course: Where it begins.
        place: Of the producer that reads it.
    """

    course: Course
    place: int


# ---- who belongs together --------------------------------------------------------------------------------------------


def members_of(courses: Mapping[str, Course], group: str) -> list[Course]:
    """The members of a group's newest submission, upstream first; [] when there is no such group."""
    found = [course for course in courses.values() if course.submit.group == group] if group else []
    if not found:
        return []
    newest = max(found, key=lambda one: (one.kept.submitted_at, one.kept.run)).kept.submission
    return sorted((one for one in found if one.kept.submission == newest), key=lambda one: one.submit.place)


def partners_of(courses: Mapping[str, Course], course: Course) -> list[Course]:
    """All members of a course's submission, itself included, upstream first; itself alone without a group."""
    if not course.submit.group:
        return [course]
    group, submission = course.submit.group, course.kept.submission
    found = [one for one in courses.values() if (one.submit.group, one.kept.submission) == (group, submission)]
    return sorted(found, key=lambda one: one.submit.place)


def behind(courses: Mapping[str, Course], course: Course) -> Iterator[tuple[int, LinkFacts, Course]]:
    """The links that begin at a course: (place among them, link, who takes)."""
    for number, link in enumerate(course.submit.links):
        target = courses.get(link.target)
        if target is not None and target.kept.submission == course.kept.submission:
            yield number, link, target


def before(courses: Mapping[str, Course], course: Course) -> list[Before]:
    """The links that end at a course."""
    if not course.submit.group:
        return []
    return [
        Before(one, link.place)
        for one in partners_of(courses, course)
        for _, link, target in behind(courses, one)
        if target is course
    ]


def all_before(courses: Mapping[str, Course], course: Course) -> list[Course]:
    """All whose items can reach a course, without itself."""
    found: dict[str, Course] = {}
    waiting = [course]
    for one in waiting:
        for each in before(courses, one):
            if each.course.name not in found:
                found[each.course.name] = each.course
                waiting.append(each.course)
    return list(found.values())


def reserved(courses: Mapping[str, Course], course: Course) -> int:
    """Slots that a pending member must leave to the others of its group that are pending too."""
    if not course.submit.group:
        return 0
    others = (one for one in partners_of(courses, course) if one is not course)
    return sum(one.submit.slots or 1 for one in others if one.kept.state is State.PENDING)


def has_finished(courses: Mapping[str, Course], course: Course) -> bool:
    """Whether a course, with all of its group, has finished: then nothing of it is left in journals (G4)."""
    return all(one.kept.state is State.FINISHED for one in partners_of(courses, course))


def releases(courses: Mapping[str, Course], worker: Worker) -> Iterator[tuple[Seat, KeptJournal, Course]]:
    """Journals on a worker's disk that were kept for others of a group, and that nobody needs any more (G4)."""
    for name in sorted(courses):
        course = courses[name]
        if not (course.submit.links and course.has_journal and has_finished(courses, course)):
            continue
        for seat in course.kept.seats:
            is_there = (seat.home, seat.identity) == (worker.name, worker.kept.identity)
            if is_there and seat.feeds and seat.term and not seat.is_released:
                yield seat, KeptJournal(course.name, course.journal_of(seat)), course


# ---- what one means for the others -----------------------------------------------------------------------------------


def settle(courses: Mapping[str, Course], desk: Desk) -> bool:
    """Pass on, once, what members of groups mean for each other; whether something changed that must be settled."""
    has_changed = False
    for name in sorted(courses):
        course = courses[name]
        if not course.submit.group:
            continue
        _lose_doubled(courses, course)
        if course.is_over:
            continue
        has_changed |= _end_before(courses, course, desk)
        has_changed |= _drain_behind(courses, course, desk)
        has_changed |= _wire(courses, course)
    return has_changed


def _wire(courses: Mapping[str, Course], course: Course) -> bool:
    """G1."""
    if not course.is_live:
        return False
    outlets = []
    course.takers = {}
    for number, link, target in behind(courses, course):
        found = target.feeder(link.place)
        if found is None:
            continue
        taker, is_ready = found
        outlet = Outlet(number, link.place, taker.incarnation, taker.bridge, taker.key)
        course.takers[taker.incarnation] = target, taker
        if is_ready or outlet in course.kept.outlets:  # after a restart of the coordinator nobody is known to be ready
            outlets.append(outlet)
    inlets = tuple(
        Inlet(one.place, is_over=one.course.is_over, keys=_keys_of(one.course), senders=_senders_of(one.course))
        for one in before(courses, course)
    )
    if (tuple(outlets), inlets) == (course.kept.outlets, course.kept.inlets):
        return False
    course.kept.outlets, course.kept.inlets = tuple(outlets), inlets
    course.has_news = course.is_changed = True
    return True


def _keys_of(course: Course) -> tuple[bytes, ...]:
    members = (one for one in course.kept.members if one.role is Role.EXECUTOR)
    return tuple(sorted(one.key for one in members if one.key is not None))


def _senders_of(course: Course) -> tuple[int, ...]:
    return tuple(sorted(one.incarnation for one in course.kept.members if one.role is Role.EXECUTOR))


def _drain_behind(courses: Mapping[str, Course], course: Course, desk: Desk) -> bool:
    """G2."""
    from consecution_coordinator.commands import drain

    kept = course.kept
    links = before(courses, course)
    if kept.drain_at or kept.state is State.STOPPING or not all(one.course.is_over for one in links):
        return False
    cut = sorted({one.course.name for one in links if one.course.kept.state is not State.FINISHED})
    if not (cut or kept.must_drain):
        return False
    why = f": {', '.join(cut)} ended" if cut else ""
    drain(course, max(0.0, kept.drain_by - desk.wall) if kept.drain_by else DRAIN_S, why, desk)
    return True


def _end_before(courses: Mapping[str, Course], course: Course, desk: Desk) -> bool:
    """G3."""
    from consecution_coordinator.commands import end

    if course.kept.state is State.STOPPING:
        return False
    for _, _, target in behind(courses, course):
        state = target.kept.final if target.kept.state is State.STOPPING else target.kept.state
        if state in (State.DRAINED, State.KILLED, State.FAILED):
            end(course, f"{target.name}, which takes what it hands over, is {state.value}", desk)
            return True
    return False


def _lose_doubled(courses: Mapping[str, Course], course: Course) -> None:
    """G5."""
    kept = course.kept
    if not kept.is_doubled and any(one.course.kept.is_doubled for one in before(courses, course)):
        kept.is_doubled = course.is_changed = True
    if kept.is_doubled:
        summing = {node for stage in course.submit.plan.stages if stage.is_accumulating for node in stage.nodes}
        if not summing <= kept.state_lost:
            kept.state_lost |= summing
            course.is_changed = True
