"""What clients ask of a group of joined topologies: submit it, and tell all of its members to pause, drain or end.

Rules of this module: pure. A group is kept as a whole or not at all. A member is told by its own name as any topology,
but for a drain: whoever is drained has those before it drained first, which would push into what takes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_client import Drain, Kill, Pause, Rebalance, Resume, SubmitGroup
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.cluster.to_client import Accepted, NeedBundle, State
from consecution_coordinator import commands, groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.events import ClientAsked

MEMBERS_MAX = 100
_NAME = re.compile(r"[\w][\w.\-]{0,63}")


def obey(courses: dict[str, Course], event: ClientAsked, desk: Desk) -> object | None:
    """Do what a client asks of a group.

    Returns:
        The answer; None when the message is about no group.
    """
    message = event.message
    if isinstance(message, SubmitGroup):
        return _submit(courses, message, event, desk)
    if not isinstance(message, (Pause, Resume, Drain, Kill, Rebalance)):
        return None
    course = courses.get(message.topology)
    by = f" (key {event.who}…)" if event.who else ""
    if course is not None:
        if isinstance(message, Drain) and groups.before(courses, course) and not course.is_over:
            return _drain(courses, [course, *groups.all_before(courses, course)], message.deadline_s, by, desk)
        return None
    members = groups.members_of(courses, message.topology)
    if not members:
        return None
    live = [one for one in members if not one.is_over]
    names = ", ".join(one.name for one in members)
    if not live:
        word = type(message).__name__.lower()
        return Refused(
            f"all of group {message.topology!r} ({names}) are over: there is nothing to {word}", kind="state"
        )
    if isinstance(message, Rebalance):
        return Refused(f"{message.topology!r} is a group of topologies; rebalance one of {names}", kind="request")
    if isinstance(message, Drain):
        return _drain(courses, live, message.deadline_s, by, desk)
    said = []
    for one in live:
        if isinstance(message, Kill):
            said.append(commands.kill(one, by, desk))
        elif isinstance(message, Pause):
            said.append(commands.pause(one, by, desk))
        else:
            said.append(commands.resume(one, by, desk))
    return Done("; ".join(one.note if isinstance(one, Done) else one.reason for one in _answers(said)))


def _answers(said: Sequence[object]) -> list[Done | Refused]:
    return [one for one in said if isinstance(one, (Done, Refused))]


def _drain(courses: dict[str, Course], chosen: Sequence[Course], deadline_s: float, by: str, desk: Desk) -> Done:
    """Drain members from the front to the end: each when all before it are over."""
    wanted = [one for one in chosen if not one.is_over]
    for one in wanted:
        one.kept.must_drain = one.is_changed = True
        one.kept.drain_by = desk.wall + max(0.0, deadline_s)
        if one.kept.is_paused and any(not each.course.is_over for each in groups.before(courses, one)):
            commands.resume(one, by, desk)  # it must take what those before it still hand over
    first = [one for one in wanted if all(each.course.is_over for each in groups.before(courses, one))]
    for one in first:
        commands.drain(one, deadline_s, by, desk)
    later = [one.name for one in wanted if one not in first]
    behind = f", then {', '.join(later)}" if later else ""
    return Done(
        f"{', '.join(one.name for one in first)} drains{behind}: each ends when what entered is finished, all in "
        f"{deadline_s:g} s at the latest"
    )


# ---- submit ----------------------------------------------------------------------------------------------------------


def _submit(courses: dict[str, Course], message: SubmitGroup, event: ClientAsked, desk: Desk) -> object:
    wrong = _shape(message)
    if wrong is not None:
        return wrong
    known = [courses.get(one.name) for one in message.members]
    if all(one is not None and one.kept.submission == message.members[0].submission for one in known):
        return _accepted(message, [one for one in known if one is not None])
    wrong = _names(courses, message)
    if wrong is not None:
        return wrong
    for one in message.members:
        wrong = commands.what_is_wrong(one) or commands.wrong_python(one, desk)
        if wrong is not None:
            return Refused(f"{one.name}: {wrong.reason}", kind=wrong.kind)
    new_names = sum(one.name not in courses for one in message.members)
    others = sum(not one.is_over for one in courses.values())
    if others + new_names > desk.limits.names_max:
        return Refused(f"the cluster runs {others} topologies; its bound is {desk.limits.names_max}", kind="capacity")
    bundle = message.members[0].bundle
    if event.have_bytes < bundle.size_bytes:
        return NeedBundle(bundle.sha256, event.have_bytes)
    goes_on = {one.name: one is not None and not groups.has_finished(courses, one) for one in known if one is not None}
    new: list[Course] = []
    for submit in message.members:
        made = commands.take_in(courses, submit, event, desk, goes_on=goes_on.get(submit.name, False))
        assert not isinstance(made, Refused), "there is room: it was looked at for all"
        new.append(made)
    for course in new:
        course.reserved = groups.reserved(courses, course)
        course.settle(desk)
    return _accepted(message, new)


def _accepted(message: SubmitGroup, members: Sequence[Course]) -> Accepted:
    waiting = next((one for one in members if one.kept.reason), members[0])
    state = State.PENDING if waiting.kept.state is State.PENDING else members[0].kept.state
    return Accepted(message.name, members[0].kept.run, state, waiting.kept.reason, tuple(one.name for one in members))


def _shape(message: SubmitGroup) -> Refused | None:
    """Check what a client says of a group; it may be hostile."""
    members = message.members
    if not _NAME.fullmatch(message.name):
        return Refused(f"{message.name!r} can't name a group; use up to 64 letters, digits, '.', '-' and '_'")
    if not 2 <= len(members) <= MEMBERS_MAX:
        return Refused(f"group {message.name!r} has {len(members)} topologies; expected 2 to {MEMBERS_MAX}")
    places = {one.name: place for place, one in enumerate(members)}
    is_one = len({(one.submission, one.bundle, one.group) for one in members}) == 1
    if not is_one or members[0].group != message.name or len(places) != len(members):
        return Refused("the members of a group have one submission, one bundle and names of their own")
    taken: set[tuple[str, int]] = set()
    for place, one in enumerate(members):
        if one.place != place:
            return Refused("the members of a group are numbered from 0: submit with the same release")
        for link in one.links:
            end = (link.target, link.place)
            target = places.get(link.target, -1)
            if target <= place or not 0 <= link.place < len(members[target].plan.feeds) or end in taken:
                return Refused(
                    f"topology {one.name!r} has a link to producer {link.place} of {link.target!r}; expected one of a "
                    "member behind it, with one link each: submit with the same release"
                )
            taken.add(end)
    return None


def _names(courses: dict[str, Course], message: SubmitGroup) -> Refused | None:
    if message.name in courses:
        return Refused(f"a topology is named {message.name!r}; choose another --name", kind="name")
    running = [one for one in groups.members_of(courses, message.name) if not one.is_over]
    named = [courses[one.name] for one in message.members if one.name in courses]
    running += [one for one in named if not one.is_over and one not in running]
    if running:
        one = running[0]
        return Refused(
            f"a topology named {one.name!r} is {one.kept.state.value} already; choose another --name, or end all with "
            f"`consecution drain {message.name}` or `consecution kill {message.name}`",
            kind="name",
        )
    return None
