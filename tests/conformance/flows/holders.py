"""Nodes that keep items open, take many at once, or gather."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consecution import Chunk, FlatMap, GeneratorProducer, Map, Node
from tests.conformance.flows import collect, cons, note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from consecution import Consecutor


class AddsUp(Node):
    """Accumulates, and pushes the sum at the end."""

    def setup(self) -> None:
        self.total = 0

    def process(self, item: int) -> None:
        self.total += item

    def finish(self) -> None:
        self.push(self.total)


class CountsDown(Node):
    """Finishes with a generator that is long."""

    def process(self, item: int) -> None:
        return None

    def finish(self) -> Iterator[int]:
        yield from range(5000)


class FinishesLater(Node):
    def process(self, item: int) -> None:
        return None

    async def finish(self) -> AsyncIterator[int]:
        yield 1
        self.push(2)
        yield 3


class FinishesWithAwait(Node):
    def process(self, item: int) -> None:
        return None

    async def finish(self) -> None:
        self.push("done")


class FinishReturns(Node):
    def process(self, item: int) -> None:
        return None

    def finish(self) -> Any:
        return [1, 2]


class FinishRaises(Node):
    def process(self, item: int) -> None:
        self.push(item)

    def finish(self) -> None:
        self.push("before")
        raise ValueError("no end")


def finish_sum() -> Consecutor:
    return cons(range(10) | Map(abs) | AddsUp() | Map(abs) | collect("out"))


def finish_generator() -> Consecutor:
    return cons([1] | CountsDown() | Chunk(100) | collect("out"))


def finish_async_generator() -> Consecutor:
    return cons([1] | FinishesLater() | collect("out"))


def finish_coroutine() -> Consecutor:
    return cons([1] | FinishesWithAwait() | collect("out"))


def finish_returns() -> Consecutor:
    return cons([1] | FinishReturns() | collect("out"))


def finish_raises() -> Consecutor:
    return cons([1, 2] | FinishRaises() | collect("out"))


def once_broken(item: object) -> object:
    if note("calls", item) == 0:
        raise ValueError("once")
    return item


def finish_push_fails_once() -> Consecutor:
    return cons([1, 2] | AddsUp() | Map(once_broken) | collect("out"))


def broken(item: object) -> object:
    raise ValueError(item)


def finish_push_fails_for_good() -> Consecutor:
    return cons([1, 2] | AddsUp() | Map(broken) | collect("out"), replays_max=1)


def chunks() -> Consecutor:
    return cons(range(10) | Chunk(4) | collect("out"))


def chunks_by() -> Consecutor:
    return cons([1, 1, 2, 2, 2, 2, 3] | Chunk(batch_by=abs, at_most=3) | collect("out"))


def chunk_of_chunks() -> Consecutor:
    return cons(range(25) | Chunk(4) | Chunk(3) | collect("out"))


def slow_numbers(position: int) -> Iterator[int]:
    for number in range(position, 3):
        yield number
        time.sleep(0.15)


def chunk_within() -> Consecutor:
    return cons(GeneratorProducer(slow_numbers) | Chunk(500, within=timedelta(milliseconds=40)) | collect("out"))


def even(item: int) -> list[int]:
    return [item] if item % 500 == 0 else []


def filter_before_chunk() -> Consecutor:
    """Schedule 23: each item that is held keeps its whole batch unfinished, and the window is full before the chunk."""
    return cons(range(3_000) | FlatMap(even) | Chunk(500) | collect("out"), pending_max=1_000)


class HoldsPairs(Node):
    """Pushes pairs; releases what is left."""

    items_held_max = 1

    def setup(self) -> None:
        self.token: Any = None
        self.first: Any = None

    def process(self, item: int) -> None:
        if item < 0:
            self.release([self.hold()])
        elif self.token is None:
            self.token, self.first = self.hold(), item
        else:
            self.push((self.first, item), of=[self.token, self.hold()])
            self.token = None

    def flush(self) -> None:
        if self.token is not None:
            self.release(self.token)
            self.token = None


def pairs() -> Consecutor:
    return cons([1, 2, -1, 3, 4, 5] | HoldsPairs() | collect("out"))


class ForgetsToFlush(Node):
    def process(self, item: int) -> None:
        self.hold()

    def flush(self) -> None:
        return None


def forgets_to_flush() -> Consecutor:
    return cons([1, 2] | ForgetsToFlush() | collect("out"), replays_max=0)


class FlushRaises(Node):
    def process(self, item: int) -> None:
        self.hold()

    def flush(self) -> None:
        if self._slot.runtime.tokens:  # type: ignore[union-attr]
            raise ValueError("no")


def flush_raises() -> Consecutor:
    return cons([1, 2] | FlushRaises() | collect("out"), replays_max=0)


class ClosesTwice(Node):
    def process(self, item: int) -> None:
        token = self.hold()
        self.push(item, of=[token])
        if item == 1:
            self.push(item, of=[token])

    def flush(self) -> None:
        return None


def closes_twice() -> Consecutor:
    return cons([1, 2] | ClosesTwice() | Map(abs), replays_max=0)


class ClosesTwiceLater(Node):
    async def process(self, item: int) -> None:
        token = self.hold()
        self.push(item, of=[token])
        if item == 1:
            self.push(item, of=[token])

    def flush(self) -> None:
        return None


def closes_twice_later() -> Consecutor:
    return cons([1, 2] | ClosesTwiceLater() | Map(abs), replays_max=0)


class HoldsWithoutFlush(Node):
    def process(self, item: int) -> None:
        self.hold()


def holds_without_flush() -> Consecutor:
    return cons([1] | HoldsWithoutFlush(), replays_max=0)


class YieldsInFlush(Node):
    def process(self, item: int) -> None:
        self.tokens = [*getattr(self, "tokens", []), self.hold()]

    def flush(self) -> None:
        tokens, self.tokens = getattr(self, "tokens", []), []
        for token in tokens:
            self.push("flushed", of=token)


def flush_pushes() -> Consecutor:
    return cons([1, 2, 3] | YieldsInFlush() | collect("out"))


class Batch(Node):
    def process_batch(self, items: list[int]) -> list[int]:
        note("batches", len(items))
        if 7 in items:
            raise ValueError("seven")
        return [item * 10 for item in items]


def batch_with_a_culprit() -> Consecutor:
    return cons(list(range(20)) | Batch() | collect("out"), replays_max=2)


class BatchOf(Node):
    def process_batch(self, items: list[int]) -> None:
        for index, item in enumerate(items):
            if item == 3:
                self.fail(index, ValueError("three"))
            else:
                self.push(item, of=index)


def batch_of_and_fail() -> Consecutor:
    return cons(list(range(6)) | BatchOf() | collect("out"), replays_max=1)


def fail_four(item: int) -> int:
    if item == 4:
        raise ValueError("four")
    return item


def push_of_fails_alone() -> Consecutor:
    """Only item 4 fails, because its push names it; the others of its batch are completed."""
    return cons(list(range(3, 9)) | BatchOf() | Map(fail_four) | collect("out"), replays_max=0)


class BatchYields(Node):
    def process_batch(self, items: list[int]) -> Any:
        for item in items:
            yield item
            yield -item


def batch_yields() -> Consecutor:
    return cons([1, 2] | BatchYields() | collect("out"))


class BatchReturnsNumber(Node):
    def process_batch(self, items: list[int]) -> Any:
        return len(items)


def batch_returns_number() -> Consecutor:
    return cons([1, 2] | BatchReturnsNumber() | collect("out"), replays_max=0)


class FailsOutside(Node):
    def process(self, item: int) -> None:
        self.fail(0, ValueError("x"))


def fail_outside_of_a_batch() -> Consecutor:
    return cons([1] | FailsOutside(), replays_max=0)


class BatchLater(Node):
    async def process_batch(self, items: list[int]) -> list[int]:
        if 2 in items:
            raise ValueError("two")
        return [item * 10 for item in items]


def async_batch() -> Consecutor:
    return cons([1, 2, 3] | BatchLater() | collect("out"), replays_max=0)


class Ticks(Node):
    def process(self, item: int) -> None:
        self.push(item)

    def on_timer(self) -> None:
        self.push("tick")


def timer() -> Consecutor:
    return cons(GeneratorProducer(slow_numbers) | Ticks(every=timedelta(milliseconds=30)) | collect("out"))


class TimerRaises(Node):
    def process(self, item: int) -> None:
        self.push(item)

    def on_timer(self) -> None:
        raise ValueError("tick")


def timer_raises() -> Consecutor:
    return cons(GeneratorProducer(slow_numbers) | TimerRaises(every=timedelta(milliseconds=100)) | collect("out"))
