"""The base class, the kinds, and what is refused."""

from __future__ import annotations

import gzip
import io
import tempfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import consecution.producers as producers
from consecution.errors import GraphError, SourceError, UserCodeError
from consecution.graph.nodes import Map
from consecution.producers import (
    GeneratorProducer,
    IterableProducer,
    PipeProducer,
    Producer,
    Pusher,
    Read,
    SequenceProducer,
    SourceClass,
    as_producer,
)
from consecution.testing.clock import ManualClock
from consecution.testing.producer_contract import drain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


def numbers(position: int) -> Iterator[int]:
    yield from range(position, 3)


@pytest.mark.parametrize(
    ("made", "cls"),
    [
        (lambda: Producer(kind="pipe"), "PipeProducer"),
        (lambda: Producer(numbers, kind="generator"), "GeneratorProducer"),
        (lambda: Producer(kind="manual"), "Pusher"),
        (lambda: Producer(kind="interval", wait=timedelta(seconds=1)), "IntervalProducer"),
        (lambda: Producer(kind="scheduled", cron_string="* * * * *"), "ScheduledProducer"),
    ],
)
def test_a_kind_makes_the_class(made: Any, cls: str) -> None:
    assert type(made()) is getattr(producers, cls)


def test_a_kind_calls_init_once() -> None:
    calls: list[str] = []

    class Counting(PipeProducer):
        def __init__(self) -> None:
            calls.append("init")
            super().__init__()

    Counting()
    assert calls == ["init"]


@pytest.mark.parametrize("kind", [None, "kafka", 3, ["pipe"]])
def test_an_unknown_kind_names_the_known_ones(kind: object) -> None:
    with pytest.raises(GraphError, match="expected one of 'pipe', 'generator'"):
        Producer(kind=kind)


def test_a_producer_class_without_items_is_refused() -> None:
    with pytest.raises(GraphError, match=r"neither items\(self, position\) nor read"):
        type("Empty", (Producer,), {})


def test_a_class_is_named_after_its_kind() -> None:
    class HttpLog(SequenceProducer):
        pass

    assert HttpLog([]).kind == "http_log"
    assert HttpLog([], name="orders").name == "orders"
    assert HttpLog([]).name is None


def test_a_producer_begins_a_graph() -> None:
    node = Map(str)
    view = SequenceProducer([1]) | node
    assert view.exits[0][0] is node


def test_an_own_fire_and_forget_producer_has_no_positions() -> None:
    class Sensor(Producer):
        source = SourceClass.FIRE_AND_FORGET

        def items(self, position: int) -> Iterator[int]:
            assert position == 0
            yield from (1, 2)

    drained = drain(Sensor(), 5)
    assert drained.items == [1, 2]
    assert drained.places == []


def test_items_before_an_error_come_first() -> None:
    def failing(position: int) -> Iterator[int]:
        yield 1
        yield 2
        msg = "no more"
        raise ValueError(msg)

    for producer in (GeneratorProducer(failing), IterableProducer(failing(0))):
        producer.open()
        given: list[int] = []
        while len(given) < 2:
            given += producer.read(10, 0.0).items
        with pytest.raises(UserCodeError, match="its code raised ValueError: no more") as caught:
            producer.read(10, 0.0)
        assert given == [1, 2]
        assert isinstance(caught.value.__cause__, ValueError)
        assert not producer.read(10, 0.0).ended  # an error is no end
        producer.close()


class PanicError(BaseException):
    """As an extension written in Rust raises."""


@pytest.mark.parametrize("error", [PanicError("no more"), SystemExit("no more")])
def test_items_before_what_is_no_exception_come_first(error) -> None:
    def failing(position: int) -> Iterator[int]:
        yield 1
        yield 2
        raise error

    async def failing_later(position: int) -> AsyncIterator[int]:
        yield 1
        yield 2
        raise error

    for producer in (GeneratorProducer(failing), IterableProducer(failing(0)), GeneratorProducer(failing_later)):
        producer.open()
        given: list[int] = []
        while len(given) < 2:
            given += producer.read(10, 5.0).items
        with pytest.raises(UserCodeError, match=f"its code raised {type(error).__name__}: no more"):
            producer.read(10, 5.0)
        assert given == [1, 2]
        producer.close()


def test_an_async_error_comes_after_the_items_before_it() -> None:
    async def failing(position: int) -> AsyncIterator[int]:
        yield 1
        msg = "no more"
        raise ValueError(msg)

    producer = GeneratorProducer(failing)
    producer.open()
    assert producer.read(10, 5.0).items == [1]
    with pytest.raises(UserCodeError, match="no more"):
        producer.read(10, 5.0)
    producer.close()


def test_an_async_generator_that_waits_is_not_cancelled_by_a_read(wait_for: Any) -> None:
    import asyncio
    import threading

    gates: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    closed = threading.Event()

    async def waiting(position: int) -> AsyncIterator[int]:
        try:
            gate = asyncio.Event()
            gates.append((asyncio.get_running_loop(), gate))
            await gate.wait()
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    producer = GeneratorProducer(waiting)
    producer.open()
    assert producer.read(10, 0.0).items == []
    assert producer.read(10, 0.001).items == []
    loop, gate = gates[0]
    loop.call_soon_threadsafe(gate.set)
    assert wait_for(lambda: producer.read(10, 0.01).items) == [1]
    assert producer.read(10, 0.0).items == []
    producer.close()
    assert closed.is_set()


def test_close_runs_the_generators_finally() -> None:
    closed: list[bool] = []

    def items(position: int) -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    producer = GeneratorProducer(items)
    producer.open()
    producer.read(1, 0.0)
    producer.close()
    assert closed == [True]


def test_a_coroutine_function_is_refused() -> None:
    async def no_generator(position: int) -> list[int]:
        return [position]

    with pytest.raises(SourceError, match="is a coroutine and yields nothing"):
        drain(GeneratorProducer(no_generator))  # type: ignore[arg-type]


def test_a_generator_without_position_is_refused() -> None:
    def plain() -> Iterator[int]:
        yield 1

    with pytest.raises(GraphError, match=r"write `def plain\(position\):`, or `plain\(\) \| node`"):
        GeneratorProducer(plain)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="expected a function of the position"):
        GeneratorProducer([1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize("position", ["x", -1, 99, [0, 3]])
def test_a_position_that_does_not_fit_is_an_error(position: object) -> None:
    for producer in (SequenceProducer([1, 2]), GeneratorProducer(numbers)):
        with pytest.raises(SourceError, match="--fresh"):
            drain(producer, position, [50, 1] if position == 99 else None)


def test_a_huge_range_is_read_lazily() -> None:
    producer = SequenceProducer(range(10**15))
    producer.open(10**15 - 2)
    assert list(producer.read(10, 0.0).items) == [10**15 - 2, 10**15 - 1]
    assert producer.immutable_items


def test_a_slow_iterator_is_read_item_by_item_and_a_fast_one_in_large_batches() -> None:
    clock = ManualClock()

    def rows() -> Iterator[int]:
        for number in range(2000):
            if 1000 <= number < 1010:
                clock.advance(1.0)
            yield number

    producer = IterableProducer(rows(), clock=clock)
    producer.open()
    reads = []
    while not (read := producer.read(500)).ended:
        reads.append(read.items)
    assert sum(map(len, reads)) + len(read.items) == 2000
    assert len(reads[0]) == 1
    assert max(map(len, reads)) > 200
    # From the second slow item on, none waits for another.
    for items in reads:
        assert len(items) == 1 or not 1008 <= items[-1] < 1010


@pytest.mark.parametrize(
    ("rows", "cure"),
    [
        ("text", r"write \[s\]"),
        (b"bytes", r"write \[s\]"),
        (bytearray(b"b"), r"write \[s\]"),
        ({1, 2}, r"sorted\(s\)"),
        (frozenset(), r"sorted\(s\)"),
        ({"a": 1}, r"list\(d.items\(\)\)"),
        (3, r"write \[x\]"),
        (None, r"write \[x\]"),
        (numbers, r"write func\(\)"),
        (Map(str), "nodes and classes are linked"),
        (list, "nodes and classes are linked"),
    ],
)
def test_what_is_no_source_of_items_is_refused_with_the_cure(rows: object, cure: str) -> None:
    with pytest.raises(GraphError, match=cure):
        as_producer(rows)


def test_async_iterables_are_refused_with_the_cure() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(GraphError, match="GeneratorProducer"):
        as_producer(items())


def test_as_producer_chooses(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("a\nb\n")
    assert type(as_producer([1])) is SequenceProducer
    assert type(as_producer({"a": 1}.keys())) is IterableProducer
    pusher = Pusher()
    assert as_producer(pusher) is pusher
    with path.open() as file:
        assert type(as_producer(file)) is PipeProducer
    with tempfile.NamedTemporaryFile() as named:
        named.write(b"x\n")
        named.flush()
        named.seek(0)
        assert drain(as_producer(named)).items == [b"x"]
    with tempfile.TemporaryFile("w+") as unnamed:
        unnamed.write("x\ny\n")
        unnamed.seek(2)
        assert drain(as_producer(unnamed)).items == ["y"]


def test_files_that_only_python_knows_give_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"a\nb"))
    with gzip.open(path, "rt") as file:
        assert drain(as_producer(file)).items == ["a", "b"]
    with gzip.open(path) as packed:
        assert drain(as_producer(packed)).items == [b"a", b"b"]
    assert drain(as_producer(io.StringIO("a\n\nb"))).items == ["a", "", "b"]
    assert drain(as_producer(io.BytesIO(b"a\n"))).items == [b"a"]


def test_a_class_with_getitem_alone_can_be_read() -> None:
    class Old:
        def __getitem__(self, place: int) -> int:
            return [7, 8][place]

    assert drain(as_producer(Old())).items == [7, 8]


def test_a_read_is_parted_with_its_keys_and_tokens_and_only_the_rest_has_ended():
    read = Read(["a", "b", "c"], ended=True, keys=["ka", None, "kc"], tokens=["ta", "tb", "tc"])
    first, rest = read.parted(1)
    assert first == Read(["a"], keys=["ka"], tokens=["ta"])
    assert rest == Read(["b", "c"], ended=True, keys=[None, "kc"], tokens=["tb", "tc"])
    assert read.parted(3) == (read, None)


def test_a_read_with_a_place_in_its_source_is_not_parted():
    read = Read(["a", "b"], next_position=7)
    assert read.parted(1) == (read, None)
