"""Corners of composition that the other files don't turn."""

from __future__ import annotations

import pytest

from consecution import Consecutor, GraphError, Map, broadcast
from consecution.graph.brackets import BRACKETS_MAX, Bracket, Brackets
from consecution.graph.view import describe


def test_views_say_what_they_are_in_messages() -> None:
    view = Map(abs, name="a") | Map(abs, name="b")
    assert "a" in repr(view)
    assert repr(view).startswith("<View ")
    assert describe([1, "x", 2.5, b"y", 3]) == "[a int, a str, a float, a bytes, …]"
    assert describe(abs) == "abs"


def test_a_view_is_linked_to_a_view_on_both_sides() -> None:
    left = Map(abs, name="a") | Map(abs, name="b")
    right = Map(abs, name="c") | Map(abs, name="d")
    dag = Consecutor([1] | left | right, "corner", journal=None).dag
    assert dag.names == ("a", "b", "c", "d")
    with pytest.raises(GraphError):
        left > right  # noqa: B015


def test_a_book_of_open_brackets_forgets_its_oldest_when_it_is_full() -> None:
    """A notebook that opens brackets and never closes them must not grow for ever."""
    book = Brackets()
    lists = [[Map(abs), Map(abs)] for _ in range(BRACKETS_MAX + 1)]
    opener = Map(abs)
    first = Bracket(lists[0], opener)
    book.open(first)
    for branches in lists[1:]:
        book.open(Bracket(branches, opener))
    assert book.find(lists[0]) is None
    assert book.find(lists[-1]) is not None
    assert book.marked() is None


def test_broadcast_of_views_copies_to_each() -> None:
    graph = [1] | Map(abs, name="a") | broadcast(Map(abs, name="b") | Map(abs, name="c"), Map(abs, name="d"))
    dag = Consecutor(graph, "corner", journal=None).dag
    assert {dag.names[edge.target] for edge in dag.edges} == {"b", "c", "d"} | (set(dag.names) - {"a", "b", "c", "d"})
