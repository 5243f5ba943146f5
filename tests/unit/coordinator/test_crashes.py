"""Crashes of which nobody knows the guilty item: after five of them items go one by one (R15)."""

from __future__ import annotations

import pytest

from consecution.guarantee.messages import Cause

SEGV = {"code": -11, "cause": Cause("", "ExecutorDied", "killed by signal 11 (SIGSEGV)")}


def crash(world, worker, times: int, **what) -> None:
    for _ in range(times):
        worker.crash(1, **{**SEGV, **what})
        world.run(6.0, 1.0)


def history(world) -> list[str]:
    return [text for _, text in world.status().events if "one by one" in text or "batches again" in text]


@pytest.fixture
def worker(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1))
    return worker


@pytest.mark.parametrize("what", [{}, {"runs": ((7, 0, 3),)}, {"runs": ((7, 0, 1),), "is_cut": True}])
def test_after_five_crashes_without_a_guilty_item_items_go_one_by_one(world, worker, what):
    crash(world, worker, 4, **what)
    assert not world.placement().is_careful
    crash(world, worker, 1, **what)
    assert world.news[-1].is_careful
    assert "executor-1" in history(world)[0]
    assert world.status().summary.reason.startswith("executors crashed 5 times with no guilty item found")


def test_without_a_crash_for_two_minutes_they_go_in_batches_again(world, worker):
    crash(world, worker, 6)
    world.run(120.0, 1.0)
    assert not world.news[-1].is_careful
    assert len(history(world)) == 2
    assert world.status().summary.reason == ""
    crash(world, worker, 4)
    assert not world.news[-1].is_careful


def test_it_outlives_a_restart_of_the_coordinator(world, worker):
    crash(world, worker, 5)
    world.restart()
    world.run(10.0)
    assert world.placement().is_careful


@pytest.mark.parametrize(
    "what",
    [
        {"runs": ((7, 2, 1),)},  # the one that is charged for it
        {"code": -9},  # somebody killed it, or the kernel for lack of memory
        {"code": 1, "broke": "internal", "message": "a bug"},
    ],
)
def test_a_death_that_is_explained_does_not_count(world, worker, what):
    crash(world, worker, 8, **what)
    assert not world.placement().is_careful


def test_crashes_now_and_then_do_not_count(world, worker):
    for _ in range(8):
        crash(world, worker, 1)
        world.run(121.0, 1.0)
    assert not world.placement().is_careful


def test_without_replay_there_is_nothing_to_be_careful_with(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1, 1), level="TRACK")
    crash(world, worker, 8)
    assert not world.placement().is_careful
