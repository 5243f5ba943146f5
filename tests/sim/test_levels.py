"""The levels below REPLAY in random worlds: what each owes, and that a breach of it is found."""

from __future__ import annotations

import pytest

from consecution.executor.core import ExecutorCore
from consecution.executor.frames import Frame
from consecution.guarantee.window import Window
from consecution.guarantee.words import RunningWords
from consecution.testing.sim import Family, Promise, SimWorld, Violation, scenario_of
from tests.sim.seeds import run_seed

SEEDS = 45
SEEDS_MAX = 60


@pytest.mark.parametrize("part", range(3))
def test_no_level_breaks_what_it_promises(part):
    for seed in range(part, SEEDS, 3):
        run_seed(seed, Family.LEVELS)


def found(*promises, level=None, is_gentle=None):
    """Whether some seed finds one of these promises broken; what else it finds on the way is no answer."""
    for seed in range(SEEDS_MAX):
        scenario = scenario_of(seed, Family.LEVELS)
        if level not in (None, scenario.level) or is_gentle not in (None, scenario.is_gentle):
            continue
        try:
            SimWorld(scenario).run()
        except Violation as violation:
            if violation.promise in promises:
                return True
        except AssertionError:
            continue  # a core has found itself broken
    return False


def test_a_value_that_is_lost_at_level_none_though_nobody_died_is_found(monkeypatch):
    lost = []
    real = ExecutorCore._arrived

    def lose_one(core, task, sender, message):
        if isinstance(message, Frame) and not lost:
            lost.append(message)
            return
        real(core, task, sender, message)

    monkeypatch.setattr(ExecutorCore, "_arrived", lose_one)
    for seed in range(SEEDS_MAX):
        lost.clear()
        scenario = scenario_of(seed, Family.LEVELS)
        if scenario.level == "NONE" and scenario.is_gentle:
            world = SimWorld(scenario)
            with pytest.raises(Violation, match=r"lost behind|stands still"):
                world.run()
            return
    pytest.fail("no seed is gentle, and at level NONE")


def test_an_item_that_is_sent_again_below_replay_is_found(monkeypatch):
    real = Window._charge

    def replays(self, load, cause, now):
        if load.attempts:
            return real(self, load, cause, now)
        load.attempts += 1
        self._waiting.add(load, now)
        return True

    monkeypatch.setattr(Window, "_charge", replays)
    assert found(Promise.ONE_OUTCOME, level="TRACK")


def test_a_failed_item_that_is_told_completed_is_found(monkeypatch):
    monkeypatch.setattr(RunningWords, "failed", lambda *_args, **_kwargs: None)
    assert found(Promise.NOT_EARLY, Promise.GUILTY_ALONE, level="CONFIRM")


def test_an_item_that_is_lost_by_a_death_and_told_completed_is_found(monkeypatch):
    monkeypatch.setattr(Window, "_lose", lambda self, load, verdict, now: self._complete(load.seqs))
    assert found(Promise.NOT_EARLY, level="CONFIRM", is_gentle=False)
