"""Alternating pairs over processes: a flow beside the bare pyzmq program that does the same work.

Rules of this module: as of ``pairs``: only neighbours are compared, and of their ratios the medians. Wall time runs
from the first item to the last; processor seconds are of all processes, their start included, which speaks against the
flow: it starts more of them, and they import more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.exchange import BARE, LATENCY, W2, W3, Distributed
from benchmarks.pairs import RUN_MAX_S, RunError
from benchmarks.workloads import WORDS_A_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

ITEMS = {W3: 1_000_000, W2: 200_000, LATENCY: 5_000}
TITLES = {W3: "W3, 3 executors", W2: "W2, 2 processes, words exchanged by key", LATENCY: "1,000 items/s, 3 executors"}


@dataclass(slots=True)
class Pairs:
    """``bare[i]`` and ``runs[i]`` are neighbours."""

    case: Distributed
    bare: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def of_bare(self, clock: str) -> float:
        """Speed as a part of the bare program's, pair by pair; ``clock`` is "wall_s" or "cpu_s"."""
        return float(median(bare[clock] / run[clock] for bare, run in zip(self.bare, self.runs, strict=True)))


def run_once(case: Distributed) -> dict[str, Any]:
    """Run a case in processes of its own.

    Raises:
        RunError: It failed, its answer was wrong, or it took too long.
    """
    return run_module("benchmarks.bare" if case.level == BARE else "benchmarks.flows", asdict(case))


def run_module(module: str, case: dict[str, Any]) -> dict[str, Any]:
    """Run a module in a process of its own; gives the JSON that it prints last.

    Raises:
        RunError: It failed, or took too long.
    """
    command = [sys.executable, "-m", module, json.dumps(case)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        )
        try:
            code = process.wait(RUN_MAX_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        out.seek(0)
        text = out.read()
    if code:
        message = f"{module} {case} ended with {code}:\n{text[-4000:]}"
        raise RunError(message)
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def measure(workload: str, items: int, pairs: int, tell: Callable[[str], None]) -> list[Pairs]:
    """Run each way of a workload ``pairs`` times beside its bare program, the first one first in each other round."""
    cases = [Distributed(workload, level, items) for level in ("NONE", "REPLAY")]
    rows = [Pairs(case) for case in cases]
    for number in range(pairs):
        tell(f"round {number + 1} of {pairs}")
        for row in rows if number % 2 == 0 else reversed(rows):
            bare = replace(row.case, level=BARE)
            if number % 2 == 0:
                row.bare.append(run_once(bare))
                row.runs.append(run_once(row.case))
            else:
                row.runs.append(run_once(row.case))
                row.bare.append(run_once(bare))
    return rows


def table(workload: str, rows: list[Pairs]) -> list[str]:
    """Give the table's lines."""
    if workload == LATENCY:
        return _latency_table(rows)
    unit = WORDS_A_LINE if workload == W2 else 1
    lines = [
        f"| {TITLES[workload]} | {'words/s' if workload == W2 else 'items/s'} | of bare | by CPU | CPU over NONE |",
        "|---|---:|---:|---:|---:|",
    ]
    count = rows[0].case.items * unit
    lines.append(
        f"| bare pyzmq + msgpack, batches of 500 "
        f"| {count / median(one['wall_s'] for row in rows for one in row.bare):,.0f} | 1.00 | 1.00 | |"
    )
    for row in rows:
        speed = count / median(one["wall_s"] for one in row.runs)
        over = "" if row is rows[0] else f"{rows[0].of_bare('cpu_s') / row.of_bare('cpu_s') - 1:+.0%}"
        lines.append(
            f"| {row.case.level} | {speed:,.0f} | {row.of_bare('wall_s'):.2f} | {row.of_bare('cpu_s'):.2f} | {over} |"
        )
    return lines


def _latency_table(rows: list[Pairs]) -> list[str]:
    lines = [f"| {TITLES[LATENCY]} | p50 ms | p99 ms |", "|---|---:|---:|"]
    bare = [one for row in rows for one in row.bare]
    for name, runs in [("bare pyzmq, one item a message", bare), *((row.case.level, row.runs) for row in rows)]:
        p50, p99 = (median(percentile(one["waited_s"], part) for one in runs) * 1000 for part in (0.5, 0.99))
        lines.append(f"| {name} | {p50:.2f} | {p99:.2f} |")
    return lines


def slow_sink(seconds: float, tell: Callable[[str], None]) -> list[str]:
    """Let a sink be a hundred times slower than its producer, and give the table of what each process takes."""
    lines = [f"| MiB resident, {seconds:.0f} s | second quarter | last half |", "|---|---:|---:|"]
    for level in ("NONE", "REPLAY"):
        tell(f"a slow sink: {level}, {seconds:.0f} s")
        found = run_module("benchmarks.slow_sink", {"seconds": seconds, "level": level})
        for name, (early, late) in found["mib"].items():
            lines.append(f"| {level}: {name} | {early:.1f} | {late:.1f} |")
        speed = f"the producer alone makes {found['source_items_s']:,.0f} items/s"
        lines.append(f"| {level}: {found['in_flight']:,} items unfinished; {speed} | | |")
    return lines


def percentile(values: list[float], part: float) -> float:
    """Give the value that ``part`` of all are below; the nearest one, none in between.

    >>> percentile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
