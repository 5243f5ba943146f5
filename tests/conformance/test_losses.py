"""The last resort (R13): what is lost behind the protocol's back is found by the audit, within its bound."""

from __future__ import annotations

from ast import literal_eval
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from consecution.executor.core import ExecutorCore
from consecution.guarantee.words import RunningWords
from consecution.process.acker import TICK_S
from tests.conformance.flows import losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution import Consecutor
    from tests.conformance.modes import Runner

FOUND_S = losses.TIMEOUT_S + 3 * TICK_S
"""Silence for as long as `timeout_s`, a look that may come one tick later, and two rounds that everybody answers."""
AGAIN_S = 0.5  # until its items are there again, when it is found
BUSY_S = 20.0  # what a machine with much other work adds


@pytest.fixture(autouse=True)
def undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a flow plants in this process goes with the test, however that ends."""
    monkeypatch.setattr(ExecutorCore, "_arrived", ExecutorCore._arrived)
    monkeypatch.setattr(RunningWords, "take", RunningWords.take)


@pytest.mark.every_mode
@pytest.mark.parametrize("flow", [losses.loses_frame, losses.loses_word])
def test_what_is_lost_is_found_within_the_audits_bound_and_comes_again(
    run: Runner, flow: Callable[[], Consecutor]
) -> None:
    run.is_planted = True
    report = run(flow, workers=2) if run.mode == "processes" else run(flow)

    [(lost_at, n_lost)] = map(literal_eval, run.lines("lost"))
    came = [literal_eval(line) for line in run.lines("came")]
    times = Counter(item for _, item in came)
    assert set(times) == set(range(losses.ITEMS)), "each item was processed"
    again = {item for item, n in times.items() if n > 1}
    assert (report.introduced, report.completed, report.failed) == (losses.ITEMS, losses.ITEMS, 0)
    assert report, "and completed"
    assert report.audits_fired == 1
    if n_lost:  # a frame: its items come for the first time
        assert (report.replayed, again) == (n_lost, set())
    else:  # a word: they come a second time, and no others do
        assert report.replayed == len(again) == len(came) - losses.ITEMS > 0

    found_s = max(at for at, _ in came) - lost_at
    assert found_s <= FOUND_S + AGAIN_S + (0.0 if run.mode == "sim" else BUSY_S)
    assert found_s >= losses.TIMEOUT_S or run.mode != "sim", "no earlier than silence is long enough"


def test_where_nothing_is_lost_no_audit_finds_anything(run: Runner) -> None:
    report = run(losses.loses_nothing)
    assert (report.completed, report.replayed, report.audits_fired) == (losses.ITEMS, 0, 0)
