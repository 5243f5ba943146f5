"""The workloads over processes, as a flow that executors import: ``python -m benchmarks.flows '{"workload": "w3"}'``.

Rules of this module: the clock runs from the first item in the source to the last one in the sink, on the clock that
all processes of a machine share; so neither side pays for its start. The answer is checked, and the seconds are printed
as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.exchange import LATENCY, W2, W3, Distributed, cpu_s, rename, rows, tick, touch, w3_total
from benchmarks.workloads import w2_answer, w2_lines
from consecution import Collect, Consecutor, FlatMap, GeneratorProducer, Map, Node, Robustness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CASE = Distributed(**json.loads(sys.argv[1]))


class Last(Node):
    """The end of W3: counts and sums; gives (first item's time, last item's time, count, sum)."""

    def setup(self) -> None:
        self.began = self.ended = 0.0
        self.count = self.total = 0

    def process_batch(self, items: list[dict[str, Any]]) -> None:
        if not self.count:
            self.began = float(items[0]["name"])
        self.count += len(items)
        self.total += sum([item["v"] for item in items])
        self.ended = time.monotonic()

    def finish(self) -> None:
        self.push((self.began, self.ended, self.count, self.total))


class Count(Node):
    """The last step of W2: counts words; gives (last batch's time, counts)."""

    def setup(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ended = 0.0

    def process_batch(self, words: list[str]) -> None:
        self.counts.update(words)
        self.ended = time.monotonic()

    def finish(self) -> None:
        self.push((self.ended, dict(self.counts)))


class Waited(Node):
    """The last step of the latency run: gives how long each item took, in seconds."""

    def setup(self) -> None:
        self.waited: list[float] = []

    def process(self, item: dict[str, Any]) -> None:
        self.waited.append(time.monotonic() - item["v"])

    def finish(self) -> None:
        self.push(self.waited)


def w3_rows(position: int) -> Iterator[dict[str, Any]]:
    return rows(CASE.items, position)


async def latency_ticks(position: int) -> AsyncIterator[dict[str, Any]]:
    """Make the items of the latency run, each at its time; awaiting, so that the executor works meanwhile."""
    start = time.monotonic() + 0.1
    for number in range(position, CASE.items):
        left_s = start + (number - position) / CASE.rate - time.monotonic()
        if left_s > 0:
            await asyncio.sleep(left_s)
        yield tick(number)


def lines(position: int) -> Iterator[str]:
    """Make the text of W2; a first line of one word is the time, and is taken out of the counts again."""
    text = w2_lines(CASE.items)
    if position == 0:
        yield repr(time.monotonic())
    yield from text[max(0, position - 1) :]


def flow() -> Consecutor:
    """Make the flow of the case."""
    dag: Any
    if CASE.workload == W2:
        split = FlatMap(str.split, name="split", parallelism=2, grouping="shuffle")
        dag = GeneratorProducer(lines) | split | Count(parallelism=2, key=str) | Collect("answer", grouping="shuffle")
    elif CASE.workload == W3:
        first, second = Map(rename, name="A"), Map(rename, name="B", grouping="shuffle")
        third = Map(rename, name="C", grouping="shuffle")
        dag = GeneratorProducer(w3_rows) | first | second | third | Last() | Collect("answer")
    else:
        first, second = Map(touch, name="A"), Map(touch, name="B", grouping="shuffle")
        dag = GeneratorProducer(latency_ticks) | first | second | Waited(grouping="shuffle") | Collect("answer")
    return Consecutor(dag, "bench", robustness=Robustness[CASE.level], journal=None, pending_max=CASE.pending)


def measured(collected: list[Any]) -> dict[str, Any]:
    """Check the answer, and give what the run took."""
    if CASE.workload == W3:
        [(began, ended, count, total)] = collected
        assert (count, total) == (CASE.items, w3_total(CASE.items)), "the answer is wrong"
        return {"wall_s": ended - began}
    if CASE.workload == LATENCY:
        [waited] = collected
        assert len(waited) == CASE.items, "items are missing"
        return {"waited_s": waited}
    counts: Counter[str] = Counter()
    for _, part in collected:
        assert not counts.keys() & part.keys(), "a word was counted by two"
        counts.update(part)
    [began] = [word for word in counts if "." in word]
    del counts[began]
    assert counts == w2_answer(w2_lines(CASE.items)), "the answer is wrong"
    return {"wall_s": max(ended for ended, _ in collected) - float(began)}


consecutor = flow()

if __name__ == "__main__":
    report = consecutor.run(mode="processes", workers=2 if CASE.workload == W2 else 3)
    introduced = CASE.items + (CASE.workload == W2)
    assert report, report
    assert report.introduced == introduced, report
    if CASE.level != "NONE":
        assert report.completed == introduced, report
    print(json.dumps({**measured(report.collected["answer"]), "cpu_s": cpu_s()}), flush=True)
