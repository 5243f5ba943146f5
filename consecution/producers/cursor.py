"""CursorProducer: the rows of a query, by rising key.

Rules of this module:
1. Re-readable: a position is the key of the last row before it (row_marks.py). A restart goes on behind the lowest
   unfinished row.
2. ``open`` connects, and compares the table with what the journal knows, before the first row is given. From then on a
   thread of its own reads pages ahead (page_thread.py); an absent database is waited for there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.database import Address, as_names, may_pass, short_text
from consecution.errors import GraphError, SourceError, short_repr
from consecution.producers.anchors import item_crc
from consecution.producers.base import Producer, Read, SourceClass
from consecution.producers.row_marks import Above, Check, RowMarks, key_of, parse_check, position_of, sum_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from consecution.producers.keyed_query import KeyedQuery
    from consecution.producers.page_thread import PageThread
    from consecution.producers.paging import Key, Paging

LOCK_TIMEOUT_S = 5.0
FOLLOWED = ("sqlite", "postgresql")


class CursorProducer(Producer):
    """Gives the rows of a query as dicts, by rising key, in pages; re-readable.

    >>> import sqlite3, tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "shop.db"
    >>> database = sqlite3.connect(path)
    >>> _ = database.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY, euros); "
    ...                            "INSERT INTO orders (euros) VALUES (10), (20)")
    >>> producer = CursorProducer(path, "SELECT id, euros FROM orders WHERE euros > 5", key="id")
    >>> producer.open()
    >>> producer.read(10, wait_s=5.0).items
    [{'id': 1, 'euros': 10}, {'id': 2, 'euros': 20}]
    >>> producer.close(); database.close(); folder.cleanup()

    The key must be unique and never NULL, and new rows must have greater keys than old ones: a number that the database
    gives, such as ``bigserial``, an identity, or in SQLite ``INTEGER PRIMARY KEY AUTOINCREMENT`` (without that word the
    number of the newest row is given again once that row is deleted). Not so a time that is taken when a transaction
    begins (``now()``), a random UUID, or a sequence with ``CACHE``. In PostgreSQL, where a transaction with a smaller
    key may commit after one with a greater key, ``follow`` gives no row before all transactions that were writing into
    the database when it was seen have ended; one that writes for an hour holds it up for an hour, and is told of.

    A restart compares: the row below the place where the run stopped must be there unchanged (see ``compare``), and no
    row may have come or gone among those that were read and not all finished. A difference is a SourceError. Rows above
    may change as they like until they are read. The query must be quick by its key (an index): each page asks for it.

    Args:
        database: Path of an SQLite file, or an SQLAlchemy URL such as ``postgresql+psycopg://user@host/db``, whose
            driver you install (``pip install consecution[postgresql]``).
        query: A SELECT; it is asked as a subselect. A ``:`` before a word that is no parameter gets a backslash.
        key: Column of the query that is its key; a list for several columns.
        parameters: Values of the query's ``:names``.
        follow: Go on for ever with new rows; else it ends behind the last row.
        poll_s: With ``follow``: how often to look for new rows.
        page_rows: Rows read at a time; at most four times as many are held in memory.
        compare: Columns that a row must still have unchanged at a restart; None compares all. Give the key alone when
            rows are updated after they were read.
        give_up_s: How long an absent database is waited for in the middle; then the run ends with a SourceError, and
            its next start goes on. At ``open`` the database must be there.
        name: Its name in the journal and in reports.
        clock: Measures outages.

    Raises:
        GraphError: The arguments don't fit together.
    """

    kind = "cursor"
    source = SourceClass.RE_READABLE

    def __init__(
        self,
        database: str | os.PathLike[str],
        query: str,
        key: str | Sequence[str],
        *,
        parameters: Mapping[str, object] | None = None,
        follow: bool = False,
        poll_s: float = 1.0,
        page_rows: int = 1000,
        compare: Sequence[str] | None = None,
        give_up_s: float = 300.0,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.endless = follow
        self._address = Address(database, may_create=False)
        self._query_text = _checked_query(query)
        self._key = as_names(key, "CursorProducer(key=…)")
        if not self._key or isinstance(compare, str) or page_rows < 1 or poll_s <= 0 or give_up_s < 0:
            msg = (
                f"CursorProducer(key={short_repr(key)}, compare={short_repr(compare)}, page_rows={page_rows},"
                f" poll_s={poll_s}, give_up_s={give_up_s}): expected a key column, lists of columns, 1 or more rows,"
                " and seconds above 0"
            )
            raise GraphError(msg)
        try:
            self._parameters = dict(parameters or {})
        except (TypeError, ValueError):
            msg = f"CursorProducer(parameters={short_repr(parameters)}): expected a dict of the query's :names"
            raise GraphError(msg) from None
        self._follow = follow
        self._poll_s = poll_s
        self._page_rows = page_rows
        self._compare = None if compare is None else tuple(compare)
        self._give_up_s = give_up_s
        self._clock = clock
        self._thread: PageThread | None = None
        self._has_ended = False

    @property
    def label(self) -> str:
        """The name or kind, and the database."""
        return f"{super().label} {self._address}"

    @property
    def _where(self) -> str:
        return f"producer {self.label!r}"

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Connect, compare, and begin to read; see `Producer.open`."""
        from consecution.producers.page_thread import PageThread
        from consecution.producers.paging import Paging

        self.close()
        after = None if position is None else key_of(position, self._where)
        known = parse_check(check, self._where)
        try:
            engine = self._address.engine(LOCK_TIMEOUT_S)
        except ValueError as error:
            msg = f"{self._where}: {error}"
            raise SourceError(msg) from error
        try:
            query = self._asked(engine, after, known)
        except BaseException:
            engine.dispose()
            raise
        self._page: list[Any] = []
        self._taken = 0
        self._query = query
        self._after = after
        self._has_ended = False
        self._marks = RowMarks(after, known.anchor)
        self._paging: Paging = Paging(
            after,
            follow=self._follow,
            settles=self._follow and engine.dialect.name == "postgresql",
            poll_s=self._poll_s,
            give_up_s=self._give_up_s,
        )
        self._thread = PageThread(
            engine,
            query,
            self._paging,
            page_rows=self._page_rows,
            after=after,
            label=self._where,
            clock=self._clock,
        )

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """Give the next rows; see `Producer.read`.

        Raises:
            SourceError: The database refuses the query, was away for too long, or two rows have the same key.
        """
        assert self._thread is not None, "read() before open()"
        if self._has_ended:
            return Read([], (), position_of(self._after))
        if self._taken >= len(self._page):
            page = self._thread.take(wait_s)
            if page is None:
                self._has_ended = True
                return Read([], (), position_of(self._after), ended=True)
            self._page, self._taken = page, 0
            if not page:
                return Read([], (), position_of(self._after))
        rows = self._page[self._taken : self._taken + items_max]
        self._taken += len(rows)
        keys = [self._query.key_of(row) for row in rows]
        items = [dict(zip(self._query.columns, row, strict=True)) for row in rows]
        self._marks.note(keys, self._compared(self._query, rows[-1]))
        positions = [position_of(key) for key in (self._after, *keys)]
        self._after = keys[-1]
        return Read(items, positions[:-1], positions[-1])

    def check(self, position: object, item_below: object = None) -> object | None:
        """Give what identifies the rows below and above the position; see row_marks.py."""
        return None if self._thread is None else self._marks.check(position)

    def fileno(self) -> int | None:
        """Give a pipe that is readable when a page is there."""
        return None if self._thread is None else self._thread.fileno()

    def ready_in(self) -> float | None:
        """Give 0.0 while rows wait; else only ``fileno`` can tell."""
        if self._thread is None or self._has_ended:
            return None
        return 0.0 if self._taken < len(self._page) or self._thread.is_ready else None

    def waiting_for(self) -> str | None:
        """Say what it waits for, when the database is away or has writers that don't end."""
        return None if self._thread is None else self._paging.trouble

    def close(self) -> None:
        """Disconnect."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.close()

    def _asked(self, engine: Engine, after: Key | None, known: Check) -> KeyedQuery:
        """Try the query, and compare its rows with what is known of them."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with engine.connect() as connection:
                query = self._tried(connection)
                self._verify(connection, query, after, known)
        except ValueError as error:
            msg = f"{self._where}: {error}"
            raise SourceError(msg) from error
        except SQLAlchemyError as error:
            cure = "is the database there?" if may_pass(error) else "expected a SELECT that the database understands"
            msg = f"{self._where}: the query can't be asked: {short_text(error)}; {cure}"
            raise SourceError(msg) from error
        return query

    def _tried(self, connection: Connection) -> KeyedQuery:
        from consecution.producers.keyed_query import KeyedQuery, is_standby

        query = KeyedQuery(connection, self._query_text, self._key, self._parameters)
        unknown = [column for column in self._compare or () if column not in query.columns]
        if unknown:
            msg = f"compare names {', '.join(unknown)}; the query gives {', '.join(query.columns)}"
            raise ValueError(msg)
        if query.has_empty_key(connection):
            msg = "a row has NULL in its key, and would never be read; leave it out by WHERE"
            raise ValueError(msg)
        dialect = connection.dialect.name
        if self._follow and (dialect not in FOLLOWED or (dialect == "postgresql" and is_standby(connection))):
            what = "a standby server" if dialect == "postgresql" else dialect
            msg = f"follow=True can't be used with {what}: nobody there tells which rows are still to be committed,"
            msg += " and they would be skipped; read the primary, SQLite or PostgreSQL, or start it again and again"
            raise ValueError(msg)
        return query

    def _verify(self, connection: Connection, query: KeyedQuery, after: Key | None, known: Check) -> None:
        if known.anchor is not None:
            key, crc = known.anchor
            row = query.row_at(connection, key)
            if row is None or item_crc(self._compared(query, row)) != crc:
                what = "is gone" if row is None else f"is now {short_repr(dict(zip(query.columns, row, strict=True)))}"
                msg = (
                    f"{self._where}: the row with the key {_shown(key)}, which was read before, {what}; is it another"
                    " table? Nothing was read; restore it (or say compare=[…] when rows change), or start anew with"
                    " --fresh"
                )
                raise SourceError(msg)
        if known.above is None:
            return
        count, total = sum_of(query.keys(connection, after, known.above.last))
        if Above(known.above.last, count, total) != known.above:
            msg = (
                f"{self._where}: {known.above.count} rows were read up to the key {_shown(known.above.last)} and not"
                f" all finished; now there are {count}, or others: rows came or went among them, so that nobody knows"
                " which ones are finished. Nothing was read; restore them, or start anew with --fresh"
            )
            raise SourceError(msg)

    def _compared(self, query: KeyedQuery, row: Sequence[Any]) -> dict[str, Any]:
        named = dict(zip(query.columns, row, strict=True))
        return named if self._compare is None else {column: named[column] for column in self._compare}


def _checked_query(query: object) -> str:
    if isinstance(query, str) and query.strip():
        return query
    msg = f"CursorProducer(query={short_repr(query)}): expected a SELECT, as a str"
    raise GraphError(msg)


def _shown(key: Key) -> str:
    return short_repr(key[0] if len(key) == 1 else key)
