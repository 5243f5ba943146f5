"""The thread that reads a cursor's pages ahead, so that a slow or absent database never holds up the run.

Rules of this module:
1. All of the database's connections but those of `CursorProducer.open` belong to this thread.
2. At most `PAGES_MAX` pages wait; the thread waits for room. No transaction is left open between two questions.
3. `close` ends a question that is being asked, and waits for the thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from consecution.database import may_pass, short_text
from consecution.errors import SourceError
from consecution.producers.keyed_query import writers
from consecution.producers.paging import (
    AskNewest,
    AskPage,
    AskWriters,
    Broke,
    End,
    Event,
    GiveUp,
    NewestRead,
    PageRead,
    Pause,
    Question,
    Started,
    WritersRead,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from consecution.clock import Clock
    from consecution.producers.keyed_query import KeyedQuery
    from consecution.producers.paging import Key, Paging

PAGES_MAX = 2
JOIN_S = 5.0
CANCEL_S = 1.0

log = logging.getLogger(__name__)


class PageThread:
    """Reads pages until there are no more.

    Args:
        engine: Taken over: disposed of at the end.
        query: What is read.
        paging: Says what comes next; used by the thread alone, but for its `trouble`.
        page_rows: Rows of a page.
        after: Key of the row before the first.
        label: Names the producer in messages.
        clock: Measures outages.
    """

    def __init__(
        self,
        engine: Engine,
        query: KeyedQuery,
        paging: Paging,
        *,
        page_rows: int,
        after: Key | None,
        label: str,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._query = query
        self._paging = paging
        self._page_rows = page_rows
        self._last = after
        self._label = label
        self._clock = clock
        self._pages: deque[list[Any]] = deque()
        self._end: SourceError | None = None
        self._is_over = False
        self._is_closed = False
        self._changed = threading.Condition()
        self._connection: Connection | None = None
        self._driver: Any = None
        self._bell_in, self._bell_out = os.pipe()
        self._thread = threading.Thread(target=self._live, name=f"consecution-{label}", daemon=True)
        self._thread.start()

    # ---- from the reading thread ---------------------------------------------------------------------------------

    def take(self, wait_s: float) -> list[Any] | None:
        """Give the next page, waiting at most ``wait_s`` seconds; [] when none is there yet, None at the end.

        Raises:
            SourceError: The database can't be read; the pages before have been given.
        """
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(lambda: self._pages or self._is_over, wait_s)
            if self._pages:
                page = self._pages.popleft()
                if not self._pages and not self._is_over:
                    os.read(self._bell_in, 1)
                self._changed.notify_all()
                return page
            if not self._is_over:
                return []
            if self._end is not None:
                raise self._end
            return None

    @property
    def is_ready(self) -> bool:
        """Whether `take` has something to say now."""
        return bool(self._pages) or self._is_over

    def fileno(self) -> int:
        """Give a pipe that is readable while it has."""
        return self._bell_in

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._interrupt()
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            log.warning("%s: the database doesn't answer; its thread is left to end by itself", self._label)
        os.close(self._bell_in)
        os.close(self._bell_out)

    def _interrupt(self) -> None:
        """Break off the statement that the thread waits for."""
        with contextlib.suppress(Exception):  # it may have ended at this moment, and the drivers' errors differ
            if hasattr(self._driver, "interrupt"):  # sqlite3
                self._driver.interrupt()
            elif hasattr(self._driver, "cancel_safe"):  # psycopg
                self._driver.cancel_safe(timeout=CANCEL_S)

    # ---- the thread ----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        error: SourceError | None = None
        try:
            self._run()
        except SourceError as raised:
            error = raised
        except Exception as raised:  # told where the run waits for rows
            error = SourceError(f"{self._label}: {type(raised).__name__}: {short_text(raised)}; rows before were given")
            error.__cause__ = raised
        finally:
            self._let_go()
            self._engine.dispose()
        with self._changed:
            if self._is_closed:
                return
            self._end = error
            self._is_over = True
            self._ring()

    def _run(self) -> None:
        event: Event = Started()
        while not self._is_closed:
            question = self._paging.handle(event, self._clock.monotonic())
            if isinstance(question, End):
                return
            if isinstance(question, GiveUp):
                msg = f"{self._label}: {question.why}; rows before it were given, the next start goes on behind them"
                raise SourceError(msg)
            if isinstance(question, Pause):
                self._pause(question.seconds)
                event = Started()
                continue
            event = self._answer(question)

    def _answer(self, question: Question) -> Event:
        was_broken = self._paging.is_broken
        try:
            event = self._ask(question)
        except SourceError:
            raise
        except Exception as error:  # SQLAlchemy's, or the driver's own, which some calls let through
            self._let_go()
            if self._is_closed:
                return Started()
            if not may_pass(error):
                msg = f"{self._label}: the database refuses the query: {short_text(error)}; rows before it were given"
                raise SourceError(msg) from error
            if not was_broken:
                log.warning("%s: the database is away, it is tried again: %s", self._label, short_text(error))
            return Broke(short_text(error))
        if was_broken:
            log.warning("%s: the database is back; reading goes on", self._label)
        return event

    def _ask(self, question: Question) -> Event:
        if self._connection is None:
            # Each statement is a transaction of its own, and sees what was committed before it.
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            with self._changed:
                self._connection = connection
                self._driver = connection.connection.driver_connection
        connection = self._connection
        assert connection is not None
        if isinstance(question, AskNewest):
            return NewestRead(self._query.newest(connection, question.after))
        if isinstance(question, AskWriters):
            return WritersRead(writers(connection))
        assert isinstance(question, AskPage)
        # One row more than the page, to see that its key is another one.
        rows = self._query.page(connection, question.after, question.upto, self._page_rows + 1)
        equal = self._query.equal_keys(rows, self._last)
        if equal is not None:
            msg = f"{self._label}: two rows have the key {equal}, so that one might be skipped; add a column to key=[…]"
            raise SourceError(msg + " that tells them apart; rows before this page were given")
        is_full = len(rows) > self._page_rows
        page = rows[: self._page_rows]
        if page:
            self._last = self._query.key_of(page[-1])
            self._give(page)
        return PageRead(self._query.key_of(page[-1]) if page else None, is_full)

    def _give(self, page: list[Any]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._pages) < PAGES_MAX)
            if self._is_closed:
                return
            self._pages.append(page)
            self._ring()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _ring(self) -> None:
        """Say that there is something to take; under the lock. One byte stands for any number of pages."""
        if len(self._pages) <= 1 and (self._pages or self._is_over):
            os.write(self._bell_out, b"!")
        self._changed.notify_all()

    def _let_go(self) -> None:
        with self._changed:
            connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):  # what is broken can't be closed in good order
                connection.invalidate()
                connection.close()
