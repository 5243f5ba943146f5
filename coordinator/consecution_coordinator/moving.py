"""Planned moves (R6): a process goes to another worker without a death.

Rules of this module: pure. The walk of a move:

1. *preparing*: new processes are started for the seats that move and have no producers; all else goes on.
2. *pausing*: a placement pauses the producers. Each process confirms that pause by its number when no root of it is
   open; what failed waits.
3. *handing over*: producers that move are started at their new owner, with what the old one told after it confirmed.
4. One placement lists the new processes, leaves the old ones out, and lets producers read again.

When the pause isn't confirmed in ten seconds, the old processes are killed, so that R12 holds. A death in between gives
the move up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.placement import Phase, Role
from consecution_coordinator import deaths
from consecution_coordinator.seating import give_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.wire.cluster.from_worker import ChildId, ChildState
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.kept import Seat

Key = tuple[str, int]


@dataclass(slots=True)
class Pausing:
    """What needs a pause in which nothing is under way (R6).

    Attributes:
        give_up_at: When the new processes must be born.
        pause: Number of the pause; 0 before it.
        paused_until: When the patience with those who don't confirm it ends.
        confirmed_at: When all had confirmed the pause; None before.
        is_confirmed: They also told their last counts.
        made: Frames that were made by the pause before, at level NONE; -1 when they had not all been worked on.
    """

    give_up_at: float
    pause: int = 0
    paused_until: float = 0.0
    confirmed_at: float | None = None
    is_confirmed: bool = False
    made: int = -1

    def begin_pause(self, course: Course, desk: Desk) -> None:
        """Pause the producers, those that a user has paused too: what failed must wait now as well."""
        self._pause(course)
        self.paused_until = desk.now + desk.limits.pause_s
        self.give_up_at = max(self.give_up_at, self.paused_until + desk.limits.move_s)

    def _pause(self, course: Course) -> None:
        kept = course.kept
        kept.pause += 1
        kept.phase = Phase.PAUSED
        course.has_news = True
        self.pause = kept.pause

    def confirm(self, course: Course, desk: Desk) -> bool:
        """Whether all executors confirmed this pause, and told their counts afterwards.

        At level NONE no root says what is under way. Frames made and frames worked on are counted instead: when the
        sums of all processes agree, and agree again at a pause that began after the first had been confirmed by all,
        nothing was under way between the two (Mattern's four counters).
        """
        if self.is_confirmed:
            return True
        told_at = desk.now
        made = done = 0
        for seat in course.kept.seats:
            if seat.role == Role.ACKER.value or course.member(seat.key) is None:
                continue
            live = course.lives[seat.key]
            if live.child is None or live.child.paused < self.pause:
                return False
            told_at = min(told_at, live.told_at)
            made, done = made + live.child.made, done + live.child.done
        if course.submit.settings.level == "NONE" and not (made == done == self.made):
            self.made = made if made == done else -1
            self._pause(course)
            return False
        if self.confirmed_at is None:
            self.confirmed_at = desk.now
        self.is_confirmed = told_at > self.confirmed_at
        return self.is_confirmed

    def watch_the_clock(self, course: Course, desk: Desk) -> None:
        """Give up when the new processes take too long."""
        if desk.now >= self.give_up_at:
            course.give_up_move(f"not all new processes were ready within {desk.limits.move_s:g} s", desk)


@dataclass(slots=True)
class Move(Pausing):
    """A planned move under way.

    Attributes:
        targets: New worker of each seat that moves.
        attempts: Start that was ordered for each; missing while it isn't.
        terms: Term of those with producers.
        children: The new processes, as their workers told them.
    """

    targets: dict[Key, str] = field(default_factory=dict)
    attempts: dict[Key, int] = field(default_factory=dict)
    terms: dict[Key, int] = field(default_factory=dict)
    children: dict[Key, ChildState] = field(default_factory=dict)

    def is_new(self, id_: ChildId) -> bool:
        """Whether a child is one of the new processes."""
        return self.attempts.get((id_.role, id_.index)) == id_.attempt

    def concerns(self, worker: str) -> bool:
        """Whether something moves to this worker."""
        return worker in self.targets.values()

    def on_child(self, state: ChildState, course: Course) -> bool:
        """Take in how a new process stands; False when it is none."""
        if state.id.run != course.kept.run or not self.is_new(state.id):
            return False
        self.children[(state.id.role, state.id.index)] = state
        return True

    def pending(self, course: Course) -> Iterator[tuple[Seat, int]]:
        """Processes that must run and have no seat yet: (seat with its new worker and term, attempt)."""
        for key, target in sorted(self.targets.items()):
            seat = course.seat(key)
            if seat is not None and key in self.attempts:
                term = self.terms.get(key, seat.term)
                yield replace(seat, worker=target, term=term), self.attempts[key]

    def undo(self, course: Course) -> None:
        """Nothing was changed before the last step."""

    def settle(self, course: Course, desk: Desk) -> None:
        """Bring the move forward as far as it goes."""
        seats = [(seat, seat.feeds != ()) for key in sorted(self.targets) if (seat := course.seat(key)) is not None]
        for seat, has_feeds in seats:
            if not has_feeds:
                self._order(seat, course, desk)
        if not all(self._is_born(seat) for seat, has_feeds in seats if not has_feeds):
            return self.watch_the_clock(course, desk)
        if not self.pause:
            self.begin_pause(course, desk)
            return None
        if not self.confirm(course, desk):
            if desk.now >= self.paused_until:
                self._cut(course, desk)
            return None
        for seat, has_feeds in seats:
            if has_feeds:
                self._order(seat, course, desk)
        if all(self._is_born(seat) for seat, _ in seats):
            self._commit(course, desk)
            return None
        return self.watch_the_clock(course, desk)

    def _order(self, seat: Seat, course: Course, desk: Desk) -> None:
        if seat.key in self.attempts:
            return
        seat.last_attempt += 1
        self.attempts[seat.key] = seat.last_attempt
        if seat.feeds:
            seat.last_term += 1
            self.terms[seat.key] = seat.last_term
            self.give_up_at = max(self.give_up_at, desk.now + desk.limits.move_s)
        course.is_changed = True

    def _is_born(self, seat: Seat) -> bool:
        child = self.children.get(seat.key)
        return child is not None and child.phase is ChildPhase.BORN and child.incarnation != 0

    def _commit(self, course: Course, desk: Desk) -> None:
        """List the new processes instead of the old ones, and go on."""
        kept = course.kept
        for key in sorted(self.targets):
            seat = course.seat(key)
            assert seat is not None
            child = self.children[key]
            worker = desk.workers.get(self.targets[key])
            old = course.member(key)
            deaths.lose_sums(course, seat)
            seat.worker, seat.attempt, seat.failures = self.targets[key], self.attempts[key], 0
            if seat.feeds and worker is not None:
                seat.term, seat.home, seat.identity = self.terms[key], worker.name, worker.kept.identity
            course.lives[key].child = child
            course.lives[key].ready_at = None
            kept.members = (*(m for m in kept.members if m is not old), course.member_of(seat, child))
        moved = ", ".join(f"{key[0]}-{key[1]} to {self.targets[key]}" for key in sorted(self.targets))
        course.move = None
        course.follow_user(desk)
        course.tell_history(f"moved {moved}", desk)

    def _cut(self, course: Course, desk: Desk) -> None:
        """The pause wasn't confirmed in time: kill the old processes, as if they had died (R6, R12)."""
        kept = course.kept
        course.move = None
        for key in sorted(self.targets):
            seat = course.seat(key)
            assert seat is not None
            old = course.member(key)
            deaths.lose_sums(course, seat)
            if seat.attempt:
                course.kills[course.child_id(seat, seat.attempt)] = seat.worker
            kept.members = tuple(m for m in kept.members if m is not old)
            seat.worker = self.targets[key]
            live = course.lives[key]
            live.ready_at = None
            if key in self.attempts and key in self.children:
                seat.attempt, live.child = self.attempts[key], self.children[key]
                kept.members = (*kept.members, course.member_of(seat, self.children[key]))
            else:
                seat.attempt, live.child, live.due = 0, None, desk.now
                worker = desk.workers.get(seat.worker)
                if seat.feeds and worker is not None:
                    give_owner(seat, worker)
        course.follow_user(desk)
        course.tell_history(
            f"the pause of the move wasn't confirmed within {desk.limits.pause_s:g} s: what moves was killed", desk
        )
