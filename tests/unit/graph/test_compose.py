"""Every spelling of composition, by the edges that it makes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from consecution.graph import (
    Broadcast,
    Collect,
    Dag,
    Map,
    Merge,
    Node,
    Route,
    Rows,
    Source,
    View,
    broadcast,
    merge,
    route,
)


class Step(Node):
    def process(self, item):
        self.push(item)


def steps(names):
    return [Step(name) for name in names]


def edges(thing):
    dag = Dag.of(thing, "flow")
    found = set()
    for edge in dag.edges:
        source, target = dag.names[edge.source], dag.names[edge.target]
        found.add((source, target) if edge.branch is None else (source, target, edge.branch))
    return found


def pairs(text):
    return {tuple(pair) for pair in text.split()}


def to_x(item):
    return "x"


def shout(item):
    return item.upper()


def test_pipe_links_two_nodes():
    a, b = steps("ab")
    view = a | b
    assert isinstance(view, View)
    assert edges(view) == pairs("ab")


def test_pipe_with_a_list_of_branches_and_a_closing_node():
    a, b, c, d = steps("abcd")
    assert edges(a | [b, c] | d) == pairs("ab ac bd cd")


def test_pipe_with_a_tuple_of_branches():
    a, b, c, d = steps("abcd")
    assert edges(a | (b, c) | d) == pairs("ab ac bd cd")


def test_branches_may_be_views():
    a, b, c, d, e = steps("abcde")
    assert edges(a | [b | c, d] | e) == pairs("ab bc ad ce de")


def test_nested_lists_are_nested_branches():
    a, b, c, d, e = steps("abcde")
    assert edges(a | [b, [c, d]] | e) == pairs("ab ac ad be ce de")


def test_broadcast_makes_direct_edges():
    a, x, y = steps("axy")
    assert edges(a | broadcast(x, y)) == pairs("ax ay")


def test_broadcast_takes_a_list_and_its_functions_are_branches():
    a, x = steps("ax")
    assert edges(a | broadcast([shout, x])) == {("a", "shout"), ("a", "x")}


def test_route_makes_a_node_named_after_its_function_with_numbered_branches():
    a, x, y, d = steps("axyd")
    assert edges(a | route(to_x, x, y) | d) == {
        ("a", "to_x"),
        ("to_x", "x", 0),
        ("to_x", "y", 1),
        ("x", "d"),
        ("y", "d"),
    }


def test_route_with_a_dict_keeps_its_keys():
    a, x, y = steps("axy")
    dag = Dag.of(a | route(to_x, {"de": x, "us": y}), "flow")
    assert dag.nodes[1].keys == ("de", "us")
    assert dag.spec()["nodes"][1]["branches"] == ["de", "us"]


def test_route_without_a_function_goes_round_robin():
    a, x, y = steps("axy")
    dag = Dag.of(a | route(x, y), "flow")
    pick = dag.nodes[1].resolver()
    assert [pick(None) for _ in range(5)] == [0, 1, 0, 1, 0]


def test_route_takes_none_as_round_robin():
    x, y = steps("xy")
    assert Dag.of(route(None, x, y), "flow").nodes[0].func is None


def test_one_branch_with_two_heads_is_one_branch():
    a, b, c, d = steps("abcd")
    assert edges(a | route(to_x, broadcast(b, c), d)) == {
        ("a", "to_x"),
        ("to_x", "b", 0),
        ("to_x", "c", 0),
        ("to_x", "d", 1),
    }


def test_the_same_node_may_be_two_branches_of_a_route():
    a, x = steps("ax")
    assert edges(a | route(to_x, {"de": x, "us": x})) == {("a", "to_x"), ("to_x", "x", 0), ("to_x", "x", 1)}


def test_merge_makes_no_node():
    x, y, d = steps("xyd")
    assert edges(merge(x, y) | d) == pairs("xd yd")


def test_angle_brackets_are_broadcast_and_merge():
    a, x, y, d = steps("axyd")
    view = a < [x, y] > d
    assert edges(view) == pairs("ax ay xd yd")


def test_angle_brackets_with_a_tuple():
    a, x, y, d = steps("axyd")
    view = a < (x, y) > d
    assert edges(view) == pairs("ax ay xd yd")


def test_angle_brackets_with_a_route_function_first():
    a, x, y, d = steps("axyd")
    view = a < [to_x, x, y] > d
    assert edges(view) == {("a", "to_x"), ("to_x", "x", 0), ("to_x", "y", 1), ("x", "d"), ("y", "d")}


def test_a_function_that_is_not_first_is_a_branch():
    a, x, d = steps("axd")
    view = a < [x, shout] > d
    assert edges(view) == {("a", "x"), ("a", "shout"), ("x", "d"), ("shout", "d")}


def test_angle_brackets_bind_looser_than_pipe():
    a, b, x, y, d, e = steps("abxyde")
    view = a | b < [x, y] > d | e
    assert edges(view) == pairs("ab bx by xd yd de")


def test_chained_angle_brackets_begin_at_the_first_opener():
    """Python evaluates a < L, L > d, d < M, M > e; the value is that of the last."""
    a, x, y, d, v, w, e, start = steps("axydvwes")
    view = a < [x, y] > d < [v, w] > e
    assert [node.name for node in view.entries] == ["a"]
    assert edges(start | view) == pairs("sa ax ay xd yd dv dw ve we")


def test_chained_angle_brackets_through_views():
    a, x, d, f, v, e = steps("axdfve")
    view = a < [x] > (d | f) < [v] > e
    assert [node.name for node in view.entries] == ["a"]
    assert edges(view) == pairs("ax xd df fv ve")


def test_a_view_that_is_asked_for_its_truth_does_not_stretch_the_next_statement():
    a, x, d, y, e = steps("axdye")
    view = a < [x] > d
    assert view
    following = d < [y] > e
    assert [node.name for node in following.entries] == ["d"]


def test_nested_angle_brackets():
    a, b, x, y, c, z, d = steps("abxyczd")
    view = a < [b < [x, y] > c, z] > d
    assert edges(view) == pairs("ab az bx by xc yc cd zd")


def test_two_statements_that_share_a_list():
    a, b, x, y, d, e = steps("abxyde")
    branches = [x, y]
    first = a < branches > d
    second = b < branches > e
    assert [node.name for node in second.entries] == ["b"]
    assert edges(first) == pairs("ax ay xd yd bx by xe ye")


def test_an_equal_list_is_another_list():
    a, b, x, d, e, s = steps("abxdes")
    left, right = [x], [x]
    first, second = a < left > d, b < right > e
    assert [node.name for node in first.entries + second.entries] == ["a", "b"]
    assert edges(s | [first, second]) == pairs("sa sb ax xd bx xe")


def test_a_source_opens_angle_brackets():
    rows, (x, y, d) = Rows([1]), steps("xyd")
    dag = Dag.of(rows < [x, y] > d, "flow")
    assert dag.sources == ((rows, (0, 1)),)
    assert [dag.names[place] for place in dag.entries] == ["x", "y"]


def test_the_two_statements_of_the_readme():
    b1, b2, node5 = steps(["b1", "b2", "n5"])
    producer = Rows([1, 2])
    assert isinstance(producer | broadcast(b1, b2), View)
    dag = Dag.of(merge(b1, b2) | node5, "flow")
    assert dag.sources[0] == (producer, (0, 1))
    assert {(edge.source, edge.target) for edge in dag.edges} == {(0, 2), (1, 2)}


def test_links_live_on_the_nodes_so_a_fragment_feeds_all_that_follow_it():
    a, b, c, d = steps("abcd")
    fragment = a | b
    views = fragment | c, fragment | d
    assert edges(views[0]) == pairs("ab bc bd")


def test_the_same_edge_twice_is_one():
    a, b = steps("ab")
    views = a | b, a | b
    assert len(Dag.of(views[0], "flow").edges) == 1


def test_rows_on_the_left_become_a_source():
    items, node = [1, 2, 3], Step("a")
    dag = Dag.of(items | node, "flow")
    (source, fed), *_ = dag.sources
    assert isinstance(source, Rows)
    assert source.iterable is items
    assert fed == (0,)


def test_a_list_of_nodes_on_the_left_is_branches():
    x, y, d = steps("xyd")
    assert edges([x, y] | d) == pairs("xd yd")


def test_a_list_of_functions_and_nodes_on_the_left_is_a_route():
    x, y, d = steps("xyd")
    assert ("to_x", "y", 1) in edges([to_x, x, y] | d)


def test_rows_of_rows_are_items():
    rows = [[1, 2], [3, 4]]
    view = rows | Step("a")
    assert Dag.of(view, "flow").sources[0][0].iterable is rows


def test_an_empty_list_is_no_items():
    assert Dag.of([] | Step("a"), "flow").sources[0][0].iterable == []


def test_a_generator_of_items_is_not_read_while_composing():
    read = []
    items = (read.append(n) or n for n in range(3))
    view = items | Step("a")
    assert read == []
    assert list(Dag.of(view, "flow").sources[0][0].iterable) == [0, 1, 2]


def test_an_open_file_is_kept_as_it_is(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("a\nb\n")
    with path.open() as file:
        source = Dag.of(file | Step("a"), "flow").sources[0][0]
        assert source.is_file
        assert source.iterable is file


def test_list_of_dict_items_is_the_way_for_dicts():
    source = Dag.of(list({"a": 1}.items()) | Step("a"), "flow").sources[0][0]
    assert source.iterable == [("a", 1)]


def test_numpy_and_pandas_leave_the_word_to_the_node():
    """Without __array_ufunc__ = None numpy makes one link for each element of an array."""
    assert Node.__array_ufunc__ is None
    assert View.__array_ufunc__ is None
    assert Node.__pandas_priority__ > 4000


def test_a_function_becomes_a_map_on_either_side():
    assert edges(shout | Step("a") | str.strip) == {("shout", "a"), ("a", "strip")}


def test_two_producers_merge():
    one, two, node = Rows([1]), Rows([2]), Step("a")
    dag = Dag.of(merge(one, two) | node, "flow")
    assert [source for source, _ in dag.sources] == [one, two]
    assert dag.entries == (0,)


def test_explicit_broadcast_and_merge_are_nodes():
    a, x, y, d = steps("axyd")
    assert edges(a | Broadcast([x, y]) | Merge() | d) == {
        ("a", "broadcast"),
        ("broadcast", "x"),
        ("broadcast", "y"),
        ("x", "merge"),
        ("y", "merge"),
        ("merge", "d"),
    }


def test_merge_class_around_its_branches():
    x, y, d = steps("xyd")
    assert edges(Merge([x, y]) | d) == {("x", "merge"), ("y", "merge"), ("merge", "d")}


def test_route_class_spellings_are_the_same():
    expected = {("a", "to_x"), ("to_x", "x", 0), ("to_x", "y", 1), ("x", "d"), ("y", "d")}
    for make in (
        lambda x, y: Route(to_x, x, y),
        lambda x, y: Route(to_x, [x, y]),
        lambda x, y: Route([x, y], to_x),
        lambda x, y: Route(to_x) | [x, y],
    ):
        a, x, y, d = steps("axyd")
        assert edges(a | make(x, y) | d) == expected


def test_each_link_from_a_route_node_is_a_branch():
    router, (x, y) = Route(to_x), steps("xy")
    views = router | x, router | y, router | x
    assert edges(views[0]) == {("to_x", "x", 0), ("to_x", "y", 1)}


def test_a_declared_output_can_be_linked_inside_the_graph():
    class Parse(Step):
        def __init__(self):
            self.add_output("bad")

    parse, good, bad = Parse(), Step("good"), Step("log")
    views = parse | good, parse.output["bad"] | bad
    dag = Dag.of(views[0], "flow")
    assert [(edge.target, edge.output) for edge in dag.edges] == [(1, "default"), (2, "bad")]
    assert [(output.name, output.is_async, output.nodes) for output in dag.declared] == [("bad", False, (0,))]


def test_nodes_are_told_apart_by_identity():
    """A @dataclass node compares equal to another: with == an edge vanished."""
    from dataclasses import dataclass

    @dataclass
    class Add(Node):
        amount: int

        def process(self, item):
            self.push(item + self.amount)

    a, b, c = Add(1), Add(1), Add(1)
    assert a == b
    dag = Dag.of(a | [b, c], "flow")
    assert dag.names == ("add", "add-2", "add-3")
    assert len(dag.edges) == 2


def test_a_chain_of_5000_nodes_builds():
    view = Step("first")
    for _ in range(5000):
        view = view | Step()
    dag = Dag.of(view, "flow")
    assert len(dag.nodes) == 5001
    assert dag.names[-1] == "step-5000"
    assert [(edge.source, edge.target) for edge in dag.edges] == [(n, n + 1) for n in range(5000)]


def test_collect_ends_a_branch():
    a, collect, d = Step("a"), Collect("out"), Step("d")
    assert edges(a | [collect, d]) == {("a", "out"), ("a", "d")}


def test_lambdas_are_nodes():
    assert edges(Map(lambda item: item) | Step("a")) == {("lambda", "a")}


class Reference:
    """What a fragment is, by the rules: its edges, where it begins, where it ends."""

    def __init__(self, view, found, entries, exits):
        self.view, self.found, self.entries, self.exits = view, found, entries, exits

    def then(self, other, view):
        new = {(end, begin) for end in self.exits for begin in other.entries}
        return Reference(view, self.found | other.found | new, self.entries, other.exits)


def together(parts, view=None):
    return Reference(
        view,
        set().union(*(part.found for part in parts)),
        frozenset().union(*(part.entries for part in parts)),
        frozenset().union(*(part.exits for part in parts)),
    )


@st.composite
def compositions(draw):
    count = 0

    def leaf():
        nonlocal count
        count += 1
        return Reference(Step(f"n{count}"), set(), frozenset([f"n{count}"]), frozenset([f"n{count}"]))

    def make(depth):
        form = draw(st.sampled_from(["leaf", "pipe", "list", "angle", "chain", "merge"])) if depth else "leaf"
        if form == "leaf":
            return leaf()
        first = make(depth - 1)
        if form == "pipe":
            second = make(depth - 1)
            return first.then(second, first.view | second.view)
        parts = [make(depth - 1) for _ in range(draw(st.integers(1, 3)))]
        views = draw(st.sampled_from([list, tuple]))(part.view for part in parts)
        inner = together(parts)
        last = make(depth - 1)
        if form == "merge":
            return together([first, *parts]).then(last, merge(first.view, *views) | last.view)
        if form == "list":
            return first.then(inner, None).then(last, first.view | views | last.view)
        if form == "angle":
            return first.then(inner, None).then(last, first.view < views > last.view)
        more, end = make(depth - 1), leaf()
        chained = first.then(inner, None).then(last, None).then(more, None)
        return chained.then(end, first.view < views > last.view < [more.view] > end.view)

    return make(draw(st.integers(1, 3)))


@given(compositions())
@settings(max_examples=150, deadline=None)
def test_random_compositions_make_the_edges_of_the_reference(reference):
    dag = Dag.of(reference.view, "flow")
    found = {(dag.names[edge.source], dag.names[edge.target]) for edge in dag.edges}
    assert found == reference.found
    assert len(dag.edges) == len(found)
    assert all(edge.source < edge.target for edge in dag.edges)
    if isinstance(reference.view, View):
        assert {node.name for node in reference.view.entries} == reference.entries
        assert {node.name for node, _ in reference.view.exits} == reference.exits


def test_a_user_source_feeds_nodes():
    class Ticks(Source):
        name = "ticks"

    ticks, a = Ticks(), Step("a")
    dag = Dag.of(ticks | a, "flow")
    assert dag.sources == ((ticks, (0,)),)
    assert Dag.of(ticks, "again").names == ("a",)
