"""Async nodes with bounded concurrency, in order or not, with limits; timers without data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.flows import asyncs

if TYPE_CHECKING:
    from tests.conformance.modes import Runner


@pytest.mark.every_mode
def test_as_many_items_as_allowed_are_in_work_and_their_order_is_kept(run: Runner) -> None:
    report = run(asyncs.bounded)
    assert report.completed == asyncs.ITEMS
    assert report.collected["out"] == list(range(asyncs.ITEMS))
    assert run.lines("most") == [str(asyncs.BOUND)]


def test_without_order_who_is_done_first_goes_first(run: Runner) -> None:
    report = run(asyncs.bounded_unordered)
    assert sorted(report.collected["out"]) == list(range(asyncs.ITEMS))
    assert report.collected["out"] != list(range(asyncs.ITEMS))
    assert run.lines("most") == [str(asyncs.BOUND)]


@pytest.mark.every_mode
def test_items_of_several_frames_are_in_work_together_and_their_order_is_kept(run: Runner) -> None:
    """Each item comes in a frame of its own, and is let go only when all have come; the first one is the last to go."""
    report = run(asyncs.spanning)
    assert report.collected["out"] == list(range(asyncs.BOUND))
    assert (report.introduced, report.completed, report.failed) == (asyncs.BOUND, asyncs.BOUND, 0)


@pytest.mark.every_mode
def test_without_order_a_later_frame_goes_first(run: Runner) -> None:
    report = run(asyncs.spanning_unordered)
    assert report.collected["out"] == list(reversed(range(asyncs.BOUND)))
    assert report.completed == asyncs.BOUND


def test_the_end_waits_for_what_is_under_way_at_level_none_too(run: Runner) -> None:
    assert run(asyncs.spanning_untracked).collected["out"] == list(range(asyncs.BOUND))


@pytest.mark.every_mode
def test_finish_comes_after_all_that_is_awaited(run: Runner) -> None:
    report = run(asyncs.awaited_then_summed)
    assert report.collected["out"] == [sum(item for item in range(100) if item % 10 != 7)]
    assert (report.completed, report.failed) == (90, 10)


def test_what_is_awaited_comes_to_a_holder_and_what_fails_of_it_fails_alone(run: Runner) -> None:
    report = run(asyncs.awaited_then_chunked)
    failed = {failure.item for failure in report.failures}
    assert failed >= {item for item in range(100) if item % 10 == 7}
    assert report.completed + report.failed == 100
    assert sum(report.collected["out"]) == sum(set(range(100)) - failed)


@pytest.mark.every_mode
def test_an_item_that_takes_too_long_is_cancelled_and_replayed(run: Runner) -> None:
    report = run(asyncs.hangs_once)
    assert sorted(report.collected["out"]) == list(range(8))
    assert (report.completed, report.failed, report.replayed) == (8, 0, 1)
    assert run.lines("cancelled") == ["3"]


def test_an_item_that_always_takes_too_long_is_a_dead_letter_that_says_so(run: Runner) -> None:
    report = run(asyncs.hangs_always)
    assert sorted(report.collected["out"]) == [0, 1, 2, 4, 5, 6, 7]
    (failure,) = report.failures
    assert (failure.item, failure.attempts) == (3, 2)
    assert failure.cause is not None
    assert failure.cause.exception == "TimeoutError"
    assert failure.cause.message.startswith("node 'hangs' gave no result within process_timeout_s=0.05; it was")


def test_a_limit_of_the_nodes_own_code_is_not_called_ours(run: Runner) -> None:
    (failure,) = run(asyncs.own_limit).failures
    assert failure.cause is not None
    assert failure.cause.exception == "TimeoutError"
    assert "process_timeout_s" not in failure.cause.message


def test_a_batch_that_takes_too_long_is_tried_item_by_item(run: Runner) -> None:
    report = run(asyncs.batch_hangs)
    assert sorted(report.collected["out"]) == [0, 1, 2, 4, 5, 6, 7]
    (failure,) = report.failures
    assert failure.item == 3
    assert failure.cause is not None
    assert "node 'batch_hangs' gave no result within process_timeout_s=0.05" in failure.cause.message


@pytest.mark.every_mode
def test_a_timer_fires_while_no_item_comes(run: Runner) -> None:
    """The source gives its only item after the timer has fired three times; without it the run never ends."""
    report = run(asyncs.beats)
    out = report.collected["out"]
    assert out.count("end") == 1
    assert [value for value in out if value != "end"][:3] == [["beat", 0], ["beat", 1], ["beat", 2]]
    assert (report.introduced, report.completed, bool(report)) == (1, 1, True)


def test_an_async_timer_pushes_too(run: Runner) -> None:
    report = run(asyncs.async_beats)
    assert report.collected["out"].count("beat") >= 3
    assert report
