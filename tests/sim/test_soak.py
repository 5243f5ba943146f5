"""Soaks resume, failing seeds shrink, and the command that is printed repeats the run."""

from __future__ import annotations

import argparse
import json

import pytest

from consecution.local.feed import Feed
from consecution.testing.sim import SimWorld
from consecution.testing.sim.__main__ import main
from consecution.testing.sim.edits import Edits, add_arguments, edits_of
from consecution.testing.sim.shrink import failure_of, shrink
from consecution.testing.sim.soak import run_soak


def test_a_soak_goes_on_where_it_was_ended(tmp_path, capsys):
    file = tmp_path / "soak.json"
    assert run_soak(3, file=file) == 0
    assert json.loads(file.read_text())["next"] == 3
    assert run_soak(5, file=file) == 0
    assert json.loads(file.read_text())["next"] == 5
    out = capsys.readouterr().out
    assert "5 seeds" in out
    assert "0 failed" in out


def test_a_seed_that_was_mended_meanwhile_still_counts_and_is_said_to_be_right_now(tmp_path, capsys):
    file = tmp_path / "soak.json"
    run_soak(2, file=file)
    file.write_text(json.dumps({**json.loads(file.read_text()), "failed": {"1": "d"}}))
    assert run_soak(3, file=file) == 1
    out = capsys.readouterr().out
    assert "seed 1 (d) breaks no promise any more" in out
    assert "1 failed" in out


def test_a_failing_seed_becomes_small_and_its_command_repeats_it(monkeypatch, capsys):
    """With a position that runs ahead any unfinished item fails: nothing else has to be left."""
    real = Feed._advance
    monkeypatch.setattr(Feed, "_advance", lambda self, mark: real(self, self.window.next_seq))
    first = next(seed for seed in range(20) if failure_of(Edits(seed)) == "e")
    small = shrink(Edits(first), time_s=20.0)
    scenario = small.scenario()
    assert len(scenario.faults) == 0
    assert len(scenario.flow.nodes) <= 3
    assert len(scenario.flow.items) <= len(scenario.flow.producers)
    words = small.command().split()[3:]
    assert main(words) == 1
    assert "(e)" in capsys.readouterr().out


def test_a_seed_that_breaks_nothing_is_not_shrunk():
    with pytest.raises(ValueError, match="breaks no promise"):
        shrink(Edits(0))


def test_a_command_reads_back_as_what_wrote_it():
    edits = Edits(
        7, faults=(1, 4), items=(), good=(3,), without=("n1", "n2"), plain=("n0",), calm=True, executors=2, hosts=1
    )
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert edits_of(parser.parse_args(edits.command().split()[4:])) == edits


def test_what_is_left_of_a_seed_is_a_run():
    for edits in (Edits(4, faults=()), Edits(4, calm=True, executors=1, ackers=1, hosts=1)):
        scenario = edits.scenario()
        SimWorld(scenario).run()
