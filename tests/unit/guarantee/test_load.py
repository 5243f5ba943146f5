"""What travels under one root, and the values that it came with."""

from __future__ import annotations

import pytest

from consecution.guarantee.load import Load, NoSnapshot, ranges_of
from consecution.values import keep, snapshot


def test_a_load_gives_its_items_fresh_whole_or_by_index() -> None:
    load = Load(range(7, 10), snapshot([["a"], ["b"], ["c"]]))
    load.items()[0].append("edited")
    load.one(1).append("edited")
    assert load.items() == [["a"], ["b"], ["c"]]
    assert load.one(1) == ["b"]


def test_a_part_of_a_part_names_the_same_items_and_keeps_the_losses() -> None:
    load = Load(range(10, 14), keep(["a", "b", "c", "d"]), losses=2)
    part = load.part([1, 3])
    assert (part.seqs, part.items(), part.one(1), part.losses) == ((11, 13), ["b", "d"], "d", 2)
    last = part.part([1])
    assert (last.seqs, last.items(), last.one(0), last.losses) == ((13,), ["d"], "d", 2)


@pytest.mark.parametrize(("attempts", "is_suspect", "is_solo"), [(0, False, False), (1, False, True), (0, True, True)])
def test_an_item_that_failed_or_is_suspect_travels_alone(attempts: int, is_suspect: bool, is_solo: bool) -> None:
    assert Load([1], keep(["a"]), attempts=attempts, is_suspect=is_suspect).is_solo is is_solo


def test_where_nobody_will_ask_for_values_none_are_kept() -> None:
    load = Load(range(2), NoSnapshot())
    assert load.items() == []
    assert load.one(1) is None


@pytest.mark.parametrize(
    ("seqs", "ranges"),
    [(range(3, 5), [range(3, 5)]), (range(0), []), ((), []), ((4, 5, 8), [range(4, 6), range(8, 9)])],
)
def test_numbers_become_ranges(seqs: object, ranges: list[range]) -> None:
    assert ranges_of(seqs) == ranges  # type: ignore[arg-type]
