"""The modes in which a flow runs: one way to run it, and one shape of what it came to.

Rules of this module: a further mode is a class with ``run(flow, **options) -> Report`` in `RUNNERS`; the tests know
nothing else of it. What a flow tells comes by its report, by ``Collect``, or by lines in files of its folder.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from typing import TYPE_CHECKING, Any

from consecution.client import read_flow, read_group
from consecution.errors import ConsecutionError, GraphError, SourceError, UserCodeError
from consecution.flow import FlowAddress
from consecution.options import fill_options
from consecution.process.tally import failure_of
from consecution.report import Report, combined
from consecution.testing.sim import FlowWorld
from consecution.wire.cluster.to_client import State
from tests.conformance.flows import GATHERED, gathered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consecution import Consecutor
    from consecution.remote import RemoteReceipt
    from consecution.running import Running
    from consecution.wire.cluster.to_client import Status
    from tests.e2e.cluster.harness import Cluster

    MakesFlow = Callable[[], Consecutor]

OVER_S = 60.0


class Runner:
    """Runs flows in one of the local modes.

    Attributes:
        mode: Its name.
        folder: The flows' folder for files.
        is_planted: The flow loses something behind the protocol's back; else no audit may find anything (R13).
    """

    is_planted = False

    def __init__(self, mode: str, folder: Path) -> None:
        self.mode = mode
        self.folder = folder

    def __call__(self, flow: MakesFlow, **options: Any) -> Report:
        """Make the flow and run it to its end."""
        report = flow().run(self.mode, **self.place(flow), **options)  # type: ignore[arg-type]
        assert self.is_planted or not report.audits_fired
        return report

    def start(self, flow: MakesFlow) -> Running:
        """Make the flow and start it."""
        return flow().start(self.mode, **self.place(flow))  # type: ignore[arg-type]

    def place(self, flow: MakesFlow) -> dict[str, Any]:
        """What `run` and `start` are told in this mode: where other processes find the flow."""
        return {"flow": f"{flow.__module__}:{flow.__name__}"} if self.mode == "processes" else {}

    def lines(self, name: str) -> list[str]:
        """What a flow wrote into a file of its folder by `tests.conformance.flows.note`."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def is_far(self) -> bool:
        """Whether nodes run in other processes than the caller's, so that items must travel."""
        return self.mode in ("processes", "cluster", "sim")


class ClusterRunner(Runner):
    """Submits flows to a cluster that many tests share, and makes a report of what it says.

    Args:
        mode: "cluster".
        folder: The flows' folder for files.
        cluster: With its workers.
    """

    numbers = itertools.count(1)
    until_s = 60.0

    def __init__(self, mode: str, folder: Path, cluster: Cluster) -> None:
        super().__init__(mode, folder)
        self.cluster = cluster
        self.name = ""

    def __call__(self, flow: MakesFlow, **options: Any) -> Report:
        """Submit the flow, wait until it is over, and give what it came to."""
        self.submit(flow, **options)
        members = self.cluster.client.members(self.name)
        statuses = [self.cluster.wait_until_over(member, OVER_S) for member in members]
        for status in statuses:
            if status.summary.state is State.FAILED:
                raise error_of(status)
        if members == [self.name]:
            return self.report(statuses[0])
        parts = {one.summary.name.removeprefix(f"{self.name}."): self.report(one) for one in statuses}
        return dataclasses.replace(combined(parts, elapsed_s=0.0), collected=gathered(self.folder))

    def submit(self, flow: MakesFlow, *, slots: int = 2) -> str:
        """Submit the flow, to so many executors if it has as many tasks; gives the name of its topology."""
        for earlier in self.folder.glob(f"*.{GATHERED}"):
            earlier.unlink()
        self.name = f"{flow.__name__}-{next(self.numbers)}"
        options = {"folder": str(self.folder), GATHERED: "yes"}
        fill_options(options)
        try:
            consecutor = flow()
        finally:
            fill_options({})
        address = FlowAddress(str(sys.modules[flow.__module__].__file__), flow.__name__)
        if consecutor.is_joined:
            self.cluster.client.submit(read_group(consecutor, address, options), name=self.name, slots=1)
            return self.name
        sent = read_flow(consecutor, address, options)
        self.cluster.client.submit(sent, name=self.name, slots=min(slots, sent.plan.n_tasks))
        return self.name

    # ---- what clients ask; the virtual cluster has the same ------------------------------------------------------

    def begin(self, flow: MakesFlow) -> None:
        """Submit the flow."""
        self.submit(flow)

    def until(self, condition: Callable[[Status], object], what: str) -> Status:
        """Wait for a status of which something is true; gives it."""

        def met() -> Status | None:
            status = self.cluster.status(self.name)
            return status if status is not None and condition(status) else None

        status: Status = self.cluster.wait_for(met, self.until_s, what)
        return status

    def push(self, item: object, key: str | None = None) -> RemoteReceipt:
        """Push an item into its one Pusher."""
        return self.cluster.client.push(self.name, item, key=key)

    def pause(self) -> None:
        """Let its producers read no more."""
        self.cluster.client.pause(self.name)

    def resume(self) -> None:
        """Let them read again."""
        self.cluster.client.resume(self.name)

    def drain(self) -> None:
        """Let it finish what entered, and end."""
        self.cluster.client.drain(self.name)

    def restart_coordinator(self) -> None:
        """Kill the coordinator, and start it again."""
        self.cluster.kill_coordinator()
        self.cluster.start_coordinator()

    def end(self) -> tuple[State, Report]:
        """Wait until it is over; gives how, and what it came to."""
        status = self.cluster.wait_until_over(self.name)
        return status.summary.state, self.report(status)

    def report(self, status: Status) -> Report:
        """What the coordinator says of a topology, in the shape that the local modes give."""
        assert self.is_planted or not status.audits_fired
        one = status.summary
        return Report(
            introduced=one.introduced,
            completed=one.completed,
            failed=one.failed,
            replayed=one.replayed,
            dropped=one.dropped,
            elapsed_s=one.elapsed_s,
            failures=tuple(failure_of(letter) for letter in self.cluster.client.letters(one.name)),
            collected=gathered(self.folder),
            state_lost=one.state_lost,
            is_finished=one.state is State.FINISHED,
            audits_fired=status.audits_fired,
        )


class SimRunner(Runner):
    """Runs flows on a cluster in virtual time."""

    world: FlowWorld
    points = 1
    """At which of the places where it may, the coordinator dies."""

    def __call__(self, flow: MakesFlow, *, slots: int = 2, **options: Any) -> Report:
        """Make the flow in each virtual process, and run it to its end."""
        self.world = FlowWorld(flow, executors=slots, **options)
        self.world.is_planted = self.is_planted
        return self.end()[1]

    def begin(self, flow: MakesFlow) -> None:
        """See `ClusterRunner.begin`."""
        self.world = FlowWorld(flow)
        self.world.run_until(lambda: self.world.look() is not None, 10.0)

    def until(self, condition: Callable[[Status], object], what: str) -> Status:
        """See `ClusterRunner.until`."""

        def met() -> object:
            status = self.world.look()
            return status is not None and condition(status)

        self.world.run_until(met, 60.0)
        assert self.world.status is not None, what
        return self.world.status

    def push(self, item: object, key: str | None = None) -> RemoteReceipt:
        """See `ClusterRunner.push`."""
        return self.world.push(item, key=key)

    def pause(self) -> None:
        """See `ClusterRunner.pause`."""
        self.world.pause()

    def resume(self) -> None:
        """See `ClusterRunner.resume`."""
        self.world.resume()

    def drain(self) -> None:
        """See `ClusterRunner.drain`."""
        self.world.drain()

    def restart_coordinator(self) -> None:
        """See `ClusterRunner.restart_coordinator`."""
        self.world.restart_coordinator(down_s=1.0, points=self.points)

    def end(self) -> tuple[State, Report]:
        """See `ClusterRunner.end`."""
        report = self.world.run()
        assert self.world.status is not None, "it is over"
        if self.world.status.summary.state is State.FAILED:
            raise error_of(self.world.status)
        return self.world.status.summary.state, report


def error_of(status: Status) -> ConsecutionError:
    """Why a topology failed, as the local modes raise it."""
    text = f"{status.summary.reason}\n{status.traceback}"
    for kind, marks in {
        UserCodeError: ("setup of node", "its code raised", "raised"),
        SourceError: ("source",),
    }.items():
        if any(mark in text for mark in marks):
            return kind(text)
    return GraphError(text)


def replaced(report: Report, **fields: Any) -> Report:
    """A report with other fields, to compare two of different modes."""
    return dataclasses.replace(report, **fields)
