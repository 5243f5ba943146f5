"""Snapshots give pristine items, copies are nobody else's."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from consecution.errors import UserCodeError
from consecution.values import ATOMS, NESTED_MAX, copy_item, copy_items, keep, snapshot


@dataclass
class Row:
    tags: list[str]


class Uncopied:
    def __init__(self):
        self.lock = threading.Lock()


def test_a_snapshot_gives_the_items_as_they_were_each_time():
    items = [{"n": [1]}, 5, ("a", [2])]
    kept = snapshot(items)
    items[0]["n"].append(2)
    items.append("late")
    first = kept.restore()
    first[0]["n"].append(3)
    assert kept.restore() == [{"n": [1]}, 5, ("a", [2])]
    assert kept.one(2) == ("a", [2])
    assert len(kept) == 3


def test_each_item_of_a_batch_is_given_anew_each_time_it_is_asked_for():
    shared = [1]
    kept = snapshot([{"n": shared}, {"n": shared}])
    first, again, second = kept.one(0), kept.one(0), kept.one(1)
    first["n"].append(2)
    assert again == second == {"n": [1]}
    assert kept.restore() == [{"n": [1]}, {"n": [1]}]


@pytest.mark.parametrize(
    "value",
    [bytearray(b"x"), b"x", (1, [2]), {1, 2}, 10**40, 1j, datetime.now(UTC), Decimal("1.10"), UUID(int=7), "\ud800"],
)
def test_values_in_a_dict_are_given_back_in_their_own_types(value):
    kept = snapshot([{"value": value}])
    [given], alone = kept.restore(), kept.one(0)
    assert given == alone == {"value": value}
    assert type(given["value"]) is type(alone["value"]) is type(value)


def test_a_snapshot_knows_roughly_what_it_takes() -> None:
    text = "x" * 1_000
    for item in ({"a": text}, text, (text,)):
        assert 40 * 100 <= snapshot([item] * 100).size < 130_000, item
    assert snapshot([{"a": text}] * 100).size > 100_000
    assert snapshot([threading.Lock()] * 100).size > 100  # of an object that can't be packed: what Python says of it
    assert keep([]).size == 0


def test_a_snapshot_knows_of_items_that_no_buffer_is_in_them():
    assert snapshot([{"a": [1, (b"x", "y")]}]).is_buffer_free
    assert not snapshot([{"a": [1, (bytearray(b"x"), "y")]}]).is_buffer_free
    assert not snapshot([{"a": memoryview(b"x")}]).is_buffer_free
    assert not snapshot([bytearray(b"x")]).is_buffer_free


def test_immutable_items_are_kept_themselves():
    when = datetime.now(UTC)
    items = [when, 10**30, "text"]
    kept = snapshot(items)
    items.clear()
    assert kept.restore()[0] is when
    assert kept.one(1) == 10**30


def test_items_that_cannot_be_packed_are_copied():
    rows = [Row(["a"]), {"plain": [1]}]
    kept = snapshot(rows)
    rows[0].tags.append("b")
    rows[1]["plain"].append(2)
    kept.one(0).tags.append("c")
    assert kept.restore() == [Row(["a"]), {"plain": [1]}]


def test_a_packable_type_that_holds_something_else_is_copied():
    rows = [{"row": Row(["a"])}]
    kept = snapshot(rows)
    rows[0]["row"].tags.append("b")
    assert kept.one(0) == {"row": Row(["a"])}


def test_what_cannot_be_copied_either_stays_the_object_itself():
    thing = Uncopied()
    kept = snapshot([thing, {"n": 1}])
    assert kept.restore()[0] is thing
    assert kept.one(1) == {"n": 1}


@pytest.mark.parametrize("items", [[1, 2], [{"a": 1}, [2]], [Row([]), 1]])
def test_an_index_outside_of_the_batch_is_an_index_error(items):
    kept = snapshot(items)
    for index in (-1, 2):
        with pytest.raises(IndexError):
            kept.one(index)


@pytest.mark.parametrize(
    "item",
    [{"a": 1}, [1, [2, {"b": [3]}]], {"a": {"b": {"c": (1, [2])}}}, Row(["x"]), {"rows": [Row(["x"])]}, {1, 2}],
)
def test_a_copy_equals_its_original_and_shares_nothing_that_can_be_edited(item):
    copied = copy_item(item)
    assert copied == item
    assert type(copied) is type(item)
    assert not mutable_ids(item) & mutable_ids(copied)


def mutable_ids(value: object) -> set[int]:
    inner = vars(value).values() if isinstance(value, Row) else value.values() if isinstance(value, dict) else value
    own = {id(value)} if type(value) not in ATOMS and not isinstance(value, tuple) else set()
    if isinstance(value, (dict, list, tuple, Row)):
        own |= {found for part in inner for found in mutable_ids(part)}
    return own


def test_atoms_and_tuples_of_atoms_are_not_copied():
    item = ("a", 1)
    assert copy_item(item) is item


def test_deep_and_cyclic_items_are_copied_too():
    deep: list[object] = []
    for _ in range(NESTED_MAX + 20):
        deep = [deep]
    assert copy_item(deep) == deep
    ring: list[object] = []
    ring.append(ring)
    copied = copy_item(ring)
    assert copied is not ring


def test_what_cannot_be_copied_for_a_branch_says_so():
    with pytest.raises(UserCodeError, match="several branches can't be copied: TypeError: cannot pickle") as caught:
        copy_item({"thing": Uncopied()})
    assert caught.value.item is not None


def test_of_many_items_those_that_cant_be_copied_are_left_out_and_told_with_their_positions():
    rows = [{"a": []}, {"thing": Uncopied()}, {"b": []}]
    failed = []
    copies, positions = copy_items(rows, lambda position, error: failed.append((position, type(error))))
    assert (copies, positions) == ([rows[0], rows[2]], [0, 2])
    assert copies[0]["a"] is not rows[0]["a"]
    assert failed == [(1, UserCodeError)]
