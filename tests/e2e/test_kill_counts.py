"""Nodes that sum in memory, killed: the answer of the restart is right (R17)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from consecution.journal.sqlite import has_journal, open_for_reading

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartProcess, WaitFor

FLOW = """
import os, sys, time
from collections import Counter
from consecution import Consecutor, FlatMap, Node, PipeProducer

class Split(Node):
    def process(self, line):
        self.done = getattr(self, "done", 0) + 1
        if str(self.done) == os.environ.get("PAUSE_AT"):
            open("paused", "a").close()
            time.sleep(3600)
        for word in line.split():
            self.push(word)

class Count(Node):
    def setup(self):
        self.counts = Counter()
    def process(self, word):
        self.counts[word] += 1
    def finish(self):
        for place, (word, count) in enumerate(self.counts.most_common()):
            if "PAUSE_AT_END" in os.environ:
                open("finishing", "a").close()
                time.sleep(3600)
            self.push(f"{word}\\t{count}")

class Print(Node):
    def process(self, line):
        print(line, flush=True)

source = PipeProducer() if sys.argv[2] == "stdin" else PipeProducer("book.txt")
report = Consecutor(source | Split() | Count(grouping="shuffle") | Print(), "words", journal="journal").run(sys.argv[1])
print("report", report.introduced, report.completed, report.failed, bool(report), file=sys.stderr)
"""


WORDS = ["to", "be", "or", "not", "that", "is", "the", "question"]


def book() -> list[str]:
    chance = random.Random(7)
    return [" ".join(chance.choice(WORDS) for _ in range(5)) for _ in range(2000)]


def entries_of(journal: Path) -> int:
    with closing(open_for_reading(journal)) as opened:
        return sum(1 for producer in opened.producers() for _ in opened.read_entries(producer.name))


@pytest.mark.parametrize("mode", ["single", "threads"])
@pytest.mark.parametrize("kind", ["file", "stdin"])
def test_schedule_9_wordcount_killed_at_60_percent_prints_the_right_counts(
    tmp_path: Path, process: StartProcess, wait_for: WaitFor, kind: str, mode: str
) -> None:
    """A restart does not print the counts of what was left (R17).

    1. Words are split and counted; at 60 % of the lines the process is killed, and the counts with it.
    2. The restart goes over all lines again, those in the journal first, and prints the counts of the whole.
    """
    lines = book()
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "book.txt").write_text("\n".join(lines) + "\n")
    reader, writer = os.pipe()
    try:
        given = reader if kind == "stdin" else None
        child = process(sys.executable, "flow.py", mode, kind, stdin=given, env={"PAUSE_AT": "1200"})
        if kind == "stdin":
            os.write(writer, "".join(line + "\n" for line in lines[:1500]).encode())
        wait_for((tmp_path / "paused").exists, 30, "60 % of the lines")
        if kind == "stdin" and mode == "threads":  # the engine reads on until it is held back
            seen = [-1] * 5
            wait_for(lambda: [seen.append(entries_of(tmp_path / "journal")), len(set(seen[-5:])) == 1][1], 30, "rest")
        child.kill()
        again = process(sys.executable, "flow.py", mode, kind, stdin=given)
        if kind == "stdin":
            os.write(writer, "".join(line + "\n" for line in lines[1500:]).encode())
            os.close(writer)
            writer = -1
        assert again.wait() == 0, again.stderr
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    counts = {word: int(count) for word, count in (line.split("\t") for line in again.stdout.splitlines())}
    assert counts == Counter(word for line in lines for word in line.split())
    assert again.stderr.split()[-5:] == ["report", "2000", "2000", "0", "True"]
    assert not has_journal(tmp_path / "journal")


def test_schedule_26_killed_in_finish_the_restart_prints_the_right_counts(
    tmp_path: Path, process: StartProcess, wait_for: WaitFor
) -> None:
    """A death in the middle of finish loses no sum (R19).

    1. All lines are counted, and finish has begun to push; the process is killed.
    2. Every item had its outcome, but the journal is released only after the finish pushes.
    3. The restart counts all lines again and prints all counts.
    """
    lines = book()
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "book.txt").write_text("\n".join(lines) + "\n")
    child = process(sys.executable, "flow.py", "single", "file", env={"PAUSE_AT_END": "1"})
    wait_for((tmp_path / "finishing").exists, 30, "finish")
    child.kill()
    again = process(sys.executable, "flow.py", "single", "file")
    assert again.wait() == 0, again.stderr
    counts = {word: int(count) for word, count in (line.split("\t") for line in again.stdout.splitlines())}
    assert counts == Counter(word for line in lines for word in line.split())
    assert again.stderr.split()[-5:] == ["report", "2000", "2000", "0", "True"]


CRASH = """
import asyncio, ctypes, os, sys
from datetime import timedelta
from consecution import Broadcast, Chunk, Consecutor, Map, Node

class Awaits(Node):
    async def process(self, item):
        await asyncio.sleep(0.1 if item == 777 else 0.001)
        if item == 777:
            ctypes.string_at(0)
        self.push([item])

class Crash(Node):
    def process(self, item):
        rows = item if isinstance(item, list) else [item]
        for row in rows:
            if row == 777:
                ctypes.string_at(0)
        self.push(rows)

class Ticks(Node):
    def process(self, item):
        self.push(item)
    def on_timer(self):
        self.push("tick")

async def slowly(item):
    await asyncio.sleep(0.2 if item == "tick" else 0.0)

class Sink(Node):
    def setup(self):
        self.file = os.open("sink", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    def process(self, rows):
        for row in rows:
            os.write(self.file, f"{row}\\n".encode())

options = {"journal": "journal", "replays_max": 3}

def once():
    # As a queue: over all starts each number once.
    file = os.open("given", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    for number in range(os.fstat(file).st_size, 2000):
        os.write(file, b"x")
        yield number

items = range(2000) if sys.argv[2] == "range" else once()
if sys.argv[3] == "chunk":
    flow = items | Map(int) | Chunk(500) | Crash() | Sink()
elif sys.argv[3] == "awaited":
    flow = items | Awaits() | Sink(grouping="shuffle")
elif sys.argv[3] == "timed":
    ticks = Ticks(every=timedelta(seconds=0.02))
    rows = Awaits(grouping="shuffle") | Map(lambda rows: [row for row in rows if row != "tick"]) | Sink()
    flow = items | ticks | Broadcast() | [rows, Map(slowly, grouping="shuffle", concurrency=64)]
else:
    flow = items | Map(int) | Crash() | Sink(grouping="shuffle")
report = Consecutor(flow, "crash", **options).run(sys.argv[1])
letters = [(failure.item, failure.attempts, failure.cause.exception) for failure in report.failures]
print(report.introduced, report.completed, report.failed, letters)
"""


@pytest.mark.parametrize(
    ("mode", "items", "shape"),
    [
        ("single", "range", "plain"),
        ("single", "iterator", "plain"),
        ("single", "range", "chunk"),
        ("threads", "range", "plain"),
        ("threads", "range", "chunk"),
        ("threads", "range", "awaited"),
        ("single", "range", "timed"),
        ("threads", "range", "timed"),
    ],
)
def test_schedules_12_and_22_an_item_that_segfaults_is_found_and_no_innocent_with_it(
    tmp_path: Path, process: StartProcess, mode: str, items: str, shape: str
) -> None:
    """The one item that kills the interpreter is charged, and it alone (R15).

    1. Item 777 segfaults with a thousand others in flight, in 12 in its own frame, in 22 behind a Chunk that another
       frame filled; or while fifteen others are awaited with it, or values that a timer has pushed.
    2. Each restart reads from the crash slot what was in work: all of it is suspect, and travels alone.
    3. A death with one item in work charges that item; after 1 + replays_max attempts it is a dead letter.
    """
    (tmp_path / "flow.py").write_text(CRASH)
    deaths = 0
    while True:
        child = process(sys.executable, "flow.py", mode, items, shape)
        if child.wait() == 0:
            break
        deaths += 1
        assert child.returncode == -11, child.stderr
        assert deaths < 12, "it still crashes"
    assert child.stdout.strip() == "2000 1999 1 [(777, 4, 'ProcessDied')]"
    assert deaths <= 6
    rows = Counter(int(line) for line in (tmp_path / "sink").read_text().split())
    assert set(rows) == set(range(2000)) - {777}


def test_a_second_process_on_the_same_journal_is_refused(
    tmp_path: Path, process: StartProcess, wait_for: WaitFor
) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "book.txt").write_text("\n".join(book()) + "\n")
    first = process(sys.executable, "flow.py", "single", "file", env={"PAUSE_AT_END": "1"})
    wait_for((tmp_path / "finishing").exists, 30, "finish")
    second = process(sys.executable, "flow.py", "single", "file", stdin=subprocess.DEVNULL)
    assert second.wait() == 1
    assert "JournalError" in second.stderr
    assert str(first.pid) in second.stderr
