"""`consecution check` and `consecution graph` as a user runs them."""

from __future__ import annotations

import json

import pytest

FLOW = """
from consecution import Chunk, Consecutor, Map

print("loaded")
log = open("log.txt", "w")
rows = [1, 2, {"thing": object()}]
flow = Consecutor(rows | Map(lambda item: log.write(str(item)), name="log") | Chunk(5000), pending_max=100)
"""


@pytest.fixture
def flow(tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    return "flow.py"


def test_check_tells_each_finding_with_place_modes_and_cure(consecution, flow):
    check = consecution("check", flow)
    assert check.wait() == 4, check.stderr
    for part in (
        "error (processes): ",
        "item 2: {'thing': <object",
        "warning (threads, processes): node 'log'",
        "its lambda uses 'log', an open file",
        "node 'chunk'",
        "pending_max is 100",
        "flow.py, line 4",
        "flow.py, line 5",
        "to do: ",
    ):
        assert part in check.stdout


def test_check_as_json_is_a_list_of_findings(consecution, flow):
    check = consecution("check", flow, "--json")
    check.wait()
    findings = json.loads(check.stdout.splitlines()[-1])
    assert {finding["severity"] for finding in findings} == {"error", "warning"}
    assert findings[0].keys() == {"severity", "modes", "where", "what", "cure"}


def test_a_sound_flow_has_no_findings_and_ends_with_0(consecution, tmp_path):
    (tmp_path / "flow.py").write_text("from consecution import *\nflow = Consecutor([1, 2] | Map(str))\nflow.run()\n")
    check = consecution("check", "flow.py")
    assert check.wait() == 0, check.stderr
    assert check.stdout == "flow: 1 node, no findings\n"


def test_check_runs_nothing_and_leaves_no_journal(consecution, flow, tmp_path):
    consecution("check", flow).wait()
    assert not (tmp_path / ".consecution").exists()


@pytest.mark.parametrize(
    ("format_", "expected"),
    [("text", "chunk"), ("mermaid", "flowchart"), ("dot", "digraph"), ("svg", "<svg")],
)
def test_graph_draws_in_each_format(consecution, flow, format_, expected):
    graph = consecution("graph", flow, "--format", format_)
    assert graph.wait() == 0, graph.stderr
    assert expected in graph.stdout


def test_graph_writes_a_file(consecution, flow, tmp_path):
    graph = consecution("graph", flow, "-f", "svg", "-o", "flow.svg")
    assert graph.wait() == 0, graph.stderr
    assert graph.stdout == "loaded\n"
    assert graph.stderr == "wrote flow.svg\n"
    assert (tmp_path / "flow.svg").read_text().startswith("<svg")
