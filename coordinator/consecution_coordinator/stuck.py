"""Links between processes of a topology that are stuck while the coordinator hears both ends: shown, and then avoided.

Rules of this module: pure.

1. What a process tells of a link counts while the other end lives, is set up, has been heard lately, and turns its main
   loop, which answers: then only the way between the two can be the reason. It must last for a while all the same, for
   the words of both ends are not of the same moment.
2. The history names each way from one worker to another once when it begins and once when it is over, however many
   links there are on it.
3. When two workers don't reach each other for `cut_off_s`, one of them gives way: what it runs of this topology is
   placed elsewhere, as if it had died, and nothing is placed on it for `avoid_s`, or until a user rebalances. It is one
   without producers, whose journals are on its disk; of several the one whose going leaves fewest such pairs. What
   loses more than time by a death only waits: a level without replay, and a run that would begin anew (R17).
4. What a process hands over to another topology goes a way of the same kind: it is shown with the topology that waits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import StuckStatus
from consecution_coordinator import deaths

if TYPE_CHECKING:
    from consecution_coordinator.course import Course, Live
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.placing import Room

HEARD_S = 2.0  # whose last word is older may be stopped: that is no matter of the network
LINKS_NAMED = 3
LASTS_S = 1.5  # longer than a word of one end may be older than one of the other

Way = tuple[str, str]


@dataclass(slots=True)
class Stuck:
    """A way from one worker to another on which nothing is confirmed.

    Attributes:
        since: Monotonic seconds of the last confirmation.
        first_at: When it was seen first.
        seen_at: When it was seen last.
        is_told: It has lasted, and is in the history.
    """

    since: float
    first_at: float
    seen_at: float
    is_told: bool = False


def shown(course: Course, desk: Desk) -> tuple[StuckStatus, ...]:
    """The stuck links of a topology that a status names, by their ends."""
    told = {way for way, stuck in course.stuck.items() if stuck.is_told}
    return tuple(link for link in stuck_links(course, desk) if (link.worker, link.to_worker) in told)


def stuck_links(course: Course, desk: Desk) -> tuple[StuckStatus, ...]:
    """The links of a topology that are stuck now, by their ends."""
    kept = course.kept
    ends = {member.incarnation: (course, member) for member in kept.members} | course.takers
    found: list[StuckStatus] = []
    for seat in kept.seats:
        live = course.lives[seat.key]
        told = live.child.told if live.child is not None else None
        if told is None or not told.stuck or not _is_heard(live, desk):
            continue
        for link in told.stuck:
            owner, other = ends.get(link.to, (course, None))
            if other is None or not _can_answer(owner, (other.role.value, other.index), link.for_s, desk):
                continue
            one, two = f"{seat.role}-{seat.index}", f"{other.role.value}-{other.index}"
            if owner is not course:
                two = f"{owner.name}'s {two}"
            found.append(StuckStatus(one, seat.worker, two, other.worker, link.for_s, link.waiting))
    return tuple(sorted(found, key=lambda one: (one.worker, one.to_worker, one.process, one.to)))


def _is_heard(live: Live, desk: Desk) -> bool:
    return desk.now - live.told_at <= HEARD_S


def _can_answer(course: Course, key: tuple[str, int], for_s: float, desk: Desk) -> bool:
    """Whether the process of a seat would have answered long ago if it had heard."""
    seat = course.seat(key)
    if seat is None or not course.is_ready(seat):
        return False
    live = course.lives[key]
    told = live.child.told if live.child is not None else None
    if told is None or not _is_heard(live, desk):
        return False
    return max(told.oldest_s, told.late_s) < min(for_s / 2, HEARD_S)


def watch(course: Course, desk: Desk) -> None:
    """Note which ways are stuck, and say so when that has lasted and when it is over."""
    ways: dict[Way, list[StuckStatus]] = {}
    for link in stuck_links(course, desk) if course.is_live else ():
        ways.setdefault((link.worker, link.to_worker), []).append(link)
    for way, links in ways.items():
        longest_s = max(link.for_s for link in links)
        stuck = course.stuck.setdefault(way, Stuck(desk.now - longest_s, desk.now, desk.now))
        stuck.seen_at = desk.now
        if not stuck.is_told and desk.now - stuck.first_at >= LASTS_S:
            stuck.is_told = True
            course.tell_history(_begins(way, links, longest_s), desk, is_warning=True)
    for way in [way for way, stuck in course.stuck.items() if desk.now - stuck.seen_at > HEARD_S]:
        gone = course.stuck.pop(way)
        if gone.is_told:
            lasted_s = desk.now - gone.since
            course.tell_history(f"{way[0]} waits for no answer of {way[1]} any more, after {lasted_s:.0f} s", desk)

    if not course.starts_over and course.submit.settings.level == "REPLAY" and course.kept.has_run and course.is_live:
        _give_way(course, desk)


def _give_way(course: Course, desk: Desk) -> None:
    """Let one of two workers that don't reach each other run nothing of this topology."""
    latest = desk.now - desk.limits.cut_off_s
    cut = {
        (min(way), max(way))
        for way, stuck in course.stuck.items()
        if stuck.is_told and stuck.since <= latest and stuck.seen_at == desk.now
    }
    with_feeds = {seat.worker for seat in course.kept.seats if seat.feeds}
    seated = {seat.worker for seat in course.kept.seats}
    others = {name for pair in cut for name in pair if pair[0] != pair[1]} & seated - with_feeds
    if not others or not {room.name for room in desk.rooms()} - others:
        return
    sizes = Counter(seat.worker for seat in course.kept.seats)
    name = min(others, key=lambda one: (sum(one not in pair for pair in cut), sizes[one], one))
    left = sorted({one for pair in cut if name in pair for one in pair} - {name})
    course.avoided[name] = desk.now + desk.limits.avoid_s
    for way in [way for way in course.stuck if name in way]:
        del course.stuck[way]
    for_s = desk.limits.cut_off_s
    deaths.on_worker_gone(course, name, f"{name} and {', '.join(left)} don't reach each other for {for_s:g} s", desk)


def rooms_of(course: Course, desk: Desk) -> list[Room]:
    """Workers on which something of a topology may be placed: not those that gave way, unless there are no others."""
    rooms = desk.rooms()
    for name in [name for name, until in course.avoided.items() if until <= desk.now]:
        del course.avoided[name]
    return [room for room in rooms if room.name not in course.avoided] or rooms


def _begins(way: Way, links: list[StuckStatus], longest_s: float) -> str:
    named = ", ".join(f"{link.process} to {link.to}" for link in links[:LINKS_NAMED])
    more = f" and {len(links) - LINKS_NAMED} more" if len(links) > LINKS_NAMED else ""
    waiting = sum(link.waiting for link in links)
    return (
        f"{way[0]} gets no answer from {way[1]} for {longest_s:.0f} s, though the coordinator hears both "
        f"({named}{more}); {waiting:,} messages wait: look at the network between the two"
    )


def reason(course: Course) -> str:
    """What a topology waits for that has such links; "" when it has none."""
    pairs = sorted({tuple(sorted(way)) for way, stuck in course.stuck.items() if stuck.is_told})
    if not pairs:
        return ""
    return "waits for the network between " + ", ".join(f"{one} and {other}" for one, other in pairs)
