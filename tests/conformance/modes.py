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
from consecution.wire.cluster.to_client import State
from tests.conformance.flows import GATHERED, gathered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consecution import Consecutor
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
    """

    def __init__(self, mode: str, folder: Path) -> None:
        self.mode = mode
        self.folder = folder

    def __call__(self, flow: MakesFlow, **options: Any) -> Report:
        """Make the flow and run it to its end."""
        return flow().run(self.mode, **self.place(flow), **options)  # type: ignore[arg-type]

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
        return self.mode in ("processes", "cluster")


class ClusterRunner(Runner):
    """Submits flows to a cluster that many tests share, and makes a report of what it says.

    Args:
        mode: "cluster".
        folder: The flows' folder for files.
        cluster: With its workers.
    """

    numbers = itertools.count(1)

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
            self.cluster.client.submit_group(read_group(consecutor, address, options), name=self.name, slots=1)
            return self.name
        sent = read_flow(consecutor, address, options)
        self.cluster.client.submit(sent, name=self.name, slots=min(slots, sent.plan.n_tasks))
        return self.name

    def report(self, status: Status) -> Report:
        """What the coordinator says of a topology, in the shape that the local modes give."""
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
        )


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
