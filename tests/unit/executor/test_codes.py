"""The codes of many items at once are those of each item alone (protocol.md R8)."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from consecution.executor.codes import chosen_places, codes_through, simple_codes
from consecution.executor.columns import Alike, Held

places = st.lists(st.integers(0, 400), max_size=60)
origins = st.one_of(
    st.integers(0, 70_000).map(lambda start: range(start, start + 401)),
    st.lists(st.integers(0, 65_535), min_size=401, max_size=401).map(lambda codes: array("H", codes)),
    st.lists(st.integers(0, 1 << 40) | st.tuples(st.integers(0, 9)), min_size=401, max_size=401),
)


@given(places, origins)
def test_each_value_has_the_origins_of_the_item_it_was_made_of(places, origins):
    codes = simple_codes(places)
    assert list(codes_through(codes, origins)) == [origins[place] for place in places]
    assert codes == array("H", places), "the codes of the parent are shared, not changed"


@given(st.lists(st.tuples(st.integers(0, 1 << 17), st.booleans()), max_size=60))
def test_chosen_places_are_those_that_are_chosen(pairs):
    found = chosen_places([place for place, _ in pairs], bytes(is_chosen for _, is_chosen in pairs))
    assert list(found) == [place for place, is_chosen in pairs if is_chosen]


def test_places_of_several_items_are_no_codes():
    assert simple_codes([0, (1, 2)]) is None
    assert simple_codes([70_000, (1, 2)]) is None
    assert simple_codes([Held(())]) is None
    assert simple_codes(Alike(range(2), 3)) is None
    assert list(simple_codes(Alike(7, 3)) or ()) == [7, 7, 7]
    assert simple_codes(range(3, 5)) == range(3, 5)
