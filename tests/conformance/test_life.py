"""How a run begins and ends: setup, teardown, drain, stop, signals; and the levels of robustness."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from consecution import UserCodeError
from consecution.client import NotDone
from consecution.errors import ConsecutionError, SourceError
from consecution.wire.cluster.to_client import State
from tests.conformance.flows import lives
from tests.conformance.modes import ClusterRunner, SimRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consecution import Consecutor
    from tests.conformance.conftest import Runner
    from tests.conftest import StartProcess, WaitFor


@pytest.mark.every_mode
def test_setup_comes_before_process_before_finish_before_teardown_in_reverse(run: Runner) -> None:
    assert run(lives.good)
    life = run.lines("life")
    first = sorted(life[:3]) if run.is_far else life[:3]  # each process sets its own nodes up
    assert first == ["setup a", "setup b", "setup c"]
    assert life[3:6] == ["process a", "process b", "process c"]
    assert life[6:9] == ["finish a", "finish b", "finish c"]
    assert sorted(life[9:]) == ["teardown a", "teardown b", "teardown c"]
    assert life[9:].index("teardown c") < life[9:].index("teardown b")
    if run.mode == "single":
        assert life[9:] == ["teardown c", "teardown b", "teardown a"]


@pytest.mark.every_mode
def test_a_setup_that_raises_ends_the_run_before_anything_is_processed(run: Runner) -> None:
    with pytest.raises(UserCodeError, match="setup of node 'bad_setup' raised ValueError: no setup"):
        run(lives.bad_setup)
    life = run.lines("life")
    assert not any(line.startswith(("process", "finish")) for line in life)
    torn = {line.split()[1] for line in life if line.startswith("teardown")}
    assert torn == {line.split()[1] for line in life if line.startswith("setup")} - {"bad_setup"}


@pytest.mark.every_mode
def test_a_teardown_that_raises_stops_no_other_and_is_told(run: Runner) -> None:
    report = run(lives.bad_teardown)
    assert {line for line in run.lines("life") if line.startswith("teardown")} == {
        "teardown a", "teardown bad_teardown", "teardown c",
    }  # fmt: skip
    assert (report.introduced, report.completed, report.failed) == (1, 1, 1)
    assert report.failures[0].cause is not None
    assert report.failures[0].cause.message == "no teardown"
    assert not report


def test_a_node_meets_one_thread_alone(run: Runner) -> None:
    report = run(lives.thread_bound)
    assert sorted(report.collected["out"]) == [3, 4]
    assert report


def test_setup_and_teardown_may_be_async(run: Runner) -> None:
    assert run(lives.async_hooks).collected["out"] == [(1, True)]
    assert run.lines("life") == ["async teardown"]


def test_a_setup_that_yields_is_refused(run: Runner) -> None:
    with pytest.raises(UserCodeError, match="only process may push"):
        run(lives.generator_setup)


@pytest.mark.caller_only("the template is the caller's")
def test_a_node_is_a_template_that_no_run_changes(run: Runner) -> None:
    for _ in range(2):
        assert run(lives.templated).collected["out"] == [[1], [1, 2]]
    assert lives.TEMPLATE.seen == []


def test_an_empty_source_runs_finish_and_ends(run: Runner) -> None:
    report = run(lives.empty)
    assert (report.introduced, report.completed, bool(report)) == (0, 0, True)
    assert run.lines("life") == ["setup a", "finish a", "teardown a"]


@pytest.mark.every_mode
def test_a_source_that_raises_ends_the_run_after_what_it_gave(run: Runner) -> None:
    with pytest.raises(UserCodeError, match="bad line"):
        run(lives.raising_producer)
    assert run.lines("done") == ["1", "2"]


def test_a_producer_whose_read_raises_is_named(run: Runner) -> None:
    with pytest.raises(UserCodeError, match=r"producer 'reads_badly': its read\(\) raised OSError: gone"):
        run(lives.badly_reading_producer)


@pytest.mark.every_mode
def test_the_levels_of_robustness(run: Runner) -> None:
    none = run(lives.none)
    assert (none.introduced, none.completed, none.failed) == (3, 2, 1)
    assert [n for chunk in none.collected["out"] for n in chunk] == [1, 3]
    confirm = run(lives.confirm)
    assert (confirm.completed, confirm.failed, confirm.replayed) == (2, 1, 0)
    assert [failure.cause for failure in confirm.failures] == [None]
    track = run(lives.track)
    assert (track.completed, track.failed, track.replayed) == (2, 1, 0)
    assert [failure.item for failure in track.failures] == [2]
    assert track.failures[0].cause is not None
    replay = run(lives.replay)
    assert (replay.completed, replay.failed, replay.replayed) == (2, 1, 3)
    assert replay.failures[0].attempts == 4


@pytest.mark.every_mode
@pytest.mark.caller_only("its handle drains")
def test_drain_finishes_what_entered_of_an_endless_source(run: Runner, wait_for: WaitFor) -> None:
    running = run.start(lives.endless)
    wait_for(lambda: running.progress.completed > 2000, what="some items")
    report = running.drain()
    assert report.introduced == report.completed > 2000
    assert [n for chunk in report.collected["out"] for n in chunk] == list(range(report.introduced))
    assert not report.is_finished


@pytest.mark.every_mode
def test_a_drain_finishes_what_nobody_counts(run: Runner, wait_for: WaitFor) -> None:
    if isinstance(run, (ClusterRunner, SimRunner)):
        run.begin(lives.endless_and_untracked)
        run.until(lambda status: len(run.lines("stored")) > 50, "some items")
        run.drain()
        state, report = run.end()
        assert state is State.DRAINED
    else:
        running = run.start(lives.endless_and_untracked)
        wait_for(lambda: len(run.lines("stored")) > 50, what="some items")
        report = running.drain()
    assert [int(line) for line in run.lines("stored")] == list(range(report.introduced))
    assert (report.completed, report.failed) == (report.introduced, 0)


@pytest.mark.every_mode
@pytest.mark.caller_only("a cluster has no caller that pushes")
def test_receipts_tell_the_outcome(run: Runner) -> None:
    with run.start(lives.pushed) as running:  # type: ignore[arg-type]
        receipts = [running.push(n) for n in (1, 2, 3)]
        assert [receipt.wait(10) for receipt in receipts] == ["completed", "failed", "completed"]
        assert receipts[1].attempts == 2
        assert "ValueError: two" in str(receipts[1].error)

        async def awaited() -> str:
            return await running.push(4)

        assert asyncio.run(awaited()) == "completed"
    assert running.report is not None
    assert running.report.collected["out"] == [1, 3, 4]
    with pytest.raises(SourceError):
        running.push(5)


@pytest.mark.only("cluster", "sim")
@pytest.mark.every_mode
def test_receipts_of_what_is_pushed_into_a_topology_tell_the_outcome(run: ClusterRunner | SimRunner) -> None:
    run.begin(lives.pushed_from_outside)
    run.until(lambda status: status.summary.state is State.RUNNING, "it runs")
    receipts = [run.push(n) for n in (1, 2, 3)]
    assert [receipt.wait(60) for receipt in receipts] == ["completed", "failed", "completed"]
    assert [receipt.seq for receipt in receipts] == [0, 1, 2]
    assert receipts[1].attempts == 2
    assert "ValueError: two" in str(receipts[1].error)
    assert run.push(3, receipts[2].key).seq == 2, "under its key it is the item that is there"
    run.drain()
    state, report = run.end()
    assert state is State.DRAINED
    assert (report.introduced, report.completed, report.failed, report.replayed) == (3, 2, 1, 1)
    assert report.collected["out"] == [1, 3]
    with pytest.raises(NotDone, match="is over"):
        run.push(5)


@pytest.mark.every_mode
@pytest.mark.caller_only("a cluster has no caller that pushes")
def test_stop_leaves_what_is_unfinished_and_tells_who_waits(run: Runner, wait_for: WaitFor) -> None:
    running = run.start(lives.hanging)
    hanging = running.push(2)
    wait_for(lambda: run.lines("hangs"))
    with pytest.raises(TimeoutError, match="still open"):
        hanging.wait(0.01)
    stopped: list[object] = []
    stopper = threading.Thread(target=lambda: stopped.append(running.stop()))
    stopper.start()
    (run.folder / "go").touch()
    stopper.join(20)
    assert stopped
    if hanging.outcome == "open":
        assert hanging.wait(1) == "open"
        assert isinstance(hanging.error, ConsecutionError)


SCRIPT = (
    "from tests.conformance.flows import lives; report = lives.{flow}().run({mode!r}, flow={place!r}); "
    "print(report.introduced, report.completed, report.failed, bool(report))"
)


def started(process: StartProcess, flow: str, mode: str, folder: Path):  # type: ignore[no-untyped-def]
    script = SCRIPT.format(flow=flow, mode=mode, place=f"tests.conformance.flows.lives:{flow}")
    return process(sys.executable, "-c", script, env={"FOLDER": str(folder)})


@pytest.mark.caller_only("the signal goes to the caller")
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.every_mode), signal.SIGTERM])
def test_the_first_signal_drains(run: Runner, process: StartProcess, wait_for: WaitFor, number: int) -> None:
    child = started(process, "for_signals", run.mode, run.folder)
    wait_for(lambda: len(run.lines("got")) > 100, 30, "items")
    child.send_signal(number)
    assert child.wait(20) == 0, child.stderr
    got = [int(line) for line in run.lines("got")]
    assert child.stdout.split() == [str(len(got)), str(len(got)), "0", "True"]
    assert sorted(got) == list(range(len(got)))
    assert run.lines("life") == ["setup", "teardown"]
    assert "once more" in child.stderr


@pytest.mark.every_mode
@pytest.mark.caller_only("the signal goes to the caller")
def test_the_second_signal_quits_and_nothing_is_lost(run: Runner, process: StartProcess, wait_for: WaitFor) -> None:
    child = started(process, "stubborn", run.mode, run.folder)
    wait_for(lambda: run.lines("hangs"), 30)
    child.send_signal(signal.SIGINT)
    wait_for(lambda: "once more" in child.stderr, 20)
    child.send_signal(signal.SIGINT)
    assert child.wait(20) in (1, 130, -2), child.stderr
    assert "KeyboardInterrupt" in child.stderr
    if run.mode == "single":
        assert run.lines("life") == ["setup", "teardown"]
    from consecution.journal.sqlite import open_for_reading

    journal = open_for_reading(run.folder / "journal")
    assert list(journal.read_entries("iterable")) == [(0, 1)]
    journal.close()


@pytest.mark.parametrize(
    ("flow", "method", "entered"),
    [(lives.open_raises, "open", 0), (lives.read_raises, "read", 10), (lives.acknowledge_raises, "acknowledge", 20)],
)
def test_a_producer_of_one_s_own_that_raises_ends_the_reading_and_what_entered_is_finished(
    run: Runner, flow: Callable[[], Consecutor], method: str, entered: int
) -> None:
    with pytest.raises(UserCodeError, match=rf"its {method}\(\) raised OSError: the broker is away"):
        run(flow)
    assert sorted(map(int, run.lines("seen"))) == list(range(entered))


def test_a_producer_whose_close_raises_is_a_failure_outside_of_any_item(run: Runner) -> None:
    report = run(lives.close_raises)
    assert (report.introduced, report.completed, report.failed) == (30, 30, 1)
    [failure] = report.failures
    assert str(failure) == "letters failed outside of any item: OSError: the broker is away"
    assert not report
