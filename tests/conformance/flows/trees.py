"""Flows whose trees branch, join and wait: what is known to go wrong in systems that track trees."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from consecution import Chunk, Consecutor, FlatMap, GeneratorProducer, Map, Node, merge
from tests.conformance.flows import collect, cons, folder, note

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS_S = 0.01


def left(number: int) -> tuple[str, int]:
    return "left", number


def right(number: int) -> tuple[str, int]:
    return "right", number


def broken_chunk(chunk: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if ("right", 3) in chunk:
        note("broken", chunk)
        raise ValueError("right three")
    return chunk


def roots_joined() -> Consecutor:
    """Each chunk has items of several roots, of both sources; the one with number 3 of the right source fails."""
    both = merge(range(100) | Map(left), range(100) | Map(right))
    return cons(both | Chunk(150, grouping="global") | Map(broken_chunk) | collect("out"), replays_max=0)


class Twice(Node):
    """Anchors two values at the same input."""

    def process(self, item: int) -> None:
        self.push((item, "a"))
        self.push((item, "b"))


def broken_pair(item: tuple[int, str]) -> tuple[int, str]:
    note("tried", item[1])
    if item[0] == 1:
        raise ValueError(f"one {item[1]}")
    return item


def anchored_twice() -> Consecutor:
    """Both values of item 1 fail: it is one failed item, and each attempt of it is one."""
    return cons(range(3) | Twice() | Map(broken_pair, parallelism=2) | collect("out"), replays_max=2)


def once_broken_pair(item: tuple[int, str]) -> tuple[int, str]:
    if item == (1, "b") and note("calls", item) == 0:
        raise ValueError("once")
    return item


def anchored_twice_and_mended() -> Consecutor:
    return cons(range(3) | Twice() | Map(once_broken_pair, grouping="shuffle") | collect("out"), replays_max=2)


def tripled(item: int) -> list[int]:
    return [item, item, item]


class Counts(Node):
    def setup(self) -> None:
        self.count = 0

    def process(self, item: int) -> None:
        self.count += 1

    def finish(self) -> None:
        self.push(self.count)


def global_count() -> Consecutor:
    spread = FlatMap(tripled, parallelism=2, grouping="shuffle")
    return cons(range(500) | spread | Counts(grouping="global") | collect("out"))


def slowly(item: Any) -> Any:
    time.sleep(WAITS_S)
    note("stored", item)
    return item


def slow_sink() -> Consecutor:
    """Slower than the audit's time: 20 items need longer than `timeout_s`, and one Chunk holds for as long."""
    return cons(range(20) | Map(slowly, grouping="shuffle"), timeout_s=0.05, pending_max=8)


def trickle(position: int) -> Iterator[int]:
    for number in range(position, 6):
        yield number
        time.sleep(0.1)


def held_for_long() -> Consecutor:
    """A Chunk that can't fill holds its items for ten times `timeout_s`."""
    return cons(GeneratorProducer(trickle) | Chunk(500) | collect("out"), timeout_s=0.05)


def waits_for_go(item: int) -> int:
    note("waits", item)
    while not (folder() / "go").exists():
        time.sleep(0.005)
    return item


def nothing_empties() -> Consecutor:
    """The window is full and its first item waits for a file."""
    return cons(range(20) | Map(abs) | Map(waits_for_go, name="the_slow_one", grouping="shuffle"),
                timeout_s=1.5, pending_max=4)  # fmt: skip


def count_from(position: int) -> Iterator[int]:
    yield from itertools.count(position)


def limited(position: int) -> Iterator[int]:
    yield from range(position, 300)


def to_be_paused() -> Consecutor:
    return cons(GeneratorProducer(limited) | Map(slowly, grouping="shuffle"), pending_max=10)


def endless() -> Consecutor:
    return cons(GeneratorProducer(count_from) | Chunk(7) | Map(slowly, grouping="shuffle"), pending_max=50)


def always_broken(item: int) -> int:
    note("tried", item)
    raise ValueError(item)


def never_replayed() -> Consecutor:
    return cons([1] | Map(always_broken), replays_max=0)


def replayed_five_times() -> Consecutor:
    return cons([1] | Map(always_broken), replays_max=5)


def names() -> Consecutor:
    """Two of one function, a class, a lambda and one that was named."""
    return cons([1] | Map(abs) | Map(abs) | Twice() | Map(broken_pair, name="mine") | collect("out"), replays_max=0)
