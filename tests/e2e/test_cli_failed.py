"""`consecution failed replay`: after the fix a dead letter is a new item that names the old one."""

from __future__ import annotations

import json
import shlex

import pytest

FLOW = """
from pathlib import Path
from consecution import Consecutor, Map
from consecution.sinks import FileWriter

def parse(line):
    return int(line) if not Path("fixed").exists() else int(line.strip("x"))

flow = Consecutor(["1", "x2", "3", "x4"] | Map(parse) | FileWriter("out.txt"), replays_max=1)
"""


def letters(consecution, *options):
    listed = consecution("failed", "list", "flow.py", "--json", *options)
    assert listed.wait() == 0, listed.stderr
    return json.loads(listed.stdout)


def test_a_dead_letter_replayed_after_the_fix_completes_as_a_new_item(consecution, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    assert consecution("run", "flow.py").wait() == 3
    assert [(letter["item"], letter["attempts"]) for letter in letters(consecution)] == [("x2", 2), ("x4", 2)]
    assert (tmp_path / "out.txt").read_text() == "1\n3\n"

    early = consecution("failed", "replay", "flow.py", "1")
    assert early.wait() == 3, early.stderr
    again = letters(consecution)
    assert [(letter["item"], letter["replay_of"]) for letter in again] == [("x4", None), ("x2", 1)]

    (tmp_path / "fixed").touch()
    replay = consecution("failed", "replay", "flow.py", "--all")
    assert replay.wait() == 0, replay.stderr
    assert sorted((tmp_path / "out.txt").read_text().split()) == ["1", "2", "3", "4"]


def test_a_replay_reads_nothing_else_from_the_source(consecution, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    consecution("run", "flow.py").wait()
    (tmp_path / "fixed").touch()
    assert consecution("failed", "replay", "flow.py", "2", "--json").wait() == 0
    assert (tmp_path / "out.txt").read_text() == "1\n3\n4\n"
    assert [letter["item"] for letter in letters(consecution)] == ["x2"]


def test_a_replay_of_what_is_not_there_changes_nothing(consecution, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    consecution("run", "flow.py").wait()
    replay = consecution("failed", "replay", "flow.py", "7")
    assert replay.wait() == 1
    assert "no dead letter 7" in replay.stderr
    assert len(letters(consecution)) == 2


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ("", []),
        (', "orders"', []),
        (', journal="kept"', []),
        (', journal=Path("kept here")', []),
        ("", ["--journal", "kept"]),
        (', journal="kept"', ["--journal", "elsewhere"]),
    ],
)
def test_the_commands_that_a_run_names_find_its_dead_letters(consecution, tmp_path, options, command):
    flow = FLOW.replace(", replays_max=1", options + ", replays_max=1")
    (tmp_path / "flow.py").write_text(flow)
    run = consecution("run", "flow.py", *command)
    assert run.wait() == 3
    [told] = [line for line in run.stderr.splitlines() if "to do:" in line]
    listing, replaying = told.partition("to do: ")[2].split("; after the fix: ")
    (tmp_path / "fixed").touch()
    for line, expected in ((listing, "ValueError"), (replaying, "2 completed")):
        named = consecution(*shlex.split(line)[1:])
        assert named.wait() == 0, named.stderr
        assert expected in named.stdout + named.stderr
