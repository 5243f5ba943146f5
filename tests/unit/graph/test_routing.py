"""What a route function may answer."""

from __future__ import annotations

import enum

import pytest

from consecution.graph import Dag, Node, Route, RouteError, instantiate, route
from consecution.graph.routing import resolver


class Step(Node):
    def process(self, item):
        self.push(item)


class Color(enum.StrEnum):
    RED = "red"


class Index:
    """As numpy's integers: no int, but an index."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


def answer(item):
    return item


by_name = resolver("answer", answer, ("red", "blue"))
by_key = resolver("answer", answer, ("red", "blue"), ("de", 7))


@pytest.mark.parametrize(("given", "index"), [(0, 0), (1, 1), ("red", 0), ("blue", 1), (None, None), (Color.RED, 0)])
def test_an_index_a_name_or_none(given, index):
    assert by_name(given) == index


def test_an_index_by_operator_index():
    assert by_name(Index(1)) == 1


@pytest.mark.parametrize("given", [-1, 2, True, False, "green", 1.0, [0], {}, b"red", Index(2), object(), ("red",)])
def test_anything_else_fails_and_lists_the_branches(given):
    with pytest.raises(RouteError, match="expected one of 'red', 'blue', or an index from 0 to 1; add a branch, or"):
        by_name(given)


@pytest.mark.parametrize(("given", "index"), [("de", 0), (7, 1), (None, None)])
def test_with_a_dict_exactly_its_keys(given, index):
    assert by_key(given) == index


@pytest.mark.parametrize("given", ["red", 0, 1, True, [], Index(0)])
def test_with_a_dict_nothing_but_its_keys(given):
    with pytest.raises(RouteError, match="which names no branch; expected one of 'de', 7; add a branch, or"):
        by_key(given)


def test_the_message_is_that_of_the_style_guide():
    by_country = resolver("by_country", answer, ("x", "y"), ("de", "us"))
    with pytest.raises(RouteError) as caught:
        by_country("fr")
    assert str(caught.value).removeprefix("route 'by_country' (answer) ") == (
        "returned 'fr', which names no branch; expected one of 'de', 'us'; "
        "add a branch, or return None to drop the item"
    )


def test_bools_are_keys_when_they_are_given_as_keys():
    pick = resolver("answer", answer, ("x", "y"), (True, False))
    assert (pick(True), pick(False)) == (0, 1)
    with pytest.raises(RouteError):
        pick(1)


def test_numbers_as_keys_are_not_bools():
    pick = resolver("answer", answer, ("x", "y"), (1, 0))
    assert (pick(1), pick(0)) == (0, 1)
    with pytest.raises(RouteError):
        pick(True)


def test_what_the_function_raises_comes_through():
    def broken(item):
        raise KeyError(item)

    with pytest.raises(KeyError):
        resolver("broken", broken, ("x", "y"))(5)


def test_the_function_is_called_once_an_item():
    calls = []
    pick = resolver("append", lambda item: calls.append(item), ("x", "y"))
    assert pick("a") is None
    assert calls == ["a"]


def test_names_are_those_of_the_first_nodes_in_a_running_copy():
    dag = Dag.of(route(answer, Step("x") | Step("x2"), Step("y")), "flow")
    pick = instantiate(dag.nodes[0]).resolver()
    assert (pick("x"), pick("y")) == (0, 1)
    with pytest.raises(RouteError):
        pick("x2")


def test_each_copy_has_its_own_round_robin():
    dag = Dag.of(Route() | [Step("x"), Step("y"), Step("z")], "flow")
    one, other = instantiate(dag.nodes[0]).resolver(), instantiate(dag.nodes[0]).resolver()
    assert [one(0) for _ in range(4)] == [0, 1, 2, 0]
    assert other(0) == 0
