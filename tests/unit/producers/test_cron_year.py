"""A year of cron lines over both changes of the clock, against tables that were written by hand.

In 2026 Berlin goes from +1 to +2 on 29 March at 02:00 and back on 25 October at 03:00; New York from -5 to -4 on 8
March at 02:00 and back on 1 November at 02:00. The tables give UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from consecution.producers.schedule import Cron

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
DAY = timedelta(days=1)

# (zone, line): rows of (first day, last day, times of each day); days and times in UTC.
DAILY: dict[tuple[str, str], list[tuple[str, str, str]]] = {
    # Left out on 29 March: comes right after, at 03:00 = 01:00 UTC. Twice on 25 October: the first time counts.
    (BERLIN, "30 2 * * *"): [
        ("01-01", "03-28", "01:30"),
        ("03-29", "03-29", "01:00"),
        ("03-30", "10-25", "00:30"),
        ("10-26", "12-31", "01:30"),
    ],
    (BERLIN, "0 2 * * *"): [
        ("01-01", "03-28", "01:00"),
        ("03-29", "03-29", "01:00"),
        ("03-30", "10-25", "00:00"),
        ("10-26", "12-31", "01:00"),
    ],
    # Never left out, never twice.
    (BERLIN, "59 1 * * *"): [("01-01", "03-29", "00:59"), ("03-29", "10-24", "23:59"), ("10-26", "12-31", "00:59")],
    (BERLIN, "0 3 * * *"): [("01-01", "03-28", "02:00"), ("03-29", "10-24", "01:00"), ("10-25", "12-31", "02:00")],
    (BERLIN, "0 12 * * *"): [("01-01", "03-28", "11:00"), ("03-29", "10-24", "10:00"), ("10-25", "12-31", "11:00")],
    # Hours that are a list: one of them is left out, and one comes twice.
    (BERLIN, "30 1,2,3 * * *"): [
        ("01-01", "03-28", "00:30 01:30 02:30"),
        ("03-29", "03-29", "00:30 01:00 01:30 23:30"),
        ("03-30", "10-24", "00:30 01:30 23:30"),
        ("10-25", "10-25", "00:30 02:30"),
        ("10-26", "12-31", "00:30 01:30 02:30"),
    ],
    (BERLIN, "0 */6 * * *"): [
        ("01-01", "03-28", "05:00 11:00 17:00 23:00"),
        ("03-29", "10-24", "04:00 10:00 16:00 22:00"),
        ("10-25", "12-31", "05:00 11:00 17:00 23:00"),
    ],
    (NEW_YORK, "30 2 * * *"): [
        ("01-01", "03-07", "07:30"),
        ("03-08", "03-08", "07:00"),
        ("03-09", "10-31", "06:30"),
        ("11-01", "12-31", "07:30"),
    ],
    # Here it is 01:30 that comes twice.
    (NEW_YORK, "30 1 * * *"): [
        ("01-01", "03-08", "06:30"),
        ("03-09", "11-01", "05:30"),
        ("11-02", "12-31", "06:30"),
    ],
    (NEW_YORK, "0 9 * * *"): [("01-01", "03-07", "14:00"), ("03-08", "10-31", "13:00"), ("11-01", "12-31", "14:00")],
}

# Rare lines, each due time written out.
RARE: dict[tuple[str, str], list[str]] = {
    (BERLIN, "30 2 29 3 *"): ["03-29 01:00"],
    (BERLIN, "30 2 25 10 *"): ["10-25 00:30"],
    (BERLIN, "15 9 1 * *"): [
        *("01-01 08:15", "02-01 08:15", "03-01 08:15", "04-01 07:15", "05-01 07:15", "06-01 07:15"),
        *("07-01 07:15", "08-01 07:15", "09-01 07:15", "10-01 07:15", "11-01 08:15", "12-01 08:15"),
    ],
    (BERLIN, "0 2 * 3,10 SUN"): [
        *("03-01 01:00", "03-08 01:00", "03-15 01:00", "03-22 01:00", "03-29 01:00"),
        *("10-04 00:00", "10-11 00:00", "10-18 00:00", "10-25 00:00"),
    ],
    (NEW_YORK, "30 1 1 11 *"): ["11-01 05:30"],
    (NEW_YORK, "30 2 8 3 *"): ["03-08 07:00"],
    (NEW_YORK, "0 0 LW * *"): [  # the last working day of each month
        *("01-30 05:00", "02-27 05:00", "03-31 04:00", "04-30 04:00", "05-29 04:00", "06-30 04:00"),
        *("07-31 04:00", "08-31 04:00", "09-30 04:00", "10-30 04:00", "11-30 05:00", "12-31 05:00"),
    ],
}

# Lines that run on in real time: always so many seconds apart.
STEPS = {(BERLIN, "*/30 * * * *"): 1800, (NEW_YORK, "0 * * * *"): 3600}


def moment(day: str, time: str) -> datetime:
    return datetime.fromisoformat(f"2026-{day}T{time}:00+00:00")


def due_times(zone: str, line: str) -> list[datetime]:
    """All due times of 2026 in UTC, one step after the other, as a producer makes them."""
    cron = Cron(line, zone)
    end = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    at = datetime(2026, 1, 1, tzinfo=UTC).timestamp() - 1
    found = []
    while (at := cron.after(at)) < end:
        found.append(datetime.fromtimestamp(at, UTC))
    return found


@pytest.mark.parametrize(("zone", "line"), DAILY, ids=lambda value: value)
def test_daily_lines_over_a_year(zone: str, line: str) -> None:
    expected = []
    for first, last, times in DAILY[zone, line]:
        day, end = date.fromisoformat(f"2026-{first}"), date.fromisoformat(f"2026-{last}")
        while day <= end:
            expected += [moment(f"{day:%m-%d}", time) for time in times.split()]
            day += DAY
    assert due_times(zone, line) == expected


@pytest.mark.parametrize(("zone", "line"), RARE, ids=lambda value: value)
def test_rare_lines_over_a_year(zone: str, line: str) -> None:
    assert due_times(zone, line) == [moment(*due.split()) for due in RARE[zone, line]]


@pytest.mark.parametrize(("zone", "line"), STEPS, ids=lambda value: value)
def test_steps_are_equally_far_apart_through_both_changes(zone: str, line: str) -> None:
    times = due_times(zone, line)
    step_s = STEPS[zone, line]
    assert len(times) == 365 * 86_400 // step_s
    assert {(later - sooner).total_seconds() for sooner, later in pairwise(times)} == {step_s}


@pytest.mark.parametrize(("zone", "line"), [*DAILY, *RARE], ids=lambda value: value)
def test_latest_gives_what_after_gave_on_the_days_of_the_changes(zone: str, line: str) -> None:
    cron = Cron(line, zone)
    times = due_times(zone, line)
    since = datetime(2025, 12, 1, tzinfo=UTC).timestamp()
    for day in ("03-08", "03-29", "10-25", "11-01"):
        for quarters in range(96):
            now = moment(day, "00:00") + quarters * timedelta(minutes=15)
            past = [due for due in times if due <= now]
            if past:
                assert cron.latest(now.timestamp(), since) == past[-1].timestamp()
