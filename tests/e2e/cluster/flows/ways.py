"""Items of one producer into a file of each process: a line for each, unbuffered; numbers that BAD divides fail.

-D out=DIR  -D kind=http|tcp|tcp-processed|cursor|clock  -D port=PORT  -D missed=skip|once|all (clock)
"""

import os
import time
from pathlib import Path
from typing import Any

from consecution import Consecutor, CursorProducer, Map, Node, TimedProducer, options
from consecution.producers import HttpProducer, Producer, TcpProducer

OUT = Path(options["out"])
KIND = options["kind"]
PORT = int(options.get("port", "0"))
BAD = 997
TICK_S = 0.02


class Ticks(TimedProducer):
    """Pushes its due time."""

    def process(self) -> None:
        self.push({"n": round(self.due.timestamp() * 1000)})


def producer() -> Producer:
    if KIND == "http":
        return HttpProducer(PORT)
    if KIND == "cursor":
        return CursorProducer(str(OUT / "rows.db"), "SELECT n FROM numbers", key="n", page_rows=100, follow=True)
    if KIND == "clock":
        return Ticks(wait=TICK_S, missed=options.get("missed", "all"))
    acknowledge: Any = "processed" if KIND == "tcp-processed" else "journalled"
    return TcpProducer(PORT, format="json", key="n", acknowledge=acknowledge)


def number(item: dict[str, int]) -> int:
    return item["n"]


class Keep(Node):
    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, item: int) -> None:
        if item % 25 == 0:
            time.sleep(0.005)
        if item % BAD == 0 and KIND != "clock":
            message = f"bad {item}"
            raise ValueError(message)
        os.write(self.file, b"%d\n" % item)

    def teardown(self) -> None:
        os.close(self.file)


source: Any = producer()
flow = Consecutor(source | Map(number) | Keep("keep", grouping="shuffle"), replays_max=1, pending_max=500)
