"""Everything that composition refuses, by name: the message names the node and prints the cure."""

# ruff: noqa: B015
from __future__ import annotations

import asyncio
from collections import deque

import pytest

from consecution.errors import GraphError
from consecution.graph import (
    BRACKETS,
    Broadcast,
    Chunk,
    Collect,
    Dag,
    Endpoint,
    Filter,
    FlatMap,
    Map,
    Node,
    Route,
    Rows,
    Source,
    broadcast,
    merge,
    route,
)


class Step(Node):
    def process(self, item):
        self.push(item)


def steps(names):
    return [Step(name) for name in names]


def decide(item):
    return 0


def other(item):
    return item


class refused:
    """Expect a GraphError whose message holds all of the given words."""

    def __init__(self, *words):
        self.words = words

    def __enter__(self):
        self.context = pytest.raises(GraphError)
        self.info = self.context.__enter__()

    def __exit__(self, *details):
        result = self.context.__exit__(*details)
        for word in self.words:
            assert word in str(self.info.value)
        return result


@pytest.fixture(autouse=True)
def clean_brackets():
    before = len(BRACKETS)
    yield
    assert len(BRACKETS) == before, "a refused or closed bracket was not forgotten"


def test_less_without_a_list():
    a, x = steps("ax")
    with refused("`a < x`", "a | x"):
        a < x


def test_less_then_pipe():
    a, x, d = steps("axd")
    with refused("a <", "> d, not | d"):
        a < [x] | d


def test_pipe_then_greater():
    a, x, d = steps("axd")
    with refused("> d", "a < [x, y] > d"):
        a | [x] > d


def test_two_closings():
    a, x, d, e = steps("axde")
    with refused("`d > e`", "d | e"):
        a < [x] > d > e


def test_sorted_nodes():
    with refused("nodes have no order"):
        sorted(steps("ab"))


def test_max_of_nodes():
    with refused("`>` only closes"):
        max(steps("ab"))


@pytest.mark.parametrize("compare", [lambda a, b: a <= b, lambda a, b: a >= b])
def test_other_comparisons(compare):
    with refused("nodes have no order"):
        compare(*steps("ab"))


def test_greater_without_an_opening_is_found_when_the_graph_is_frozen():
    x, y, d = steps("xyd")
    [x, y] > d
    with refused("`d < [x, y]` is not closed", "[x, y] | d"):
        Dag.of(d, "flow")


def test_list_left_of_less():
    x, d = steps("xd")
    with refused("d > [x]"):
        [x] < d


@pytest.mark.parametrize("which", ["opener", "branch"])
def test_an_unclosed_less_belongs_to_its_graph_and_is_then_forgotten(which):
    a, x, y, d, e = steps("axyde")
    a < [x, y]
    bystander = d | e
    assert Dag.of(bystander, "other").names == ("d", "e")
    shown = a if which == "opener" else y
    with refused("`a < [x, y]` is not closed", "a < [x, y] > node"):
        Dag.of(shown, "flow")
    assert Dag.of(a | [x, y], "flow").names == ("a", "x", "y")


def test_an_unclosed_less_links_nothing():
    a, x = steps("ax")
    a < [x]
    with refused("not closed"):
        Dag.of(a, "flow")
    assert Dag.of(a, "flow").names == ("a",)


def test_parentheses_round_an_opening():
    a, x, d = steps("axd")
    with refused("`a < [x]` is not closed", "without parentheses", "pytest"):
        (a < [x]) > d


def test_a_pipe_behind_an_opening():
    a, x, d = steps("axd")
    opening = a < [x]
    with refused("`a < [x]` is not closed"):
        opening | d


def test_a_second_less_on_an_unmarked_list():
    """List identity alone would take `b < branches` for the closing of `a < branches`."""
    a, b, x, y = steps("abxy")
    branches = [x, y]
    a < branches
    with refused("`a < [x, y]` is not closed"):
        b < branches


def test_the_same_opener_again_after_an_error_in_the_chain():
    a, x, d = steps("axd")
    branches = [x]
    with pytest.raises(NameError):
        a < branches > missing  # noqa: F821
    dag = Dag.of(a < branches > d, "flow")
    assert dag.names == ("a", "x", "d")


def test_empty_branches():
    a, d = steps("ad")
    with refused("empty", "a | [x, y]"):
        a | []
    with refused("empty"):
        a < [] > d
    with refused("empty"):
        a < () > d
    for word in (broadcast, merge, route):
        with refused(f"{word.__name__}() has no branches"):
            word()


@pytest.mark.parametrize("make", [lambda a, x: a | [decide, x], lambda a, x: a < [decide, x] > Step("d")])
def test_a_function_and_one_branch(make):
    with refused("decide stands first", "Map(decide)"):
        make(*steps("ax"))


def test_two_functions_alone():
    with refused("decide stands first", "1 branch is left", "Map(decide)"):
        Step("a") | [decide, other]


def test_route_with_one_branch():
    with refused("route() has one branch", "Filter"):
        route(decide, Step("x"))


def test_route_with_keys_and_no_function():
    with refused("route(func, {...})"):
        route({"de": Step("x"), "us": Step("y")})


def test_route_with_a_key_none():
    with refused("key None"):
        route(decide, {None: Step("x"), "us": Step("y")})


def test_route_with_an_empty_dict():
    with refused("is empty"):
        route(decide, {})


def test_a_dict_without_route():
    with refused("on the right of `a |`", "route(func, {...})"):
        Step("a") | {"de": Step("x")}


def test_a_mixed_list_on_the_left():
    with refused("mixes nodes with items", "int"):
        [1, Step("x")] | Step("d")


def test_a_mixed_nested_list_on_the_left():
    with refused("mixes nodes with items"):
        [[1, 2], [Step("x")]] | Step("d")


def test_a_set_of_nodes_on_the_left():
    with refused("a set of nodes", "[x, y] | d"):
        {Step("x"), Step("y")} | Step("d")


def test_a_set_of_nodes_on_the_right():
    with refused("write a list [x, y]"):
        Step("a") | {Step("x"), Step("y")}


def test_a_collection_of_nodes_that_is_no_list():
    with refused("a deque", "[x, y] | d"):
        deque(steps("xy")) | Step("d")


def test_a_scalar_whose_items_only_raise():
    class Scalar:
        def __getitem__(self, index):
            raise TypeError

        __iter__ = None

    with refused("can't be iterated"):
        Scalar() | Step("a")


def test_a_generator_of_nodes_on_the_left_is_refused_when_it_is_read():
    view = (Step(name) for name in "xy") | Step("d")
    with refused("iterator of nodes", "[x, y] | d"):
        list(Dag.of(view, "flow").sources[0][0].iterable)


@pytest.mark.parametrize("text", ["abc", b"abc", bytearray(b"abc")])
def test_text_on_the_left(text):
    with refused("`| a`", "write [s] | a"):
        text | Step("a")


def test_a_set_of_items_on_the_left():
    with refused("write sorted(s) | a"):
        {1, 2} | Step("a")


def test_a_dict_on_the_left():
    with refused("list(d.items()) | a"):
        {"a": 1} | Step("a")


def test_an_async_iterable_on_the_left():
    async def items():
        yield 1

    agen = items()
    with refused("GeneratorProducer"):
        agen | Step("a")
    asyncio.run(agen.aclose())


@pytest.mark.parametrize("thing", [1, 2.5, None, object()])
def test_what_cannot_be_iterated_on_the_left(thing):
    with refused("can't be iterated", "write [x] | a"):
        thing | Step("a")


def test_a_table_on_the_left():
    class Frame(list):
        def itertuples(self):
            return iter(())

    class Table:
        __iter__ = list.__iter__
        itertuples = Frame.itertuples

    with refused("itertuples"):
        Table() | Step("a")


def test_a_class_instead_of_a_node():
    with refused("Step on the right of `a |` is a class", "write Step()"):
        Step("a") | Step
    with refused("write Step()"):
        Step | Step("a")
    with refused("write Step()"):
        Step("a") | [Step, Step("x")]
    with refused("write Step()"):
        broadcast(Step, Step("x"))
    with refused("write Step()"):
        Dag.of(Step, "flow")


@pytest.mark.parametrize("thing", ["b", 3, None, 2.5])
def test_what_is_no_node_on_the_right(thing):
    with refused("on the right of `a |` is not a node"):
        Step("a") | thing


def test_what_is_no_node_among_branches():
    with refused("in the list of branches beside a is not a node"):
        Step("a") | [Step("x"), 5]


def test_indexing_a_node():
    with refused("a['b']", "`|` seems to be missing", "a.output['b']"):
        Step("a")["b"]


def test_iterating_and_membership_are_closed():
    a = Step("a")
    with pytest.raises(TypeError):
        iter(a)
    with pytest.raises(TypeError):
        1 in a
    with pytest.raises(TypeError):
        list(a | Step("b"))


def test_a_producer_in_the_middle():
    class Ticks(Source):
        name = "ticks"

    ticks, a, d = Ticks(), *steps("ad")
    for make in (
        lambda: a | ticks,
        lambda: a | [ticks, d],
        lambda: a | merge(ticks, d),
        lambda: [1] | ticks,
        lambda: a < [d] > ticks,
        lambda: route(decide, ticks, d),
        lambda: a | (ticks | d),
    ):
        with refused("producer ticks", "ticks | node"):
            make()


def test_a_producer_alone():
    with refused("has no node", "| node"):
        Dag.of(Rows([1]), "flow")


def test_nothing_connects_a_list():
    with refused("consecutor flow was given [x, y]", "merge(x, y)"):
        Dag.of(steps("xy"), "flow")


def test_a_name_for_a_graph():
    with refused("'flow'", "Consecutor(graph, name)"):
        Dag.of("flow", "consecutor")


def test_a_frozen_node_cannot_be_linked():
    writer, d = steps(["writer", "d"])
    Dag.of(writer, "x")
    for make in (
        lambda: writer | d,
        lambda: d | writer,
        lambda: [1] | writer,
        lambda: d | [writer, Step()],
        lambda: writer < [d] > Step(),
        lambda: route(decide, writer, d),
    ):
        with refused("writer belongs to consecutor x", "make a second one, or build the flow in a function"):
            make()


def test_a_refused_link_links_nothing():
    a, b, frozen = steps("abf")
    Dag.of(frozen, "x")
    with refused("f belongs to consecutor x"):
        a | [b, frozen]
    assert Dag.of(a, "y").names == ("a",)


def test_a_frozen_node_cannot_be_renamed_or_get_outputs():
    a = Step("a")
    Dag.of(a, "x")
    with refused("keeps its name"):
        a.name = "b"
    with refused("in __init__"):
        a.add_output("late")


def test_a_cycle_is_walked_in_the_message():
    a, b, c = steps("abc")
    view = a | b | c | a
    with refused("a → b → c → a", "c | a"):
        Dag.of(view, "flow")


def test_a_node_that_feeds_itself():
    a = Step("a")
    with refused("a → a"):
        Dag.of(a | a, "flow")


def test_a_refused_graph_is_not_frozen():
    a, b = Step("a"), Step("a")
    view = a | b
    with refused("two nodes are named 'a'", "another name="):
        Dag.of(view, "flow")
    b.name = "b"
    assert Dag.of(view, "flow").names == ("a", "b")


def test_a_route_to_nowhere():
    with refused("route decide leads nowhere", "decide | [x, y]"):
        Dag.of(Step("a") | Route(decide), "flow")


def test_something_behind_a_collect():
    with refused("out is a Collect", "d follows"):
        Dag.of(Step("a") | Collect("out") | Step("d"), "flow")


def test_a_node_with_process_and_process_batch():
    class Both(Step):
        def process_batch(self, items):
            return items

    with refused("both (Both) overrides both"):
        Dag.of(Both(), "flow")


def test_a_node_with_neither():
    class Neither(Node):
        pass

    with refused("neither (Neither) overrides neither"):
        Dag.of(Neither(), "flow")


def test_on_timer_without_every():
    class Tick(Step):
        def on_timer(self):
            self.push(1)

    with refused("every=timedelta"):
        Dag.of(Tick(), "flow")


def test_an_undeclared_output():
    with refused("a has no output 'bad'", "self.add_output('bad')"):
        Step("a").output["bad"]


def test_a_blocking_output_asked_for_as_async():
    node = Step("a")
    node.add_output("bad")
    with refused("write output['bad']"):
        node.async_output["bad"]
    node.add_async_output("late")
    with refused("write async_output['late']"):
        node.output["late"]


def test_an_output_blocking_here_and_async_there():
    a, b = steps("ab")
    a.add_output("bad")
    b.add_async_output("bad")
    with refused("blocking in a and async in b"):
        Dag.of(a | b, "flow")
    with refused("as blocking and as async"):
        a.add_async_output("bad")


def test_the_output_default_cannot_be_declared():
    with refused("'default', which every node has"):
        Step("a").add_output("default")


@pytest.mark.parametrize("name", ["output", "async_output", "downstream", "push"])
def test_our_attributes_cannot_be_assigned(name):
    with refused(f"a: self.{name} = 5", f"self.my_{name}"):
        setattr(Step("a"), name, 5)


@pytest.mark.parametrize("name", ["output", "async_output", "downstream", "push"])
def test_our_attributes_cannot_be_defined_in_a_class(name):
    with refused(f"class Mine defines {name}"):
        type("Mine", (Node,), {name: 5})


@pytest.mark.parametrize("name", ["", "  ", "a\nb", 5, "x" * 201])
def test_a_name_that_is_none(name):
    with refused("a node's name is"):
        Step(name)


def test_a_function_as_a_name():
    with refused("write Map(function)"):
        Broadcast(name=decide)


@pytest.mark.parametrize("kind", [Map, Filter, FlatMap])
@pytest.mark.parametrize("thing", [5, "abc", Step, None])
def test_a_function_node_of_no_function(kind, thing):
    with refused(f"{kind.__name__}(", "expected a function"):
        kind(thing)


@pytest.mark.parametrize("make", [Filter, FlatMap, Route, lambda func: Chunk(batch_by=func)])
def test_async_functions_whose_answer_is_needed_at_once(make):
    async def answer(item):
        return item

    with refused("(answer): the function is async"):
        make(answer)


def test_consecutors_inside_a_list():
    with refused("cons.output['a'] | cons2"):
        Step("a") | [Endpoint(), Step("x")]


def test_push_outside_of_a_run():
    with refused("push was called on a, which is not running", "template"):
        Step("a").push(1)
    with refused("hold was called on a"):
        Step("a").hold()
    with refused("push was called"):
        Step("a").downstream.send(1)
