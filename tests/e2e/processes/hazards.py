"""A flow that its tests hurt; run as a script, without a ``__main__`` guard. The environment says what it does."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from consecution import Consecutor, Map, Node

HAZARD = os.environ["HAZARD"]
FOLDER = Path(os.environ["FOLDER"])
ITEMS = int(os.environ.get("ITEMS", "3000"))
GUILTY = 777
VICTIM = FOLDER / "victim"
HURRY = FOLDER / "hurry"  # each item takes a millisecond until a test makes this file


def work(item: int) -> int:
    first = FOLDER / f"first-{os.getpid()}"
    if not first.exists():
        first.write_text(repr(time.time()))
    if not HURRY.exists():
        time.sleep(0.001)
    if item == GUILTY and HAZARD == "segfault":
        ctypes.string_at(0)
    if item == GUILTY and HAZARD == "later":
        VICTIM.write_text(str(os.getpid()))
        threading.Timer(0.05, os._exit, (3,)).start()
    if (item == GUILTY and HAZARD == "sums") or (GUILTY <= item < GUILTY + 4 and HAZARD == "neighbours"):
        os._exit(3)
    if item == GUILTY and HAZARD == "loop":
        while True:
            pass
    return item


async def awaited(item: int) -> int:
    await asyncio.sleep(0.001)
    if item == GUILTY:
        await asyncio.sleep(3600)
    return item


def told(item: int) -> int:
    if item == GUILTY and HAZARD == "later":  # under way until all know that the process which it has damaged is dead
        while Path(f"/proc/{VICTIM.read_text()}").exists():
            time.sleep(0.01)
        time.sleep(0.5)
    with (FOLDER / "told").open("a") as file:
        file.write(f"{item}\n")
    return item


class Total(Node):
    def setup(self) -> None:
        self.total = 0

    def process(self, item: int) -> None:
        self.total += item
        told(item)

    def finish(self) -> None:
        self.push(self.total)


def result(total: int) -> int:
    (FOLDER / "result").write_text(str(total))
    return total


def dag() -> Any:
    source = iter(range(ITEMS)) if HAZARD.startswith("caller") else range(ITEMS)
    begin = source | Map(abs, name="entry") | Map(work, name="work", grouping="shuffle")
    if HAZARD in ("total", "sums"):
        return begin | Total(grouping="shuffle") | Map(result, grouping="shuffle")
    if HAZARD == "awaits":
        begin = range(ITEMS) | Map(abs, name="entry") | Map(awaited, name="work", grouping="shuffle")
    return begin | Map(told, name="told", grouping="shuffle")


flow = Consecutor(
    dag(), "flow", journal=FOLDER / "journal" if HAZARD == "journal" else None, call_timeout_s=1.0, replays_max=0
)
report = flow.run(mode="processes", workers=3)
print(report.introduced, report.completed, report.failed, bool(report))
for failure in report.failures:
    print("failure", failure.item, failure.attempts, failure)
sys.exit(0)
