"""Places of what batch nodes give: known for each value, kept once for all of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from consecution import Collect, Consecutor, Map, Node, Robustness
from consecution.executor.batching import run_batch
from consecution.executor.columns import Alike, Held, compose, join_places


class Plus(Node):
    def process_batch(self, items):
        return [item + 1 for item in items]


class OneByOne(Node):
    def process_batch(self, items):
        for item in items:
            self.push(item)


class KeepsItsList(Node):
    def setup(self):
        self.given = []

    def process_batch(self, items):
        self.given[:] = items
        return self.given


def test_alike_places_are_a_sequence():
    alike = Alike(range(2), 3)
    assert (len(alike), alike[0], alike[-1], alike[1:]) == (3, range(2), range(2), [range(2), range(2)])
    with pytest.raises(IndexError):
        alike[3]


def test_places_that_are_the_same_join_to_that_one():
    place = range(5)
    assert join_places(Alike(place, 3), None) is place
    assert join_places([place, place], None) is place


def test_places_that_differ_join_to_all_their_items():
    assert join_places([3, range(2), (7, 3)], None) == (0, 1, 3, 7)


def test_positions_in_an_alike_column_stay_alike():
    assert type(compose([0, 2], Alike(range(4), 3))) is Alike


def test_what_a_holder_kept_keeps_its_place_in_an_alike_column():
    held = Held(())
    assert compose([held, 1], Alike(range(4), 3)) == [held, range(4)]


@pytest.mark.parametrize("kind", [Plus, OneByOne, KeepsItsList])
def test_batch_nodes_in_a_row_cost_no_more_than_their_batches(kind):
    """Joining the places of all values, for each node or push anew, once took a minute for a million of them."""
    nodes = [kind(f"n{number}") for number in range(6)]
    flow = range(50_000) | nodes[0]
    for node in nodes[1:]:
        flow = flow | node
    report = Consecutor(flow | Collect("out"), journal=None).run()
    assert len(report.collected["out"]) == report.completed == 50_000


def test_one_bad_value_behind_batch_nodes_fails_its_item_alone():
    flow = range(2_000) | Plus("a") | Plus("b") | Map(lambda n: 100 // (n - 1_002)) | Collect("out")
    report = Consecutor(flow, robustness=Robustness.REPLAY, replays_max=2, journal=None).run()
    assert (report.completed, report.failed) == (1_999, 1)
    assert (report.failures[0].seq, report.failures[0].attempts) == (1_000, 3)


def given_by(node: Node, items: list[int]) -> list[Any]:
    """What a call of a batch node comes to."""
    runtime: Any = SimpleNamespace(context=None)
    hooks: Any = None
    [(output, values, places)] = run_batch(node, "n", runtime, hooks, items, None, work=None, fail_at=None)
    assert (output, list(places)) == ("default", [range(3)] * 3)
    return values


def test_a_list_that_a_node_keeps_is_copied():
    node = KeepsItsList("n")
    node.setup()
    values = given_by(node, [1, 2, 3])
    node.given.clear()
    assert values == [1, 2, 3]


def test_a_list_that_a_node_keeps_elsewhere_is_copied():
    class Remembers(Node):
        def process_batch(self, items):
            made.append([item + 1 for item in items])
            return made[-1]

    made: list[list[int]] = []
    values = given_by(Remembers("n"), [1, 2, 3])
    made.pop().clear()
    assert values == [2, 3, 4]


def test_a_list_that_nobody_else_has_is_not_copied():
    class Gives(Node):
        def process_batch(self, items):
            given = [item + 1 for item in items]
            numbers.append(id(given))
            return given

    numbers: list[int] = []
    assert id(given_by(Gives("n"), [1, 2, 3])) == numbers[0]


def test_a_node_may_change_the_list_that_it_gets():
    class Empties(Node):
        def process_batch(self, items):
            given = items.copy()
            items.clear()
            return given

    items = [1, 2, 3]
    assert given_by(Empties("n"), items) == items == [1, 2, 3]
