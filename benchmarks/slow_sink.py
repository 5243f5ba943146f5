"""A sink that is a hundred times slower than its producer, over processes: ``python -m benchmarks.slow_sink '{…}'``.

Rules of this module: the resident memory of every process is read from /proc while the flow runs, and told as one line
of JSON: MiB at most in the second quarter of the time, and in the last half. Journal off.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.exchange import rename
from consecution import Consecutor, GeneratorProducer, Map, Node, Robustness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.running import Running

SINK_ITEMS_S = 2_500
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True)
class SlowSink:
    """What one run measures.

    Attributes:
        seconds: How long.
        level: Name of the robustness.
        text: Characters of text in each item.
    """

    seconds: float = 60.0
    level: str = "REPLAY"
    text: int = 20


CASE = SlowSink(**json.loads(sys.argv[1]))


def rows(position: int) -> Iterator[dict[str, Any]]:
    """Make items as fast as can be, for ever."""
    number = position
    text = "x" * CASE.text
    while True:
        yield {"id": number, "name": f"{text}{number}", "v": number}
        number += 1


class Sink(Node):
    """Takes `SINK_ITEMS_S` items a second, however they come."""

    def process_batch(self, items: list[dict[str, Any]]) -> None:
        time.sleep(len(items) / SINK_ITEMS_S)


def source_items_s() -> float:
    """Items a second of the producer alone."""
    source, count, began = rows(0), 200_000, time.monotonic()
    for _ in range(count):
        next(source)
    return count / (time.monotonic() - began)


def resident_mib(pid: int) -> float:
    """Resident memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 2**20
    except OSError:
        return 0.0


def watched(running: Running) -> dict[str, list[tuple[float, float]]]:
    """Seconds since the producer was held back, and MiB, of each process for as long as the case says."""
    seen: dict[str, list[tuple[float, float]]] = {}
    await_held_back(running)
    began = time.monotonic()
    while (at := time.monotonic() - began) < CASE.seconds:
        for role, index, pid in [*running.processes, ("caller", 0, os.getpid())]:
            seen.setdefault(f"{role} {index}", []).append((at, resident_mib(pid)))
        time.sleep(SAMPLE_S)
    return seen


def await_held_back(running: Running) -> None:
    """Wait until the producer goes no faster than its sink, which it does when all that may wait waits."""
    before = 0
    while not running.is_over:
        time.sleep(1.0)
        introduced = running.progress.introduced
        if 0 < introduced <= before + 3 * SINK_ITEMS_S:
            return
        before = introduced
    running.end()  # raises why


def peak(samples: list[tuple[float, float]], first: float, last: float) -> float:
    """The most that was resident between two parts of the time."""
    return max(mib for at, mib in samples if first * CASE.seconds <= at <= last * CASE.seconds)


dag: Any = (
    GeneratorProducer(rows)
    | Map(rename, name="A")
    | Map(rename, name="B", grouping="shuffle")
    | Sink(grouping="shuffle")
)
consecutor = Consecutor(dag, "slow-sink", robustness=Robustness[CASE.level], journal=None)

if __name__ == "__main__":
    speed = source_items_s()
    handle = consecutor.start(mode="processes", workers=3)
    try:
        samples = watched(handle)
        in_flight = handle.progress.in_flight
    finally:
        handle.stop()
    mib = {name: (peak(each, 0.25, 0.5), peak(each, 0.5, 1.0)) for name, each in samples.items()}
    print(json.dumps({"mib": mib, "source_items_s": speed, "in_flight": in_flight}), flush=True)
