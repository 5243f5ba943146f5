from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from consecution.guarantee.ranges import Ranges

PIECES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(mark=st.integers(0, 20), pieces=PIECES)
def test_ranges_hold_what_a_set_holds(mark: int, pieces: list[tuple[int, int]]) -> None:
    ranges, numbers = Ranges(mark), set(range(mark))
    for start, length in pieces:
        ranges.add(start, start + length)
        numbers |= set(range(start, start + length))
        ranges.check_invariants()
        assert [number for number in range(90) if number in ranges] == sorted(numbers)
        assert ranges.mark == next(number for number in range(100) if number not in numbers)
        gaps = [number for gap in ranges.missing(80) for number in gap]
        assert gaps == [number for number in range(80) if number not in numbers]
        assert ranges.numbers_above == sum(number > ranges.mark for number in numbers)
    assert Ranges(ranges.mark, list(ranges)) == ranges
    assert Ranges(ranges.mark, reversed(list(ranges))) == ranges


def test_finished_above_a_slow_item_survive_as_mark_and_ranges() -> None:
    """Schedule 10. 1. Items 2 … 900 are finished. 2. Item 1 is slow. 3. Killed: a restart must skip 2 … 900."""
    ranges = Ranges(1)
    for seq in range(2, 901):
        ranges.add(seq, seq + 1)
    assert (ranges.mark, list(ranges)) == (1, [(2, 901)])
    assert list(Ranges(1, list(ranges)).missing(905)) == [range(1, 2), range(901, 905)]
    ranges.add(1, 2)
    assert (ranges.mark, list(ranges)) == (901, [])


def test_a_copy_does_not_change_with_its_original() -> None:
    ranges = Ranges(0, [(3, 5)])
    copy = ranges.copy()
    ranges.add(5, 9)
    ranges.add(0, 3)
    assert (copy.mark, list(copy)) == (0, [(3, 5)])


def test_the_in_order_end_does_not_grow_with_what_is_there() -> None:
    def seconds(ranges: Ranges, first: int, step: int) -> float:
        started = time.perf_counter()
        for start in range(first, first + 20_000 * step, step):
            ranges.add(start, start + 1)
        return time.perf_counter() - started

    many = Ranges(0, ((start, start + 1) for start in range(2, 100_000, 2)))
    assert seconds(many, 200_000, 2) < 20 * seconds(Ranges(0), 200_000, 2) + 0.1
    assert len(many) == 49_999 + 20_000
