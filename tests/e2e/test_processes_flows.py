"""Mode "processes": where flows are found, what executors see of the caller, and what is refused with which words."""

from __future__ import annotations

import sys

import pytest

from consecution import Collect, Consecutor, GraphError, Map

HEAD = "import os, sys\nfrom consecution import Chunk, Collect, Consecutor, Map, Node, options\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="flow.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + text)
        return str(path)

    return write


def test_a_script_without_a_guard_runs_with_the_callers_options_folder_and_argv(consecution, write):
    path = write(
        """
print("loaded")
def seen(n):
    print("working on", n)
    return n, options["out"], os.path.basename(os.getcwd()), sys.modules["__main__"].__name__, os.getpid()
flow = Consecutor([1, 2] | Map(seen) | Collect("all", grouping="shuffle"), journal=None)
report = flow.run(mode="processes", workers=2)
"""
    )
    run = consecution("run", path, "--mode", "processes", "--workers", "2", "-D", "out=here", "--json")
    assert run.wait() == 0, run.stderr
    assert run.stdout.count("loaded") == 3, "by the command and two executors"
    assert "working on 1\n" in run.stdout
    assert '"completed": 2' in run.stdout
    assert "here" in run.stdout


def test_a_package_runs_as_a_module_with_argv(process, write, tmp_path):
    write("def double(n):\n    return 2 * n + int(sys.argv[1])\n", "shop/work.py")
    (tmp_path / "shop" / "__init__.py").touch()
    write(
        """
from .work import double
class Pair:
    pass
def check(n):
    assert Pair is sys.modules["shop.flow"].Pair is sys.modules["__main__"].Pair
    return n
flow = Consecutor(range(3) | Map(double) | Map(check) | Collect("out", grouping="shuffle"), journal=None)
print(flow.run(mode="processes", workers=2).collected["out"])
""",
        "shop/flow.py",
    )
    run = process(sys.executable, "-m", "shop.flow", "5", cwd=tmp_path)
    assert run.wait() == 0, run.stderr
    assert run.stdout == "[5, 7, 9]\n"


@pytest.mark.parametrize("call", ["run", "start", "consume"])
def test_a_flow_that_nobody_else_can_find_is_refused_with_the_cure(call):
    cons = Consecutor(([1] if call == "run" else Map(abs)) | Collect("out"), journal=None)
    arguments = ([1],) if call == "consume" else ()
    with pytest.raises(GraphError, match=r"made in a function.*flow=\"file\.py:build\".*\"threads\" works"):
        getattr(cons, call)(*arguments, mode="processes")


def test_a_repl_is_named_as_such(process):
    code = "from consecution import *; f = Consecutor([1] | Map(abs), journal=None); f.run(mode='processes')"
    run = process(sys.executable, "-c", code)
    assert run.wait() == 1
    assert "made in a notebook or a REPL" in run.stderr


def test_a_graph_that_differs_between_processes_names_the_first_node_that_does(consecution, write):
    path = write(
        """
flow = Consecutor([1] | Map(abs, name=f"node-{os.getpid()}") | Collect("out"), journal=None)
"""
    )
    run = consecution("run", path, "--mode", "processes")
    assert run.wait() == 4, run.stderr
    assert "gave another graph here than where it was started" in run.stderr
    assert "node-" in run.stderr


def test_an_import_error_in_an_executor_alone_is_the_flows(consecution, write):
    path = write(
        """
if "consecution/process" in " ".join(sys.orig_argv):
    import no_such_module
flow = Consecutor([1] | Map(abs), journal=None)
"""
    )
    run = consecution("run", path, "--mode", "processes")
    assert run.wait() == 4, run.stderr
    assert "No module named 'no_such_module'" in run.stderr


def test_what_can_not_travel_fails_alone_and_much_that_is_collected_comes_back(process, write):
    path = write(
        """
def odd(n):
    return {"n": n, "deep": [object()]} if n == 3 else "x" * 100_000
flow = Consecutor(range(300) | Map(odd) | Collect("out", grouping="shuffle"), journal=None, replays_max=0)
report = flow.run(mode="processes", workers=2)
print(report.completed, report.failed, len(report.collected["out"]), set(map(len, report.collected["out"])))
print(report.failures[0])
"""
    )
    run = process(sys.executable, path)
    assert run.wait() == 0, run.stderr
    first, second = run.stdout.splitlines()
    assert first == "299 1 299 {100000}"
    assert second.startswith("item 3 of ")
    assert "['deep'][0]" in second
