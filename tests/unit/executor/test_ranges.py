"""A range goes to the first node as a range, never as a list; what each kind of node makes of it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from consecution import Broadcast, Chunk, Collect, Consecutor, Filter, FlatMap, Map, Merge, Node, Route
from consecution.producers.sequence import SequenceProducer

if TYPE_CHECKING:
    from collections.abc import Callable

ITEMS = 2_000


class Doubles(Node):
    def process_batch(self, items):
        items.reverse()  # its own list
        return [2 * item for item in items]


class Sevens(Node):
    def process_batch(self, items):
        bad = 7 in items
        items.clear()
        if bad:
            message = "seven"
            raise ValueError(message)


class Adds(Node):
    def setup(self):
        self.sum = 0

    def process(self, item):
        self.sum += item

    def finish(self):
        self.push(self.sum)


async def waits(item):
    return item


def twice(item):
    yield item
    yield item


HEADS: dict[str, tuple[Callable[[], Any], list[int]]] = {
    "function": (lambda: Map(lambda n: n + 1), list(range(1, ITEMS + 1))),
    "filter": (lambda: Filter(lambda n: n % 2), list(range(1, ITEMS, 2))),
    "generator": (lambda: FlatMap(twice), sorted([*range(ITEMS)] * 2)),
    "batch": (lambda: Doubles("doubles"), list(range(0, 2 * ITEMS, 2))),
    "async": (lambda: Map(waits), list(range(ITEMS))),
    "class": (lambda: Adds("adds"), [sum(range(ITEMS))]),
    "keyed": (lambda: Map(lambda n: n, key=lambda n: n % 7, parallelism=3), list(range(ITEMS))),
    "shuffled": (lambda: Map(lambda n: n, parallelism=3), list(range(ITEMS))),
    "to all": (lambda: Map(lambda n: n, grouping="all", parallelism=2), sorted([*range(ITEMS)] * 2)),
    "branches": (
        lambda: Broadcast() | [Map(lambda n: n, name="a"), Map(lambda n: n, name="b")] | Merge(),
        sorted([*range(ITEMS)] * 2),
    ),
    "route": (
        lambda: Route(lambda n: n % 2, name="r") | [Map(lambda n: n, name="a"), Map(lambda n: -n, name="b")] | Merge(),
        sorted(-n if n % 2 else n for n in range(ITEMS)),
    ),
    "chunk": (lambda: Chunk(10) | FlatMap(list), list(range(ITEMS))),
}


@pytest.mark.parametrize("mode", ["single", "threads"])
@pytest.mark.parametrize("head", HEADS)
def test_a_range_is_as_good_as_a_list(head, mode):
    make, expected = HEADS[head]
    for source in (range(ITEMS), list(range(ITEMS))):
        report = Consecutor(source | make() | Collect("out"), journal=None).run(mode=mode)
        assert (sorted(report.collected["out"]), report.completed) == (expected, ITEMS)


def test_a_range_is_collected_by_the_first_node():
    assert Consecutor(range(ITEMS) | Collect("out"), journal=None).run().collected["out"] == list(range(ITEMS))


def test_an_item_of_a_range_that_fails_is_replayed_and_told():
    """The node empties its list before it raises: what is tried alone comes from the range."""
    report = Consecutor(range(ITEMS) | Sevens("sevens"), replays_max=1, journal=None).run()
    assert (report.completed, report.failed, report.replayed) == (ITEMS - 1, 1, 1)
    assert [(failure.item, failure.seq, failure.attempts) for failure in report.failures] == [(7, 7, 2)]


def test_a_read_of_a_range_makes_no_list():
    producer = SequenceProducer(range(10**15))
    producer.open()
    assert producer.read(10**12).items == range(10**12)
