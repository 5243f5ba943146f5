"""Intervals and cron lines, on a clock that the test moves."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from consecution.errors import GraphError, SourceError, UserCodeError
from consecution.producers import IntervalProducer, Producer, ScheduledProducer, SourceClass, TimedProducer
from consecution.producers.schedule import Cron, Interval
from consecution.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def dues(line: str, start: str, count: int) -> list[str]:
    cron = Cron(line, "Europe/Berlin")
    at = moment(start)
    given = []
    for _ in range(count):
        at = cron.after(at)
        given.append(datetime.fromtimestamp(at, BERLIN).isoformat(timespec="minutes"))
    return given


def seconds(items: list[datetime]) -> list[float]:
    return [item.timestamp() for item in items]


def test_a_time_that_summer_time_leaves_out_comes_right_after() -> None:
    assert dues("30 2 * * *", "2026-03-28T12:00", 2) == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]


def test_a_time_that_comes_twice_is_due_once() -> None:
    assert dues("30 2 * * *", "2026-10-24T12:00", 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]


def test_a_start_in_the_hour_that_comes_twice_is_not_due_in_the_past() -> None:
    start = moment("2026-10-25T02:15", fold=1)
    assert Cron("30 2 * * *", "Europe/Berlin").after(start) == moment("2026-10-26T02:30")


def test_steps_run_on_through_a_change_of_the_clock() -> None:
    assert dues("*/30 * * * *", "2026-10-25T01:45", 4) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:30+01:00",
    ]


@pytest.mark.parametrize("line", ["30 2 * * *", "*/20 * * * *", "0 1-3 * * *", "15 2 25 10 *", "0 0 29 2 *"])
@pytest.mark.parametrize("day", ["2026-10-25T00:00", "2026-03-29T00:00"])
def test_latest_is_what_after_has_given(line: str, day: str) -> None:
    cron = Cron(line, "Europe/Berlin")
    chance = random.Random(line + day)
    start = moment(day) - 86_400
    given = [at := cron.after(start)]
    while at < start + 3 * 86_400:
        given.append(at := cron.after(at))
    for _ in range(30):
        now = start + chance.random() * 3 * 86_400
        assert cron.latest(now, start) == max((at for at in given if at <= now), default=None)


def test_interval_never_gives_the_moment_itself_again() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        every = Interval(chance.choice([0.1, 0.3, 7.7, 1e-3]), start=chance.uniform(0, 2e9))
        first = every.after(every._start)
        second = every.after(first)
        assert every._start < first < second
        assert every.latest(second, since=first) == second
        assert every.latest(first, since=first) is None


@pytest.mark.parametrize("line", ["", "* * * *", "61 * * * *", "0 0 30 2 *", "@daily", None, 5])
def test_a_cron_line_that_means_nothing_is_refused(line: Any) -> None:
    with pytest.raises(GraphError, match="cron="):
        Cron(line)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", None])
def test_a_time_zone_that_is_none_is_refused(zone: Any) -> None:
    with pytest.raises(GraphError, match="is no time zone"):
        Cron("* * * * *", zone)


def test_an_interval_begins_after_one_wait_and_adds_up_no_delay() -> None:
    clock = ManualClock(time=1000.0)
    producer = IntervalProducer(wait=10, clock=clock)
    producer.open()
    assert producer.read(5, 0.0).items == []
    assert producer.ready_in() == 10.0
    assert seconds(producer.read(5, 10.0).items) == [1010.0]
    clock.advance(14.0)  # late by 4 s
    assert seconds(producer.read(5, 0.0).items) == [1020.0]
    assert producer.read(5, 5.9).items == []
    assert seconds(producer.read(5, 0.2).items) == [1030.0]
    producer.close()


def test_a_read_waits_no_longer_than_it_may() -> None:
    clock = ManualClock()
    producer = IntervalProducer(wait=timedelta(hours=1), clock=clock)
    producer.open()
    assert producer.read(5, 60.0).items == []
    assert clock.monotonic() == 60.0


def test_the_value_of_the_function_is_the_item_none_too() -> None:
    values = iter(["a", None])
    producer = IntervalProducer(lambda: next(values), wait=1, clock=ManualClock())
    producer.open()
    assert producer.read(1, 1.0).items == ["a"]
    assert producer.read(1, 1.0).items == [None]


@pytest.mark.parametrize(("missed", "expected"), [("skip", [50]), ("once", [50]), ("all", [10, 20, 30, 40, 50])])
def test_due_times_that_pile_up_become_the_latest_unless_all_are_wanted(missed: str, expected: list[float]) -> None:
    clock = ManualClock()
    producer = IntervalProducer(wait=10, missed=missed, clock=clock)
    producer.open()
    clock.advance(55)
    assert seconds(producer.read(100, 0.0).items) == expected
    assert seconds(producer.read(100, 5.0).items) == [60]


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", [6600]), ("once", [6000, 6600]), ("all", [600 * n for n in range(2, 12)])],
)
@pytest.mark.parametrize("kind", ["interval", "scheduled"])
def test_due_times_that_passed_while_no_process_ran(kind: str, missed: str, expected: list[float]) -> None:
    clock = ManualClock()

    def make() -> TimedProducer:
        if kind == "interval":
            return IntervalProducer(wait=600, missed=missed, clock=clock)
        return ScheduledProducer(cron="*/10 * * * *", missed=missed, clock=clock)

    producer = make()
    producer.open()
    read = producer.read(1, 600.0)
    assert seconds(read.items) == [600]
    clock.advance(5700)  # 6300: the next is due at 6600
    producer = make()
    producer.open(read.next_position)
    given = seconds(producer.read(100, 0.0).items) + seconds(producer.read(1, 600.0).items)
    assert given == expected


def test_all_missed_items_come_in_reads_of_the_size_asked_for() -> None:
    clock = ManualClock()
    producer = IntervalProducer(wait=1, missed="all", clock=clock)
    producer.open()
    clock.advance(10)
    assert [len(producer.read(4, 0.0).items) for _ in range(4)] == [4, 4, 2, 0]


def test_a_wall_clock_that_is_set_does_not_touch_an_interval() -> None:
    clock = ManualClock(time=1000)
    producer = IntervalProducer(wait=10, clock=clock)
    producer.open()
    for jump in (3 * 86_400, -3 * 86_400):
        clock.set_time(clock.time() + jump)
        assert producer.read(5, 0.0).items == []
        assert len(producer.read(5, 10.0).items) == 1


def test_a_wall_clock_set_forward_gives_one_scheduled_item() -> None:
    clock = ManualClock()
    producer = ScheduledProducer(cron="0 * * * *", clock=clock)
    producer.open()
    assert seconds(producer.read(5, 3600.0).items) == [3600]
    clock.set_time(3 * 86_400 + 60)
    assert seconds(producer.read(5, 0.0).items) == [3 * 86_400]
    assert producer.read(5, 3000.0).items == []


def test_a_wall_clock_set_back_gives_no_due_time_twice() -> None:
    clock = ManualClock(time=10 * 3600)
    producer = ScheduledProducer(cron="0 * * * *", clock=clock)
    producer.open()
    read = producer.read(5, 3600.0)
    assert seconds(read.items) == [11 * 3600]
    clock.set_time(8 * 3600)
    assert producer.read(5, 3 * 3600.0).items == []
    assert seconds(producer.read(5, 3600.0).items) == [12 * 3600]
    clock.set_time(8 * 3600)
    for missed in ("skip", "once", "all"):
        again = ScheduledProducer(cron="0 * * * *", missed=missed, clock=clock)
        again.open(read.next_position)
        assert again.ready_in() == 4 * 3600  # 12 o'clock, not 9


def test_jitter_delays_within_its_bound_and_keeps_the_due_time() -> None:
    clock = ManualClock()
    producer = IntervalProducer(wait=10, jitter=timedelta(seconds=4), clock=clock, chance=random.Random(3))
    producer.open()
    delays = []
    for number in range(1, 30):
        read = producer.read(1, 100.0)
        assert seconds(read.items) == [number * 10]
        delays.append(clock.time() - number * 10)
    assert all(0 <= delay <= 4 for delay in delays)
    assert len(set(delays)) > 10


def test_a_subclass_pushes_by_both_spellings_and_may_yield() -> None:
    class Poll(TimedProducer):
        def process(self) -> Any:
            self.downstream.send("a")
            self.push("b")

    class Yields(TimedProducer):
        def process(self) -> Iterator[str]:  # type: ignore[override]
            yield "c"
            yield "d"

    poll = Poll(kind="scheduled", cron_string="* * * * *", clock=ManualClock())
    poll.open()
    assert (poll.kind, poll.source, poll.endless) == ("poll", SourceClass.FIRE_AND_FORGET, True)
    assert poll.read(1, 60.0).items == ["a"]
    assert poll.read(5, 0.0).items == ["b"]
    yields = Yields(kind="interval", wait=timedelta(seconds=1), clock=ManualClock())
    yields.open()
    assert yields.read(5, 1.0).items == ["c", "d"]


def test_an_error_of_process_comes_after_its_items_and_the_next_due_time_is_tried() -> None:
    class Flaky(TimedProducer):
        calls = 0

        def process(self) -> None:
            self.calls += 1
            self.push(self.calls)
            if self.calls == 1:
                msg = "away"
                raise OSError(msg)

    producer = Flaky(wait=1, clock=ManualClock())
    producer.open()
    assert producer.read(5, 1.0).items == [1]
    with pytest.raises(UserCodeError, match="OSError: away; it was due at 1970-01-01 00:00:01"):
        producer.read(5, 0.0)
    assert producer.read(5, 1.0).items == [2]


def test_what_process_gives_back_is_refused() -> None:
    class Returns(TimedProducer):
        def process(self) -> Any:
            return 3

    producer = Returns(wait=1, clock=ManualClock())
    producer.open()
    with pytest.raises(UserCodeError, match=r"process\(\) gave back 3; push it or yield it"):
        producer.read(5, 1.0)


def test_a_subclass_that_forgets_super_is_told() -> None:
    class Forgets(TimedProducer):
        def __init__(self) -> None:
            self.mine = 1

        def process(self) -> None:
            self.push(1)

    with pytest.raises(GraphError, match=r"must call super\(\).__init__"):
        Forgets().open()


@pytest.mark.parametrize(
    "make",
    [
        lambda: IntervalProducer(),
        lambda: IntervalProducer(wait=0),
        lambda: IntervalProducer(wait=-1),
        lambda: IntervalProducer(wait=float("nan")),
        lambda: IntervalProducer(wait=True),
        lambda: IntervalProducer(wait="1"),  # type: ignore[arg-type]
        lambda: IntervalProducer(wait=1, cron="* * * * *"),
        lambda: IntervalProducer(wait=1, jitter=2),
        lambda: IntervalProducer(wait=1, jitter=-1),
        lambda: IntervalProducer(wait=1, missed="never"),
        lambda: IntervalProducer(3, wait=1),  # type: ignore[arg-type]
        lambda: ScheduledProducer(),
        lambda: ScheduledProducer(cron="* * * * *", wait=1),
        lambda: TimedProducer(wait=1),
        lambda: Producer(kind="interval", cron_string="* * * * *"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make: Any) -> None:
    with pytest.raises(GraphError, match=r"expected|process\(self\)|longer than"):
        make()


def test_a_position_of_another_source_is_refused() -> None:
    producer = IntervalProducer(wait=1, clock=ManualClock())
    with pytest.raises(SourceError, match="expected a time in seconds"):
        producer.open([0, 3])


def test_a_real_clock() -> None:
    producer = IntervalProducer(wait=0.01)
    producer.open()
    items = producer.read(1, 5.0).items + producer.read(1, 5.0).items
    assert items[0] < items[1] <= datetime.now(UTC) + timedelta(seconds=1)
