"""Setup, teardown, ends, and endless flows."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

from consecution import Chunk, Consecutor, GeneratorProducer, Map, Node, Producer, Pusher, Robustness
from consecution.producers import Read, SourceClass
from tests.conformance.flows import collect, cons, folder, note

if TYPE_CHECKING:
    from collections.abc import Iterator


class Life(Node):
    """Notes its steps; the name says what goes wrong."""

    def setup(self) -> None:
        note("life", f"setup {self.name}")
        if self.name == "bad_setup":
            raise ValueError("no setup")

    def process(self, item: Any) -> None:
        note("life", f"process {self.name}")
        self.push(item)

    def finish(self) -> None:
        note("life", f"finish {self.name}")

    def teardown(self) -> None:
        note("life", f"teardown {self.name}")
        if self.name == "bad_teardown":
            raise ValueError("no teardown")


def good() -> Consecutor:
    return cons([1] | Life("a") | Life("b", grouping="shuffle") | Life("c"))


def bad_setup() -> Consecutor:
    return cons([1] | Life("a") | Life("b", grouping="shuffle") | Life("bad_setup") | Life("c", grouping="shuffle"))


def bad_teardown() -> Consecutor:
    return cons([1] | Life("a") | Life("bad_teardown") | Life("c"))


class Database(Node):
    """Keeps what belongs to one thread."""

    def setup(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.thread = threading.get_ident()

    def process(self, item: int) -> None:
        self.push(self.connection.execute("select ? + 1", (item,)).fetchone()[0])

    def finish(self) -> None:
        assert threading.get_ident() == self.thread

    def teardown(self) -> None:
        self.connection.close()


def thread_bound() -> Consecutor:
    return cons([1, 2] | Database() | Database(grouping="shuffle") | collect("out"))


class AsyncHooks(Node):
    async def setup(self) -> None:
        self.ready = True

    def process(self, item: int) -> None:
        self.push((item, self.ready))

    async def teardown(self) -> None:
        note("life", "async teardown")


def async_hooks() -> Consecutor:
    return cons([1] | AsyncHooks() | collect("out"))


class GeneratorSetup(Node):
    def setup(self) -> Any:
        yield 1

    def process(self, item: int) -> None:
        self.push(item)


def generator_setup() -> Consecutor:
    return cons([1] | GeneratorSetup())


class Template(Node):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def process(self, item: int) -> None:
        self.seen.append(item)
        self.push(list(self.seen))


TEMPLATE = Template()
TEMPLATED = cons([1, 2] | TEMPLATE | collect("out"))


def templated() -> Consecutor:
    return TEMPLATED


def count_from(position: int) -> Iterator[int]:
    yield from itertools.count(position)


def endless() -> Consecutor:
    dag: Any = GeneratorProducer(count_from) | Chunk(500) | Map(slowly) | collect("out")
    return cons(dag)


def stored_slowly(item: Any) -> Any:
    time.sleep(0.01)
    note("stored", item)
    return item


def faster_than_its_sink(position: int) -> Iterator[int]:
    for number in itertools.count(position):
        time.sleep(0.002)
        yield number


def endless_and_untracked() -> Consecutor:
    """Nobody counts what is under way, and the sink has a queue."""
    dag = GeneratorProducer(faster_than_its_sink) | Map(abs) | Map(stored_slowly, grouping="shuffle")
    return cons(dag, robustness=Robustness.NONE)


def slowly(item: Any) -> Any:
    time.sleep(0.001)
    return item


class RaisesWhileReading(Producer):
    def items(self, position: int) -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("bad line")


class ReadsBadly(Producer):
    def open(self, position: object | None = None, check: object | None = None) -> None:
        return None

    def read(self, items_max: int, wait_s: float) -> Any:
        raise OSError("gone")


def raising_producer() -> Consecutor:
    return cons(RaisesWhileReading() | Map(noted))


def noted(item: Any) -> Any:
    note("done", item)
    return item


def badly_reading_producer() -> Consecutor:
    return cons(ReadsBadly() | Map(noted))


def empty() -> Consecutor:
    return cons([] | Life("a") | collect("out"))


def fails_on_two(item: int) -> int:
    if item == 2:
        raise ValueError("two")
    return item


def at(level: Robustness) -> Consecutor:
    return cons([1, 2, 3] | Map(fails_on_two) | Chunk(2) | collect("out"), robustness=level)


def none() -> Consecutor:
    return at(Robustness.NONE)


def confirm() -> Consecutor:
    return at(Robustness.CONFIRM)


def track() -> Consecutor:
    return at(Robustness.TRACK)


def replay() -> Consecutor:
    return at(Robustness.REPLAY)


def pushed() -> Consecutor:
    return cons(Map(fails_on_two) | collect("out"), replays_max=1)


def pushed_from_outside() -> Consecutor:
    return Consecutor(Pusher() | Map(fails_on_two, grouping="shuffle") | collect("out"), "flow", replays_max=1)


def hangs_on_two(item: int) -> int:
    if item == 2:
        note("hangs", item)
        while not (folder() / "go").exists():
            time.sleep(0.005)
    return item


def hanging() -> Consecutor:
    return cons(Map(hangs_on_two) | collect("out"), replays_max=1)


def for_signals() -> Consecutor:
    """Endless, with a chunk that never fills, a slow node, and a sink that tells."""
    dag: Any = GeneratorProducer(count_from) | Map(slowly) | Chunk(1_000_000) | Told()
    return Consecutor(dag, "flow", journal=folder() / "journal", pending_max=200)


class Told(Node):
    def setup(self) -> None:
        note("life", "setup")

    def process(self, item: list[int]) -> None:
        for number in item:
            note("got", number)

    def teardown(self) -> None:
        note("life", "teardown")


def stubborn() -> Consecutor:
    """Ignores everything but a second signal."""
    dag: Any = iter([1]) | Map(sleeps_for_ever) | Told()
    return Consecutor(dag, "flow", journal=folder() / "journal")


def sleeps_for_ever(item: int) -> int:
    note("hangs", os.getpid())
    time.sleep(3600)
    return item


def handed() -> Consecutor:
    return Consecutor(Pusher(name="hand") | Map(noted), "flow", journal=folder() / "journal")


class Letters(Producer):
    """Handed over, ten at a time; ``where`` says which of its own methods goes wrong, from the second call on."""

    source = SourceClass.HANDED_OVER

    def __init__(self, where: str) -> None:
        self.where = where
        self.calls: dict[str, int] = {}
        self.given = 0

    def call(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        if method == self.where and (self.calls[method] > 1 or method in ("open", "close")):
            raise OSError("the broker is away")

    def open(self, position: object = None, check: object = None) -> None:
        self.call("open")

    def read(self, items_max: int, wait_s: float) -> Read:
        self.call("read")
        items = list(range(self.given, min(self.given + 10, 30)))
        self.given += len(items)
        return Read(items, ended=not items)

    def acknowledge(self, first_seq: int, count: int) -> None:
        self.call("acknowledge")

    def close(self) -> None:
        self.call("close")


def notes(item: int) -> None:
    note("seen", item)


def letters(where: str) -> Consecutor:
    return cons(Letters(where) | Map(notes), journal=folder() / "journal")


def open_raises() -> Consecutor:
    return letters("open")


def read_raises() -> Consecutor:
    return letters("read")


def acknowledge_raises() -> Consecutor:
    return letters("acknowledge")


def close_raises() -> Consecutor:
    return letters("close")
