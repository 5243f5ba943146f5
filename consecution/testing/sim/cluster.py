"""A virtual cluster: a coordinator, workers on virtual hosts, and the client who submits the flow.

Rules of this module: it joins them, asks what users ask for, and lets faults happen; it decides nothing that a core
decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution_coordinator.events import ClientAsked

from consecution.client import facts_of
from consecution.testing.sim.coordinator import CLIENT, HOST, NAME, ControlNetwork, SimCoordinator
from consecution.testing.sim.scenario import Fault, Kind
from consecution.testing.sim.worker import SimWorker
from consecution.wire.cluster.from_client import AskStatus, Drain, Kill, Pause, Rebalance, Resume, Submit
from consecution.wire.cluster.to_client import Accepted, State, Status
from consecution.wire.cluster.to_worker import BundleInfo
from consecution.wire.control import FlowPlace

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from consecution_coordinator.course import Course
    from consecution_coordinator.events import Tell

    from consecution.testing.sim.process import SimHost, SimProcess
    from consecution.testing.sim.virtual import VirtualWorld
    from consecution.wire.cluster.from_client import FromClient
    from consecution.wire.control import RunSettings, Up

SUBMIT_S = 1.0


class SimCluster:
    """Coordinator, workers and the client who submits the flow.

    Args:
        world: Where it lives.
        settings: Of the run.
        random: Decides what its network does.

    Attributes:
        coordinator: The coordinator.
        workers: One for each host.
        problem: Why the run can't go on.
        status: What the coordinator said last when it was asked.
        users: Other clients, by their connection: called with what the coordinator tells them.
    """

    def __init__(self, world: VirtualWorld, settings: RunSettings, random: Random) -> None:
        self.world = world
        self.control = ControlNetwork(world, random)
        self._settings = settings
        self._submissions = 0
        self._is_hasty = False  # it is submitted again though processes of the last run may live
        self._is_healed = False
        self.coordinator = SimCoordinator(self)
        scenario = world.scenario
        slots = -(-scenario.n_executors // len(world.hosts)) + 1
        self.workers = [SimWorker(self, host, slots) for host in world.hosts]
        self.problem = ""
        self._run = 0  # which submission the coordinator was at when it was last looked at
        self.status: Status | None = None
        self.users: dict[bytes, Callable[[Tell], None]] = {}
        self.control.loss = scenario.control_loss
        self.control.news_loss = scenario.news_loss

    def start(self) -> None:
        """Start everything, and submit the flow."""
        self.coordinator.start()
        for worker in self.workers:
            worker.start()
        self._submit()

    # ---- the client ----------------------------------------------------------------------------------------------

    def ask(self, message: FromClient) -> None:
        """Ask the coordinator, as a client does; it hears it at once."""
        self.coordinator.tell(ClientAsked(CLIENT, f"r{self.world.timeline.steps}", message, have_bytes=100))

    def _submit(self) -> None:
        """Submit until it is accepted; again when it failed before it ever ran, as faults can make it."""
        state = self.coordinator.state
        if state is not None:
            course = state.courses.get(NAME)
            if course is None or (course.is_over and self._may_go_on(course)):
                self._submissions += 1
                self.ask(self._submission())
            elif self._is_healed and course.kept.is_paused:
                self.ask(Resume(NAME))  # a pause that was asked for in the storm may have come late
        self.world.timeline.after(SUBMIT_S, self._submit)

    def _may_go_on(self, course: Course) -> bool:
        """Whether a topology that is over is submitted again, for what is left."""
        kept, is_late = course.kept, not self.world.is_stormy_still(30.0)
        if kept.state is State.FINISHED:
            return False
        if kept.state is State.FAILED:
            if is_late:
                self.problem = f"the topology is failed: {kept.reason}"
            return True
        left = [process.name for process in self.world.processes]
        if left and is_late:
            self.problem = f"the topology is {kept.state.value}, but {left} still run"
        # What a source read and a power cut took was never done: it is read again, and counted until then.
        has_power = not any(fault.kind is Kind.POWER for fault in self.world.scenario.faults)
        if kept.state is State.DRAINED and has_power and (status := self.look()) is not None:
            left_open = sum(feed.introduced - feed.completed - feed.failed for feed in status.feeds)
            if left_open and kept.has_run:  # what hadn't started took nothing back
                self.problem = f"the topology is drained, but {left_open} items that entered have no outcome"
        return not left or self._is_hasty

    def _submission(self) -> Submit:
        consecutor = self.world.load()
        facts = facts_of(consecutor)
        n_tasks = sum(stage.parallelism for stage in facts.stages)
        return Submit(
            submission=f"s{self._submissions}",
            name=NAME,
            flow=FlowPlace("flow.py", ""),
            bundle=BundleInfo("a" * 64, 100),
            settings=self._settings,
            plan=facts,
            fingerprint=consecutor.dag.fingerprint,
            slots=min(self.world.scenario.n_executors, n_tasks),
            ackers=self.world.scenario.n_ackers,
            python="3.11",
        )

    def look(self) -> Status | None:
        """Ask how it stands; None when the coordinator is down, or doesn't know it yet."""
        self.status = None
        self.ask(AskStatus(NAME))
        return self.status

    def answered(self, message: object) -> None:
        """The coordinator answered the client."""
        if isinstance(message, Status):
            self.status = message
        elif not isinstance(message, Accepted):
            self.world.note(f"answer {message}")

    def look_at_end(self) -> None:
        """The coordinator has done something: tell the world when it ends the topology."""
        state = self.coordinator.state
        course = None if state is None else state.courses.get(NAME)
        if course is None:
            return
        if course.kept.run != self._run:  # a frozen coordinator still has the one before, which is over
            self._run = course.kept.run
            self.world.final = None
        if self.world.final is None and (course.is_over or course.kept.state is State.STOPPING):
            self.world.ends(course.kept.final)

    # ---- what others ask -----------------------------------------------------------------------------------------

    def publish(self, tell: Callable[[SimWorker], None]) -> None:
        """Tell all workers that listen; some don't hear it."""
        for worker in self.workers:
            if worker.listens():
                self.control.carry(HOST, worker.host.name, lambda worker=worker: tell(worker), is_news=True)  # type: ignore[misc]

    def heard(self, process: SimProcess, message: Up) -> None:
        """A process said something to its worker."""
        any(worker.heard(process, message) for worker in self.workers)

    def died(self, process: SimProcess, code: int) -> None:
        """A process has ended."""
        any(worker.died(process, code) for worker in self.workers)

    @property
    def is_done(self) -> bool:
        """Whether the topology has finished."""
        state = self.coordinator.state
        course = None if state is None else state.courses.get(NAME)
        return course is not None and course.kept.state is State.FINISHED

    @property
    def is_over(self) -> bool:
        """Whether all processes have ended."""
        return self.is_done and not self.world.processes

    def end(self) -> None:
        """It ends by itself."""

    def stand(self) -> str:
        """How it stands, for people."""
        state = self.coordinator.state
        if state is None:
            return "the coordinator is down"
        course = state.courses.get(NAME)
        if course is None:
            return "nothing was submitted"
        seats = [
            f"{seat.role}-{seat.index} on {seat.worker or '?'} start {seat.attempt} term {seat.term}"
            for seat in course.kept.seats
        ]
        return f"{course.kept.state.value} {course.kept.reason} {seats} {course.move} {course.kept.events[-3:]}"

    # ---- faults --------------------------------------------------------------------------------------------------

    def strike(self, fault: Fault) -> bool:
        """Let a fault happen that is the cluster's; False when it isn't."""
        timeline = self.world.timeline
        worker = self.workers[fault.pick % len(self.workers)]
        if fault.kind is Kind.CRASH_WORKER:
            worker.crash()
            timeline.after(fault.seconds, worker.start)
        elif fault.kind is Kind.FREEZE:
            worker.freeze(timeline.now + fault.seconds)
        elif fault.kind is Kind.LEAVE:
            worker.leave()
        elif fault.kind is Kind.CRASH_COORDINATOR:
            self.coordinator.crash(fault.seconds, 1 + fault.points % 10)
        elif fault.kind is Kind.FREEZE_COORDINATOR:
            self.coordinator.freeze(timeline.now + fault.seconds)
        elif fault.kind is Kind.REBALANCE:
            self.ask(Rebalance(NAME))
        elif fault.kind is Kind.SCALE:
            self._scale(fault)
        elif fault.kind in (Kind.DRAIN, Kind.KILL_RUN):
            self._is_hasty = fault.points % 2 == 0
            self.ask(Drain(NAME) if fault.kind is Kind.DRAIN else Kill(NAME))
        elif fault.kind is Kind.STOP:
            self.ask(Pause(NAME))
            timeline.after(fault.seconds, lambda: self.ask(Resume(NAME)))
        else:
            return False
        return True

    def _scale(self, fault: Fault) -> None:
        """Change a node's parallelism.

        Not where values go to all tasks of its stage, for the oracle counts on those; nor with a Route in its stage,
        through whose tasks values would overtake each other on their way from probe to probe.
        """
        flow = self.world.scenario.flow
        nodes = [node for node in flow.nodes if node.grouping != "all"]
        if not nodes:
            return
        node = nodes[fault.other % len(nodes)]
        may_scale = {name for one in nodes for name in (one.name, f"{one.name}-chunk")}
        if any(node.name in stage.nodes and set(stage.nodes) - may_scale for stage in self._submission().plan.stages):
            return
        name = f"{node.name}-chunk" if node.kind == "chunk" else node.name
        self.ask(Rebalance(NAME, {name: 1 + fault.points % 4}))

    def power_is_cut(self, host: SimHost) -> None:
        """A host has lost its power: its agent dies, and comes back a little later."""
        for worker in self.workers:
            if worker.host is host:
                worker.crash()
                self.world.timeline.after(1.0, worker.start)

    def heal(self) -> None:
        """Let everything be well from now on."""
        self.control.loss = self.control.news_loss = 0.0
        self.coordinator.freeze(0.0)
        self.coordinator.revive()
        for worker in self.workers:
            worker.resume()
            worker.start()
        self._is_healed = True
