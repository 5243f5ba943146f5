"""Alternating pairs: each run stands beside a run of the loop a moment before or after it.

Rules of this module: a machine is never quiet, so only ratios of neighbours are compared, and of those the medians.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.child import ITERATOR, RANGE, Case, Measured
from benchmarks.workloads import BATCHES, FUNCTIONS, LOOP, TOGETHER

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = {"w1": (FUNCTIONS, BATCHES, TOGETHER), "w2": (FUNCTIONS, BATCHES)}
WAYS = (("NONE", False, RANGE), ("REPLAY", False, RANGE), ("REPLAY", True, RANGE), ("REPLAY", True, ITERATOR))
RUN_MAX_S = 300.0


class RunError(Exception):
    """A run failed or its answer was wrong."""


@dataclass(slots=True)
class Row:
    """The pairs of one case: ``loops[i]`` and ``runs[i]`` are neighbours."""

    case: Case
    loops: list[Measured] = field(default_factory=list)
    runs: list[Measured] = field(default_factory=list)

    def of_loop(self, clock: str) -> float:
        """Speed as a part of the loop's, pair by pair; ``clock`` is "wall_s" or "cpu_s"."""
        pairs = zip(self.loops, self.runs, strict=True)
        return float(median(getattr(loop, clock) / getattr(run, clock) for loop, run in pairs))

    def cost_over(self, other: Row, clock: str) -> float:
        """How much longer it took than ``other`` in the same round, both measured in loops; 0.1 is 10 %."""
        costs = [
            (getattr(run, clock) / getattr(loop, clock)) / (getattr(run_other, clock) / getattr(loop_other, clock))
            for run, loop, run_other, loop_other in zip(self.runs, self.loops, other.runs, other.loops, strict=True)
        ]
        return float(median(costs)) - 1

    @property
    def items_a_second(self) -> float:
        """Median, by the wall clock."""
        return self.case.items / median(run.wall_s for run in self.runs)

    @property
    def peak_mib(self) -> float:
        """The greatest peak of all runs."""
        return max(run.peak_kib for run in self.runs) / 1024


def cases(workload: str, items: int) -> list[Case]:
    """Give what is measured of a workload, neighbours in comparison next to each other."""
    return [
        Case(workload, form, level, journal, source, items)
        for form in FORMS[workload]
        for level, journal, source in WAYS
    ]


def run_once(case: Case, folder: str | None = None) -> Measured:
    """Run a case in a process of its own.

    Raises:
        RunError: It failed, or its answer was wrong.
    """
    command = [sys.executable, "-m", "benchmarks.child", json.dumps(asdict(case)), *([folder] if folder else [])]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, timeout=RUN_MAX_S, check=False)
    if done.returncode:
        message = f"{case} ended with {done.returncode}:\n{done.stderr}"
        raise RunError(message)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def measure(chosen: list[Case], pairs: int, folder: str | None, tell: Callable[[str], None]) -> list[Row]:
    """Run each case ``pairs`` times beside its loop, in rounds; each other round in the reverse order."""
    rows = [Row(case) for case in chosen]
    for number in range(pairs):
        tell(f"round {number + 1} of {pairs}")
        for row in rows if number % 2 == 0 else reversed(rows):
            loop = replace(row.case, form=LOOP, level="", journal=False, source=RANGE)
            if number % 2 == 0:
                row.loops.append(run_once(loop, folder))
                row.runs.append(run_once(row.case, folder))
            else:
                row.runs.append(run_once(row.case, folder))
                row.loops.append(run_once(loop, folder))
    return rows
