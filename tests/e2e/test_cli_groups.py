"""Joined consecutors on the command line: run, graph, failed."""

from __future__ import annotations

import json
import signal

import pytest

FLOW = """
from pathlib import Path
from consecution import Consecutor, Map, Node

class Split(Node):
    def __init__(self):
        self.add_output("bad")
    def process(self, line):
        if line.isdigit():
            self.push(int(line))
        else:
            self.output["bad"].send(line)

def number(text):
    return int(text) if not Path("fixed").exists() else int(text.strip("x"))

def write(value):
    with open("out.txt", "a") as file:
        file.write(f"{value}\\n")

parsed = Consecutor(["1", "x2", "3", "x4"] | Split(), "parsed")
repaired = Consecutor(Map(number), "repaired", replays_max=0)
stored = Consecutor(Map(write), "stored")
alert = Consecutor(Map(lambda letter: print("alert", letter["item"])), "alert")
parsed | stored
parsed.output["bad"] | repaired | stored
repaired.failed | alert
"""


def test_a_group_is_run_drawn_and_its_dead_letters_are_replayed_by_name(consecution, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    run = consecution("run", "flow.py", "--json")
    assert run.wait() == 3, run.stderr
    out, _, told = run.stdout.partition("{")
    assert sorted(out.split("\n")[:2]) == ["alert x2", "alert x4"]
    by_consecutor = json.loads("{" + told)["by_consecutor"]
    assert {name: (part["completed"], part["failed"]) for name, part in by_consecutor.items()} == {
        "parsed": (4, 0), "repaired": (0, 2), "stored": (2, 0), "alert": (2, 0),
    }  # fmt: skip
    assert "consecution failed list flow.py --of repaired" in run.stderr

    listed = consecution("failed", "list", "flow.py", "--of", "repaired", "--json")
    assert listed.wait() == 0, listed.stderr
    assert [letter["item"] for letter in json.loads(listed.stdout)] == ["x2", "x4"]

    (tmp_path / "fixed").touch()
    replay = consecution("failed", "replay", "flow.py", "--of", "repaired", "--all")
    assert replay.wait() == 0, replay.stderr
    assert sorted((tmp_path / "out.txt").read_text().split()) == ["1", "2", "3", "4"]

    graph = consecution("graph", "flow.py", "--format", "dot")
    assert graph.wait() == 0, graph.stderr
    assert graph.stdout.count("digraph") == 1
    for name in ("parsed.split", "repaired.number", "stored.write", "repaired.failed"):
        assert name in graph.stdout


def test_submit_refuses_a_group_of_which_only_this_process_could_read_a_producer(consecution, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW.replace('["1", "x2", "3", "x4"]', 'iter(["1", "x2"])'))
    submit = consecution("submit", "flow.py")
    assert submit.wait() == 4
    assert "reads what only this process has" in submit.stderr


SLOW = """
import time
from consecution import Consecutor, Map, Producer

class Ticks(Producer):
    endless = True
    def items(self, position):
        while True:
            yield position
            position += 1

def slow(item):
    time.sleep(0.002)
    return item

def write(item):
    with open("out.txt", "a") as file:
        file.write(f"{item}\\n")

first = Consecutor(Ticks() | Map(abs), "first", pending_max=100)
second = Consecutor(Map(slow), "second", pending_max=100)
third = Consecutor(Map(write), "third", pending_max=100)
first | second | third
"""


@pytest.mark.parametrize("mode", ["single", "processes"])
def test_an_interrupt_finishes_what_has_entered_and_the_next_run_goes_on(consecution, tmp_path, wait_for, mode):
    (tmp_path / "slow.py").write_text(SLOW)
    out = tmp_path / "out.txt"
    numbers = []
    for _ in range(2):
        run = consecution("run", "slow.py", "--mode", mode, "--json")
        seen = len(numbers)
        wait_for(lambda seen=seen: out.exists() and len(out.read_text().split()) > seen, 60, "items at the end")
        run.send_signal(signal.SIGINT)
        assert run.wait() == 130, run.stderr
        report = json.loads(run.stdout)
        assert not report["is_finished"]
        numbers = list(map(int, out.read_text().split()))
        parts = report["by_consecutor"]
        assert [part["introduced"] for part in parts.values()] == [part["completed"] for part in parts.values()]
        assert parts["first"]["completed"] == parts["third"]["completed"] == len(numbers)
        assert sorted(numbers) == list(range(len(numbers))), "drained from the front to the end: nothing twice"
