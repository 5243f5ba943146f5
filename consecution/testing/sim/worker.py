"""A virtual worker: the real agent's state, and hands that start, hear and end virtual processes.

Rules of this module: what the agent's shell does, on virtual time. The children of an agent that dies die with it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from consecution_coordinator.events import WorkerSaid
from consecution_worker.agent_state import AgentState, Host
from consecution_worker.config import Limits
from consecution_worker.events import (
    AgentEvent,
    AgentInstruction,
    Carry,
    ChildExited,
    ChildFigures,
    ChildSaid,
    ChildStarted,
    CodeUnpacked,
    Exit,
    KillChild,
    Leave,
    Listen,
    Looked,
    LookForCode,
    Relay,
    Send,
    StartChild,
    Tick,
)

from consecution.local.restart import FOLDER
from consecution.testing.sim.coordinator import HOST, NAME, TICK_S
from consecution.testing.sim.promises import Promise, Violation
from consecution.wire.cluster.from_worker import HostFigures
from consecution.wire.control import Begin
from consecution.wire.placement import Role

if TYPE_CHECKING:
    from consecution.testing.sim.cluster import SimCluster
    from consecution.testing.sim.process import SimHost, SimProcess
    from consecution.wire.cluster.from_worker import ChildId
    from consecution.wire.cluster.to_worker import ChildOrder
    from consecution.wire.control import Up

LOOK_S = 0.5
FIGURES = HostFigures(2, 1 << 30)


class SimWorker:
    """A worker: the agent's state, and hands that start and end virtual processes.

    Args:
        cluster: Where it is.
        host: Its machine.
        slots: Executors that it takes.

    Attributes:
        peer: Its connection, as the coordinator knows it.
        state: None while it is down.
    """

    def __init__(self, cluster: SimCluster, host: SimHost, slots: int) -> None:
        self._cluster = cluster
        self._timeline = cluster.world.timeline
        self.host = host
        self.peer = b""
        self.state: AgentState | None = None
        self._slots = slots
        self._starts = 0
        self._listens = False
        self._frozen_until = 0.0
        self._children: dict[ChildId, SimProcess] = {}
        self._forgiven: set[int] = set()
        self._tick_at = 0.0

    def now(self) -> float:
        """Monotonic seconds of its host."""
        return self._timeline.now + self.host.clock_s

    def start(self) -> None:
        """Start the agent."""
        if self.state is not None:
            return
        self._starts += 1
        session = f"{self.host.name}-{self._starts}"
        self.peer = session.encode()
        self._listens = False
        host = Host(
            self.host.name, f"disk-{self.host.name}", session, self._slots, self.host.name, self.host.name, NAME, "3.11"
        )
        self.state = AgentState(host, Limits(), FIGURES, self.now())
        self._cluster.world.note(f"worker {session} starts")
        self._look(self._starts)
        self.tell(Tick())

    def crash(self) -> None:
        """The agent dies, and all of its children with it."""
        if self.state is None:
            return
        self._cluster.world.note(f"worker {self.host.name} dies")
        self.state = None
        for process in list(self._children.values()):
            process.kill()
        self._children.clear()

    def leave(self) -> None:
        """Ask it to end in good order."""
        self.tell(Leave())

    def freeze(self, until: float) -> None:
        """Stop the agent and all of its children."""
        self._frozen_until = until
        for process in self._children.values():
            process.pause(until)

    def resume(self) -> None:
        """Let it go on."""
        self._frozen_until = 0.0
        self.tell(Tick())

    # ---- events --------------------------------------------------------------------------------------------------

    def tell(self, event: AgentEvent) -> None:
        """Tell the core, and do what it wants, and what comes of that."""
        state, start = self.state, self._starts
        if state is None:
            return
        if self._timeline.now < self._frozen_until:
            self._timeline.at(self._frozen_until, lambda: self.tell(event) if start == self._starts else None)
            return
        events: deque[AgentEvent] = deque([event])
        while events and self.state is not None:
            for instruction in state.handle(events.popleft(), self.now()):
                follows = self._do(instruction)
                if follows is not None:
                    events.append(follows)
        state.check_invariants()
        if self.state is not None:
            self._plan_tick()

    def _plan_tick(self) -> None:
        assert self.state is not None
        at = self._timeline.now + max(0.001, min(TICK_S, self.state.due() - self.now()))
        if self._timeline.now < self._tick_at <= at:
            return
        self._tick_at = at
        start = self._starts

        def tick() -> None:
            if start == self._starts and self.state is not None and self._tick_at == at:
                self._tick_at = 0.0
                self.tell(Tick())

        self._timeline.at(at, tick)

    def _look(self, start: int) -> None:
        if start != self._starts or self.state is None:
            return
        stopped = {
            id_: ChildFigures(1 << 20, is_stopped=process.paused_until > self._timeline.now)
            for id_, process in self._children.items()
        }
        self.tell(Looked(FIGURES, stopped))
        self._timeline.after(LOOK_S, lambda: self._look(start))

    def _do(self, instruction: AgentInstruction) -> AgentEvent | None:
        if isinstance(instruction, Send):
            said, peer = instruction.message, self.peer
            carry = self._cluster.control.carry
            carry(self.host.name, HOST, lambda: self._cluster.coordinator.tell(WorkerSaid(peer, "", said)))
        elif isinstance(instruction, Listen):
            self._listens = True
        elif isinstance(instruction, LookForCode):
            return CodeUnpacked(instruction.bundle.sha256)
        elif isinstance(instruction, StartChild):
            return self._start_child(instruction.order)
        elif isinstance(instruction, Relay):
            process = self._children.get(instruction.id)
            if process is not None:
                process.give(instruction.placement)
        elif isinstance(instruction, Carry):
            process = self._children.get(instruction.id)
            if process is not None:
                process.ask(instruction.message)
        elif isinstance(instruction, KillChild):
            process = self._children.get(instruction.id)
            if process is not None:
                if not instruction.is_blamed:
                    self._forgiven.add(process.pid)
                process.kill()
        elif isinstance(instruction, Exit):
            if instruction.reason:
                raise Violation(Promise.BOOKS_EMPTY, f"worker {self.host.name} was refused: {instruction.reason}")
            self.crash()
            self._timeline.after(1.0, self.start)
        return None

    def listens(self) -> bool:
        """Whether it hears what is published."""
        return self._listens and self.state is not None

    # ---- children ------------------------------------------------------------------------------------------------

    def _start_child(self, order: ChildOrder) -> AgentEvent:
        id_ = order.id
        name = f"{id_.role}-{id_.index}.{id_.run}.{id_.attempt}"
        journal = f"/journals/{order.journal}" if order.journal else None
        begin = Begin(
            topology=id_.topology,
            role=Role(id_.role),
            index=id_.index,
            bind="",
            n_ackers=order.n_ackers,
            settings=order.settings,
            fingerprint=order.fingerprint,
            journal=journal,
            in_work=f"{journal or f'/runs/{name}'}/{FOLDER}",
            is_fresh=order.is_fresh,
            starts=tuple(start.counts for start in order.starts),
        )
        process = self._children[id_] = self._cluster.world.start(name, self.host, begin)
        if self._frozen_until > self._timeline.now:
            process.pause(self._frozen_until)
        return ChildStarted(id_, process.pid)

    def heard(self, process: SimProcess, message: Up) -> bool:
        """A child said something; False when it is none of its."""
        id_ = next((one for one, child in self._children.items() if child is process), None)
        if id_ is None:
            return False
        self.tell(ChildSaid(id_, message))
        return True

    def died(self, process: SimProcess, code: int) -> bool:
        """A process has ended; False when it is no child of its."""
        id_ = next((one for one, child in self._children.items() if child is process), None)
        if id_ is None:
            return False
        start = self._starts
        self._timeline.after(0.005, lambda: self._reap(id_, process, code) if start == self._starts else None)
        return True

    def _reap(self, id_: ChildId, process: SimProcess, code: int) -> None:
        self._children.pop(id_, None)
        runs = tuple(run for slot in process.slots for run in slot.runs)
        if process.pid in self._forgiven:
            for slot in process.slots:
                slot.forget()
        self.tell(ChildExited(id_, code, runs))
