"""Values by their keys: the owner of a key is the same, however many values are dealt at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from consecution.executor import outputs
from consecution.executor.outputs import Outlet, partition_of
from consecution.plan.partitions import dealt
from consecution.plan.stages import KEY

if TYPE_CHECKING:
    import pytest

TASKS = (3, 4, 9)
KEYS = st.text(max_size=3) | st.integers() | st.binary(max_size=3) | st.booleans() | st.floats() | st.tuples(st.text())


def outlet_by(key):
    return Outlet(KEY, TASKS, copy=0, key=key, node="count", node_place=0)


def fail(position, error):
    raise error


@given(st.lists(KEYS, max_size=20) | st.lists(st.text(max_size=2), max_size=20))
def test_each_key_goes_to_the_owner_of_its_partition_alone_and_among_others(keys):
    owners = dealt(TASKS)
    outlet = outlet_by(lambda item: item[0])
    shares = outlet.share([(key,) for key in keys], None, fail)
    assert sorted(place for _, _, places in shares for place in places) == list(range(len(keys)))
    for task, items, places in shares:
        assert [(keys[place],) for place in places] == items
        assert {owners[partition_of(key)] for (key,) in items} == {task}


def test_words_are_their_own_keys_and_keep_their_order_and_places():
    words = ["b", "a", "c", "a", "b"] * 10
    shares = outlet_by(str).share(words, list(range(100, 150)), fail)
    for task, items, places in shares:
        assert [words[place - 100] for place in places] == items
        assert list(places) == sorted(places)
        assert {dealt(TASKS)[partition_of(word)] for word in items} == {task}


def test_what_is_no_word_goes_by_its_text():
    shares = outlet_by(str).share([1, "1"], None, fail)
    assert [items for _, items, _ in shares] == [[1, "1"]]


def test_an_item_without_a_key_fails_alone():
    failed = []
    shares = outlet_by("k").share([{"k": 1}, {}, {"k": 1}], None, lambda position, error: failed.append(position))
    assert failed == [1]
    assert [(items, list(places)) for _, items, places in shares] == [([{"k": 1}, {"k": 1}], [0, 2])]


def test_owners_of_many_keys_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outputs, "KEYS_CACHED_MAX", 10)
    outlet = outlet_by(str)
    outlet.share([str(number) for number in range(100)], None, fail)
    assert 0 < len(outlet._owner_of[str]) <= 10


def test_of_hundreds_of_tasks_the_last_ones_can_own_keys_too():
    tasks = tuple(range(1000, 1400))
    owners = tasks[-64:]
    outlet = Outlet(KEY, tasks, copy=0, key=str, node="count", node_place=0, owners=owners)
    words = [str(number) for number in range(500)]
    for task, items, _ in outlet.share(words, None, fail):
        assert {owners[partition_of(word)] for word in items} == {task}
