"""The audit in one process (R13): it finds what is lost, and slowness never fires it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Chunk, Collect, Consecutor, Map, Node, Pusher
from consecution.executor.events import Arrived
from consecution.executor.frames import Frame
from consecution.local.build import build
from consecution.testing.clock import ManualClock

if TYPE_CHECKING:
    from consecution.local.build import Build
    from consecution.report import Report
    from tests.conftest import WaitFor

TIMEOUT_S = 30.0


class Run:
    """A run in a thread of its own, on a clock that the test moves."""

    def __init__(self, dag: Any, *, in_threads: bool) -> None:
        self.clock = ManualClock(monotonic=1000.0)
        cons = Consecutor(dag, "audited", journal=None, timeout_s=TIMEOUT_S)
        self.build: Build = build(
            cons.dag, cons.feeds, cons.settings(None), workers=8, in_threads=in_threads, clock=self.clock
        )
        self.engine = self.build.engine
        self.report: Report | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        self.report = self.engine.run()
        self.build.close(is_finished=True)

    def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass; the engine and its hosts look at each step of it."""
        for _ in range(int(seconds / step_s)):
            looks = self.engine._told_at
            self.clock.advance(step_s)
            self.engine.wake()
            for _ in range(50):
                if self.engine._told_at != looks or not self._thread.is_alive():
                    break
                self._thread.join(0.002)

    def join(self) -> Report:
        self._thread.join(20)
        assert self.report is not None
        return self.report


@pytest.fixture(params=[False, True], ids=["single", "threads"])
def in_threads(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def lose_one_frame(run: Run, monkeypatch: pytest.MonkeyPatch, sender: str) -> list[Frame]:
    """Plant a bug: the first frame of a task, or of a producer, is dropped on its way."""
    lost: list[Frame] = []
    for host in run.engine._hosts:
        deliver = host.deliver

        def dropping(event: Any, deliver: Any = deliver) -> None:
            is_it = isinstance(event, Arrived) and (event.sender < 0) is (sender == "producer")
            if is_it and isinstance(event.message, Frame) and not lost:
                lost.append(event.message)
                return
            deliver(event)

        monkeypatch.setattr(host, "deliver", dropping)
    return lost


@pytest.mark.parametrize(("mode", "sender"), [("single", "producer"), ("threads", "producer"), ("threads", "task")])
def test_a_lost_frame_is_found_and_its_items_are_sent_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str, sender: str
) -> None:
    in_threads = mode == "threads"
    run = Run(list(range(100)) | Map(abs) | Kept(grouping="shuffle"), in_threads=in_threads)  # type: ignore[operator]
    lost = lose_one_frame(run, monkeypatch, sender)
    Kept.items.clear()
    run.start()
    run.pass_time(3 * TIMEOUT_S)
    report = run.join()
    assert lost
    assert run.engine.losses_found == 1
    assert sorted(set(Kept.items)) == list(range(100))
    assert (report.introduced, report.completed, report.failed) == (100, 100, 0)
    assert report.replayed >= len(lost[0].items)
    assert "a frame was lost in this process" in caplog.text


class Kept(Node):
    items: list[int] = []  # noqa: RUF012  # seen by the test

    def process(self, item: int) -> None:
        Kept.items.append(item)


class Slow(Node):
    """Waits in its first item until the test lets it go."""

    go = threading.Event()
    is_in = threading.Event()

    def process(self, item: int) -> None:
        Slow.is_in.set()
        assert Slow.go.wait(20)
        self.push(item)


def test_a_slow_item_and_all_that_queue_behind_it_are_not_lost(in_threads: bool) -> None:
    Slow.go.clear()
    Slow.is_in.clear()
    run = Run(range(1000) | Map(abs) | Slow(grouping="shuffle") | Collect("out"), in_threads=in_threads)
    run.start()
    assert Slow.is_in.wait(10)
    if in_threads:
        run.pass_time(10 * TIMEOUT_S, step_s=5.0)
    else:
        run.clock.advance(10 * TIMEOUT_S)  # the engine's thread is in the item itself
    Slow.go.set()
    report = run.join()
    assert run.engine.losses_found == 0
    assert (report.completed, report.replayed) == (1000, 0)
    assert sorted(report.collected["out"]) == list(range(1000))


def test_schedule_5_items_that_a_chunk_holds_for_long_are_not_lost(in_threads: bool, wait_for: WaitFor) -> None:
    """Slowness never fires the audit (R13).

    1. Chunk(500) gets an item now and then, with a timeout of 30 s.
    2. The first items are held for many timeouts: they are not replayed, however long it takes.
    """
    pusher = Pusher()
    run = Run(pusher | Chunk(500) | Collect("out"), in_threads=in_threads)
    run.start()
    for number in range(3):
        pusher.push(number)
        wait_for(lambda number=number: run.engine._intake.in_flight > number, 10, "the item to be held")
        run.pass_time(4 * TIMEOUT_S, step_s=6.0)
    pusher.end()
    report = run.join()
    assert run.engine.losses_found == 0
    assert (report.completed, report.replayed) == (3, 0)
    assert [n for chunk in report.collected["out"] for n in chunk] == [0, 1, 2]
