"""When a cursor asks which page: pure.

Rules of this module:
1. One event in, one question out; ``now`` is monotonic seconds. The thread that asks (page_thread.py) keeps no state.
2. Rows come by rising key, each once: a page begins behind the last row of the page before it.
3. A transaction may take a small key and commit after one that took a greater one. Where that is possible (*settling*),
   no row is read that lies above a key of which it is known that all smaller ones are there: the newest key is asked
   for, then who is writing; when all of those have ended, every smaller key is committed, or never will be.
4. An outage is asked about again after a wait that grows, and given up after ``give_up_s``. Nothing is skipped by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from consecution.guarantee.backoff import Backoff

Key: TypeAlias = tuple[object, ...]

SETTLE = Backoff(first_s=0.01, factor=1.5, max_s=0.2)
OUTAGE = Backoff(first_s=0.1, factor=2.0, max_s=10.0)
PATIENCE_S = 5.0  # writers that last longer are told of
PREPARED = "-1/"  # how PostgreSQL's names of prepared transactions begin


@dataclass(frozen=True, slots=True)
class Started:
    """The thread has begun, or a pause is over."""


@dataclass(frozen=True, slots=True)
class PageRead:
    """A page came.

    Attributes:
        last: Key of its last row; None when it has no row.
        is_full: Whether there were as many rows as asked for.
    """

    last: Key | None
    is_full: bool


@dataclass(frozen=True, slots=True)
class NewestRead:
    """The greatest key that is there now, above those read; None when there is none."""

    key: Key | None


@dataclass(frozen=True, slots=True)
class WritersRead:
    """Who is writing now, by the database's own names for transactions."""

    writers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Broke:
    """The question could not be asked: the database is away."""

    why: str


Event: TypeAlias = Started | PageRead | NewestRead | WritersRead | Broke


@dataclass(frozen=True, slots=True)
class AskPage:
    """Read the rows above ``after`` (None: from the start) and, unless None, up to ``upto``."""

    after: Key | None
    upto: Key | None


@dataclass(frozen=True, slots=True)
class AskNewest:
    """Find the greatest key above ``after``."""

    after: Key | None


@dataclass(frozen=True, slots=True)
class AskWriters:
    """Find out who is writing."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, then say `Started`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """There are no more rows, and none will be waited for."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The outage lasts too long."""

    why: str


Question: TypeAlias = AskPage | AskNewest | AskWriters | Pause | End | GiveUp


class Paging:
    """Where a cursor stands.

    Args:
        after: Key of the last row that was read before; None for the start.
        follow: Go on when there are no more rows.
        settles: Keys may be committed out of order (rule 3); only with ``follow``.
        poll_s: Wait between two looks for new rows.
        give_up_s: The longest outage.

    Attributes:
        trouble: What holds it back, for people; None when nothing does.

    >>> paging = Paging(None, follow=False)
    >>> paging.handle(Started(), 0.0)
    AskPage(after=None, upto=None)
    >>> paging.handle(PageRead((7,), is_full=True), 0.0)
    AskPage(after=(7,), upto=None)
    >>> paging.handle(PageRead(None, is_full=False), 0.0)
    End()
    """

    def __init__(
        self,
        after: Key | None,
        *,
        follow: bool,
        settles: bool = False,
        poll_s: float = 1.0,
        give_up_s: float = 300.0,
    ) -> None:
        self._after = after
        self._follow = follow
        self._settles = settles
        self._poll_s = poll_s
        self._give_up_s = give_up_s
        self._upto: Key | None = None
        self._writers: frozenset[str] | None = None
        self._settling: tuple[float, int] | None = None  # since when, and how often it was looked
        self._broken: tuple[float, int] | None = None
        self.trouble: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the last question could not be asked."""
        return self._broken is not None

    def handle(self, event: Event, now: float) -> Question:
        """Take in an event and give the next question.

        Args:
            event: What became of the question before.
            now: Monotonic seconds.

        Returns:
            What to ask, or to do, next; after `End` and `GiveUp` nothing.
        """
        if isinstance(event, Broke):
            return self._broke(event, now)
        if not isinstance(event, Started):
            self._broken = self.trouble = None
        if isinstance(event, WritersRead):
            return self._writers_read(event.writers, now)
        if isinstance(event, NewestRead):
            self._upto = event.key
            if event.key is None:
                return Pause(self._poll_s)
        elif isinstance(event, PageRead):
            return self._page_read(event)
        return self._next()

    def _next(self) -> Question:
        if not self._settles:
            return AskPage(self._after, None)
        if self._upto is None:
            return AskNewest(self._after)
        if self._writers is None or self._writers:
            return AskWriters()
        return AskPage(self._after, self._upto)

    def _page_read(self, page: PageRead) -> Question:
        self._after = self._after if page.last is None else page.last
        if page.is_full and self._after != self._upto:
            return self._next()
        was_settled = self._upto is not None
        self._upto = self._writers = None
        if not self._follow:
            return End()
        return self._next() if was_settled else Pause(self._poll_s)

    def _writers_read(self, writers: frozenset[str], now: float) -> Question:
        # Who began later can't have taken a smaller key; who prepares to commit gets another name on the way.
        prepared = {name for name in writers if name.startswith(PREPARED)}
        self._writers = writers if self._writers is None else self._writers & writers | prepared
        if not self._writers:
            self._settling = None
            return self._next()
        since, times = self._settling or (now, 0)
        self._settling = (since, times + 1)
        if now - since >= PATIENCE_S:
            self.trouble = (
                f"{len(self._writers)} transactions of the database that have written for {now - since:.0f} s"
            )
        return Pause(SETTLE.delay_s(times + 2))

    def _broke(self, event: Broke, now: float) -> Question:
        since, times = self._broken or (now, 0)
        self._broken = (since, times + 1)
        if now - since >= self._give_up_s:
            return GiveUp(f"{event.why}; tried {times + 1} times within {now - since:.0f} s")
        self.trouble = f"the database, away for {now - since:.0f} s: {event.why}"
        return Pause(OUTAGE.delay_s(times + 2))
