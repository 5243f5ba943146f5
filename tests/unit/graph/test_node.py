"""Nodes: our state apart from the user's, running copies, kinds, options, Chunk."""

from __future__ import annotations

import copy
import json
import threading
from dataclasses import dataclass
from datetime import timedelta

import pytest

from consecution.errors import GraphError
from consecution.graph import Chunk, Collect, Dag, Filter, FlatMap, Map, Node, NodeOptions, Route, instantiate, kinds


class Step(Node):
    def process(self, item):
        self.push(item)


class Runtime:
    """A recording runtime with a clock that the test sets."""

    def __init__(self):
        self.pushed, self.released, self.failed, self.time, self.tokens = [], [], [], 0.0, 0

    def push(self, item, output, of):
        self.pushed.append((item, output, of))

    def hold(self):
        self.tokens += 1
        return self.tokens

    def release(self, tokens):
        self.released.extend(tokens)

    def fail(self, index, error):
        self.failed.append((index, error))

    def now(self):
        return self.time


def running(node):
    made = instantiate(node)
    made._slot.runtime = Runtime()
    return made, made._slot.runtime


# -- our state and the user's


def test_a_subclass_need_not_call_our_init():
    class Mine(Node):
        def __init__(self, factor):
            self.factor = factor

        def process(self, item):
            self.push(item * self.factor)

    made, runtime = running(Mine(3))
    made.process(2)
    assert runtime.pushed == [(6, "default", None)]
    assert vars(made) == {"factor": 3}


def test_user_attributes_never_change_ours():
    class Mine(Step):
        def __init__(self):
            self.options_ = self.parallelism = 7
            self.links = self.runtime = self.key = "mine"

    node = Mine()
    assert Dag.of(node | Step("b"), "flow").nodes[0].options == NodeOptions()
    assert instantiate(node).links == "mine"


def test_name_is_set_until_the_freeze_and_taken_from_the_class_there():
    class HTTPWriter(Step):
        pass

    named, unnamed = HTTPWriter(), HTTPWriter()
    named.name = "out"
    assert unnamed.name is None
    Dag.of(unnamed | named, "flow")
    assert (named.name, unnamed.name) == ("out", "http_writer")


def test_a_dataclass_field_called_name_names_the_node():
    @dataclass
    class Mine(Node):
        name: str

        def process(self, item):
            self.push(item)

    assert Dag.of(Mine("first"), "flow").names == ("first",)


def test_outputs_push_by_name():
    class Parse(Step):
        def __init__(self):
            self.add_output("bad")
            self.add_async_output("log")

        def process(self, item):
            self.output["bad"].send(item)
            self.async_output["log"].send(item)
            self.downstream.send(item)

    made, runtime = running(Parse())
    made.process(1)
    assert runtime.pushed == [(1, "bad", None), (1, "log", None), (1, "default", None)]


def test_the_runner_may_replace_push_in_a_copy():
    made, _ = running(Step())
    got = []
    made._push = got.append
    made.process(4)
    made.downstream.send(5)
    assert got == [4, 5]


def test_hold_release_and_fail_reach_the_runtime():
    made, runtime = running(Step())
    made.release([made.hold()])
    error = ValueError("x")
    made.fail(3, error)
    assert (runtime.released, runtime.failed) == ([1], [(3, error)])


# -- running copies


def test_a_copy_has_its_own_attributes_and_no_links():
    class Mine(Step):
        def __init__(self):
            self.seen = self.again = []

    node = Mine()
    Dag.of(Step("a") | node | Step("b"), "flow")
    one, other = instantiate(node), instantiate(node)
    one.seen.append(1)
    assert (one.again, other.seen, node.seen) == ([1], [], [])
    assert (one._slot.inputs, one._slot.outputs) == ([], [])
    assert one.name == "mine"
    with pytest.raises(GraphError, match="belongs to consecutor flow"):
        one | Step("c")


def test_slots_are_copied_private_ones_too():
    class Mine(Step):
        __slots__ = ("__secret", "never", "seen")

        def __init__(self):
            self.seen, self.__secret = [], [5]

        def secret(self):
            return self.__secret

    node = Mine()
    made = instantiate(node)
    made.seen.append(1)
    assert node.seen == []
    assert made.secret() == [5]
    assert made.secret() is not node.secret()
    assert not hasattr(made, "never")


@pytest.mark.parametrize(
    "value", [threading.Lock(), (n for n in range(3)), {"deep": [threading.Event()]}], ids=["lock", "generator", "deep"]
)
def test_what_cannot_be_copied_is_refused_by_node_and_attribute(value):
    class Mine(Step):
        def __init__(self):
            self.handle = value

    with pytest.raises(GraphError, match=r"mine\.handle is a \w+ that can't be copied .* create it in setup\(\)"):
        instantiate(Mine())


def test_an_attribute_may_lead_back_to_its_node():
    class Mine(Step):
        def __init__(self):
            self.me, self.bound = self, self.process

    made = instantiate(Mine())
    assert made.me is made
    assert made.bound.__self__ is made


def test_a_node_kept_as_an_attribute_is_copied_without_its_links():
    inner = Step("inner")
    linked = inner | Step("z")
    assert linked

    class Outer(Step):
        def __init__(self):
            self.inner = inner

    made = instantiate(Outer())
    assert made.inner is not inner
    assert made.inner._slot.outputs == []


def test_a_composition_kept_as_an_attribute_is_refused():
    class Outer(Step):
        def __init__(self):
            self.flow = Step("a") | Step("b")

    with pytest.raises(GraphError, match=r"outer\.flow .* only nodes can be copied"):
        instantiate(Outer())


def test_modules_and_functions_stay_themselves():
    class Mine(Step):
        def __init__(self):
            self.json, self.func = json, str.upper

    made = instantiate(Mine())
    assert made.json is json
    assert made.func is str.upper


def test_a_second_node_is_made_by_copy():
    node = Step("a", parallelism=3)
    Dag.of(node | Step("b"), "flow")
    for again in (copy.copy(node), copy.deepcopy(node)):
        assert again.options.parallelism == 3
        assert Dag.of(again, "other").names == ("a",)


# -- kinds


def test_kinds_are_told_by_what_is_overridden():
    class Batch(Node):
        def process_batch(self, items):
            return items

    class Sum(Step):
        def finish(self):
            self.push(0)

    class Hold(Sum):
        def flush(self):
            pass

    class Quiet(Step):
        async def process(self, item):
            self.push(item)

    class Louder(Map):
        def process(self, item):
            self.push(item)

    async def fetch(item):
        return item

    table = {
        kinds.is_batch: [Batch()],
        kinds.is_holder: [Hold(), Chunk(5)],
        kinds.is_accumulating: [Sum(), Collect()],
        kinds.is_function: [Map(str), Filter(str), FlatMap(str), Map(fetch)],
        kinds.is_route: [Route()],
        kinds.is_async: [Quiet(), Map(fetch)],
        kinds.is_collect: [Collect()],
    }
    everything = [Step(), Louder(str), *(node for nodes in table.values() for node in nodes)]
    for ask, nodes in table.items():
        expected = {type(node) for node in nodes} - {Map} | ({Map} if ask in (kinds.is_function,) else set())
        for node in everything:
            is_async_map = isinstance(node, Map) and not isinstance(node, Louder) and node.func is fetch
            wanted = type(node) in expected or (ask is kinds.is_async and is_async_map)
            assert ask(node) is wanted, (ask, node)
    assert kinds.items_held_max(Chunk(7)) == 7
    assert kinds.items_held_max(Step()) == 0


# -- options


def test_a_key_implies_its_grouping():
    assert NodeOptions(key="id").grouping == "key"
    assert NodeOptions(key=0, grouping="partial_key").grouping == "partial_key"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parallelism": 0}, "parallelism=0"),
        ({"parallelism": True}, "parallelism=True"),
        ({"parallelism": 2.0}, "parallelism=2.0"),
        ({"concurrency": -1}, "concurrency=-1"),
        ({"grouping": "random"}, "grouping='random'; expected one of"),
        ({"grouping": len}, "the function that gives an item's key is key=, not grouping="),
        ({"grouping": "key"}, "without a key"),
        ({"key": "id", "grouping": "shuffle"}, "key= excludes grouping='shuffle'"),
        ({"key": 1.5}, "key=1.5"),
        ({"process_timeout_s": 0}, "process_timeout_s=0"),
        ({"process_timeout_s": float("nan")}, "process_timeout_s=nan"),
        ({"every": 5}, "every=5"),
        ({"every": timedelta(0)}, "timedelta above 0"),
    ],
)
def test_a_wrong_option_names_the_node(options, words):
    with pytest.raises(GraphError) as caught:
        Step("a", **options)
    assert str(caught.value).startswith("a: ")
    assert words in str(caught.value)


# -- Chunk


def test_a_chunk_pushes_when_it_is_full_and_keeps_the_rest_open():
    chunk, runtime = running(Chunk(2))
    for item in "abc":
        chunk.process(item)
    assert runtime.pushed == [(["a", "b"], "default", [1, 2])]
    chunk.flush()
    chunk.flush()
    assert runtime.pushed[1:] == [(["c"], "default", [3])]


def test_a_chunk_by_value_begins_anew_when_the_value_changes_or_it_is_full():
    chunk, runtime = running(Chunk(batch_by=str.lower, at_most=2))
    for item in "aAab":
        chunk.process(item)
    chunk.flush()
    assert [items for items, _, _ in runtime.pushed] == [["a", "A"], ["a"], ["b"]]


def test_an_item_whose_value_fails_is_not_held():
    chunk, runtime = running(Chunk(batch_by=len))
    with pytest.raises(TypeError):
        chunk.process(5)
    assert runtime.tokens == 0


def test_a_chunk_leaves_within_its_time():
    chunk, runtime = running(Chunk(10, within=timedelta(seconds=2)))
    assert chunk.options.every == timedelta(seconds=0.5)
    assert kinds.has_timer(chunk)
    chunk.process("a")
    runtime.time = 1.9
    chunk.process("b")
    chunk.on_timer()
    assert runtime.pushed == []
    runtime.time = 2.0
    chunk.on_timer()
    chunk.on_timer()
    assert runtime.pushed == [(["a", "b"], "default", [1, 2])]


@pytest.mark.parametrize("make", [lambda: Chunk(batch_by=3), lambda: Chunk(3)])
def test_the_size_may_stand_in_either_place(make):
    assert make().items_held_max == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"size": 3, "batch_by": len},
        {"size": 0},
        {"size": True},
        {"size": 3, "at_most": 5},
        {"batch_by": len, "at_most": 0},
        {"size": 3, "within": 5},
        {"size": 3, "within": timedelta(0)},
        {"size": 3, "within": timedelta(seconds=1), "every": timedelta(seconds=1)},
        {"size": "3"},
    ],
)
def test_a_chunk_refuses_what_makes_no_sense(arguments):
    with pytest.raises(GraphError, match="Chunk"):
        Chunk(**arguments)


def test_function_nodes_run_outside_of_a_loop_too():
    for node, item, expected in ((Map(str), 1, ["1"]), (Filter(bool), 0, []), (FlatMap(list), "ab", ["a", "b"])):
        made, runtime = running(node)
        made.process(item)
        assert [value for value, _, _ in runtime.pushed] == expected


def test_a_bound_method_brings_a_copy_of_its_object():
    class Counter:
        def __init__(self):
            self.seen = []

        def count(self, item):
            self.seen.append(item)
            return len(self.seen)

    counter = Counter()
    one, other = instantiate(Map(counter.count)), instantiate(Map(counter.count))
    assert (one.func("a"), one.func("b"), other.func("c"), counter.seen) == (1, 2, 1, [])
