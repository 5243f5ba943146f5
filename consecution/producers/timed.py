"""Producers that the clock drives: intervals and cron lines.

Rules of this module:
1. An interval is measured by the monotonic clock: it doesn't notice when the wall clock is set. A cron line means the
   wall clock: when that is set forward, the due times in between are missed; set back, none comes a second time.
2. Due times that pile up while a run goes on (no room, a machine that slept) become one, the latest; those that passed
   while no process ran are dropped. ``missed`` changes that: "once" makes one of the latter too, "all" gives each.
3. Fire and forget: an item is journalled when it was made. The position is the last due time, so that a restart knows
   what it missed.
"""

from __future__ import annotations

import inspect
import math
import random
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.errors import GraphError, SourceError, UserCodeError, short_repr, user_errors
from consecution.producers.base import NOTHING_YET, Producer, Read, SourceClass
from consecution.producers.schedule import Cron, Interval

if TYPE_CHECKING:
    from collections.abc import Callable

MISSED = ("skip", "once", "all")


class Send:
    """What ``self.downstream`` is: ``send(item)`` is ``push(item)``."""

    def __init__(self, producer: TimedProducer) -> None:
        self.send = producer.push


class TimedProducer(Producer):
    """Calls ``process`` when it is due: a subclass pushes its items there.

    >>> from consecution.testing.clock import ManualClock
    >>> class Tick(TimedProducer):
    ...     def process(self):
    ...         self.push(self.due.isoformat())
    >>> tick = Tick(kind="interval", wait=timedelta(seconds=10), clock=ManualClock())
    >>> tick.open()
    >>> tick.read(10, wait_s=10.0).items
    ['1970-01-01T00:00:10+00:00']

    Args:
        kind: "interval" (needs ``wait``) or "scheduled" (needs ``cron``); None takes the one whose argument is given.
        wait: Time between two calls, the first after one ``wait``; a timedelta, or seconds.
        jitter: Each call comes up to so much later, by chance; a timedelta, or seconds.
        cron: Five fields, as for cron, or six with seconds first; ``cron_string`` is the same.
        tz: The time zone that ``cron`` is meant in.
        missed: What becomes of due times that passed: "skip", "once" or "all"; see the rules of the module.
        name: Its name in the journal and in reports.
        clock: Tells the time.
        chance: Where jitter comes from.

    Attributes:
        due: In ``process``: the time at which it was due, in UTC, without jitter.

    Raises:
        GraphError: The arguments don't fit together.
    """

    kind = "timed"
    source = SourceClass.FIRE_AND_FORGET
    endless = True
    due: datetime

    _missed = ""

    def __init__(
        self,
        kind: str | None = None,
        *,
        wait: timedelta | float | None = None,
        jitter: timedelta | float | None = None,
        cron: str | None = None,
        cron_string: str | None = None,
        tz: str = "UTC",
        missed: str = "skip",
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        chance: random.Random | None = None,
    ) -> None:
        self.name = name
        line = cron if cron is not None else cron_string
        where = type(self).__name__
        if type(self).process is TimedProducer.process:
            msg = f"{where} has no process(self): subclass TimedProducer and push items there, or use IntervalProducer"
            raise GraphError(msg)
        kind = kind or ("scheduled" if line is not None else "interval")
        if (
            kind not in ("interval", "scheduled")
            or (wait is None) is (kind == "interval")
            or ((line is None) is (kind == "scheduled"))
        ):
            msg = (
                f"{where}(kind={kind!r}, wait={wait!r}, cron={line!r}): expected kind='interval' with"
                " wait=timedelta(…), or kind='scheduled' with cron='…'"
            )
            raise GraphError(msg)
        if missed not in MISSED:
            msg = f"{where}(missed={missed!r}): expected one of {', '.join(map(repr, MISSED))}"
            raise GraphError(msg)
        self._wait_s = 0.0 if wait is None else _seconds(wait, f"{where}(wait=…)")
        self._jitter_s = 0.0 if jitter is None else _seconds(jitter, f"{where}(jitter=…)", zero=True)
        if wait is not None and self._jitter_s > self._wait_s:
            msg = f"{where}(wait={wait!r}, jitter={jitter!r}): the jitter must not be longer than the wait"
            raise GraphError(msg)
        self._cron = None if line is None else Cron(line, tz)
        self._missed = missed
        self._clock = clock
        self._chance = chance or random.Random()
        self._pushed: deque[Any] = deque()

    def process(self) -> None:
        """Make the items of one due time and push them; a generator's values are pushed too."""
        raise NotImplementedError

    def push(self, item: Any) -> None:
        """Send an item on; from ``process``."""
        self._pushed.append(item)

    @property
    def downstream(self) -> Send:
        """What follows: ``self.downstream.send(item)`` is ``self.push(item)``."""
        return Send(self)

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin to wait for the next due time.

        Args:
            position: The last due time of an earlier run, in seconds since 1970.
            check: There is nothing to compare.

        Raises:
            GraphError: The subclass's ``__init__`` didn't call ``super().__init__(…)``.
            SourceError: The position is no time.
        """
        if not self._missed:
            msg = f"{type(self).__name__}.__init__ must call super().__init__(kind=…, wait=… or cron=…)"
            raise GraphError(msg)
        if position is not None and not isinstance(position, (int, float)):
            msg = f"producer {self.label!r}: the journal's position is {short_repr(position)}, expected a time in"
            raise SourceError(msg + " seconds; the journal is of another kind of source: start anew with --fresh")
        self._pushed.clear()
        self._error: UserCodeError | None = None
        self._opened_at = self._clock.time() - self._clock.monotonic()
        now = self._now()
        since = now if position is None else float(position)
        self._last: float | None = None if position is None else since
        self._schedule = self._cron or Interval(self._wait_s, start=since)
        due = None
        if position is not None and self._missed == "once":
            due = self._schedule.latest(now, since)
        if due is None:
            due = self._schedule.after(since if self._missed == "all" else max(now, since))
        self._wait_for(due)

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """Give the items of the due times that have come; see `Producer.read`.

        Raises:
            UserCodeError: ``process`` raised; what was pushed before has been given, and the next read goes on with the
                next due time.
        """
        deadline = self._clock.monotonic() + wait_s
        has_fired = False
        while len(self._pushed) < items_max and self._error is None:
            left = self._due_at - self._now()
            if left <= 0:
                has_fired = True
                try:
                    self._fire()
                except UserCodeError as error:
                    self._error = error
                continue
            left = min(left, deadline - self._clock.monotonic())
            if self._pushed or left <= 0:
                break
            self._clock.sleep(left)
        items = [self._pushed.popleft() for _ in range(min(items_max, len(self._pushed)))]
        if not items and self._error is not None:
            raised, self._error = self._error, None
            raise raised
        # Also a due time that made nothing is over: a restart doesn't miss it.
        return Read(items, next_position=self._last) if items or has_fired else NOTHING_YET

    def tell_time_by(self, clock: Clock) -> None:
        """Go by this clock from the next ``open`` on."""
        self._clock = clock

    def check(self, position: object, item_below: object = None) -> object | None:
        """Time can't be replaced."""
        return None

    def ready_in(self) -> float | None:
        """Give the seconds until the next due time."""
        return 0.0 if self._pushed else max(0.0, self._due_at - self._now())

    def close(self) -> None:
        """Nothing is held."""

    def _now(self) -> float:
        if self._cron is not None:
            return self._clock.time()
        return self._opened_at + self._clock.monotonic()

    def _wait_for(self, due: float) -> None:
        self._due_time = due
        self._due_at = due + (self._chance.uniform(0.0, self._jitter_s) if self._jitter_s else 0.0)

    def _fire(self) -> None:
        """Call ``process`` for the due time, or for the latest of those that have piled up."""
        due = self._due_time
        if self._missed != "all":
            due = self._schedule.latest(self._now() - self._jitter_s, since=due) or due
        self._last = due
        self._wait_for(self._schedule.after(due))
        self.due = datetime.fromtimestamp(0, UTC) + timedelta(seconds=due)
        try:
            given: object = self.process()  # type: ignore[func-returns-value]  # a user's may give something
            if inspect.isgenerator(given):
                self._pushed.extend(given)
                given = None
        except user_errors() as error:
            msg = f"producer {self.label!r}: its code raised {type(error).__name__}: {error}; it was due at {self.due}"
            raise UserCodeError(msg, node=self.label) from error
        if given is not None:
            if inspect.iscoroutine(given):
                given.close()
            msg = f"producer {self.label!r}: process() gave back {short_repr(given)}; push it or yield it"
            raise UserCodeError(msg, node=self.label)


class IntervalProducer(TimedProducer):
    """Pushes the value of ``func()`` each ``wait``; without a function, the due time (a datetime in UTC).

    Args:
        func: Called without arguments in the reading thread; whatever it gives is an item, None too.
        wait: A timedelta, or seconds.
        jitter: See `TimedProducer`, which also has the other options.
    """

    kind = "interval"

    def __init__(
        self,
        func: Callable[[], Any] | None = None,
        wait: timedelta | float | None = None,
        jitter: timedelta | float | None = None,
        **options: Any,
    ) -> None:
        super().__init__("interval", wait=wait, jitter=jitter, **options)
        self._func = _checked(func, "IntervalProducer")

    def process(self) -> None:
        """Push the function's value, or the due time."""
        self.push(self.due if self._func is None else self._func())


class ScheduledProducer(TimedProducer):
    """Pushes the value of ``func()`` when the cron line says so; without a function, the due time.

    >>> from consecution.testing.clock import ManualClock
    >>> hourly = ScheduledProducer(cron="0 * * * *", clock=ManualClock())
    >>> hourly.open()
    >>> hourly.read(10, wait_s=3600.0).items
    [datetime.datetime(1970, 1, 1, 1, 0, tzinfo=datetime.timezone.utc)]

    Args:
        func: Called without arguments in the reading thread; whatever it gives is an item, None too.
        cron: See `TimedProducer`, which also has the other options.
        jitter: The same.
    """

    kind = "scheduled"

    def __init__(
        self,
        func: Callable[[], Any] | None = None,
        cron: str | None = None,
        jitter: timedelta | float | None = None,
        **options: Any,
    ) -> None:
        super().__init__("scheduled", cron=cron, jitter=jitter, **options)
        self._func = _checked(func, "ScheduledProducer")

    def process(self) -> None:
        """Push the function's value, or the due time."""
        self.push(self.due if self._func is None else self._func())


def _checked(func: Any, where: str) -> Callable[[], Any] | None:
    if func is None or callable(func):
        checked: Callable[[], Any] | None = func
        return checked
    msg = f"{where}({short_repr(func)}): expected a function without arguments, or None for the due times"
    raise GraphError(msg)


def _seconds(value: timedelta | float, where: str, *, zero: bool = False) -> float:
    seconds: Any = value.total_seconds() if isinstance(value, timedelta) else value
    if type(seconds) in (int, float) and math.isfinite(seconds) and (seconds > 0 or (zero and seconds == 0)):
        return float(seconds)
    msg = f"{where}: {short_repr(value)}, expected a timedelta or seconds, more than 0"
    raise GraphError(msg)
