"""A cluster without sockets, disks and clocks: the core, workers that do as they are told, time that a test moves."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from consecution_coordinator.events import (
    ClientAsked,
    ForgetTopology,
    Publish,
    SaveLetters,
    SaveTopology,
    SaveWorker,
    Tell,
    Tick,
    VoidLetters,
    WorkerSaid,
)
from consecution_coordinator.kept import Topology, WorkerKept
from consecution_coordinator.state import CoordinatorState

from consecution.guarantee.messages import Cause
from consecution.wire.cluster.from_client import AskStatus, FeedFacts, PlanFacts, StageFacts, Submit
from consecution.wire.cluster.from_worker import (
    ChildExit,
    ChildId,
    ChildPhase,
    ChildState,
    Heartbeat,
    HostFigures,
    Letters,
    Register,
)
from consecution.wire.cluster.parcel import Refused
from consecution.wire.cluster.to_client import Accepted, State, Status
from consecution.wire.cluster.to_worker import (
    BundleInfo,
    ChildOrder,
    Heard,
    KeptJournal,
    PlacementIs,
    RegisterAgain,
    Registered,
    Wanted,
)
from consecution.wire.control import FeedCounts, FlowPlace, Letter, RunSettings, Told
from consecution.wire.placement import Phase, Placement
from consecution.wire.plain import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "1.0"
CLIENT = b"client"


def plan(*widths: int, feeds: tuple[FeedFacts, ...] | None = None, accumulating: bool = False) -> PlanFacts:
    """A chain of stages with these parallelisms, fed by one re-readable producer."""
    stages = []
    first = 0
    for number, width in enumerate(widths):
        last = number == len(widths) - 1
        stages.append(
            StageFacts(number, (f"n{number}",), width, first, () if last else (number + 1,), accumulating and last)
        )
        first += width
    return PlanFacts(tuple(stages), feeds if feeds is not None else (feed(),))


def feed(
    place: int = 0, source: str = "re-readable", *, endless: bool = False, stages: tuple[int, ...] = (0,)
) -> FeedFacts:
    return FeedFacts(place, f"feed{place}", "file", source, endless, stages)


_submissions = itertools.count()


def submit(name: str = "flow", facts: PlanFacts | None = None, *, level: str = "REPLAY", **changes: Any) -> Submit:
    one = Submit(
        submission=f"s{next(_submissions)}",
        name=name,
        flow=FlowPlace("flow.py", ""),
        bundle=BundleInfo("a" * 64, 100),
        settings=RunSettings(name, level, 3, 30.0, 300.0, 100),
        plan=facts if facts is not None else plan(1, 1),
        fingerprint="f",
        python="3.11",
    )
    return dataclasses.replace(one, **changes)


@dataclasses.dataclass
class Child:
    """A child of a fake worker."""

    order: ChildOrder
    incarnation: int
    phase: ChildPhase = ChildPhase.BORN
    ready: int = 0
    paused: int = 0
    made: int = 0
    done: int = 0
    told: Told = dataclasses.field(default_factory=lambda: Told(0))
    confirms: bool = True


class Worker:
    """Does what it is told: starts what is wanted, ends what isn't, follows placements, confirms pauses."""

    def __init__(self, world: World, name: str, slots: int, identity: str, python: str = "3.11") -> None:
        self.world, self.name, self.slots, self.identity, self.python = world, name, slots, identity, python
        self.session = f"{name}-{next(world.ids)}"
        self.peer = f"{name}/{self.session}".encode()
        self.wanted: Wanted | None = None
        self.children: dict[ChildId, Child] = {}
        self.started: list[ChildId] = []
        self.killed: list[ChildId] = []
        self.released: list[KeptJournal] = []
        self.exits: list[ChildExit] = []
        self.letters: list[Letters] = []
        self.n_exits = self.n_letters = self.number = 0
        self.placements: dict[str, Placement] = {}
        self.is_registered = False
        self.is_silent = False
        self.is_leaving = False
        self.phase = ChildPhase.BORN
        self.confirms = True
        self.refusal: Refused | None = None
        self.loses: Callable[[], bool] = lambda: False  # whether what is told now is lost on the way
        self.again = 0

    def register(self) -> None:
        self.world.send(
            WorkerSaid(
                self.peer,
                "",
                Register(
                    self.name, self.identity, self.session, self.slots, f"host-{self.name}", HostFigures(4, 1 << 30),
                    LIBRARY, self.python, children=self.states(),
                ),
            )
        )  # fmt: skip

    def states(self) -> tuple[ChildState, ...]:
        return tuple(
            ChildState(
                id_, child.phase, incarnation=child.incarnation if child.phase is ChildPhase.BORN else 0,
                address=f"tcp://{self.name}:{child.incarnation}", bridge=f"bridge:{child.incarnation}",
                ready=child.ready, paused=child.paused, made=child.made, done=child.done, told=child.told,
            )
            for id_, child in self.children.items()
        )  # fmt: skip

    def beat(self) -> None:
        """Tell how it stands."""
        if self.is_silent:
            return
        self.number += 1
        runs = self.wanted.topologies if self.wanted else ()
        known = {name: self.placements[name].number if name in self.placements else 0 for name in runs}
        self.world.send(
            WorkerSaid(
                self.peer,
                "",
                Heartbeat(
                    self.name, self.session, self.number, self.wanted.number if self.wanted else 0, self.states(),
                    tuple(self.exits), tuple(self.letters), placements=known, is_leaving=self.is_leaving,
                ),
            )
        )  # fmt: skip

    def hear(self, message: Any) -> None:
        if self.is_silent or self.loses():
            return
        if isinstance(message, Registered):
            self.is_registered, self.wanted = True, None
        elif isinstance(message, Refused):
            self.refusal = message
        elif isinstance(message, RegisterAgain):
            self.again += 1
            self.is_registered = False
            self.register()
        elif isinstance(message, Heard):
            self.exits = [one for one in self.exits if one.number > message.exits]
            self.letters = [one for one in self.letters if one.number > message.letters]
        elif isinstance(message, PlacementIs):
            if message.placement is not None:
                self.place(message.placement)
        elif isinstance(message, Wanted):
            self.follow(message)

    def follow(self, wanted: Wanted) -> None:
        if self.wanted is not None and wanted.number <= self.wanted.number:
            return
        assert wanted.session == self.session
        self.wanted = wanted
        self.released += [one for one in wanted.releases if one not in self.released]
        ids = {order.id for order in wanted.children}
        for id_ in wanted.kills:
            if id_ in self.children:
                self.killed.append(id_)
                self.end(id_, code=-9)
        for id_ in [id_ for id_ in self.children if id_ not in ids]:
            self.end(id_, code=0)
        for order in wanted.children:
            if order.id not in self.started:
                self.started.append(order.id)
                self.children[order.id] = Child(order, next(self.world.ids), self.phase, confirms=self.confirms)

    def bear(self) -> None:
        """All its children are born."""
        self.phase = ChildPhase.BORN
        for child in self.children.values():
            child.phase = ChildPhase.BORN

    def place(self, placement: Placement) -> None:
        known = self.placements.get(placement.topology)
        if self.is_silent or (known is not None and known.number >= placement.number):
            return
        self.placements[placement.topology] = placement
        for id_, child in list(self.children.items()):
            if id_.topology != placement.topology:
                continue
            member = placement.member(child.incarnation)
            if member is None:
                continue
            if placement.phase is Phase.ENDED:
                self.end(id_, code=0)
                continue
            child.ready = placement.number
            ended = member.tasks if placement.phase is Phase.DRAINING else child.told.tasks_ended
            child.told = dataclasses.replace(
                child.told, number=placement.number, feeds=self._feeds(child, member.feeds), tasks_ended=ended
            )
            if placement.phase is Phase.PAUSED and child.confirms:
                child.paused = placement.pause

    def _feeds(self, child: Child, places: tuple[int, ...]) -> tuple[FeedCounts, ...]:
        told = {one.place: one for one in child.told.feeds}
        starts = {one.counts.place: one.counts for one in child.order.starts}
        return tuple(
            told.get(place) or starts.get(place) or FeedCounts(place, f"feed{place}", is_idle=True) for place in places
        )

    def end(self, id_: ChildId, *, code: int, tell: bool = True, **what: Any) -> None:
        """A child ends."""
        child = self.children.pop(id_)
        if tell:
            self.n_exits += 1
            wanted = self.wanted is not None and id_ in {order.id for order in self.wanted.children}
            self.exits.append(ChildExit(self.n_exits, id_, child.incarnation, code, wanted, **what))

    def crash(self, index: int = 0, role: str = "executor", **what: Any) -> None:
        """One of its children is killed, and it tells so at once."""
        cause = Cause("", "ExecutorDied", "killed by signal 9", host=self.name)
        self.end(self.child(index, role), **{"code": -9, "cause": cause, **what})
        self.beat()

    def child(self, index: int = 0, role: str = "executor") -> ChildId:
        return next(id_ for id_ in self.children if (id_.role, id_.index) == (role, index))

    def tell(self, index: int = 0, **told: Any) -> None:
        """An executor tells how it stands."""
        child = self.children[self.child(index)]
        child.told = dataclasses.replace(child.told, **told)
        self.beat()

    def letter(self, index: int, *letters: Letter, pass_number: int = 1) -> None:
        self.n_letters += 1
        self.letters.append(Letters(self.n_letters, self.child(index), pass_number, letters))

    def die(self) -> None:
        """Silent from now on; its children are gone."""
        self.is_silent = True
        self.children.clear()

    def runs(self) -> list[str]:
        """Its children, as ``executor-0``."""
        return sorted(f"{id_.role}-{id_.index}" for id_ in self.children)


class World:
    """The core, its store, and workers."""

    def __init__(self, *, is_encrypted: bool = False) -> None:
        self.ids = itertools.count(1)
        self.now = 1000.0
        self.topologies: dict[str, tuple[bytes, bytes]] = {}
        self.kept_workers: dict[str, bytes] = {}
        self.letters: dict[str, list[Letter]] = {}
        self.workers: dict[str, Worker] = {}
        self.news: list[Placement] = []
        self.answers: list[tuple[str, Any]] = []
        self.log: list[str] = []
        self.is_down = False
        self.state = CoordinatorState(LIBRARY, wall=1e9, is_encrypted=is_encrypted)
        self._depth = 0

    # ---- the shell ----

    def send(self, event: Any) -> list[Any]:
        if self.is_down:
            return []
        instructions = self.state.handle(event, self.now)
        self.state.check_invariants()
        seen_told = False
        for one in instructions:
            durable = not isinstance(one, (Tell, Publish)) and not hasattr(one, "text")
            assert not (durable and seen_told), "what is durable comes first"
            seen_told = seen_told or isinstance(one, (Tell, Publish))
            self._keep(one)
        for one in instructions:
            if isinstance(one, Publish):
                self._check_durable(one.placement)
                self.news.append(one.placement)
                for worker in list(self.workers.values()):
                    if not worker.loses():
                        worker.place(one.placement)
            elif isinstance(one, Tell):
                if one.peer == CLIENT:
                    self.answers.append((one.request, one.message))
                for worker in list(self.workers.values()):
                    if worker.peer == one.peer:
                        worker.hear(one.message)
        return instructions

    def _keep(self, one: Any) -> None:
        if isinstance(one, SaveTopology):
            old = self.topologies.get(one.name, (b"", b""))
            self.topologies[one.name] = (one.body, one.submit if one.submit is not None else old[1])
        elif isinstance(one, SaveWorker):
            self.kept_workers[one.name] = one.body
        elif isinstance(one, SaveLetters):
            self.letters.setdefault(one.name, []).extend(one.letters)
        elif isinstance(one, VoidLetters):
            self.letters.pop(one.name, None)
        elif isinstance(one, ForgetTopology):
            self.topologies.pop(one.name)
        elif hasattr(one, "text"):
            self.log.append(one.text)

    def _check_durable(self, placement: Placement) -> None:
        kept = decode(self.topologies[placement.topology][0], (Topology,))
        assert kept.number >= placement.number, "a placement is durable before it is published"

    # ---- what a test does ----

    def worker(self, name: str = "a", slots: int = 4, identity: str = "", **more: Any) -> Worker:
        worker = Worker(self, name, slots, identity or f"disk-{name}", **more)
        self.workers[name + worker.session] = worker
        worker.register()
        if worker.is_registered:
            worker.beat()
        return worker

    def ask(self, message: Any, have: int = 100) -> Any:
        request = f"r{next(self.ids)}"
        self.send(ClientAsked(CLIENT, request, message, have))
        return next(answer for id_, answer in reversed(self.answers) if id_ == request)

    def start(self, *arguments: Any, **changes: Any) -> Accepted:
        """Submit, and let time pass until it runs if it can."""
        answer = self.ask(submit(*arguments, **changes))
        assert isinstance(answer, Accepted), answer
        self.run(1.0)
        return answer

    def run(self, seconds: float, step_s: float = 0.25) -> None:
        """Let time pass: at each step a tick, and a heartbeat of each worker."""
        for _ in range(round(seconds / step_s)):
            self.now += step_s
            self.send(Tick())
            for worker in list(self.workers.values()):
                if worker.is_registered and not self.is_down:
                    worker.beat()
                elif not worker.is_silent and (worker.refusal is None or not worker.refusal.is_final):
                    worker.register()

    def status(self, name: str = "flow") -> Status:
        answer = self.ask(AskStatus(name))
        assert isinstance(answer, Status), answer
        return answer

    def state_of(self, name: str = "flow") -> State:
        return self.status(name).summary.state

    def placement(self, name: str = "flow") -> Placement:
        return self.state.courses[name].placement()

    def course(self, name: str = "flow") -> Any:
        return self.state.courses[name]

    def restart(self) -> None:
        """The coordinator is killed, and started again from its store."""
        self.state = CoordinatorState(LIBRARY, wall=1e9)
        topologies = [(decode(body, (Topology,)), decode(sent, (Submit,))) for body, sent in self.topologies.values()]
        workers = [decode(body, (WorkerKept,)) for body in self.kept_workers.values()]
        self.state.take_back(
            topologies, workers, self.now, lambda name: {(one.producer, one.seq) for one in self.letters.get(name, ())}
        )
        self.is_down = False


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def encrypted_world() -> World:
    return World(is_encrypted=True)


@pytest.fixture
def build() -> Any:
    """``build.plan(2, 1)``, ``build.feed(0, "handed over")``, ``build.submit("name", …)``: what clients send."""

    class Build:
        plan = staticmethod(plan)
        feed = staticmethod(feed)
        submit = staticmethod(submit)
        encode = staticmethod(encode)

    return Build
