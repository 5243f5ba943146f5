from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from consecution.cli.above_run import check_file
from consecution.cli.findings import (
    Modes,
    Severity,
    check_bounds,
    check_items,
    check_nodes,
    check_producers,
    check_sums,
)
from consecution.graph import Chunk, Collect, Dag, Map, Node
from consecution.producers import PipeProducer

LOG = Path("/dev/null").open()  # noqa: SIM115 - a global that stays open is what is looked for


def teardown_module() -> None:
    LOG.close()


class Total(Node):
    def process(self, item: Any) -> None:
        """Take one."""

    def finish(self) -> None:
        """Push the sum."""


class Locked(Node):
    def __init__(self) -> None:
        self.guard = threading.Lock()

    def process(self, item: Any) -> None:
        """Take one."""


def found(thing, **options):
    return list(check_nodes(Dag.of(thing, "test")))


def test_a_sound_graph_gives_no_finding():
    dag = Dag.of([1] | Map(str) | Chunk(10), "test")
    assert list(check_nodes(dag)) == []
    assert list(check_bounds(dag, 100)) == []
    assert list(check_sums(dag, [])) == []


def test_an_attribute_that_can_not_be_copied_is_an_error_in_all_modes():
    (finding,) = found([1] | Locked())
    assert (finding.severity, finding.modes, finding.where) == (Severity.ERROR, Modes.ALL, "node 'locked'")
    assert "guard" in finding.what


def test_a_time_limit_of_a_node_that_is_not_async_does_nothing_and_is_found():
    class Slow(Node):
        def process(self, item: Any) -> None:
            """Take one."""

    class Later(Node):
        async def process(self, item: Any) -> None:
            """Take one."""

    (finding,) = found([1] | Slow(process_timeout_s=5.0) | Later(process_timeout_s=5.0))
    assert (finding.severity, finding.where) == (Severity.WARNING, "node 'slow'")
    assert finding.what.startswith("process_timeout_s=5.0 does nothing")


def test_a_lambda_over_an_open_file_is_found_in_its_globals():
    (finding,) = found([1] | Map(lambda item: LOG.write(item), name="write"))
    assert finding.where == "node 'write'"
    assert finding.what == "its lambda uses 'LOG', an open file"
    assert finding.modes == Modes.PARALLEL


def test_a_resource_is_found_in_closures_defaults_inner_functions_and_keys():
    guard = threading.Lock()

    def closure(item):
        with guard:
            return item

    def default(item, log=LOG):
        return log.write(item)

    def inner(item):
        return [LOG.write(part) for part in item] + [(lambda: LOG.name)()]

    graph = [1] | Map(closure) | Map(default) | Map(inner) | Map(str, key=lambda item: LOG.write(item))
    assert [finding.what for finding in found(graph)] == [
        "its function 'closure' uses 'guard', a lock",
        "its function 'default' uses 'log', an open file",
        "its function 'inner' uses 'LOG', an open file",
        "its key function uses 'LOG', an open file",
    ]


def test_items_of_a_sequence_that_can_not_travel_are_named_by_their_place():
    (finding,) = check_items([("producer 'list'", [1, {"when": object()}, 3])])
    assert finding.modes == Modes.PROCESSES
    assert finding.where.startswith("producer 'list', item 1: {'when': <object")
    assert "when" in finding.what


def test_a_one_shot_iterator_is_not_touched():
    rows = iter([object()])
    assert list(check_items([("producer 'iterator'", rows)])) == []
    assert len(list(rows)) == 1


def test_a_chunk_that_can_not_fill_says_by_how_much():
    (finding,) = check_bounds(Dag.of([1] | Chunk(500), "test"), 100)
    assert "may hold 500 items" in finding.what
    assert finding.cure == "make it smaller, or say Consecutor(…, pending_max=1000)"


def test_chunks_that_can_not_fill_together_are_one_finding():
    dag = Dag.of([1] | Chunk(60) | Chunk(60), "test")
    (finding,) = check_bounds(dag, 100)
    assert finding.where == "nodes 'chunk', 'chunk-2'"
    assert list(check_bounds(dag, 120)) == []


def test_a_sum_says_what_a_death_means_and_collect_is_none():
    dag = Dag.of([1] | Map(str) | [Total(), Collect()], "test")
    (finding,) = check_sums(dag, [])
    assert "starts over" in finding.what
    (finding,) = check_sums(dag, ["ticks"])
    assert "producer 'ticks' never ends" in finding.what


def test_code_above_run_is_told_by_line_and_code_below_is_not(tmp_path):
    path = tmp_path / "flow.py"
    path.write_text(
        '"""A flow."""\n'
        "import os\n"
        "print('hello')\n"
        "log = open('x')\n"
        "for i in range(3):\n    os.remove(i)\n"
        "rows = list(range(3))\n"
        "a | b\n"
        "if __name__ == '__main__':\n    print('mine')\n"
        "def f():\n    print('not run')\n"
        "report = flow.run()\n"
        "print(report)\n"
    )
    findings = list(check_file(path))
    assert [(finding.where, finding.what.partition(":")[0]) for finding in findings] == [
        ("flow.py, line 3", "`print(…)` is called"),
        ("flow.py, line 4", "`open(…)` opens something"),
        ("flow.py, line 5", "a `for` block runs"),
    ]


def test_a_flow_that_nothing_enters_is_found():
    (finding,) = check_producers("flow", "parse", [], is_joined=False)
    assert (finding.severity, finding.where) == (Severity.WARNING, "consecutor 'flow'")
    assert "rows | parse" in finding.cure
    assert list(check_producers("flow", "parse", [], is_joined=True)) == []


def test_a_file_that_can_not_be_read_now_is_found(tmp_path):
    there = tmp_path / "there"
    there.touch()
    producers = [PipeProducer(there), PipeProducer(tmp_path / "later", follow=True)]
    assert list(check_producers("flow", "parse", producers, is_joined=False)) == []
    said = {
        path: [finding.what for finding in check_producers("flow", "parse", [PipeProducer(path)], is_joined=False)]
        for path in (tmp_path / "absent", tmp_path)
    }
    assert "there is no file" in said[tmp_path / "absent"][0]
    assert "is a folder" in said[tmp_path][0]
