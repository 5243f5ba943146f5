"""What a node may give back (api.md section 1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from consecution import FlatMap, Map, Node
from tests.conformance.flows import collect, cons

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from consecution import Consecutor


def plus_one(item: int) -> int:
    return item + 1


def minus_one(item: int) -> int:
    return item - 1


def twice(item: int) -> Iterator[int]:
    yield item
    yield item * 10


async def plus_one_later(item: int) -> int:
    await asyncio.sleep(0)
    return item + 1


async def twice_later(item: int) -> AsyncIterator[int]:
    yield item
    await asyncio.sleep(0)
    yield item * 10


def none(item: int) -> None:
    return None


def odd_ones_twice(item: int) -> Any:
    """A plain value or a generator: the result decides."""
    return twice(item) if item % 2 else item


def odd_ones_later(item: int) -> Any:
    return plus_one_later(item) if item % 2 else item


class Pushes(Node):
    def process(self, item: int) -> None:
        self.push(item)
        self.downstream.send(item * 10)


class Yields(Node):
    def process(self, item: int) -> Iterator[int]:
        yield item
        self.push(item * 100)
        yield item * 10


class Awaits(Node):
    async def process(self, item: int) -> None:
        await asyncio.sleep(0.001 * (3 - item % 3))
        self.push(item)


class YieldsLater(Node):
    async def process(self, item: int) -> AsyncIterator[int]:
        yield item
        await asyncio.sleep(0)
        yield item * 10


class Returns(Node):
    def process(self, item: int) -> Any:
        if item == 1:
            return item
        self.push(item)
        return None


class ReturnsLater(Node):
    async def process(self, item: int) -> Any:
        return item if item == 1 else self.push(item)


def of(step: object, items: Any = (0, 1, 2, 3), **options: Any) -> Consecutor:
    return cons(list(items) | step | collect("out"), **options)  # type: ignore[operator]


def function() -> Consecutor:
    return of(Map(plus_one))


def generator_function() -> Consecutor:
    return of(Map(twice))


def coroutine_function() -> Consecutor:
    return of(Map(plus_one_later))


def async_generator_function() -> Consecutor:
    return of(Map(twice_later))


def function_of_none() -> Consecutor:
    return of(Map(none))


def sometimes_a_generator() -> Consecutor:
    return of(Map(plus_one) | Map(odd_ones_twice) | Map(plus_one), range(8))


def sometimes_an_awaitable() -> Consecutor:
    return of(Map(plus_one) | Map(odd_ones_later) | Map(plus_one), range(8))


def class_that_pushes() -> Consecutor:
    return of(Pushes())


def class_that_yields() -> Consecutor:
    return of(Yields())


def async_class() -> Consecutor:
    return of(Awaits(), range(10))


def unordered_async_class() -> Consecutor:
    return of(Awaits(ordered=False), range(10))


def async_generator_class() -> Consecutor:
    return of(YieldsLater())


def class_that_returns() -> Consecutor:
    return of(Returns(), replays_max=0)


def async_class_that_returns() -> Consecutor:
    return of(ReturnsLater(), replays_max=0)


def not_iterable(item: int) -> Any:
    return item


def flat_map_of_a_number() -> Consecutor:
    return of(FlatMap(not_iterable), [1], replays_max=0)


class TooSlow(Node):
    async def process(self, item: int) -> None:
        await asyncio.sleep(3600 if item == 1 else 0)
        self.push(item)


def async_timeout() -> Consecutor:
    return of(TooSlow(process_timeout_s=0.02), replays_max=0)


class Cancelled(Node):
    async def process(self, item: int) -> None:
        if item == 1:
            raise asyncio.CancelledError
        self.push(item)


def cancelled() -> Consecutor:
    return of(Cancelled(), replays_max=0)


def stop_iteration(item: int) -> int:
    if item == 1:
        raise StopIteration
    return item


def stop_iteration_in_map() -> Consecutor:
    return of(Map(plus_one) | Map(stop_iteration) | Map(plus_one), range(5), replays_max=0)


def stop_iteration_in_flat_map() -> Consecutor:
    return of(FlatMap(lambda item: [stop_iteration(item)]), range(5), replays_max=0)


class StopsIteration(Node):
    def process(self, item: int) -> None:
        self.push(stop_iteration(item))


def stop_iteration_in_class() -> Consecutor:
    return of(StopsIteration(), range(5), replays_max=0)


class StopsIterationInBatch(Node):
    def process_batch(self, items: list[int]) -> list[int]:
        return [stop_iteration(item) for item in items]


def stop_iteration_in_batch() -> Consecutor:
    return of(StopsIterationInBatch(), range(5), replays_max=0)


class Exits(Node):
    def process(self, item: int) -> None:
        if item == 1:
            raise SystemExit(3)
        self.push(item)


def system_exit() -> Consecutor:
    return of(Exits(), replays_max=0)


class Panic(BaseException):
    """As an extension written in Rust raises: no Exception, so that code passes it on."""


def panics(item: int) -> int:
    if item == 1:
        raise Panic("index out of bounds")
    return item


def panic_in_map() -> Consecutor:
    return of(Map(panics), replays_max=0)


async def panics_later(item: int) -> int:
    await asyncio.sleep(0)
    return panics(item)


def panic_in_async() -> Consecutor:
    return of(Map(panics_later), replays_max=0)


class PanicsInBatch(Node):
    def process_batch(self, items: list[int]) -> list[int]:
        return [panics(item) for item in items]


def panic_in_batch() -> Consecutor:
    return of(PanicsInBatch(), replays_max=0)


def panic_in_key() -> Consecutor:
    return of(Map(plus_one, parallelism=2, key=panics) | Map(minus_one, parallelism=1), replays_max=0)


def deep(item: int) -> int:
    return deep(item) + 1 if item == 1 else item


def recursion() -> Consecutor:
    return of(Map(deep), replays_max=0)


def all_async() -> Consecutor:
    return of(Awaits() | Map(plus_one_later) | YieldsLater(grouping="shuffle"))
