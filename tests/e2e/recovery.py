"""How soon a cluster goes on after a death: ``python -m tests.e2e.recovery [--runs 20] [executor worker acker …]``.

On loopback, with items flowing through a keyed stage of parallelism 4. Measured from the kill -9 to the first item that
had been under way to the dead process and is written by another one; for an acker to the first item that is written
again; for the coordinator the throughput and the latency while it is down, beside those of the time before. Prints each
figure with its bar, and ends with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.writes import KEYS, Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FLOW = Path(__file__).parent / "cluster" / "flows" / "clocked.py"
NAME = "clocked"
EXECUTOR_S = 1.0
WORKER_S = 3.0 + 1.0
ACKER_S = 1.0
DOWN_S = 10.0
LATENCY_RATIO = 2.0
CALM_S = 2.5  # a process that dies within two seconds of being ready is started again later each time
DEADLINE_S = 60.0
RATE = 1_000
SPARES_MAX = 6  # as workers are configured


def main() -> int:
    """Measure what the arguments say; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"of {', '.join(MEASURES)}; all by default")
    parser.add_argument("--runs", type=int, default=20, help="deaths of each kind")
    parser.add_argument("--before", type=float, default=60.0, help="seconds before the coordinator is killed")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.what) - set(MEASURES)):
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    missed = 0
    for what in arguments.what or list(MEASURES):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-")))
            (folder / "out").mkdir()
            cluster = stack.enter_context(Cluster(folder))
            missed += not MEASURES[what](cluster, folder / "out", arguments)
    return 1 if missed else 0


# ---- executors and workers -------------------------------------------------------------------------------------------


def executor_killed(cluster: Cluster, out: Path) -> float:
    """Kill an executor of the keyed stage; seconds until what was under way to it is written by another process."""
    writes = Writes(out)
    writes.read()
    victim = next(one for one in cluster.processes(NAME) if writes.keys_of(one.process))
    killed_s = time.monotonic()
    assert cluster.kill(victim.process, f"executor-{victim.index}")
    return _until_back(cluster, writes, killed_s, {victim.process})


def worker_killed(cluster: Cluster, out: Path) -> float:
    """Kill a worker with all its executors; seconds until what was under way to each of them is written again."""
    writes = Writes(out)
    writes.read()
    name = max(cluster.workers, key=lambda worker: sum(one.worker == worker for one in cluster.processes(NAME)))
    victims = {one.process for one in cluster.processes(NAME) if one.worker == name and writes.keys_of(one.process)}
    assert victims, cluster.report()
    killed_s = time.monotonic()
    cluster.kill_worker(name)
    took_s = _until_back(cluster, writes, killed_s, victims)
    cluster.start_worker(name, cluster.slots[name])
    cluster.wait_for(lambda: name in cluster.alive(), DEADLINE_S, f"{name} is back")
    return took_s


def _until_back(cluster: Cluster, writes: Writes, killed_s: float, victims: set[int]) -> float:
    """Until, for each victim, another process has written an item that had entered before the kill."""
    writes.read()
    newest = writes.newest_before(killed_s)
    missing = {process: writes.keys_of(process) for process in victims}
    found: list[float] = []

    def is_back() -> bool:
        for write in writes.read():
            if write.at_s > killed_s and write.number < newest and write.process not in victims:
                for process in [process for process, keys in missing.items() if write.number % KEYS in keys]:
                    del missing[process]
                    found.append(write.at_s)
        return not missing

    cluster.wait_for(is_back, DEADLINE_S, "what was under way is written by another process")
    return max(found) - killed_s


# ---- acker -----------------------------------------------------------------------------------------------------------


def acker_killed(cluster: Cluster, out: Path) -> float:
    """Kill an acker; seconds until an item whose outcome it hadn't told is written again."""
    writes = Writes(out)
    killed_s = time.monotonic()
    cluster.kill_process(NAME, "acker", 0)
    seen: set[int] = set()
    again: list[float] = []

    def is_again() -> bool:
        for write in writes.read():
            if write.number in seen and write.at_s > killed_s:
                again.append(write.at_s)
            seen.add(write.number)
        return bool(again)

    cluster.wait_for(is_again, DEADLINE_S, "an item is written again")
    return min(again) - killed_s


# ---- coordinator -----------------------------------------------------------------------------------------------------


def coordinator_down(cluster: Cluster, out: Path, *, before_s: float, down_s: float) -> tuple[list[float], list[float]]:
    """Kill the coordinator for a while; latencies of the items that were due before, and of those due meanwhile.

    Raises:
        AssertionError: There was a second in which nothing was written.
    """
    began_s = int((out / "began").read_text()) / 1e9
    writes = Writes(out)
    since_s = time.monotonic()
    _pass_s(before_s)
    cluster.kill_coordinator()
    killed_s = time.monotonic()
    _pass_s(down_s)
    back_s = time.monotonic()
    cluster.start_coordinator()
    cluster.wait_for(lambda: writes.read() and writes.newest_before(1e12) > (back_s - began_s) * RATE, 30, "all came")
    due = [(began_s + write.number / RATE, write.at_s) for write in writes.all]
    seconds = {int(at - killed_s) for _, at in due if killed_s <= at < back_s}
    assert seconds >= set(range(int(down_s))), f"nothing was written in some of the seconds: {sorted(seconds)}"
    before = [at - when for when, at in due if since_s <= when < killed_s]
    meanwhile = [at - when for when, at in due if killed_s <= when < back_s]
    return before, meanwhile


def _pass_s(wait_s: float) -> None:
    """Let time pass: the fault, or what it is compared with, lasts so long."""
    time.sleep(wait_s)


def p99(values: Iterable[float]) -> float:
    """The 99th percentile."""
    found = sorted(values)
    return found[int(len(found) * 0.99)]


# ---- the command -----------------------------------------------------------------------------------------------------


def start(cluster: Cluster, out: Path, *, slots: int = 2, pause_s: float, pending: int, rate: float = 0) -> None:
    """Start a coordinator and two workers, and the clocked flow on them."""
    cluster.start("a", "b", slots=slots)
    cluster.submit(FLOW, NAME, out=out, pause=pause_s, pending=pending, rate=rate)
    cluster.wait_until_flows(NAME, 1_000, DEADLINE_S)


def _wait_for_spares(cluster: Cluster) -> None:
    """Until each worker has processes that wait, as it mostly has; one that was started just now has none yet."""

    def has_spares(name: str) -> bool:
        runs = sum(one.worker == name for role in ("executor", "acker") for one in cluster.processes(NAME, role))
        spares = min(cluster.slots[name] + 1, SPARES_MAX)
        return len(psutil.Process(cluster.workers[name].pid).children()) >= runs + spares

    cluster.wait_for(lambda: all(map(has_spares, cluster.workers)), DEADLINE_S, "each worker has its spare processes")


def _deaths(
    kind: str, bar_s: float, kill: Callable[[Cluster, Path], float], **how: float
) -> Callable[[Cluster, Path, argparse.Namespace], bool]:
    def measure(cluster: Cluster, out: Path, arguments: argparse.Namespace) -> bool:
        start(cluster, out, **how)  # type: ignore[arg-type]
        took: list[float] = []
        for _ in range(arguments.runs):
            _wait_for_spares(cluster)
            _pass_s(CALM_S)
            took.append(kill(cluster, out))
            print(f"  {kind}: {took[-1]:.3f} s", flush=True)
        median_s = statistics.median(took)
        is_met = median_s <= bar_s
        print(
            f"{kind} killed, {len(took)} times: median {median_s:.3f} s, from {min(took):.3f} to {max(took):.3f}; "
            f"the bar is {bar_s:g} s: {'met' if is_met else 'MISSED'}",
            flush=True,
        )
        return is_met

    return measure


def _coordinator(cluster: Cluster, out: Path, arguments: argparse.Namespace) -> bool:
    start(cluster, out, pause_s=0, pending=10_000, rate=RATE)
    _pass_s(CALM_S)
    before, meanwhile = coordinator_down(cluster, out, before_s=arguments.before, down_s=DOWN_S)
    ratio = p99(meanwhile) / p99(before)
    is_met = ratio <= LATENCY_RATIO
    print(
        f"coordinator killed for {DOWN_S:g} s at {RATE:,} items/s: items written in each second; latency "
        f"{_latency(meanwhile)}; in the {arguments.before:g} s before {_latency(before)}; the bar is "
        f"{LATENCY_RATIO:g} times that p99, it was {ratio:.2f}: {'met' if is_met else 'MISSED'}",
        flush=True,
    )
    return is_met


def _latency(values: list[float]) -> str:
    return f"p50 {statistics.median(values) * 1e3:.2f} ms, p99 {p99(values) * 1e3:.2f} ms"


MEASURES: dict[str, Callable[[Cluster, Path, argparse.Namespace], bool]] = {
    "executor": _deaths("executor", EXECUTOR_S, executor_killed, pause_s=0.001, pending=5_000),
    "worker": _deaths("worker", WORKER_S, worker_killed, slots=4, pause_s=0.001, pending=5_000),
    "acker": _deaths("acker", ACKER_S, acker_killed, pause_s=0.001, pending=200),
    "coordinator": _coordinator,
}

if __name__ == "__main__":
    sys.exit(main())
