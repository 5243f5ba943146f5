"""What is carried on between clients and workers: questions for a log, pushes, and what became of pushed items.

Rules of this module: pure. The coordinator looks at none of it: it knows where a producer runs, and carries the answer
back to whoever asked. A relay lives for a few seconds; who asks again under a request has one relay, not two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_client import AskFates, Push
from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.cluster.parcel import Refused
from consecution.wire.cluster.to_client import FatesAre, Pushed, State
from consecution.wire.cluster.to_worker import ForChild
from consecution.wire.control import AskItems, ItemsAre, PushedIn, PushIn
from consecution.wire.placement import Phase
from consecution_coordinator import groups
from consecution_coordinator.commands import unknown

if TYPE_CHECKING:
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.events import ClientAsked
    from consecution_coordinator.kept import Seat

RELAYS_MAX = 10_000
PUSHER_KIND = "manual"


@dataclass(frozen=True, slots=True)
class Relay:
    """A question that was carried on.

    Attributes:
        peer: Who asked.
        request: Id that the answer repeats.
        deadline: When it is given up.
        late: What is said then.
        place: Of the producer that it is about; -1 for none.
    """

    peer: bytes
    request: str
    deadline: float
    late: str
    place: int = -1


class Relays:
    """The relays that are open."""

    def __init__(self) -> None:
        self._open: dict[str, Relay] = {}
        self._n_logs = 0

    def new_log(self) -> str:
        """Make an id for a question for a log."""
        self._n_logs += 1
        return f"log-{self._n_logs}"

    def add(self, id_: str, relay: Relay) -> bool:
        """Open a relay, unless it is open; False when there are too many."""
        if id_ not in self._open and len(self._open) >= RELAYS_MAX:
            return False
        self._open.setdefault(id_, relay)
        return True

    def take(self, id_: str) -> Relay | None:
        """Close a relay: its answer has come."""
        return self._open.pop(id_, None)

    def give_up(self, desk: Desk) -> None:
        """Say no to those who waited too long."""
        for id_, relay in list(self._open.items()):
            if desk.now >= relay.deadline:
                del self._open[id_]
                desk.tell(relay.peer, Refused(relay.late, is_final=False, kind="state"), relay.request)

    # ---- pushes --------------------------------------------------------------------------------------------------

    def carry(self, courses: dict[str, Course], message: Push | AskFates, event: ClientAsked, desk: Desk) -> None:
        """Carry a push, or a question for an item, on to the executor that runs the producer."""
        course = courses.get(message.topology) or _member_with_pusher(courses, message.topology)
        if course is None:
            desk.tell(event.peer, unknown(message.topology, courses), event.request)
            return
        place = message.place if isinstance(message, AskFates) else _pusher(course, message)
        if isinstance(place, Refused):
            desk.tell(event.peer, place, event.request)
            return
        where = _where(course, place, desk, pushes=isinstance(message, Push))
        if isinstance(where, Refused):
            desk.tell(event.peer, where, event.request)
            return
        seat, peer = where
        id_ = f"{event.peer.hex()}-{event.request}"
        late = f"the executor of {course.name!r} didn't answer in time: its window may be full (pending_max); ask again"
        if not self.add(id_, Relay(event.peer, event.request, desk.now + desk.limits.push_s, late, place)):
            full = Refused(f"{RELAYS_MAX:,} pushes wait for their answer; ask again", is_final=False, kind="capacity")
            desk.tell(event.peer, full, event.request)
            return
        child = course.child_id(seat, seat.attempt)
        if isinstance(message, Push):
            desk.tell(peer, ForChild(child, push=PushIn(id_, place, message.items, message.keys)))
        else:
            desk.tell(peer, ForChild(child, ask=AskItems(id_, place, message.seqs)))

    def answered(self, message: PushedIn | ItemsAre, desk: Desk) -> None:
        """Carry a child's answer back."""
        relay = self.take(message.request)
        if relay is None:
            return
        answer: object
        if message.error:
            is_final = isinstance(message, PushedIn) and message.is_final
            answer = Refused(message.error, is_final=is_final, kind="state")
        elif isinstance(message, PushedIn):
            answer = Pushed(message.producer, relay.place, message.seqs)
        else:
            answer = FatesAre(message.fates)
        desk.tell(relay.peer, answer, relay.request)


def _member_with_pusher(courses: dict[str, Course], group: str) -> Course | None:
    """The member of a group that items are pushed into, when there is one."""
    found = [
        one
        for one in groups.members_of(courses, group)
        if any(feed.kind == PUSHER_KIND for feed in one.submit.plan.feeds)
    ]
    return found[0] if len(found) == 1 else None


def _pusher(course: Course, message: Push) -> int | Refused:
    """The place of the Pusher that is meant."""
    pushers = [feed for feed in course.submit.plan.feeds if feed.kind == PUSHER_KIND]
    named = [feed for feed in pushers if message.producer in ("", feed.name)]
    names = ", ".join(repr(feed.name) for feed in pushers)
    if not pushers:
        return Refused(
            f"topology {course.name!r} has no Pusher, so nothing can be pushed into it; link one in its flow "
            "(Pusher() | node) and submit it again",
            kind="state",
        )
    if not named:
        return Refused(f"topology {course.name!r} has no Pusher {message.producer!r}; it has {names}", kind="unknown")
    if len(named) > 1:
        return Refused(f"topology {course.name!r} has {len(named)} Pushers ({names}); name one of them", kind="request")
    return named[0].place


def _where(course: Course, place: int, desk: Desk, *, pushes: bool) -> tuple[Seat, bytes] | Refused:
    """The seat that runs a producer, and its worker; or why nothing gets there now."""
    kept = course.kept
    if course.is_over:
        return Refused(f"topology {course.name!r} is over ({kept.state.value})", kind="state")
    if pushes and kept.state in (State.DRAINING, State.STOPPING):
        return Refused(f"topology {course.name!r} is {kept.state.value}, and takes no more items", kind="state")
    if pushes and kept.is_paused:
        return Refused(f"topology {course.name!r} is paused; `consecution resume {course.name}` first", kind="state")
    if pushes and kept.phase is not Phase.RUNNING:
        return Refused(f"topology {course.name!r} isn't running yet; ask again", is_final=False, kind="state")
    seat = next((seat for seat in kept.seats if place in seat.feeds), None)
    if seat is None:
        return Refused(f"topology {course.name!r} has no producer {place} that runs now", is_final=False, kind="state")
    worker = desk.workers.get(seat.worker)
    if worker is None or not worker.is_alive:
        home = f"worker {seat.home!r}, whose disk holds its journal, is not there" if seat.home else "it has no place"
        return Refused(f"the producer of topology {course.name!r} waits: {home}", is_final=False, kind="state")
    child = course.lives[seat.key].child
    if child is None or not seat.attempt or child.phase is not ChildPhase.BORN:
        return Refused(f"the producer of topology {course.name!r} is being started", is_final=False, kind="state")
    return seat, worker.peer
