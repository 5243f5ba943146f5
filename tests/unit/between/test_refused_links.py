"""What joining consecutors refuses: the message names them and prints the cure, and nothing is linked."""

# ruff: noqa: B015
from __future__ import annotations

import pytest

from consecution import Collect, Consecutor, GraphError, Map, Node
from consecution.between.chains import JOINTS
from consecution.producers import Pusher


class Step(Node):
    def __init__(self):
        self.add_output("x")

    def process(self, item):
        self.push(item)


def cons(name):
    return Consecutor(Step(), name, journal=None)


def is_unlinked(*consecutors):
    return not any(one.links or one.inputs for one in consecutors)


def test_a_cycle_is_refused_with_its_way_round():
    a, b, c = map(cons, "abc")
    a | b | c
    with pytest.raises(GraphError, match=r"for ever: c \| a \| b \| c; take out"):
        c | a
    with pytest.raises(GraphError, match=r"for ever: a \| a"):
        a | a
    assert not c.links


def test_two_consecutors_of_one_name_are_refused():
    a, b = cons("a"), cons("a")
    with pytest.raises(GraphError, match=r"two consecutors .* named 'a'.*name="):
        a | b
    assert is_unlinked(a, b)


def test_an_output_that_no_node_declares_is_refused_with_the_list():
    with pytest.raises(GraphError, match=r"no node of .* a declares output 'y'; it has 'default', 'x';.*add_output"):
        cons("a").output["y"]


def test_an_input_that_is_no_entry_is_refused_with_the_list():
    with pytest.raises(GraphError, match=r"no entry node 'y'; expected one of 'step'"):
        cons("a").input["y"]


def test_several_entries_are_refused_unless_one_is_named():
    two = Consecutor([Map(abs, name="l"), Map(abs, name="r")] | Collect(), "two", journal=None)
    a = cons("a")
    with pytest.raises(GraphError, match=r"two has 2 entry nodes \('l', 'r'\).*two.input"):
        a | two
    with pytest.raises(GraphError, match=r"two has 2 entry nodes"):
        [1] | two
    assert is_unlinked(a, two)


@pytest.mark.parametrize("right", [Map(abs, name="m"), abs, None, Consecutor, 7, "b"])
def test_what_is_no_consecutor_is_refused_on_the_right(right):
    a = cons("a")
    with pytest.raises(GraphError, match=r"`a \| .*expected a consecutor"):
        a | right
    with pytest.raises(GraphError, match="neither a consecutor nor an output"):
        a | [cons("b"), right]
    assert is_unlinked(a)


def test_a_node_on_the_left_is_refused_with_the_cure():
    with pytest.raises(GraphError, match=r"m is a node, and a is no node: link m inside of a consecutor"):
        Map(abs, name="m") | cons("a")


def test_a_producer_on_the_right_is_refused():
    with pytest.raises(GraphError, match="a producer begins a flow"):
        cons("a") | Pusher()


def test_text_is_refused_on_the_left():
    with pytest.raises(GraphError, match="character by character"):
        "abc" | cons("a")


def test_nothing_goes_on_behind_a_collect():
    end = Consecutor(Collect("all"), "end", journal=None)
    with pytest.raises(GraphError, match="end ends in 'all', a Collect"):
        end | cons("b")


def test_an_angle_needs_a_list():
    with pytest.raises(GraphError, match=r"`a < b`: `<` opens a list.*write a \| b"):
        cons("a") < cons("b")
    with pytest.raises(GraphError, match=r"`<` opens a list"):
        sorted([cons("a"), cons("b")])
    with pytest.raises(GraphError, match=r"`<` opens a list"):
        cons("a") < [cons("b")] | cons("c")


def test_a_greater_needs_a_less():
    with pytest.raises(GraphError, match=r"`\[b\] > c`: `>` only closes a list"):
        cons("a") | [cons("b")] > cons("c")
    with pytest.raises(GraphError, match=r"`a <= b`: consecutors have no order|a <= b: consecutors have no order"):
        cons("a") <= cons("b")


def test_an_unclosed_angle_is_refused_when_the_group_runs_and_then_forgotten():
    a, b = cons("a"), cons("b")
    [1] | a
    before = len(JOINTS)
    a < [b]
    with pytest.raises(GraphError, match=r"`a < \[b\]` is not closed"):
        a.run()
    assert len(JOINTS) == before
    assert a.run().completed == 1
    opened = a < [b]
    with pytest.raises(GraphError, match="is not closed"):
        opened | b
    assert is_unlinked(a, b)


def test_an_empty_list_is_refused():
    with pytest.raises(GraphError, match="is empty"):
        cons("a") | []
    with pytest.raises(GraphError, match="is empty"):
        cons("a") < []


def test_numpy_like_arrays_do_not_make_a_link_for_each_element():
    assert Consecutor.__array_ufunc__ is None


def test_a_group_with_a_consecutor_that_nothing_feeds_is_refused():
    a, b, c = map(cons, "abc")
    [1] | a
    [a, b] | c
    with pytest.raises(GraphError, match=r"consecutor b, which runs together with a, has no producer"):
        a.run()


def test_a_consecutor_behind_another_takes_no_items_of_consume():
    a, b = map(cons, "ab")
    a | b
    with pytest.raises(GraphError, match="has a producer, so consume"):
        b.consume([1])
    assert a.consume([1]).by_consecutor["b"].completed == 1
