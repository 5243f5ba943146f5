"""The program that is killed while others send to it: ``python -m tests.e2e.kill_server KIND FOLDER MODE PORT``.

It brings numbers that are sent to it, each with a key, rows of a table that grows, or due times, into the file
``sink``, as `kill_child` does; SIGTERM lets it end, and then it prints its report as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from consecution import Consecutor, CursorProducer, IntervalProducer, Map, Node
from consecution.producers import HttpProducer, Producer, TcpProducer
from tests.e2e.kill_child import BAD, PAUSE_EVERY, PAUSE_S, TICK_S, Sink, microseconds

KIND, FOLDER, MODE, PORT = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
PENDING_MAX = 500


class Work(Node):
    """Pauses now and then, so that items are in work when the process is killed; fails for some."""

    def process(self, item: dict[str, int]) -> None:
        number = item["n"]
        if number % PAUSE_EVERY == 0:
            time.sleep(PAUSE_S)
        if number % BAD == 0:
            message = f"bad {number}"
            raise ValueError(message)
        self.push(number)


def producer() -> Producer:
    if KIND == "http":
        return HttpProducer(PORT)
    if KIND == "cursor":
        return CursorProducer(str(FOLDER / "rows.db"), "SELECT n FROM numbers", key="n", page_rows=300, follow=True)
    if KIND == "clock":
        return IntervalProducer(wait=TICK_S, missed="all")
    if KIND == "tcp-untold":
        return TcpProducer(PORT, format="json", acknowledge=None)
    return TcpProducer(
        PORT, format="json", key="n", acknowledge="processed" if KIND == "tcp-processed" else "journalled"
    )


work: Any = Map(microseconds) if KIND == "clock" else Work()
cons = Consecutor(
    producer() | work | Sink(FOLDER / "sink", grouping=None if MODE == "single" else "shuffle"),
    "kill", journal=FOLDER / "journal", replays_max=3, pending_max=PENDING_MAX,
)  # fmt: skip


def main() -> None:
    report: Any = cons.run(MODE, workers=2)  # type: ignore[arg-type]
    failed = [failure.item["n"] for failure in report.failures]
    print(json.dumps([report.introduced, report.completed, report.failed, sorted(failed)]))


if __name__ == "__main__":
    main()
