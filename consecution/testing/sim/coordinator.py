"""The virtual coordinator: the real state, a store in memory, and the connections of workers to it.

Rules of this module: what the coordinator's shell does, on virtual time. What must be durable is kept in one
transaction, before anything is told; the coordinator dies before it, or between two words. It decides nothing that the
core decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution_coordinator.events import (
    Event,
    ForgetTopology,
    ForgetWorker,
    Instruction,
    Publish,
    SaveLetters,
    SaveTopology,
    SaveWorker,
    Tell,
    Tick,
    VoidLetters,
)
from consecution_coordinator.kept import Topology, WorkerKept
from consecution_coordinator.state import CoordinatorState
from consecution_worker.events import Came, NewsCame

from consecution.wire.cluster.from_client import Submit
from consecution.wire.cluster.to_worker import NumbersNews, PlacementNews
from consecution.wire.plain import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from consecution.testing.sim.cluster import SimCluster
    from consecution.testing.sim.virtual import VirtualWorld
    from consecution.wire.control import Letter
    from consecution.wire.placement import Placement

NAME = "sim"
HOST = "k"
"""Name of the coordinator's host; it runs nothing else."""

TICK_S = 0.25
NUMBERS_S = 1.0
CLIENT = b"client"


class ControlNetwork:
    """Connections between workers and the coordinator.

    Args:
        world: Where they are.
        random: Decides how late a word comes, and which are lost.

    Attributes:
        loss: Share of words that are lost with a connection.
        news_loss: Share of publications that vanish.
    """

    def __init__(self, world: VirtualWorld, random: Random) -> None:
        self._world = world
        self._random = random
        self._last: dict[tuple[str, str], float] = {}
        self.loss = 0.0
        self.news_loss = 0.0

    def carry(self, source: str, target: str, deliver: Callable[[], None], *, is_news: bool = False) -> None:
        """Carry a word from host to host, in order, or lose it."""
        random = self._random
        if self._world.network.is_cut(source, target) or random.random() < (self.news_loss if is_news else self.loss):
            return
        timeline = self._world.timeline
        at = timeline.now + random.choice((0.0005, 0.002, 0.02)) * (0.5 + random.random())
        at = self._last[source, target] = max(at, self._last.get((source, target), 0.0))
        timeline.at(at, deliver)


class SimCoordinator:
    """The coordinator, its store, and what the shell round it does.

    Args:
        cluster: Where it is.

    Attributes:
        state: None while it is down.
        clock_s: Added to virtual time.
        letters: Dead letters that it keeps, of the one topology.
    """

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._timeline = cluster.world.timeline
        self._topologies: dict[str, tuple[bytes, bytes]] = {}
        self._workers: dict[str, bytes] = {}
        self._listed: frozenset[int] = frozenset()
        self._scaled: object = ()
        self._starts = 0
        self._dies_in = 0
        self._frozen_until = 0.0
        self.clock_s = 5000.0
        self.letters: list[Letter] = []
        self.state: CoordinatorState | None = None

    def now(self) -> float:
        """Monotonic seconds of its host."""
        return self._timeline.now + self.clock_s

    def start(self) -> None:
        """Start, with what the store holds."""
        self._starts += 1
        state = self.state = CoordinatorState(NAME, wall=1e9, news_port=7001, cluster="c")
        topologies = [(decode(body, (Topology,)), decode(sent, (Submit,))) for body, sent in self._topologies.values()]
        state.take_back(topologies, [decode(body, (WorkerKept,)) for body in self._workers.values()], self.now())
        self._cluster.world.note(f"coordinator starts, for the {self._starts}. time")
        self._beat(self._starts, TICK_S, lambda: self.tell(Tick()))
        self._beat(self._starts, NUMBERS_S, self._tell_numbers)

    def _beat(self, start: int, every_s: float, do: Callable[[], None]) -> None:
        if self.state is None or start != self._starts:
            return
        if self._timeline.now >= self._frozen_until:
            do()
        self._timeline.after(every_s, lambda: self._beat(start, every_s, do))

    def _tell_numbers(self) -> None:
        if self.state is not None:
            numbers = self.state.numbers()
            self._cluster.publish(lambda worker: worker.tell(NewsCame(NumbersNews(dict(numbers)))))

    def crash(self, seconds: float, points: int) -> None:
        """Die in the middle of what it does next, and be started again some time later."""
        self._dies_in = points
        self._timeline.after(seconds, self.revive)

    def revive(self) -> None:
        """Start it when it is down; a death that was still to come comes no more."""
        self._dies_in = 0
        if self.state is None:
            self.start()

    def freeze(self, until: float) -> None:
        """Stop it for a while."""
        self._frozen_until = until

    def tell(self, event: Event) -> None:
        """Apply an event, and do what it says: first what must be durable."""
        if self.state is None:
            return
        if self._timeline.now < self._frozen_until:
            self._timeline.at(self._frozen_until, lambda: self.tell(event))
            return
        instructions = self.state.handle(event, self.now())
        self.state.check_invariants()
        if self._dies():
            return
        self._keep(instructions)
        self._cluster.look_at_end()
        for one in instructions:
            if isinstance(one, Publish | Tell):
                if self._dies():
                    return
                if isinstance(one, Publish):
                    self._publish(one.placement)
                else:
                    self._answer(one)

    def _dies(self) -> bool:
        """Whether it dies here."""
        if self._dies_in:
            self._dies_in -= 1
            if not self._dies_in:
                self._cluster.world.note("coordinator dies")
                self.state = None
                return True
        return False

    def _keep(self, instructions: Sequence[Instruction]) -> None:
        """Keep what must be durable: all of it or nothing, as one transaction."""
        for one in instructions:
            if isinstance(one, SaveTopology):
                before = self._topologies.get(one.name, (b"", b""))
                self._topologies[one.name] = one.body, before[1] if one.submit is None else one.submit
            elif isinstance(one, SaveWorker):
                self._workers[one.name] = one.body
            elif isinstance(one, ForgetTopology):
                self._topologies.pop(one.name, None)
            elif isinstance(one, ForgetWorker):
                self._workers.pop(one.name, None)
            elif isinstance(one, SaveLetters):
                self.letters += one.letters
            elif isinstance(one, VoidLetters):
                self.letters.clear()

    def _publish(self, placement: Placement) -> None:
        members = [f"{member.role.value[0]}{member.index}@{member.worker}" for member in placement.members]
        self._cluster.world.note(f"placement {placement.number} {placement.phase.value} {members}")
        listed = frozenset(member.incarnation for member in placement.members)
        self._cluster.world.published(self._listed, listed)
        self._listed = listed
        if placement.scaled != self._scaled:
            self._scaled = placement.scaled
            self._cluster.world.scaled()
        self._cluster.publish(lambda worker: worker.tell(NewsCame(PlacementNews(placement))))

    def _answer(self, told: Tell) -> None:
        if told.peer == CLIENT:
            self._cluster.answered(told.message)
            return
        user = self._cluster.users.get(told.peer)
        if user is not None:
            user(told)
            return
        worker = next((one for one in self._cluster.workers if one.peer == told.peer), None)
        if worker is not None:
            came = Came(told.message, told.request)  # type: ignore[arg-type]  # what is told to a worker's peer
            self._cluster.control.carry(HOST, worker.host.name, lambda: worker.tell(came))
