"""Async nodes with bounds, and timers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consecution import Chunk, GeneratorProducer, Map, Node, Robustness
from tests.conformance.flows import collect, cons, folder, note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consecution import Consecutor

ITEMS = 24
BOUND = 4


class Gate(Node):
    """Lets an item through when as many as may be are in work together, so that no time decides."""

    def __init__(self, **options: Any) -> None:
        super().__init__(concurrency=BOUND, **options)
        self.in_work = 0
        self.most = 0

    async def process(self, item: int) -> None:
        self.in_work += 1
        self.most = max(self.most, self.in_work)
        try:
            while self.most < BOUND:
                await asyncio.sleep(0)
            for _ in range(ITEMS - item):  # the later, the sooner it is done
                await asyncio.sleep(0)
        finally:
            self.in_work -= 1
        self.push(item)

    def teardown(self) -> None:
        note("most", self.most)


def bounded() -> Consecutor:
    return cons(list(range(ITEMS)) | Gate(grouping="shuffle") | collect("out"))


def bounded_unordered() -> Consecutor:
    return cons(list(range(ITEMS)) | Gate(grouping="shuffle", ordered=False) | collect("out"))


class Meeting(Node):
    """Lets its items go, the newest first, when all of them have come; each comes in a frame of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(concurrency=BOUND, **options)
        self.all_are_here = asyncio.Event()
        self.left = BOUND

    async def process(self, item: int) -> None:
        if note("came", item) == BOUND - 1:
            self.all_are_here.set()
        await self.all_are_here.wait()
        while item != self.left - 1:
            await asyncio.sleep(0)
        self.left -= 1
        self.push(item)


async def one_after_the_other(position: int) -> AsyncIterator[int]:
    """Gives an item when the one before is in work, so that two are never in one frame."""
    for item in range(position, BOUND):
        while len((folder() / "came").read_text().splitlines() if (folder() / "came").exists() else []) < item:
            await asyncio.sleep(0.005)
        yield item


def spanning() -> Consecutor:
    return cons(GeneratorProducer(one_after_the_other) | Meeting(grouping="shuffle") | collect("out"))


def spanning_unordered() -> Consecutor:
    return cons(GeneratorProducer(one_after_the_other) | Meeting(grouping="shuffle", ordered=False) | collect("out"))


def spanning_untracked() -> Consecutor:
    """Nothing but the task itself knows what is still under way when all upstream has ended."""
    return cons(
        GeneratorProducer(one_after_the_other) | Meeting(grouping="shuffle") | collect("out"),
        robustness=Robustness.NONE,
    )


class Slow(Node):
    """Awaits longer than all that is before it takes, and fails for some."""

    async def process(self, item: int) -> None:
        await asyncio.sleep(0.02)
        if item % 10 == 7:
            message = f"no {item}"
            raise ValueError(message)
        self.push(item)


class Sum(Node):
    """Gives its sum at the end: wrong when the end comes before all is awaited."""

    def setup(self) -> None:
        self.total = 0

    def process(self, item: int) -> None:
        self.total += item

    def finish(self) -> None:
        self.push(self.total)


def awaited_then_summed() -> Consecutor:
    return cons(list(range(100)) | Slow(concurrency=8) | Sum() | Slow() | collect("out"), replays_max=0)


def awaited_then_chunked() -> Consecutor:
    """One row of nodes in one task: what is awaited comes to a holder, and what it pushes is awaited again."""
    chunks = Slow(concurrency=8) | Chunk(25) | Map(sum) | Slow(name="again")
    return cons(list(range(100)) | chunks | collect("out"), replays_max=1)


class Hangs(Node):
    """Hangs at item 3, once or always; what it began is cancelled."""

    def __init__(self, times: int, **options: Any) -> None:
        super().__init__(**options)
        self.times = times

    async def process(self, item: int) -> None:
        if item == 3 and note("hung", item) < self.times:
            try:
                await asyncio.sleep(3600)
            finally:
                note("cancelled", item)
        self.push(item)


def hangs_once() -> Consecutor:
    return cons(list(range(8)) | Hangs(1, process_timeout_s=0.05) | collect("out"))


def hangs_always() -> Consecutor:
    return cons(list(range(8)) | Hangs(100, process_timeout_s=0.05) | collect("out"), replays_max=1)


class OwnLimit(Node):
    async def process(self, item: int) -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(3600)


def own_limit() -> Consecutor:
    return cons([1] | OwnLimit(process_timeout_s=60.0) | collect("out"), replays_max=0)


class BatchHangs(Node):
    async def process_batch(self, items: list[int]) -> list[int]:
        if 3 in items:
            await asyncio.sleep(3600)
        return items


def batch_hangs() -> Consecutor:
    return cons(list(range(8)) | BatchHangs(process_timeout_s=0.05) | collect("out"), replays_max=0)


class Beats(Node):
    """Pushes a value of its own each time, and tells it; ends the idle source after the third."""

    def process(self, item: object) -> None:
        self.push(item)

    def on_timer(self) -> None:
        beat = note("beats", "beat")
        self.push(("beat", beat))


async def idle(position: int) -> AsyncIterator[str]:
    """A source that gives nothing until the timer has fired three times, and then one item."""
    while len((folder() / "beats").read_text().splitlines() if (folder() / "beats").exists() else []) < 3:
        await asyncio.sleep(0.01)
    yield "end"


def beats() -> Consecutor:
    every = timedelta(milliseconds=20)
    return cons(GeneratorProducer(idle) | Beats(every=every, grouping="shuffle") | Map(list_of) | collect("out"))


def list_of(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


class AsyncBeats(Node):
    async def process(self, item: object) -> None:
        await asyncio.sleep(0)
        self.push(item)

    async def on_timer(self) -> AsyncIterator[str]:
        note("beats", "beat")
        await asyncio.sleep(0)
        yield "beat"


def async_beats() -> Consecutor:
    return cons(GeneratorProducer(idle) | AsyncBeats(every=timedelta(milliseconds=20)) | collect("out"))
