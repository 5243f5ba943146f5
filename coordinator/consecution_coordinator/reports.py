"""What workers report of a topology's processes: how each stands, what its producers counted, dead letters.

Rules of this module: pure. What is told again, or late, changes nothing: marks never go back within a pass, and no dead
letter is kept twice (R17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State
from consecution_coordinator.events import SaveLetters

if TYPE_CHECKING:
    from consecution.wire.cluster.from_worker import ChildState, Letters
    from consecution.wire.control import FeedCounts
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.kept import Seat


def take_state(course: Course, state: ChildState, desk: Desk) -> None:
    """A worker told how a child stands."""
    if course.move is not None and course.move.on_child(state, course):
        return
    seat = course.seat_of(state.id)
    if seat is None:
        return
    live = course.lives[seat.key]
    before = live.child
    live.child, live.told_at = state, desk.now - state.told_age_s
    member = course.member(seat.key)
    if member is not None and member.incarnation == state.incarnation and state.ready >= member.birth:
        if live.ready_at is None:
            live.ready_at = desk.now
        elif seat.failures and desk.now - live.ready_at >= desk.limits.quick_s:
            seat.failures = 0
    if state.told is not None and (before is None or before.told != state.told):
        _take_counts(course, seat, state)


def _take_counts(course: Course, seat: Seat, state: ChildState) -> None:
    """Keep what a child told of its producers; a mark never goes back within a pass (R17)."""
    assert state.told is not None
    if course.kept.state is State.STARTING and course.member(seat.key) is None:
        return  # of a pass that is over, or not yet listed
    for counts in state.told.feeds:
        known = course.kept.feeds.get(counts.place)
        if counts.place in seat.feeds and counts != known and (known is None or not _is_behind(counts, known)):
            course.kept.feeds[counts.place] = counts
            course.is_counted = True
    if state.told.is_doubled and not course.kept.is_doubled:
        course.kept.is_doubled = course.is_changed = True
    if not state.told.state_lost <= course.kept.state_lost:
        course.kept.state_lost |= state.told.state_lost
        course.is_changed = True


def take_letters(course: Course, letters: Letters, desk: Desk) -> None:
    """A child reported dead letters."""
    if letters.id.run != course.kept.run or letters.pass_number != course.kept.pass_number:
        return  # of a pass that was voided
    # An executor that is started again tells the letters of its journal again.
    new = [one for one in letters.letters if one.seq < 0 or (one.producer, one.seq) not in course.known_letters]
    room = desk.limits.letters_max - course.kept.letters
    taken = tuple(new[: max(0, room)])
    if taken:
        desk.put(SaveLetters(course.name, taken))
    course.known_letters.update((one.producer, one.seq) for one in taken if one.seq >= 0)
    course.kept.letters += len(taken)
    course.kept.node_letters += sum(letter.seq < 0 for letter in new)
    course.kept.newest_letters = (*course.kept.newest_letters, *new)[-5:]
    course.is_changed = True


def _is_behind(counts: FeedCounts, known: FeedCounts) -> bool:
    """Whether counts are older than what is known, or of a process that hasn't yet read where to begin."""
    return counts.mark < known.mark or (counts.mark == known.mark and counts.introduced < known.introduced)
