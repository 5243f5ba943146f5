"""``python -m benchmarks``: print the tables. See ``--help``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import distributed, ingest
from benchmarks.child import ITERATOR, RANGE, Case
from benchmarks.exchange import LATENCY, W2, W3
from benchmarks.pairs import RunError, cases, measure, run_once
from benchmarks.workloads import BATCHES, FUNCTIONS, TOGETHER, WORDS_A_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.pairs import Row

ITEMS = {"w1": 1_000_000, "w2": 200_000}
OVER_PROCESSES = {"w3": W3, "w2-processes": W2, "latency": LATENCY}
INGEST = "ingest"
SLOW_SINK = "slow-sink"
SLOW_SINK_S = 60.0
MEMORY_ITEMS = (1_000_000, 10_000_000)
FLAT_MIB = 8.0  # a run of ten times as many items may need so much more, for what the allocator leaves scattered
FORMS = (FUNCTIONS, BATCHES, TOGETHER)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="examples: python -m benchmarks --quick | python -m benchmarks w1 --forms functions --no-memory",
    )
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="w1|w2|w3|w2-processes|latency|slow-sink|ingest",
        help="which workloads; all by default",
    )
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="which forms of them")
    parser.add_argument("--pairs", type=int, default=9, help="alternating pairs of each case (9)")
    parser.add_argument("--quick", action="store_true", help="3 pairs with a fifth of the items, memory to 2 million")
    parser.add_argument("--no-memory", action="store_true", help="leave out the runs that show that memory is flat")
    parser.add_argument("--journals", metavar="DIR", help="where journals are kept; a temporary folder by default")
    arguments = parser.parse_args()
    known = [*ITEMS, *OVER_PROCESSES, SLOW_SINK, INGEST]
    if unknown := set(arguments.workloads) - set(known):
        parser.error(f"unknown workload {', '.join(sorted(unknown))}; expected {', '.join(known)}")
    return arguments


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _way(case: Case) -> str:
    journal = "on" if case.journal else "off"
    source = {"w1": "range", "w2": "list"}[case.workload] if case.source == RANGE else "iterator"
    return f"{case.level}, {source}" if case.level == "NONE" else f"{case.level}, journal {journal}, {source}"


def _table(workload: str, rows: Sequence[Row]) -> list[str]:
    unit = "items/s" if workload == "w1" else "words/s"
    words = 1 if workload == "w1" else WORDS_A_LINE
    lines = [
        f"| {workload.upper()} | {unit} | of the loop | by CPU | over NONE | over journal off | peak MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    loops = sorted(loop.wall_s for row in rows for loop in row.loops)
    peak = max(loop.peak_kib for row in rows for loop in row.loops) / 1024
    speed = rows[0].case.items * words / loops[len(loops) // 2]
    lines.append(f"| plain loop | {speed:,.0f} | 1.00 | 1.00 | | | {peak:.0f} |")
    known = {(row.case.form, row.case.level, row.case.journal, row.case.source): row for row in rows}
    for row in rows:
        case = row.case
        none, off = known[case.form, "NONE", False, RANGE], known[case.form, "REPLAY", False, RANGE]
        over_none = "" if case.level == "NONE" else f"{row.cost_over(none, 'cpu_s'):+.0%}"
        over_off = f"{row.cost_over(off, 'cpu_s'):+.0%}" if case.journal else ""
        lines.append(
            f"| {case.form}: {_way(case)} | {row.items_a_second * words:,.0f} | {row.of_loop('wall_s'):.2f} "
            f"| {row.of_loop('cpu_s'):.2f} | {over_none} | {over_off} | {row.peak_mib:.0f} |"
        )
    return lines


def _memory(items: Sequence[int], folder: str | None) -> list[str]:
    lines = [
        "| W1, peak MiB at | " + " | ".join(f"{count:,}" for count in items) + " | flat |",
        "|---|" + "---:|" * len(items) + "---|",
    ]
    for journal, source in ((False, RANGE), (True, RANGE), (True, ITERATOR)):
        case = Case("w1", FUNCTIONS, "REPLAY", journal, source)
        _tell(f"memory: {_way(case)}")
        peaks = [run_once(replace(case, items=count), folder).peak_kib / 1024 for count in items]
        is_flat = "yes" if peaks[-1] - peaks[0] <= FLAT_MIB else "NO"
        lines.append(f"| {_way(case)} | " + " | ".join(f"{peak:.1f}" for peak in peaks) + f" | {is_flat} |")
    return lines


def _over_processes(workload: str, share: int, pairs: int) -> None:
    items = distributed.ITEMS[workload] // share
    _tell(f"{distributed.TITLES[workload]}: {items:,} items, {pairs} pairs")
    rows = distributed.measure(workload, items, pairs, _tell)
    print("\n".join(distributed.table(workload, rows)), end="\n\n", flush=True)


def main() -> int:
    arguments = _arguments()
    share, pairs = (5, 3) if arguments.quick else (1, arguments.pairs)
    try:
        for workload in arguments.workloads or [*ITEMS, *OVER_PROCESSES, SLOW_SINK, INGEST]:
            if workload == INGEST:
                _tell("ingest: items over the network")
                print("\n".join(ingest.table(min(3, pairs), share)), end="\n\n", flush=True)
                continue
            if workload == SLOW_SINK:
                print("\n".join(distributed.slow_sink(SLOW_SINK_S / share, _tell)), end="\n\n", flush=True)
                continue
            if workload in OVER_PROCESSES:
                _over_processes(OVER_PROCESSES[workload], share, pairs)
                continue
            _tell(f"{workload}: {ITEMS[workload] // share:,} items, {pairs} pairs")
            chosen = [one for one in cases(workload, ITEMS[workload] // share) if one.form in arguments.forms]
            if not chosen:
                continue
            print(
                "\n".join(_table(workload, measure(chosen, pairs, arguments.journals, _tell))), end="\n\n", flush=True
            )
        if not arguments.no_memory:
            items = (1_000_000, 2_000_000) if arguments.quick else MEMORY_ITEMS
            print("\n".join(_memory(items, arguments.journals)), flush=True)
    except RunError as error:
        _tell(f"benchmarks: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
