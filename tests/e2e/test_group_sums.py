"""Sums in memory on both sides of an output, and a process that dies (R17, R21)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FLOW = Path(__file__).parent / "sums_flow.py"
TOTAL = sum(range(600))


@pytest.fixture
def run_killed(consecution, tmp_path, monkeypatch):
    """Run the flow in processes, with one death; gives the report."""

    def run(who, *, pushes_at_the_end=False):
        monkeypatch.setenv("FOLDER", str(tmp_path))
        monkeypatch.setenv("KILL", who)
        if pushes_at_the_end:
            monkeypatch.setenv("FINISH", "1")
        process = consecution("run", str(FLOW), "--mode", "processes", "--workers", "1", "--json", "--quiet")
        process.wait()
        assert (tmp_path / f"killed-{who}").exists(), process.stderr
        return json.loads(process.stdout), int((tmp_path / "total").read_text())

    return run


def test_sums_behind_an_output_start_over_from_their_own_journal(run_killed):
    report, total = run_killed("b")
    assert report["is_true"], report
    assert total == TOTAL
    assert [part["introduced"] for part in report["by_consecutor"].values()] == [600, 600]


def test_sums_behind_one_that_starts_over_are_told_as_not_certain(run_killed):
    report, total = run_killed("a")
    assert report["state_lost"] == ["sum_b"]
    assert not report["is_true"]
    assert total >= TOTAL
    assert report["by_consecutor"]["a"]["completed"] == 600


def test_what_a_user_sees_of_a_sum_that_is_not_certain_and_what_he_does(consecution, tmp_path, monkeypatch):
    """`check` warns of it, the run's end says which sum and what to do, with exit code 3; done so, the sum is right."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("KILL", "a")
    run = ("run", str(FLOW), "--mode", "processes", "--workers", "1", "--journal", str(tmp_path / "journal"))
    check = consecution("check", str(FLOW))
    check.wait()
    assert "this sum is told as not certain (state_lost)" in " ".join((check.stdout + check.stderr).split())
    first = consecution(*run)
    assert first.wait(180) == 3, first.stderr
    assert "state lost at sum_b" in first.stderr
    assert "state lost: what 'sum_b' summed may be wrong; run it again with --fresh" in first.stderr
    assert int((tmp_path / "total").read_text()) >= TOTAL
    again = consecution(*run, "--fresh")
    assert again.wait(180) == 0, again.stderr
    assert int((tmp_path / "total").read_text()) == TOTAL


def test_sums_behind_one_that_pushes_only_from_finish_are_right(run_killed):
    report, total = run_killed("a", pushes_at_the_end=True)
    assert report["is_true"], report
    assert total == TOTAL
