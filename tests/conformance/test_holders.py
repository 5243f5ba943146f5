"""Holding, batches, finish and timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.flows import holders

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution import Consecutor
    from tests.conformance.conftest import Runner


@pytest.mark.parametrize(
    ("flow", "out"),
    [
        pytest.param(holders.finish_sum, [45], marks=pytest.mark.every_mode),
        (holders.finish_generator, [list(range(start, start + 100)) for start in range(0, 5000, 100)]),
        (holders.finish_async_generator, [1, 2, 3]),
        (holders.finish_coroutine, ["done"]),
        (holders.finish_push_fails_once, [3]),
        (holders.chunks, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]),
        (holders.chunks_by, [[1, 1], [2, 2, 2], [2], [3]]),
        (holders.pairs, [(1, 2), (3, 4)]),
        (holders.flush_pushes, ["flushed"] * 3),
        (holders.batch_yields, [1, -1, 2, -2]),
    ],
)
def test_what_is_gathered_goes_on_in_the_end(run: Runner, flow: Callable[[], Consecutor], out: list[object]) -> None:
    report = run(flow)
    got = report.collected["out"]
    if flow is holders.finish_generator:  # a flush may cut a chunk short
        got, out = [n for chunk in got for n in chunk], [n for chunk in out for n in chunk]  # type: ignore[attr-defined]
    assert got == out
    assert report.introduced == report.completed
    assert report


@pytest.mark.every_mode
def test_a_chunk_of_chunks_holds_every_item_once(run: Runner) -> None:
    report = run(holders.chunk_of_chunks)
    assert [n for outer in report.collected["out"] for inner in outer for n in inner] == list(range(25))
    assert (report.completed, bool(report)) == (25, True)


def test_a_chunk_goes_on_when_its_time_has_passed(run: Runner) -> None:
    report = run(holders.chunk_within)
    if run.is_far:  # the first link is opened while the iterator sleeps already
        assert len(report.collected["out"]) > 1
    else:
        assert report.collected["out"] == [[0], [1], [2]]
    assert report


@pytest.mark.every_mode
def test_schedule_23_a_full_window_before_a_chunk_that_cannot_fill_goes_on(run: Runner) -> None:
    """A window that is full of batches that a Chunk holds is flushed (R18).

    1. A filter lets one of 500 items through to Chunk(500).
    2. Each item held keeps its whole batch unfinished, until the window is full.
    3. No verdict comes, so no item enters, so the Chunk never fills.
    4. After 1 s without a verdict the producer sends a flush mark, and all goes on.
    """
    report = run(holders.filter_before_chunk)
    assert [n for chunk in report.collected["out"] for n in chunk] == list(range(0, 3_000, 500))
    assert (report.completed, bool(report)) == (3_000, True)


@pytest.mark.parametrize(
    ("flow", "completed", "failed", "says"),
    [
        (holders.finish_returns, 1, 1, "finish of node 'finish_returns' returned a list"),
        pytest.param(holders.finish_raises, 2, 1, "no end", marks=pytest.mark.every_mode),
        (holders.finish_push_fails_for_good, 2, 1, "3"),
        (holders.forgets_to_flush, 0, 2, "left 2 items open"),
        (holders.flush_raises, 0, 2, "no"),
        (holders.closes_twice, 1, 1, "closed an item twice"),
        (holders.closes_twice_later, 1, 1, "closed an item twice"),
        (holders.holds_without_flush, 0, 1, "has no flush()"),
        (holders.batch_returns_number, 0, 2, "returned a int"),
        (holders.fail_outside_of_a_batch, 0, 1, "outside of process_batch"),
        (holders.async_batch, 2, 1, "two"),
    ],
)
def test_what_goes_wrong_is_told(
    run: Runner, flow: Callable[[], Consecutor], completed: int, failed: int, says: str
) -> None:
    report = run(flow)
    assert (report.completed, report.failed) == (completed, failed)
    assert report.failures[0].cause is not None
    assert says in report.failures[0].cause.message
    assert not report


def test_values_pushed_before_finish_raises_go_on(run: Runner) -> None:
    assert run(holders.finish_raises).collected["out"] == [1, 2, "before"]


@pytest.mark.every_mode
def test_a_batch_that_raises_is_called_again_for_each_item_alone(run: Runner) -> None:
    report = run(holders.batch_with_a_culprit)
    assert sorted(report.collected["out"]) == [n * 10 for n in range(20) if n != 7]
    assert (report.completed, report.failed, report.replayed) == (19, 1, 2)
    assert [(f.item, f.attempts) for f in report.failures] == [(7, 3)]
    assert run.lines("batches") == ["20", *["1"] * 20, "1", "1"]


def test_of_and_fail_name_one_item_of_a_batch(run: Runner) -> None:
    report = run(holders.batch_of_and_fail)
    assert report.collected["out"] == [0, 1, 2, 4, 5]
    assert [(f.item, f.attempts) for f in report.failures] == [(3, 2)]
    report = run(holders.push_of_fails_alone)
    assert report.collected["out"] == [5, 6, 7, 8]
    assert sorted(f.item for f in report.failures) == [3, 4]


def test_a_timer_pushes_values_of_its_own(run: Runner) -> None:
    report = run(holders.timer)
    out = report.collected["out"]
    assert [n for n in out if n != "tick"] == [0, 1, 2]
    assert "tick" in out
    assert (report.introduced, report.completed, bool(report)) == (3, 3, True)


def test_a_timer_that_raises_fails_no_item(run: Runner) -> None:
    report = run(holders.timer_raises)
    assert report.collected["out"] == [0, 1, 2]
    assert report.completed == 3
    assert report.failed >= 1
    assert not report
