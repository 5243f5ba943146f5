"""The cases that are known from the suites of older systems: joins, replays, bounds, and what waits for long."""

from __future__ import annotations

import logging
import threading
from ast import literal_eval
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from consecution.wire.cluster.to_client import State
from tests.conformance.flows import trees
from tests.conformance.modes import ClusterRunner
from tests.e2e.cluster.harness import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consecution import Consecutor
    from consecution.report import Report
    from consecution.wire.cluster.to_client import Status
    from tests.conformance.modes import Runner, SimRunner
    from tests.conftest import WaitFor


@pytest.mark.every_mode
def test_a_value_of_several_roots_fails_the_items_that_it_was_made_of_and_no_other(run: Runner) -> None:
    report = run(trees.roots_joined)
    [line] = run.lines("broken")
    broken = literal_eval(line)
    passed = [item for chunk in report.collected["out"] for item in chunk]
    everything = {(side, number) for side in ("left", "right") for number in range(100)}
    assert (len(broken) + len(passed), {*broken, *passed}) == (200, everything)
    assert (report.introduced, report.completed, report.failed) == (200, len(passed), len(broken))
    sides = {"sequence": "left", "sequence-2": "right"}
    assert {(sides[failure.producer], failure.item) for failure in report.failures} == set(broken)


@pytest.mark.every_mode
def test_an_input_anchored_twice_is_one_item_however_many_of_its_values_fail(run: Runner) -> None:
    report = run(trees.anchored_twice)
    assert (report.introduced, report.completed, report.failed, report.replayed) == (3, 2, 1, 2)
    [failure] = report.failures
    assert (failure.item, failure.attempts) == (1, 3)
    assert Counter(run.lines("tried")) == {"a": 5, "b": 5}  # each attempt tries both values


def test_an_input_anchored_twice_is_replayed_whole_when_one_value_fails(run: Runner) -> None:
    report = run(trees.anchored_twice_and_mended)
    assert Counter(report.collected["out"]) == {
        (0, "a"): 1, (0, "b"): 1, (1, "a"): 2, (1, "b"): 1, (2, "a"): 1, (2, "b"): 1,
    }  # fmt: skip
    assert (report.completed, report.failed, report.replayed) == (3, 0, 1)


def test_a_global_count_behind_parallel_tasks_is_one_number(run: Runner) -> None:
    report = run(trees.global_count)
    assert report.collected["out"] == [1500]
    assert report


@pytest.mark.parametrize(
    ("flow", "attempts"),
    [(trees.never_replayed, 1), pytest.param(trees.replayed_five_times, 6, marks=pytest.mark.every_mode)],
)
def test_an_item_is_tried_once_and_replays_max_times_more(
    run: Runner, flow: Callable[[], Consecutor], attempts: int
) -> None:
    report = run(flow)
    assert (report.completed, report.failed, report.replayed) == (0, 1, attempts - 1)
    assert report.failures[0].attempts == attempts
    assert run.lines("tried") == ["1"] * attempts


@pytest.mark.every_mode
def test_a_slow_sink_fails_and_repeats_nothing_and_the_window_bounds_what_waits(run: Runner) -> None:
    most = 0

    def look(progress: object) -> None:
        nonlocal most
        most = max(most, progress.in_flight)  # type: ignore[attr-defined]

    report = run(trees.slow_sink) if run.mode in ("cluster", "sim") else run(trees.slow_sink, progress=look)
    assert (report.introduced, report.completed, report.failed, report.replayed) == (20, 20, 0, 0)
    assert run.lines("stored") == [str(n) for n in range(20)]
    assert most <= 8


def test_an_item_that_is_held_for_longer_than_the_audit_waits_is_not_failed(run: Runner) -> None:
    report = run(trees.held_for_long)
    assert [n for chunk in report.collected["out"] for n in chunk] == list(range(6))
    assert (report.completed, report.failed, report.replayed) == (6, 0, 0)


@pytest.mark.only("threads", "processes")  # in "single" the thread that would warn waits; a cluster's status tells it
@pytest.mark.every_mode
def test_a_full_window_that_nothing_empties_is_warned_of_by_the_name_of_the_place(
    run: Runner, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    reports: list[Report] = []
    runs = threading.Thread(target=lambda: reports.append(run(trees.nothing_empties)))
    runs.start()
    try:
        wait_for(lambda: "the window is full and nothing was finished" in caplog.text, 60)
    finally:
        (run.folder / "go").touch()
        runs.join(60)
    said = next(record.getMessage() for record in caplog.records if "window is full" in record.getMessage())
    assert "4 items are unfinished" in said
    assert "the_slow_one" in said
    [report] = reports
    assert (report.completed, report.replayed, bool(report)) == (20, 0, True)


def test_nodes_have_one_name_in_every_mode(run: Runner) -> None:
    consecutor = trees.names()
    assert consecutor.dag.names[:4] == ("abs", "abs-2", "twice", "mine")
    report = run(trees.names)
    assert [failure.cause.node for failure in report.failures if failure.cause] == ["mine"]


def is_paused(status: Status) -> bool:
    return status.summary.state is State.PAUSED and not status.summary.in_flight


@pytest.mark.only("cluster", "sim")
@pytest.mark.every_mode
def test_what_is_paused_reads_nothing_until_it_is_resumed(run: ClusterRunner | SimRunner) -> None:
    run.begin(trees.to_be_paused)
    run.until(lambda status: status.summary.completed >= 20, "some items")
    run.pause()
    paused = run.until(is_paused, "what entered is finished")
    assert paused.summary.introduced == len(run.lines("stored")) < 300
    run.resume()
    _, report = run.end()
    assert (report.introduced, report.completed, report.replayed) == (300, 300, 0)
    assert run.lines("stored") == [str(n) for n in range(300)]


@pytest.mark.only("cluster", "sim")
def test_what_is_paused_before_it_has_started_reads_nothing(run: ClusterRunner | SimRunner) -> None:
    run.begin(trees.to_be_paused)
    run.pause()
    assert run.until(is_paused, "it has started").summary.introduced == 0
    run.resume()
    _, report = run.end()
    assert (report.introduced, report.completed, report.replayed) == (300, 300, 0)
    assert run.lines("stored") == [str(n) for n in range(300)]


def drains_over_a_restart(run: ClusterRunner | SimRunner) -> None:
    run.begin(trees.endless)
    run.until(lambda status: status.summary.completed >= 50, "some items")
    run.drain()
    run.restart_coordinator()
    state, report = run.end()
    assert state is State.DRAINED
    assert (report.introduced, report.failed, report.replayed) == (report.completed, 0, 0)
    stored = [n for line in run.lines("stored") for n in literal_eval(line)]
    assert stored == list(range(report.introduced))


def test_a_drain_goes_on_when_the_coordinator_restarts_in_it(tmp_path: Path) -> None:
    for folder in ("cluster", "flow"):
        (tmp_path / folder).mkdir()
    with Cluster(tmp_path / "cluster") as cluster:
        cluster.start("a")
        drains_over_a_restart(ClusterRunner("cluster", tmp_path / "flow", cluster))


@pytest.mark.only("sim")  # where the coordinator dies at a place that a test chooses
@pytest.mark.parametrize("points", range(1, 13))
def test_a_drain_goes_on_wherever_the_coordinator_dies_in_it(run: SimRunner, points: int) -> None:
    run.points = points
    drains_over_a_restart(run)
