"""run_flow: what waits for hours in production is over at once in a test, with the same meaning."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import pytest

from consecution import (
    Chunk,
    Collect,
    Consecutor,
    GeneratorProducer,
    Map,
    Node,
    merge,
)
from consecution.errors import GraphError, UserCodeError
from consecution.producers import IntervalProducer, ScheduledProducer
from consecution.testing import ManualClock, assert_all_completed, run_flow
from consecution.testing.flows import NotOver

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def no_real_time() -> Iterator[None]:
    """Each of these tests lets hours pass; the process may work, it may not wait."""
    began, cpu = time.monotonic(), time.process_time()
    yield
    waited_s = time.monotonic() - began - (time.process_time() - cpu)
    assert waited_s < 60  # hours are virtual, whatever the machine does beside


def test_a_graph_without_a_consecutor_gives_its_last_values() -> None:
    report = run_flow(Map(abs) | [Map(str), Map(float)], [-1, 2])
    assert sorted(report.collected["out"], key=repr) == sorted(["1", "2", 1.0, 2.0], key=repr)
    assert_all_completed(report, items=2)


def test_a_graph_that_ends_in_collects_is_left_as_it_is() -> None:
    report = run_flow(Map(abs) | [Collect("a"), Map(str)], [-1])
    assert report.collected == {"a": [1], "out": ["1"]}


def test_items_take_the_place_of_a_flows_own_producer() -> None:
    flow = Consecutor(GeneratorProducer(count) | Map(str) | Collect("seen"), "flow")
    report = run_flow(flow, [7, 8])
    assert report.collected["seen"] == ["7", "8"]
    assert report.is_finished


def test_items_of_several_producers_are_named() -> None:
    def flow() -> Consecutor:
        left, right = GeneratorProducer(count, name="left"), GeneratorProducer(count, name="right")
        return Consecutor(merge(left | Map(str), right | Map(float)) | Collect("seen"), "flow")

    report = run_flow(flow, {"left": [1], "right": [2]})
    assert sorted(report.collected["seen"], key=repr) == sorted(["1", 2.0], key=repr)
    with pytest.raises(GraphError, match="has 2 producers; give items="):
        run_flow(flow, [1])
    with pytest.raises(GraphError, match="has no producer 'up'; it has 'left', 'right'"):
        run_flow(flow, {"up": [1]})


def test_a_chunk_goes_on_when_its_virtual_time_has_passed() -> None:
    report = run_flow(Chunk(100, within=timedelta(hours=1)), range(5), every_s=HOUR_S / 2.5)
    assert report.collected["out"] == [[0, 1, 2], [3, 4]]
    assert report.elapsed_s >= 4 * HOUR_S / 2.5


def test_timers_tick_in_virtual_time() -> None:
    class Ticks(Node):
        def process(self, item: int) -> None:
            self.push(item)

        def on_timer(self) -> None:
            self.push("tick")

    report = run_flow(Ticks(every=timedelta(minutes=10)), range(3), every_s=HOUR_S)
    out = report.collected["out"]
    assert [item for item in out if item != "tick"] == [0, 1, 2]
    assert 11 <= out.count("tick") <= 19  # six an hour


def test_an_item_that_fails_is_replayed_without_a_real_pause() -> None:
    tried: list[float] = []
    clock = ManualClock()

    def broken(item: int) -> int:
        tried.append(clock.monotonic())
        raise ValueError(item)

    report = run_flow(Consecutor(Map(broken), "flow", replays_max=8, journal=None), [1], clock=clock)
    assert (report.failed, report.failures[0].attempts) == (1, 9)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses[-1] > 1
    assert sum(pauses) > 3


def test_interval_and_cron_producers_run_on_the_virtual_clock() -> None:
    hourly = IntervalProducer(wait=timedelta(hours=1))
    report = run_flow(hourly | Collect("due"), lasts_s=3.5 * HOUR_S)
    assert report.collected["due"] == [datetime(2000, 1, 1, hour, tzinfo=UTC) for hour in (1, 2, 3)]
    assert not report.is_finished
    daily = ScheduledProducer(cron="30 6 * * *")
    report = run_flow(daily | Collect("due"), lasts_s=48 * HOUR_S)
    assert report.collected["due"] == [datetime(2000, 1, day, 6, 30, tzinfo=UTC) for day in (1, 2)]


def test_async_nodes_sleep_in_virtual_time_and_time_out_in_it() -> None:
    class Asks(Node):
        async def process(self, item: int) -> None:
            await asyncio.sleep(item * HOUR_S)
            self.push(item)

    flow = Consecutor(Asks(process_timeout_s=2.5 * HOUR_S) | Collect("out"), "flow", replays_max=0, journal=None)
    report = run_flow(flow, [1, 3, 2])
    assert report.collected["out"] == [1, 2]
    [failure] = report.failures
    assert failure.item == 3
    assert failure.cause is not None
    assert failure.cause.exception == "TimeoutError"
    assert report.elapsed_s >= 2.5 * HOUR_S


def test_the_audit_finds_nothing_however_long_an_item_is_held() -> None:
    flow = Consecutor(Chunk(10, within=timedelta(hours=9)) | Collect("out"), "flow", timeout_s=1.0, journal=None)
    report = run_flow(flow, range(3), every_s=4 * HOUR_S)
    assert (report.completed, report.replayed) == (3, 0)
    assert report.collected["out"] == [[0, 1, 2]]


def test_a_flow_that_does_not_end_is_told_where_it_stands() -> None:
    with pytest.raises(NotOver, match=r"needs lasts_s"):
        run_flow(IntervalProducer(wait=timedelta(hours=5)) | Map(str))


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        (3, "expected a Consecutor"),
        (lambda: "flow", "run_flow\\('flow'\\): expected a Consecutor"),
        (lambda: Map(abs), "has no producer"),
    ],
)
def test_what_can_not_be_run_is_refused(flow: Any, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        run_flow(flow)


def test_consecutors_that_are_linked_are_refused() -> None:
    first = Consecutor([1] | Map(abs), "first")
    second = Consecutor(Map(abs), "second")
    first | second
    with pytest.raises(GraphError, match="linked to other consecutors"):
        run_flow(first, [1])


def test_what_a_setup_raises_is_raised() -> None:
    class Bad(Node):
        def setup(self) -> None:
            raise OSError("no")

        def process(self, item: int) -> None:
            self.push(item)

    with pytest.raises(UserCodeError, match="setup of node 'bad'"):
        run_flow(Bad(), [1])


def test_a_failed_report_names_its_failures() -> None:
    def odd(item: int) -> int:
        if item % 2:
            raise ValueError(f"{item} is odd")
        return item

    report = run_flow(Consecutor(Map(odd), "flow", replays_max=0, journal=None), range(30))
    with pytest.raises(AssertionError) as caught:
        assert_all_completed(report, items=31)
    said = str(caught.value)
    assert "30 introduced, 15 completed, 15 failed" in said
    assert "30 items entered, expected 31" in said
    assert "failed at node 'odd': ValueError: 1 is odd" in said
    assert "and 5 more" in said
