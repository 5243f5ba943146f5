"""When something is due: intervals and cron lines; pure.

Rules of this module:
1. Moments are seconds since 1970 in UTC; a schedule knows no clock and no producer.
2. ``after`` gives the next due time, strictly later; ``latest`` the last one at or before a moment. Both agree.
3. Cron lines mean the wall clock of a time zone, as Debian's cron does: a time that a change to summer time leaves out
   comes right after it, one that comes twice is due the first time. Lines with ``*`` or steps in minutes or hours run
   on in real time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import floor
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from consecution.errors import GraphError, short_repr


class Schedule(Protocol):
    """What is due when."""

    def after(self, moment: float) -> float:
        """Give the first due time later than ``moment``."""
        ...

    def latest(self, moment: float, since: float) -> float | None:
        """Give the last due time at or before ``moment`` that is later than ``since``; None when there is none."""
        ...


class Interval:
    """Due each ``wait_s`` seconds from ``start`` on; no delay adds up.

    >>> every = Interval(10.0, start=100.0)
    >>> every.after(100.0), every.after(104.0), every.latest(135.0, since=100.0)
    (110.0, 110.0, 130.0)
    """

    def __init__(self, wait_s: float, start: float) -> None:
        self._wait_s = wait_s
        self._start = start

    def after(self, moment: float) -> float:
        """Give the first due time later than ``moment``."""
        count = max(1, self._count(moment))
        while self._due(count) <= moment:
            count += 1
        return self._due(count)

    def latest(self, moment: float, since: float) -> float | None:
        """Give the last due time at or before ``moment`` that is later than ``since``; None when there is none."""
        count = self._count(moment) + 2
        while self._due(count) > moment:
            count -= 1
        return self._due(count) if count >= 1 and self._due(count) > since else None

    def _count(self, moment: float) -> int:
        """Give a number of waits that is right or one too small; the division may round either way."""
        return floor((moment - self._start) / self._wait_s) - 1

    def _due(self, count: int) -> float:
        return self._start + count * self._wait_s


class Cron:
    """Due as a cron line says, in a time zone.

    Args:
        line: Five fields (minute, hour, day, month, weekday), or six with seconds first.
        tz: Name of the time zone, such as "Europe/Berlin".

    Raises:
        GraphError: The line or the zone means nothing.

    >>> noon = Cron("0 12 * * *", "UTC")
    >>> noon.after(0.0), noon.latest(100_000.0, since=0.0), noon.latest(100_000.0, since=50_000.0)
    (43200.0, 43200.0, None)
    """

    def __init__(self, line: str, tz: str = "UTC") -> None:
        try:
            # Not ZoneInfo("UTC"): with datetime.UTC cronsim steps faster, without looking for changes of the clock.
            self._zone = UTC if tz == "UTC" else ZoneInfo(tz)
        except (KeyError, ValueError, OSError, TypeError) as error:
            msg = f"tz={short_repr(tz)} is no time zone ({error}); expected a name such as 'Europe/Berlin'; is tzdata"
            raise GraphError(msg + " installed?") from error
        try:
            next(CronSim(line, datetime(2000, 1, 1, tzinfo=UTC)))
        except (CronSimError, AttributeError, TypeError) as error:
            msg = f"cron={short_repr(line)}: {error}; expected five fields, minute hour day month weekday, such as"
            raise GraphError(msg + " '*/5 * * * *', or six with seconds first") from error
        except StopIteration:
            msg = f"cron={short_repr(line)} is never due in the next 50 years; is the day in its month?"
            raise GraphError(msg) from None
        self._line = line

    def after(self, moment: float) -> float:
        """Give the first due time later than ``moment``."""
        # From the hour that comes twice cronsim gives its first pass, which is over: take the next until it is later.
        for due in CronSim(self._line, self._local(floor(moment))):
            if due.timestamp() > moment:
                return due.timestamp()
        msg = f"cron={self._line!r} is never due again within 50 years"
        raise GraphError(msg)

    def latest(self, moment: float, since: float) -> float | None:
        """Give the last due time at or before ``moment`` that is later than ``since``; None when there is none."""
        # Forward from well before: cronsim's reverse steps differ from its forward steps around changes of the clock.
        for seconds in (60, 3600, 86_400):
            first = max(since, floor(moment) - 2 * seconds)
            found = self._last_between(first, moment) if first > since else None
            if found is not None:
                return found
        backward = CronSim(self._line, self._local(floor(moment) - 86_400), reverse=True)
        first = max(since, next(backward, self._local(0)).timestamp() - 1)
        return self._last_between(first, moment)

    def _last_between(self, first: float, moment: float) -> float | None:
        found = None
        due = self.after(first)
        while due <= moment:
            found, due = due, self.after(due)
        return found

    def _local(self, moment: float) -> datetime:
        return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=moment)).astimezone(self._zone)
