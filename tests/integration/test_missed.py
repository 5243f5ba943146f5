"""What becomes of due times while no process runs, with the journal between the runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Consecutor, Map, ScheduledProducer, TimedProducer
from consecution.testing.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import WaitFor

START = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


def at(*texts: str) -> list[datetime]:
    return [datetime.fromisoformat(f"2026-03-{text}:00+00:00") for text in texts]


@pytest.mark.parametrize("mode", ["single", "threads"])
@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", []),
        ("once", at("29T10:30")),
        # The clock changes in between: 02:30 of Berlin is left out on 29 March, and comes right after, at 03:00.
        ("all", at("28T22:30", "29T01:00", "29T04:30", "29T10:30")),
    ],
)
def test_missed_due_times_over_a_restart(
    tmp_path: Path, wait_for: WaitFor, missed: str, expected: list[datetime], mode: Any
) -> None:
    clock = ManualClock(time=START)
    seen: list[datetime] = []

    def start() -> Any:
        source = ScheduledProducer(
            cron="30 2,6,12,23 * * *", tz="Europe/Berlin", missed=missed, clock=clock, name="clock"
        )
        return Consecutor(source | Map(seen.append), "missed", journal=tmp_path / "journal").start(mode)

    running = start()
    clock.advance(HOUR_S)  # 12:30 of Berlin, 11:30 UTC, is over; 23:30 is the next one
    assert running.drain().introduced == 0
    running = start()
    clock.advance(9.75 * HOUR_S)
    wait_for(lambda: seen == at("28T22:30"), 30, "the due time while it runs")
    assert running.drain().completed == 1
    seen.clear()

    clock.set_time(datetime(2026, 3, 28, 22, 30, 1, tzinfo=UTC).timestamp())
    running = start()
    assert running.drain().introduced == 1  # nothing was missed
    assert seen == []

    clock.set_time(datetime(2026, 3, 29, 10, 31, tzinfo=UTC).timestamp())
    running = start()
    rest = [due for due in expected if due != at("28T22:30")[0]]
    wait_for(lambda: len(seen) >= len(rest), 30, "what was missed")
    clock.set_time(datetime(2026, 3, 29, 21, 30, tzinfo=UTC).timestamp())
    rest += at("29T21:30")  # 23:30 of Berlin's summer
    wait_for(lambda: len(seen) >= len(rest), 30, "the next due time")
    report = running.drain()
    assert seen == rest
    assert report.introduced == report.completed == 1 + len(rest)


def test_a_due_time_that_gave_nothing_is_not_missed(tmp_path: Path, wait_for: WaitFor) -> None:
    """1. A poll looks at two due times and finds nothing. 2. It is restarted: only later ones are due."""
    clock = ManualClock(time=START)
    looked: list[float] = []

    class Poll(TimedProducer):
        def process(self) -> None:
            looked.append(self.due.timestamp() - START)
            if len(looked) == 1:
                self.push("found")

    def start() -> Any:
        source = Poll(cron="0 * * * *", missed="all", clock=clock)
        return Consecutor(source | Map(str), "poll", journal=tmp_path / "journal").start("single")

    running = start()
    for hour in (1, 2, 3):
        clock.set_time(START + hour * HOUR_S)
        wait_for(lambda hour=hour: len(looked) == hour, 30, f"look {hour}")
    running.drain()
    clock.set_time(START + 5 * HOUR_S)
    running = start()
    wait_for(lambda: len(looked) >= 5, 30, "the looks that were missed")
    running.drain()
    assert looked == [HOUR_S * hour for hour in (1, 2, 3, 4, 5)]
