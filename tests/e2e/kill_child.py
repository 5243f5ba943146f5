"""The program that is killed: ``python -m tests.e2e.kill_child KIND FOLDER MODE TOTAL``; prints its report as JSON.

It brings the numbers 0 … TOTAL - 1 from a source of the given kind into the file ``sink``, one line each; a number that
can be divided by `BAD` fails for ever. Lines are written by one system call, so that SIGKILL takes none back.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consecution import Consecutor, CursorProducer, IntervalProducer, Map, Node, PipeProducer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

BAD = 997
PAUSE_EVERY = 25
PAUSE_S = 0.005
TICK_S = 0.004
DATABASE = "KILL_DATABASE"
"""Environment variable with the database that the kind "cursor" reads; unset: the SQLite file ``rows.db``."""


class Line:
    """Appends lines to a file, each by one system call."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, value: object) -> None:
        os.write(self._file, f"{value}\n".encode())


class Work(Node):
    """Pauses now and then, so that a run takes seconds; fails for some."""

    def process(self, item: str | int) -> None:
        number = int(item)
        if number % PAUSE_EVERY == 0:
            time.sleep(PAUSE_S)
        if number % BAD == 0:
            message = f"bad {number}"
            raise ValueError(message)
        self.push(number)


class Awaited(Node):
    """Does the same by waiting for others, for some at a time, of several batches."""

    async def process(self, item: str | int) -> None:
        number = int(item)
        await asyncio.sleep(PAUSE_S if number % PAUSE_EVERY else 8 * PAUSE_S)
        if number % BAD == 0:
            message = f"bad {number}"
            raise ValueError(message)
        self.push(number)


class Sink(Node):
    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(**options)
        self.path = path

    def setup(self) -> None:
        self.lines = Line(self.path)

    def process(self, item: int) -> None:
        self.lines.write(item)


def last_of(path: Path) -> int:
    """The number behind the last one in a file of lines."""
    return int(path.read_text().split()[-1]) + 1 if path.exists() and path.stat().st_size else 0


def queue(folder: Path, total: int) -> Iterator[int]:
    """As a queue does, give each number once, over all starts; what was given is in the file ``read``."""
    read = Line(folder / "read")
    for number in range(last_of(folder / "read"), total):
        read.write(number)
        yield number


def main(kind: str, folder: Path, mode: Any, total: int) -> None:
    (folder / "sink").touch()
    sink = Sink(folder / "sink", grouping="shuffle" if mode == "threads" else None)
    options: dict[str, Any] = {"journal": folder / "journal", "replays_max": 3}
    if kind == "file":
        report = Consecutor(PipeProducer(folder / "lines") | Work() | sink, "kill", **options).run(mode)
    elif kind == "range":
        report = Consecutor(range(total) | Work() | sink, "kill", **options).run(mode)
    elif kind == "async":
        work = Awaited(concurrency=32)
        report = Consecutor(PipeProducer(folder / "lines") | work | sink, "kill", **options).run(mode)
    elif kind == "stdin":
        report = Consecutor(PipeProducer() | Work() | sink, "kill", **options).run(mode)
    elif kind == "iterator":
        report = Consecutor(queue(folder, total) | Work() | sink, "kill", **options).run(mode)
    elif kind == "cursor":
        rows = CursorProducer(database(folder), "SELECT id FROM numbers", key="id", page_rows=300)
        report = Consecutor(rows | Map(lambda row: row["id"]) | Work() | sink, "kill", **options).run(mode)
    elif kind == "clock":
        ticks = IntervalProducer(wait=TICK_S, missed="all")
        report = tick(Consecutor(ticks | Map(microseconds) | sink, "kill", **options), folder, mode, total)
    else:
        report = push(Consecutor(Work() | sink, "kill", **options), folder, mode, total)
    failed = [int(failure.item["id"] if kind == "cursor" else failure.item) for failure in report.failures]
    print(json.dumps([report.introduced, report.completed, report.failed, sorted(failed)]))


def database(folder: Path) -> str:
    return os.environ.get(DATABASE, str(folder / "rows.db"))


def microseconds(due: datetime) -> int:
    """A due time as a whole number."""
    return round(due.timestamp() * 1_000_000)


def tick(cons: Consecutor, folder: Path, mode: Any, total: int) -> Any:
    """Run until the sink has so many lines."""
    running = cons.start(mode)
    while (folder / "sink").stat().st_size < total * len("1234567890123456\n") and running.report is None:
        time.sleep(0.01)
    return running.drain()


def push(cons: Consecutor, folder: Path, mode: Any, total: int) -> Any:
    """Push each number once, over all starts, from where the last start came to; ``pushed`` holds what was taken."""
    taken = Line(folder / "pushed")
    with cons.start(mode) as running:
        for number in range(last_of(folder / "pushed"), total):
            running.push(number)
            taken.write(number)
    return running.report


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
