"""What a node gives back decides what goes on; what it raises fails the item in work alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.flows import results

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution import Consecutor
    from tests.conformance.conftest import Runner


@pytest.mark.parametrize(
    ("flow", "out"),
    [
        (results.function, [1, 2, 3, 4]),
        (results.generator_function, [0, 0, 1, 10, 2, 20, 3, 30]),
        (results.coroutine_function, [1, 2, 3, 4]),
        (results.async_generator_function, [0, 0, 1, 10, 2, 20, 3, 30]),
        (results.function_of_none, [None] * 4),
        (results.sometimes_a_generator, [2, 11, 3, 4, 31, 5, 6, 51, 7, 8, 71, 9]),
        (results.sometimes_an_awaitable, [3, 3, 5, 5, 7, 7, 9, 9]),
        (results.class_that_pushes, [0, 0, 1, 10, 2, 20, 3, 30]),
        pytest.param(
            results.class_that_yields, [0, 0, 0, 1, 100, 10, 2, 200, 20, 3, 300, 30], marks=pytest.mark.every_mode
        ),
        pytest.param(results.async_class, list(range(10)), marks=pytest.mark.every_mode),
        (results.async_generator_class, [0, 0, 1, 10, 2, 20, 3, 30]),
    ],
)
def test_what_a_node_gives_goes_on_in_order(run: Runner, flow: Callable[[], Consecutor], out: list[object]) -> None:
    report = run(flow)
    assert report.collected["out"] == out
    assert report


def test_an_unordered_async_node_gives_every_value(run: Runner) -> None:
    report = run(results.unordered_async_class)
    assert sorted(report.collected["out"]) == list(range(10))
    assert report


@pytest.mark.parametrize(
    ("flow", "out", "exception"),
    [
        (results.class_that_returns, [0, 2, 3], "TypeError"),
        (results.async_class_that_returns, [0, 2, 3], "TypeError"),
        (results.flat_map_of_a_number, [], "TypeError"),
        (results.async_timeout, [0, 2, 3], "TimeoutError"),
        (results.cancelled, [0, 2, 3], "asyncio.exceptions.CancelledError"),
        (results.stop_iteration_in_map, [3, 4, 5, 6], "StopIteration"),
        (results.stop_iteration_in_flat_map, [0, 2, 3, 4], "StopIteration"),
        (results.stop_iteration_in_class, [0, 2, 3, 4], "StopIteration"),
        (results.stop_iteration_in_batch, [0, 2, 3, 4], "StopIteration"),
        (results.system_exit, [0, 2, 3], "SystemExit"),
        (results.panic_in_map, [0, 2, 3], "flows.results.Panic"),
        (results.panic_in_async, [0, 2, 3], "flows.results.Panic"),
        (results.panic_in_batch, [0, 2, 3], "flows.results.Panic"),
        (results.recursion, [0, 2, 3], "RecursionError"),
    ],
)
def test_what_a_node_raises_fails_the_item_in_work_alone(
    run: Runner, flow: Callable[[], Consecutor], out: list[int], exception: str
) -> None:
    report = run(flow)
    assert report.collected["out"] == out
    assert (report.introduced, report.completed, report.failed) == (len(out) + 1, len(out), 1)
    [failure] = report.failures
    assert failure.cause is not None
    assert failure.cause.exception.endswith(exception)  # a bundle's modules have shorter names
    assert not report


def test_a_key_function_that_panics_fails_its_item_alone(run: Runner) -> None:
    report = run(results.panic_in_key)
    assert sorted(report.collected["out"]) == [0, 2, 3]
    [failure] = report.failures
    assert failure.cause is not None
    assert "Panic: index out of bounds" in failure.cause.message


def test_async_nodes_run_where_a_loop_runs_already(run: Runner) -> None:
    """As in a notebook."""

    async def cell() -> list[int]:
        report = run(results.all_async)
        assert report
        return report.collected["out"]

    assert sorted(asyncio.run(cell())) == sorted([1, 2, 3, 4, 10, 20, 30, 40])
