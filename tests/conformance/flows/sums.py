"""Sums behind a node that fails once, after it has given something of the item, or before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from consecution import Map, Node
from consecution.executor.segments import SPILL_ITEMS
from tests.conformance.flows import collect, cons, note
from tests.conformance.flows.holders import AddsUp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from consecution import Consecutor

GUILTY = 2
MANY = 2 * SPILL_ITEMS - GUILTY  # all of them, and those of the items before, are gone when the item fails


def fail_once(item: int, calls: int = 1) -> None:
    """Raise at the guilty item's first calls."""
    if item == GUILTY and note("tries", item) < calls:
        raise ValueError("not yet")


class PushesFirst(Node):
    def process(self, item: int) -> None:
        self.push(item)
        fail_once(item)


class FailsFirst(Node):
    def process(self, item: int) -> None:
        fail_once(item)
        self.push(item)


class PushesMany(Node):
    """So many that what is behind it works on some of them before the item is done."""

    def process(self, item: int) -> None:
        for _ in range(MANY if item == GUILTY else 1):
            self.push(item)
        fail_once(item)


class PushesLater(Node):
    async def process(self, item: int) -> None:
        self.push(item)
        await asyncio.sleep(0)
        fail_once(item)


def yields_first(item: int) -> Iterator[int]:
    yield item
    fail_once(item)


async def yields_later(item: int) -> AsyncIterator[int]:
    yield item
    fail_once(item)


def fails_first(item: int) -> int:
    fail_once(item)
    return item


class BatchOnce(Node):
    """Nothing of what it pushes counts when it raises; then it is given each value alone."""

    def process_batch(self, items: list[int]) -> None:
        for item in items:
            self.push(item)
        for item in items:
            fail_once(item, calls=2)


class Uncopied:
    """A value that can't be copied the first time."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __deepcopy__(self, memo: object) -> Uncopied:
        fail_once(self.value)
        return self

    def __radd__(self, total: int) -> int:
        return total + self.value


def of(node: Any) -> Consecutor:
    return cons(list(range(5)) | node | AddsUp("sums") | collect("out"))


def pushes_first() -> Consecutor:
    return of(PushesFirst())


def pushes_many() -> Consecutor:
    return of(PushesMany())


def pushes_later() -> Consecutor:
    return of(PushesLater())


def generator() -> Consecutor:
    return of(Map(yields_first))


def async_generator() -> Consecutor:
    return of(Map(yields_later))


def no_copy() -> Consecutor:
    """Whoever gets the original has it, though the copy for the other branch fails."""
    return cons(list(range(5)) | Map(Uncopied) | [AddsUp("sums"), Map(str)] | collect("out"))


def fails_before() -> Consecutor:
    return of(FailsFirst())


def function() -> Consecutor:
    return of(Map(fails_first))


def batch() -> Consecutor:
    return of(BatchOnce())
