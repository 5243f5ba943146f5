"""The frozen graph: order, names, entries, fingerprint, and what differs between two."""

from __future__ import annotations

import functools
import subprocess
import sys

import msgpack
import pytest

from consecution.errors import GraphError
from consecution.graph import Dag, Edge, Map, Node, compare, merge, route


class Step(Node):
    def process(self, item):
        self.push(item)


def steps(names):
    return [Step(name) for name in names]


def decide(item):
    return 0


def diamond(**options):
    a, b, c, d = *steps("abc"), Step("d", **options)
    return Dag.of(a | [b, c] | d, "flow")


def test_topological_order_breaks_ties_by_order_of_linking():
    a, b, c, d = steps("abcd")
    views = b | d, a | d, c | d
    assert Dag.of(views[0], "flow").names == ("b", "a", "c", "d")


def test_edges_are_in_order_of_linking():
    a, b, c = steps("abc")
    views = a | c, a | b, b | c
    dag = Dag.of(views[0], "flow")
    assert dag.names == ("a", "b", "c")
    assert dag.edges == (Edge(0, 2), Edge(0, 1), Edge(1, 2))
    assert dag.inputs(2) == (Edge(0, 2), Edge(1, 2))
    assert dag.outputs(0) == (Edge(0, 2), Edge(0, 1))


def test_the_whole_connected_graph_is_taken_from_any_node():
    a, b, c, d = steps("abcd")
    views = a | b, c | b, c | d
    assert views
    for node in (a, b, c, d):
        assert Dag.of(node, "flow").names == ("a", "c", "b", "d")


def test_unnamed_nodes_are_numbered_in_topological_order():
    last = Map(str.upper)
    view = Map(str.upper) | Step("upper-2") | [Map(functools.partial(str.upper)), last]
    assert Dag.of(view, "flow").names == ("upper", "upper-2", "upper-3", "upper-4")
    assert last.name == "upper-4"


def test_a_given_name_is_never_taken_by_an_unnamed_node():
    assert Dag.of(Map(decide) | Step("decide"), "flow").names == ("decide-2", "decide")


def test_entries_and_exits():
    a, b, c = steps("abc")
    dag = Dag.of(merge([1] | a, b) | c, "flow")
    assert (dag.entries, dag.exits) == ((0, 1), (2,))


def test_a_producer_in_front_of_a_later_node_makes_it_an_entry():
    a, b = steps("ab")
    views = a | b, [1, 2] | b
    dag = Dag.of(views[0], "flow")
    assert dag.entries == (0, 1)
    assert dag.sources[0][1] == (1,)


def test_a_second_dag_of_a_frozen_graph_is_fine():
    a, b = steps("ab")
    view = a | b
    one, other = Dag.of(view, "x"), Dag.of(view, "y")
    assert one.fingerprint == other.fingerprint
    with pytest.raises(GraphError, match="a belongs to consecutor x"):
        a | Step("c")


def test_one_node_or_one_function_is_a_graph():
    assert Dag.of(Step("a"), "flow").entries == (0,)
    assert Dag.of(decide, "flow").names == ("decide",)


def test_places_are_found_by_name():
    dag = diamond()
    assert dag.place("c") == 2
    with pytest.raises(GraphError, match="no node is named 'z'; expected one of 'a', 'b', 'c', 'd'"):
        dag.place("z")


def test_a_dag_cannot_be_changed():
    with pytest.raises(AttributeError):
        diamond().names = ()


def test_a_spec_travels_as_messagepack():
    a, x, y = Step("a", key=decide), *steps("xy")
    x.add_async_output("log")
    dag = Dag.of([1] | a | route(decide, {"de": x, ("t", 1): y}), "flow")
    spec = dag.spec()
    assert compare(spec, msgpack.unpackb(msgpack.packb(spec))) is None
    assert spec["nodes"][1]["branches"] == ["de", "<tuple>"]


def test_fingerprints_are_equal_for_equal_graphs():
    assert diamond().fingerprint == diamond().fingerprint
    assert len(diamond().fingerprint) == 32


def test_the_fingerprint_is_the_same_in_another_process():
    program = (
        "from consecution.graph import Dag, Map, route\n"
        "def decide(item): return 0\n"
        "view = Map(str.strip) | route(decide, {'de': Map(str.upper), 'us': Map(str.lower)})\n"
        "print(Dag.of(view, 'flow').fingerprint)"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert done[0] == done[1]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: diamond(parallelism=2), "node 'd' has parallelism 1 here and 2 there"),
        (lambda: diamond(key="id"), "node 'd' has grouping None here and 'key' there"),
        (lambda: Dag.of(Step("a") | [Step("b"), Step("z")] | Step("d"), "flow"), "node 2 is 'c' here and 'z' there"),
        (lambda: Dag.of(Step("a") | [Step("b"), Step("c")], "flow"), "node 'd' is only here"),
        (lambda: Dag.of(Step("a") | [Step("b"), Step("c")] | Step("d") | Step("e"), "flow"), "node 'e' is only there"),
        (lambda: Dag.of([1] | (Step("a") | [Step("b"), Step("c")] | Step("d")), "flow"), "the sources are [] here"),
        (lambda: Dag.of(Step("a") | Step("b") | Step("c") | Step("d"), "flow"), "'a' is linked to 'c' here, where 'b'"),
    ],
)
def test_compare_names_the_first_node_that_differs(other, words):
    one, two = diamond(), other()
    said = compare(one.spec(), two.spec())
    assert words in said
    assert "the order of a set" in said
    assert one.fingerprint != two.fingerprint


def test_an_extra_edge_is_named():
    a, b, c, d = steps("abcd")
    views = a | [b, c] | d, a | d
    said = compare(diamond().spec(), Dag.of(views[0], "flow").spec())
    assert "node 'a' is linked to 'd' only there" in said


def test_a_cycle_behind_a_long_chain_is_found_without_recursion():
    nodes = [Step(f"n{index}") for index in range(5000)]
    view = nodes[0]
    for node in nodes[1:]:
        view = view | node
    with pytest.raises(GraphError, match="round for ever"):
        Dag.of(view | nodes[10], "flow")
