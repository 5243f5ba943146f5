"""The coordinator's core: what workers and clients say goes in, what is to be kept, told and published comes out.

Rules of this module: pure; one call of `handle` at a time. Within the instructions of one event, what must be durable
comes first: nothing is told or published that a restart would forget.

A restart: `take_back` gives it what was kept. Until `adopt_s` has passed, the workers of the store are expected back
with what they run; a child that they still run stays what it is. Only what is really gone by then is placed again.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_client import AskFates, AskLog, Push
from consecution.wire.cluster.from_worker import EXITS_MAX, AskPlacement, Heartbeat, LogText, Register
from consecution.wire.cluster.parcel import Refused
from consecution.wire.cluster.to_worker import (
    BundleInfo,
    FetchLog,
    Heard,
    PlacementIs,
    RegisterAgain,
    Registered,
    Wanted,
)
from consecution.wire.control import ItemsAre, PushedIn
from consecution.wire.plain import encode
from consecution_coordinator import answers, commands, deaths, group_commands, groups, reports
from consecution_coordinator.course import Course
from consecution_coordinator.desk import Desk
from consecution_coordinator.events import ClientAsked, ForgetWorker, SaveWorker, WorkerSaid
from consecution_coordinator.limits import DEFAULTS
from consecution_coordinator.membership import Membership
from consecution_coordinator.relays import Relay, Relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consecution.wire.cluster.from_client import Submit
    from consecution.wire.cluster.from_worker import ChildId
    from consecution_coordinator.events import Event, Instruction
    from consecution_coordinator.kept import Topology, WorkerKept
    from consecution_coordinator.limits import Limits
    from consecution_coordinator.membership import Worker


class CoordinatorState:
    """Everything that the coordinator knows.

    Args:
        library: Version of the library; workers and clients must have the same.
        wall: Seconds since 1970 at monotonic time 0, for people.
        limits: Times and bounds.
        news_port: Where placements are published.
        cluster: Random id of the store.
        is_encrypted: Links between children use keys.

    Attributes:
        workers: Who is there.
        courses: Topologies by name, those that are over included.
    """

    def __init__(
        self,
        library: str,
        *,
        wall: float = 0.0,
        limits: Limits = DEFAULTS,
        news_port: int = 0,
        cluster: str = "",
        is_encrypted: bool = False,
    ) -> None:
        self.library = library
        self.limits = limits
        self.workers = Membership(limits, library)
        self.courses: dict[str, Course] = {}
        self.started_at = 0.0
        self._wall = wall
        self._news_port = news_port
        self._cluster = cluster
        self._is_encrypted = is_encrypted
        self._relays = Relays()

    # ---- entry ---------------------------------------------------------------------------------------------------

    def take_back(
        self,
        topologies: Iterable[tuple[Topology, Submit]],
        workers: Iterable[WorkerKept],
        now: float,
        letters: Callable[[str], Iterable[tuple[str, int]]] = lambda name: (),
    ) -> None:
        """Begin with what was kept; called once, before the first event.

        Args:
            topologies: With how they were submitted.
            workers: Those of the store.
            now: Monotonic seconds.
            letters: Gives producer and seq of a topology's kept dead letters.
        """
        self.started_at = now
        self.workers.take_back(workers, now)
        for kept, submit in topologies:
            course = Course(kept, submit)
            course.take_back(now)
            if not course.is_over:
                course.known_letters.update(letters(kept.name))
            self.courses[kept.name] = course

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Apply one event.

        Args:
            event: What happened.
            now: Monotonic seconds; only differences matter.

        Returns:
            What the shell must do, in this order; what must be durable comes first.
        """
        desk = Desk(now, self._wall + now, self.limits, self.workers, self._used)
        if self.workers.wake(now):
            desk.note("the coordinator itself slept: all deadlines begin anew", is_warning=True)
        if isinstance(event, WorkerSaid):
            self._on_worker(event, desk)
        elif isinstance(event, ClientAsked):
            self._on_client(event, desk)
        else:
            self._on_tick(desk)
        has_changed = self._settle(desk)
        speaker = event.message.name if isinstance(event, WorkerSaid) and isinstance(event.message, Heartbeat) else None
        if has_changed or speaker is None:
            self._tell_wanted(self.workers, desk)
        elif (worker := self.workers.get(speaker)) is not None:
            self._tell_wanted((worker,), desk)
        return desk.instructions()

    def _settle(self, desk: Desk) -> bool:
        """Bring all topologies forward, and what members of groups mean for each other."""
        has_changed = False
        for _ in range(groups.ROUNDS_MAX):
            for course in self._by_name():
                course.reserved = groups.reserved(self.courses, course)
                has_changed |= course.settle(desk)
            if not groups.settle(self.courses, desk):
                break
        return has_changed

    def numbers(self) -> dict[str, int]:
        """The newest placement number of each topology that isn't over, for the news of each second."""
        return {name: c.kept.number for name, c in self.courses.items() if c.kept.number and not c.is_over}

    def _used(self) -> dict[str, int]:
        return Counter(worker for course in self.courses.values() for worker in course.used())

    # ---- workers -------------------------------------------------------------------------------------------------

    def _on_worker(self, event: WorkerSaid, desk: Desk) -> None:
        message = event.message
        if isinstance(message, Register):
            self._on_register(message, event.peer, desk)
        elif isinstance(message, Heartbeat):
            self._on_heartbeat(message, event.peer, desk)
        elif isinstance(message, AskPlacement):
            course = self.courses.get(message.topology)
            placement = None if course is None or course.is_over or not course.kept.number else course.placement()
            desk.tell(event.peer, PlacementIs(message.topology, placement), event.request)
        elif isinstance(message, LogText):
            relay = self._relays.take(event.request)
            if relay is not None:
                desk.tell(relay.peer, message, relay.request)
        elif isinstance(message, (PushedIn, ItemsAre)):
            self._relays.answered(message, desk)

    def _on_register(self, message: Register, peer: bytes, desk: Desk) -> None:
        refusal = self.workers.refusal(message, desk.now)
        if refusal is not None:
            desk.tell(peer, refusal)
            desk.note(f"worker={message.name} refused: {refusal.reason}", is_warning=True)
            return
        worker, before = self.workers.join(message, peer, desk.now)
        if before is not None and (before.session != message.session):
            for course in self._by_name():
                deaths.on_worker_gone(course, message.name, f"worker {message.name} was restarted", desk)
        desk.put(SaveWorker(message.name, encode(worker.kept)))
        desk.tell(
            peer,
            Registered(
                news_port=self._news_port,
                heartbeat_s=self.limits.heartbeat_s,
                silent_s=self.limits.silent_s,
                cluster=self._cluster,
                is_encrypted=self._is_encrypted,
            ),
        )
        is_back = before is not None and before.session == message.session
        desk.note(
            f"worker={message.name} {'is back' if is_back else 'joined'} from {message.host} with {message.slots} slots"
            f" and {len(message.children)} children"
        )
        self._take_children(worker, desk)

    def _on_heartbeat(self, message: Heartbeat, peer: bytes, desk: Desk) -> None:
        was_newest = self.workers.get(message.name)
        is_old = was_newest is not None and message.number <= was_newest.number
        worker = self.workers.hear(message, peer, desk.now)
        if worker is None:
            if not (message.is_leaving and not message.children):  # else it has left already, and only ends
                desk.tell(peer, RegisterAgain())
            return
        kept = worker.kept
        if not is_old:
            seen = kept.exits, kept.letters
            self._take_children(worker, desk)
            for letters in message.letters:
                if letters.number > kept.letters:
                    kept.letters = letters.number
                    self._on_course(letters.id, lambda course, one=letters: reports.take_letters(course, one, desk))
            for exit_ in message.exits:
                if exit_.number > kept.exits:
                    kept.exits = exit_.number
                    self._on_course(exit_.id, lambda course, one=exit_: deaths.on_exit(course, one, desk))
            if len(message.exits) < EXITS_MAX:  # else the next heartbeat tells the rest of them
                self._look_for_missing(worker, desk)
            if seen != (kept.exits, kept.letters):
                desk.put(SaveWorker(worker.name, encode(kept)))
        wanted = worker.wanted.number if worker.wanted is not None else 0
        if worker.wanted is not None and worker.wanted.releases and worker.follows >= wanted:
            for seat, journal, owner in list(groups.releases(self.courses, worker)):
                if journal in worker.wanted.releases:
                    seat.is_released = owner.is_changed = True
        desk.tell(peer, Heard(message.number, kept.exits, kept.letters, wanted))
        if worker.wanted is not None and worker.follows < wanted:
            desk.tell(peer, worker.wanted)
        for name in sorted(message.placements):
            course = self.courses.get(name)
            if course is not None and not course.is_over and message.placements[name] < course.kept.number:
                desk.tell(peer, PlacementIs(name, course.placement()))

    def _on_course(self, id_: ChildId, call: object) -> None:
        course = self.courses.get(id_.topology)
        if course is not None and callable(call):
            call(course)

    def _take_children(self, worker: Worker, desk: Desk) -> None:
        for id_ in sorted(worker.children):
            course = self.courses.get(id_.topology)
            if course is not None:
                reports.take_state(course, worker.children[id_], desk)
        for course in self.courses.values():
            for id_ in [i for i, at in course.kills.items() if at == worker.name and i not in worker.children]:
                del course.kills[id_]

    def _look_for_missing(self, worker: Worker, desk: Desk) -> None:
        """A child that a worker should run by the orders that it follows, and doesn't: it died without a word."""
        for id_, number in sorted(worker.ordered.items()):
            if number <= worker.follows and id_ not in worker.children:
                course = self.courses.get(id_.topology)
                if course is not None:
                    deaths.on_missing(course, id_, desk)

    def _tell_wanted(self, workers: Iterable[Worker], desk: Desk) -> None:
        """Tell each worker whose orders have changed what it must run."""
        for worker in workers:
            if not worker.is_alive:
                continue
            orders = tuple(
                dataclasses.replace(order, is_encrypted=self._is_encrypted)
                for course in self._by_name()
                for order in course.orders(worker.name)
            )
            kills = tuple(sorted(i for c in self.courses.values() for i, at in c.kills.items() if at == worker.name))
            bundles = {
                course.submit.bundle.sha256: course.submit.bundle
                for course in self._by_name()
                if any(order.bundle == course.submit.bundle.sha256 for order in orders)
            }
            runs = {id_.topology for id_ in worker.children} | {order.id.topology for order in orders}
            topologies = tuple(sorted(runs & set(self.courses)))
            releases = tuple(sorted(journal for _, journal, _ in groups.releases(self.courses, worker)))
            told = orders, kills, topologies, releases
            before = worker.wanted
            if before is not None and (before.children, before.kills, before.topologies, before.releases) == told:
                continue
            number = before.number + 1 if before is not None else 1
            sent: tuple[BundleInfo, ...] = tuple(bundles[sha] for sha in sorted(bundles))
            worker.wanted = Wanted(number, worker.kept.session, orders, kills, sent, topologies, releases)
            worker.ordered = {order.id: worker.ordered.get(order.id, number) for order in orders}
            desk.tell(worker.peer, worker.wanted)

    # ---- clients -------------------------------------------------------------------------------------------------

    def _on_client(self, event: ClientAsked, desk: Desk) -> None:
        message = event.message
        if isinstance(message, AskLog):
            self._relay_log(message, event, desk)
            return
        if isinstance(message, (Push, AskFates)):
            self._relays.carry(self.courses, message, event, desk)
            return
        answer = (
            group_commands.obey(self.courses, event, desk)
            or commands.obey(self.courses, event, desk, library=self.library)
            or answers.answer(self.courses, event, desk, library=self.library, up_s=desk.now - self.started_at)
        )
        if answer is not None:
            desk.tell(event.peer, answer, event.request)

    def _relay_log(self, message: AskLog, event: ClientAsked, desk: Desk) -> None:
        course = self.courses.get(message.topology)
        if course is None:
            desk.tell(event.peer, commands.unknown(message.topology, self.courses), event.request)
            return
        seat = course.seat((message.role, message.index))
        worker = desk.workers.get(seat.worker) if seat is not None else None
        if seat is None:
            known = ", ".join(f"{one.role} {one.index}" for one in course.kept.seats) or "none"
            refusal = Refused(f"topology {message.topology!r} has no {message.role} {message.index}; it has {known}")
            desk.tell(event.peer, refusal, event.request)
        elif worker is None or not worker.is_alive:
            where = f"worker {seat.worker!r}, which isn't there" if seat.worker else "no worker"
            refusal = Refused(
                f"the log of {message.role} {message.index} is on {where}; try again when it is", kind="state"
            )
            desk.tell(event.peer, refusal, event.request)
        else:
            relay = self._relays.new_log()
            late = "the worker didn't send the log in time; try again"
            if not self._relays.add(relay, Relay(event.peer, event.request, desk.now + self.limits.relay_s, late)):
                full = Refused("too many questions wait for their answer; ask again", is_final=False, kind="capacity")
                desk.tell(event.peer, full, event.request)
                return
            fetch = FetchLog(message.topology, message.role, message.index, message.offset, message.bytes_max)
            desk.tell(worker.peer, fetch, relay)

    # ---- time ----------------------------------------------------------------------------------------------------

    def _on_tick(self, desk: Desk) -> None:
        for worker in self.workers:
            if worker.is_leaving and not worker.children and not (worker.wanted and worker.wanted.children):
                worker.deadline = desk.now  # it runs nothing any more: it has left
        for worker in self.workers.take_dead(desk.now):
            silent_s = desk.now - worker.heard_at
            has_left = worker.is_leaving and silent_s < self.limits.silent_s
            why = "has left" if has_left else f"was silent for {silent_s:.1f} s"
            desk.put(SaveWorker(worker.name, encode(worker.kept)))
            desk.note(f"worker={worker.name} {'' if has_left else 'is dead: '}{why}", is_warning=not has_left)
            for course in self._by_name():
                deaths.on_worker_gone(course, worker.name, f"worker {worker.name} {why}", desk)
        for worker in self.workers:
            if worker.is_alive and worker.is_leaving:
                for course in self._by_name():
                    commands.leave(course, worker, desk)
        self._forget_workers(desk)
        self._relays.give_up(desk)

    def _forget_workers(self, desk: Desk) -> None:
        gone = [w for w in self.workers if w.kept.is_gone and desk.now - w.heard_at >= self.limits.forget_s]
        if not gone:
            return
        seats = [seat for course in self.courses.values() for seat in course.kept.seats]
        named = {seat.worker for seat in seats} | {seat.home for seat in seats}
        for worker in gone:
            if worker.name not in named:
                self.workers.forget(worker.name)
                desk.put(ForgetWorker(worker.name))

    # ---- inside --------------------------------------------------------------------------------------------------

    def _by_name(self) -> list[Course]:
        return [self.courses[name] for name in sorted(self.courses)]

    def check_invariants(self) -> None:
        """Raise AssertionError when a course is inconsistent, or a worker has orders of none."""
        for course in self.courses.values():
            course.check_invariants()
        for worker in self.workers:
            ids = [order.id for order in worker.wanted.children] if worker.wanted is not None else []
            assert len(ids) == len(set(ids))
