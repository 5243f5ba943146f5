"""A given flow in virtual time: a user's graph and items on a virtual cluster, to its end, with a Report.

Rules of this module: the flow is the user's own, so no oracle follows its values; what is checked is what holds for any
run (see `VirtualWorld`). All that runs is real but for time, network and disks: coordinator, agents, executors, ackers
and links. No real second is waited for: what the runtime and awaited code wait for passes at once, and so does
``time.sleep`` in a node or source, for which ``time.monotonic`` and ``time.time`` are virtual too. Threads are real, so
a source that is an async generator is not repeated by a seed. ``os._exit`` in a node ends its virtual process; a flow
that kills its process in another way kills the caller.

>>> from consecution import Collect, Consecutor, Map
>>> world = FlowWorld(lambda: Consecutor([1, 2, 3] | Map(str, grouping="shuffle") | Collect("out"), journal=None))
>>> report = world.run()
>>> report.completed, report.collected["out"]
(3, ['1', '2', '3'])
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar
from unittest import mock

from consecution.clock import SystemClock
from consecution.consecutor import Consecutor
from consecution.errors import GraphError
from consecution.process.tally import RunTally, failure_of
from consecution.report import Report
from consecution.submission import settings_of
from consecution.testing.sim.cluster import SimCluster
from consecution.testing.sim.coordinator import NAME
from consecution.testing.sim.flows import FlowPlan
from consecution.testing.sim.network import CALM, TransportWatch
from consecution.testing.sim.process import EPOCH_S, SimProcess
from consecution.testing.sim.promises import Promise, Violation
from consecution.testing.sim.scenario import Scenario
from consecution.testing.sim.user import SimClient
from consecution.testing.sim.virtual import VirtualWorld
from consecution.transport.link import LinkLimits
from consecution.wire.cluster.from_client import Drain, Pause, Resume
from consecution.wire.cluster.to_client import State
from consecution.wire.control import Collected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consecution.remote import RemoteReceipt
    from consecution.testing.sim.network import Weather
    from consecution.testing.sim.scenario import Fault
    from consecution.wire.cluster.to_client import Status
    from consecution.wire.control import RunSettings, Up

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 3_600.0
LOOK_S = 0.25
NO_FLOW = FlowPlan((), (), ())


class FlowWorld(VirtualWorld):
    """One run of a given flow, submitted to a virtual cluster.

    Args:
        flow: A Consecutor with producers, or a function that makes it: it is called in each process, as an import is.
            Of a Consecutor itself all processes share the producers, so it should be one that can be read again.
        seed: What paces, delays and ids depend on.
        executors: How many processes have its tasks, at most one for each.
        ackers: How many processes judge its trees.
        hosts: How many machines there are.
        faults: What happens to them; see `Fault`. The last one should strike before ``storm_s``.
        storm: How the network behaves until ``storm_s``.
        storm_s: When all is healed.

    Attributes:
        client: A `Client` in virtual time: what it waits for passes at once. The topology's name is "sim".
        is_planted: The flow loses something behind the protocol's back: the audit may find it.

    Raises:
        GraphError: It can't be submitted to a cluster.
    """

    control: FlowCluster

    def __init__(
        self,
        flow: Consecutor | Callable[[], Consecutor],
        *,
        seed: int = 0,
        executors: int = 2,
        ackers: int = 1,
        hosts: int = 2,
        faults: Sequence[Fault] = (),
        storm: Weather = CALM,
        storm_s: float = 0.0,
    ) -> None:
        self._flow = flow
        consecutor = self.load()
        if consecutor.is_joined:
            names = ", ".join(one.name for one in consecutor.group_in_order)
            message = f"{consecutor.name} is linked to other consecutors ({names}): what joins them is not simulated"
            raise GraphError(message)
        settings = settings_of(consecutor)
        scenario = Scenario(
            seed=seed,
            flow=NO_FLOW,
            n_executors=executors,
            n_ackers=ackers,
            n_hosts=hosts,
            timeout_s=settings.timeout_s,
            replays_max=settings.replays_max,
            pending_max=settings.pending_max,
            window_items=0,
            storm=storm,
            storm_s=storm_s,
            faults=tuple(faults),
            has_cluster=True,
        )
        super().__init__(scenario, TransportWatch(), LinkLimits())
        self._dag = consecutor.run_dag
        self._tally = RunTally(consecutor.robustness)
        self._has_begun = False
        self.is_planted = False
        self.control = FlowCluster(self, settings, Random(f"cluster/{seed}"))
        self.client = SimClient(self.control, self.run_until)

    @property
    def status(self) -> Status | None:
        """What the coordinator said last when it was asked; None when it didn't answer."""
        return self.control.status

    def load(self) -> Consecutor:
        """Make the flow, as an import does."""
        return self._flow if isinstance(self._flow, Consecutor) else self._flow()

    # ---- running -------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run to the end, whatever that is: `Report.is_finished` and `status` tell.

        Raises:
            Violation: A promise was broken, or the run didn't end within a virtual hour.
        """
        self.run_until(lambda: self.control.is_over, PATIENCE_S)
        return self.report()

    def run_until(self, is_met: Callable[[], bool], within_s: float) -> None:
        """Run until something is so; it is looked at after each step.

        Raises:
            Violation: A promise was broken, or it isn't so within so many virtual seconds.
        """
        with self._surroundings(), self._virtual_time():
            if not self._has_begun:
                self._has_begun = True
                self._begin()
            self._until(is_met, self.timeline.now + within_s)

    @contextmanager
    def _virtual_time(self) -> Iterator[None]:
        """Let code of the flow sleep in virtual time, and see it."""
        here = threading.get_ident()

        def instead(of: Callable[P, T], do: Callable[Concatenate[SimProcess, P], T]) -> Callable[P, T]:
            def call(*args: P.args, **kwargs: P.kwargs) -> T:
                if self._running is None or threading.get_ident() != here:
                    return of(*args, **kwargs)
                return do(self._running, *args, **kwargs)

            return call

        monotonic = instead(time.monotonic, SimProcess.clock)
        wall = instead(time.time, lambda process: EPOCH_S + process.departs())
        with (
            mock.patch.multiple(time, sleep=instead(time.sleep, SimProcess.spend), monotonic=monotonic, time=wall),
            mock.patch.object(os, "_exit", instead(os._exit, SimProcess.exits)),
            mock.patch.multiple(SystemClock, monotonic=staticmethod(monotonic), time=staticmethod(wall)),
        ):
            yield

    @property
    def steps_max(self) -> int:
        """Time alone bounds a run of a user's."""
        return self.timeline.steps + 1

    def _may_audit(self) -> bool:
        return self.is_planted

    def _said(self, process: SimProcess, message: Up) -> None:
        if isinstance(message, Collected):
            self._tally.collect(message)
        super()._said(process, message)

    # ---- what clients ask ----------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Ask that producers read no more."""
        self.control.ask(Pause(NAME))

    def resume(self) -> None:
        """Ask that they read again."""
        self.control.ask(Resume(NAME))

    def push(self, item: object, *, key: str | None = None, producer: str = "") -> RemoteReceipt:
        """Push an item; it is journalled when this returns, and its receipt waits in virtual time. See `Client.push`.

        Raises:
            NotDone: The flow has no Pusher, or takes nothing now.
            Unreachable: The coordinator is down.
        """
        return self.client.push(NAME, item, key=key, producer=producer)

    def drain(self) -> None:
        """Ask that what entered is finished, and the run ended then."""
        self.control.ask(Drain(NAME))

    def restart_coordinator(self, *, down_s: float, points: int) -> None:
        """Let the coordinator die at one of the next places where it may, and be started again some time later."""
        self.control.coordinator.crash(down_s, points)

    def look(self) -> Status | None:
        """Ask how it stands; None when the coordinator is down, or doesn't know it yet."""
        return self.control.look()

    def report(self) -> Report:
        """What it has come to."""
        status = self.look()
        if status is None:
            raise Violation(Promise.BOOKS_EMPTY, f"the coordinator doesn't answer: {self.stand()}")
        one = status.summary
        return Report(
            introduced=one.introduced,
            completed=one.completed,
            failed=one.failed,
            replayed=one.replayed,
            dropped=one.dropped,
            elapsed_s=self.timeline.now,
            failures=tuple(failure_of(letter) for letter in self.control.coordinator.letters),
            collected=self._tally.collected(self._dag),
            state_lost=one.state_lost,
            is_finished=one.state is State.FINISHED,
            audits_fired=status.audits_fired,
        )


class FlowCluster(SimCluster):
    """The cluster of one given flow, which is submitted once.

    Args:
        world: Where it lives.
        settings: Of the run.
        random: Decides what its network does.
    """

    world: FlowWorld

    def __init__(self, world: FlowWorld, settings: RunSettings, random: Random) -> None:
        super().__init__(world, settings, random)
        self._submit_once = self._submission()

    def _submit(self) -> None:
        """Submit until it is accepted."""
        state = self.coordinator.state
        if state is None or NAME not in state.courses:
            self.ask(self._submit_once)
            self.world.timeline.after(LOOK_S, self._submit)

    @property
    def is_done(self) -> bool:
        """Whether the topology is over, however it ended."""
        state = self.coordinator.state
        course = None if state is None else state.courses.get(NAME)
        return course is not None and course.is_over
