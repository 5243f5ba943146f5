"""One run, in a process of its own: ``python -m benchmarks.child '{"workload": "w1", …}'``.

It warms up, says ``ready``, waits for a line, runs, checks the answer and prints one line of JSON. A process for each
run makes the peak of memory that of this run, and no run pays for what the one before left in the allocator.
"""

from __future__ import annotations

import gc
import json
import resource
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.workloads import DAGS, LOOP, LOOPS, w1_answer, w2_answer, w2_lines

WARM_UP = {"w1": 50_000, "w2": 5_000}
RANGE, ITERATOR = "range", "iterator"


@dataclass(frozen=True, slots=True)
class Case:
    """What one run measures.

    Attributes:
        workload: "w1" or "w2".
        form: "loop", "functions" or "batches".
        level: Name of the robustness; "" for the loop.
        journal: Whether there is a journal.
        source: "range": can be read again (for w2 a list of lines); "iterator": can't, so its items are journalled.
        items: Ints or lines.
    """

    workload: str
    form: str
    level: str = ""
    journal: bool = False
    source: str = RANGE
    items: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took: seconds by the wall clock, seconds of processor, KiB of memory at its peak."""

    wall_s: float
    cpu_s: float
    peak_kib: int


def run(case: Case, items: int, folder: Path) -> Measured:
    """Run and check once.

    Raises:
        AssertionError: The answer is wrong.
    """
    given: Any = range(items) if case.workload == "w1" else w2_lines(items)
    expected: Any = w1_answer(items) if case.workload == "w1" else None
    source = given if case.source == RANGE else iter(given)
    consecutor = None if case.form == LOOP else _consecutor(case, source, folder)
    gc.collect()
    wall, cpu = perf_counter(), process_time()
    if consecutor is None:
        answer: Any = LOOPS[case.workload](source)
    else:
        report = consecutor.run()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    peak = _peak_kib()
    if consecutor is not None:
        assert report, report
        assert report.introduced == report.completed == items, report
        [answer] = report.collected["answer"]
    if expected is None:
        expected = w2_answer(given)
    assert answer == expected, f"{case}: the answer is wrong"
    return Measured(wall, cpu, peak)


def _consecutor(case: Case, source: Any, folder: Path) -> Any:
    from consecution import Consecutor, Robustness

    dag = source | DAGS[case.workload, case.form]()
    journal = folder / "journal" if case.journal else None
    return Consecutor(dag, "bench", robustness=Robustness[case.level], journal=journal)


def _peak_kib() -> int:
    """The peak of this process.

    Linux hands ``ru_maxrss`` of the parent's image on to a child, so where there is /proc the kernel's high-water
    mark of this image is read instead.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> None:
    case = Case(**json.loads(sys.argv[1]))
    folder = Path(tempfile.mkdtemp(prefix="consecution-bench-", dir=sys.argv[2] if len(sys.argv) > 2 else None))
    try:
        run(case, min(case.items, WARM_UP[case.workload]), folder / "warm")
        print("ready", flush=True)
        if not sys.stdin.readline():
            return
        print(json.dumps(asdict(run(case, case.items, folder))), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
