"""What the tests of the agent's core are made of: an agent, orders, placements, and the walk of a child."""

from __future__ import annotations

from consecution_worker.agent_state import AgentState, Host
from consecution_worker.config import Limits
from consecution_worker.events import (
    AgentEvent,
    AgentInstruction,
    Came,
    ChildSaid,
    ChildStarted,
    CodeUnpacked,
    Note,
    Send,
    Tick,
)

from consecution.wire.cluster.from_worker import ChildId, Heartbeat, HostFigures
from consecution.wire.cluster.to_worker import BundleInfo, ChildOrder, Registered, Wanted
from consecution.wire.control import Born, Ready, RunSettings, Told
from consecution.wire.placement import Member, Phase, Placement, Role

SETTINGS = RunSettings("flow", "REPLAY", 3, 30.0, 300.0, 10_000)
CODE = BundleInfo("c0de", 5)
FIGURES = HostFigures(2, 1 << 30)


def child_id(
    index: int = 0, attempt: int = 1, *, role: str = "executor", topology: str = "flow", run: int = 1
) -> ChildId:
    return ChildId(topology, run, role, index, attempt)


def order(child: ChildId | None = None, *, bundle: str = CODE.sha256, settings: RunSettings = SETTINGS) -> ChildOrder:
    return ChildOrder(child or child_id(), bundle, 1, settings)


class Desk:
    """An agent, its clock, and what it said; checks its rules after every event."""

    def __init__(self, limits: Limits | None = None, *, memory_bytes_max: int = 0) -> None:
        host = Host("w1", "disk", "session", 2, "127.0.0.1", "box", "0.1", "3.11", 7, memory_bytes_max)
        self.now = 100.0
        self.agent = AgentState(host, limits or Limits(), FIGURES, self.now)
        self.wanted = 0

    def does(self, event: AgentEvent, after_s: float = 0.0) -> list[AgentInstruction]:
        """Apply an event; notes for people are left out."""
        self.now += after_s
        found = self.agent.handle(event, self.now)
        self.agent.check_invariants()
        return [one for one in found if not isinstance(one, Note)]

    def ticks(self, after_s: float) -> list[AgentInstruction]:
        """Let time pass as the shell would: in steps of a quarter of a second."""
        found: list[AgentInstruction] = []
        end = self.now + after_s
        while self.now < end:
            found += self.does(Tick(), min(0.25, end - self.now))
        return found

    def heartbeat(self) -> Heartbeat:
        """The next heartbeat."""
        for _ in range(10):
            for one in self.does(Tick(), 0.25):
                if isinstance(one, Send) and isinstance(one.message, Heartbeat):
                    return one.message
        raise AssertionError("no heartbeat")

    def register(self) -> None:
        self.does(Tick())
        self.does(Came(Registered(7001)))

    def wants(self, *orders: ChildOrder, kills: tuple[ChildId, ...] = ()) -> list[AgentInstruction]:
        self.wanted += 1
        wanted = Wanted(self.wanted, "session", orders, kills, (CODE,), ("flow",))
        return self.does(Came(wanted))

    def runs(self, child: ChildId | None = None, *, incarnation: int = 11, settings: RunSettings = SETTINGS) -> ChildId:
        """Bring one child up, on a registered agent whose code is there, until it is ready."""
        child = child or child_id()
        self.wants(order(child, settings=settings))
        self.does(CodeUnpacked(CODE.sha256))
        self.does(ChildStarted(child, 4000 + incarnation))
        self.does(ChildSaid(child, Born(incarnation, "tcp://127.0.0.1:9", 4000 + incarnation, "0.1", "3.11")))
        self.does(ChildSaid(child, Ready(1)))
        self.does(ChildSaid(child, Told(1)))
        return child


def placement(number: int, *incarnations: int, phase: Phase = Phase.RUNNING, topology: str = "flow") -> Placement:
    members = tuple(
        Member(incarnation, 1, Role.EXECUTOR, index, "tcp://127.0.0.1:9", "w1")
        for index, incarnation in enumerate(incarnations)
    )
    return Placement(topology, number, phase, members)
