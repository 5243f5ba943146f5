"""What `check` finds between consecutors."""

from __future__ import annotations

from consecution import Consecutor, Map, Node, Robustness
from consecution.between.drawing import group_spec
from consecution.cli.joined import check_links
from consecution.graph.draw import text


class Split(Node):
    def __init__(self):
        self.add_output("odd")

    def process(self, item):
        self.push(item)


class Sum(Node):
    def process(self, item):
        self.push(item)

    def finish(self):
        pass


def found(*members):
    return [(finding.where, finding.what) for finding in check_links(members)]


def test_a_consecutor_without_a_journal_behind_one_with_a_journal_is_told():
    a = Consecutor([1] | Map(abs), "a")
    b = Consecutor(Map(abs), "b", robustness=Robustness.TRACK)
    a | b
    (finding,) = found(a, b)
    assert finding[0] == "output 'default' of consecutor 'a'"
    assert "'b' keeps no journal" in finding[1]


def test_an_output_that_nothing_follows_is_told():
    a = Consecutor([1] | Split(), "a")
    assert [where for where, _ in found(a)] == ["output 'odd' of consecutor 'a'"]
    a.output["odd"] | Consecutor(Map(abs), "b")
    assert found(a) == []


def test_sums_behind_sums_are_told():
    a, b = Consecutor([1] | Sum("first"), "a"), Consecutor(Sum("second"), "b")
    a | b
    (finding,) = found(a, b)
    assert finding[0] == "node 'second' of consecutor 'b'"


def test_a_consecutor_that_nothing_feeds_is_told():
    a, b, c = Consecutor([1] | Map(abs), "a"), Consecutor(Map(abs), "b"), Consecutor(Map(abs), "c")
    [a, b] | c
    assert [where for where, _ in found(a, b, c)] == ["consecutor 'b'"]


def test_a_group_is_drawn_as_one_graph():
    a = Consecutor([1] | Split(), "a")
    b = Consecutor(Map(abs), "b")
    a.output["odd"] | b
    a.failed | Consecutor(Map(print), "c")
    drawn = text(group_spec(a.group_in_order))
    for part in ("a.split", "b.abs", "odd → b.abs", "a.failed", "dead letters", "c.print", "SequenceProducer"):
        assert part in drawn
