"""A sum is right, or the report says that it may not be (R17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.flows import sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution import Consecutor
    from tests.conformance.conftest import Runner

TOTAL = sum(range(5))


@pytest.mark.parametrize(
    "flow",
    [
        sums.pushes_first,
        sums.pushes_many,
        sums.pushes_later,
        sums.generator,
        sums.async_generator,
        sums.no_copy,
    ],
)
def test_what_went_on_before_its_item_failed_may_be_summed_again(run: Runner, flow: Callable[[], Consecutor]) -> None:
    report = run(flow)
    assert (report.completed, report.failed, report.replayed) == (5, 0, 1)
    [total] = [one for one in report.collected["out"] if isinstance(one, int)]
    assert total > TOTAL
    assert "sums" in report.state_lost
    assert not report


@pytest.mark.parametrize("flow", [sums.fails_before, sums.function, sums.batch])
def test_an_item_that_failed_before_it_went_on_is_summed_once(run: Runner, flow: Callable[[], Consecutor]) -> None:
    report = run(flow)
    assert (report.completed, report.failed, report.replayed) == (5, 0, 1)
    assert report.collected["out"] == [TOTAL]
    assert report.state_lost == frozenset()
    assert report
