"""Consecutors joined by their outputs: what each spelling links."""

from __future__ import annotations

import pytest

from consecution import Collect, Consecutor, Map, Node
from consecution.between.links import downstream_of, group_of


class Split(Node):
    def __init__(self, *outputs, tap=None):
        for name in outputs:
            self.add_output(name)
        if tap is not None:
            self.add_async_output(tap)

    def process(self, item):
        self.push(item)


def cons(name=None, *outputs, tap=None):
    return Consecutor(Split(*outputs, tap=tap), name, journal=None)


def links_of(*consecutors):
    members = {id(one): one for each in consecutors for one in group_of(each)}
    return {
        (one.name, link.output, link.target.name)
        for one in members.values()
        for link in one.links
        if not link.is_failed
    }


def test_a_bar_links_the_default_output_and_gives_the_right_side():
    a, b = cons("a"), cons("b")
    assert (a | b) is b
    assert links_of(a) == {("a", "default", "b")}


def test_a_named_output_is_linked_by_its_name():
    a, b = cons("a", "late"), cons("b")
    assert (a.output["late"] | b) is b
    assert links_of(a) == {("a", "late", "b")}
    assert not a.links[0].is_async


def test_an_async_output_is_linked_alike_and_stays_async():
    a, b = cons("a", tap="tap"), cons("b")
    a.output["tap"] | b
    assert a.links[0].is_async
    assert a.output["tap"].is_async


def test_in_the_middle_an_output_is_entered_by_the_entry_and_left_by_that_output():
    a, b, c = cons("a"), cons("b", "x"), cons("c")
    assert (a | b.output["x"] | c) is c
    assert links_of(a) == {("a", "default", "b"), ("b", "x", "c")}


def test_the_chain_of_the_seed():
    a, b, c, d, e = cons("a", "a"), cons("b", "a"), cons("c", "b"), cons("d", "a"), cons("e")
    result = a.output["a"] < [b.output["a"], c.output["b"]] > d.output["a"] | e
    assert result is e
    assert links_of(a) == {("a", "a", "b"), ("a", "a", "c"), ("b", "a", "d"), ("c", "b", "d"), ("d", "a", "e")}


def test_a_chain_of_brackets():
    a, b, c, d, e, f, g = map(cons, "abcdefg")
    result = a < [b, c] > d < (e, f) > g
    assert result is g
    assert links_of(a) == {
        ("a", "default", "b"), ("a", "default", "c"), ("b", "default", "d"), ("c", "default", "d"),
        ("d", "default", "e"), ("d", "default", "f"), ("e", "default", "g"), ("f", "default", "g"),
    }  # fmt: skip


def test_a_link_that_stands_before_a_chain_is_no_part_of_it():
    a, b, c, d, e = map(cons, "abcde")
    d | e
    result = a < [b, c] > e
    assert result is e
    assert ("b", "default", "e") in links_of(a)
    assert ("b", "default", "d") not in links_of(a)


def test_lists_on_both_sides_of_a_bar():
    a, b, c, d = map(cons, "abcd")
    assert (a | [b, c] | d) is d
    assert links_of(a) == {
        ("a", "default", "b"), ("a", "default", "c"), ("b", "default", "d"), ("c", "default", "d"),
    }  # fmt: skip
    e, f = cons("e", "x"), cons("f")
    assert ([e.output["x"], d] | f) is f
    assert {("e", "x", "f"), ("d", "default", "f")} < links_of(a)


def test_a_named_input_is_the_entry_of_that_name():
    left, right = Map(abs, name="left"), Map(abs, name="right")
    both = Consecutor([left, right] | Collect("out"), "both", journal=None)
    assert ([1] | both.input["left"]) is both
    assert (cons("a") | both.input["right"]) is both
    assert sorted(both.input) == ["left", "right"]
    assert [both.dag.names[entries[0]] for _, entries in both.feeds] == ["left", "right"]
    assert both.feeds[1][0].name == "a.default"


def test_the_same_link_twice_is_one():
    a, b = cons("a"), cons("b")
    a | b
    a.output["default"] | b
    assert len(a.links) == 1


def test_dead_letters_are_an_output():
    a, alert = cons("a"), cons("alert")
    assert (a.failed | alert) is alert
    assert [(link.output, link.is_failed) for link in a.links] == [("failed", True)]
    assert a.run_dag is a.dag, "no node pushes dead letters, so there is no door for them"


def test_outputs_are_listed_and_a_door_is_drawn_for_each_link():
    a, b = cons("a", "x", tap="y"), cons("b")
    assert list(a.output) == ["default", "x", "y"]
    a.output["x"] | b
    assert a.run_dag.names == ("split", "x → b.split")
    assert [(edge.source, edge.target, edge.output) for edge in a.run_dag.edges] == [(0, 1, "x")]
    assert a.dag.names == ("split",)


def test_a_group_is_ordered_by_its_links():
    c, b, a = cons("c"), cons("b"), cons("a")
    a | b | c
    assert [one.name for one in c.group_in_order] == ["a", "b", "c"]
    assert c.group == {a, b, c}
    assert downstream_of(a) == [b, c]
    assert downstream_of(c) == []


def test_consecutors_without_a_name_get_one_each_when_they_are_joined():
    a, b, c = cons(), cons(), cons("other")
    assert a.name == b.name == "test_composition"
    a | b | c
    assert [one.name for one in (a, b, c)] == ["test_composition", "test_composition-2", "other"]
    assert b.feeds[0][0].name == "test_composition.default"


@pytest.mark.parametrize("order", [1, -1])
def test_names_do_not_hang_on_the_order_of_linking(order):
    a, b = cons(), cons()
    for one, other in [(a, "x"), (b, "y")][::order]:
        one | cons(other)
    a.output["default"] | b
    assert [a.name, b.name] == ["test_composition", "test_composition-2"]
