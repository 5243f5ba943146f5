"""DatabaseWriter: items as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.database import Address, as_names, may_pass, short_text
from consecution.errors import GraphError, short_repr
from consecution.graph.node import Node
from consecution.sinks.errors import SinkError
from consecution.sinks.formats import as_record, pick
from consecution.sinks.patience import Patience, checked_retry_s

if TYPE_CHECKING:
    import os

    import sqlalchemy


class DatabaseWriter(Node):
    """Writes each item as a row; pushes nothing. A frame is one transaction.

    Items are dicts, dataclasses or namedtuples, or with ``columns`` also tuples and lists. With ``key``, a row whose
    key is there already is updated, so that the replay of an item, also after a kill, writes no row twice; without it,
    a replay may.

    A database that is locked or away is tried again with growing waits; after ``retry_s`` all items of the frame fail,
    and are replayed later. One bad item fails alone: its frame is rolled back as a whole and each item is tried by
    itself. A frame whose commit nobody confirmed is written again, which without a key may double its rows.

    Args:
        database: Path of an SQLite file, or an SQLAlchemy URL such as ``postgresql+psycopg://user@host/db``, whose
            driver you install.
        table: Its name; made from the first item when it is not there, unless ``create=False``.
        columns: Fields to write; None takes those of the first item.
        key: Field or fields that say which row an item is.
        create: False expects the table to be there.
        timeout_s: How long one try waits for a locked SQLite file.
        retry_s: How long a frame is tried again while the database is locked or away; 0 not at all.
        clock: Waits.
        name: As of any node; so are the other options.

    Raises:
        GraphError: The arguments don't fit together.
    """

    def __init__(
        self,
        database: str | os.PathLike[str],
        table: str,
        *,
        columns: Sequence[str] | None = None,
        key: str | Sequence[str] | None = None,
        create: bool = True,
        timeout_s: float = 5.0,
        retry_s: float = 30.0,
        clock: Clock = SYSTEM_CLOCK,
        name: str | None = None,
        parallelism: int = 1,
        grouping: str | None = None,
    ) -> None:
        super().__init__(name, parallelism=parallelism, grouping=grouping)
        self._address = Address(database)
        self._table_name = table
        self._columns: tuple[str, ...] | None = None if columns is None else tuple(columns)
        self._has_chosen = columns is not None
        self._key = as_names(key, "DatabaseWriter(key=…)")
        self._create = create
        self._timeout_s = timeout_s
        self._retry_s = checked_retry_s(retry_s, f"DatabaseWriter({short_repr(table)})")
        self._clock = clock
        self._dialect = ""
        self._engine: sqlalchemy.Engine | None = None
        self._statement: Any = None
        if isinstance(columns, str) or columns == [] or not isinstance(table, str) or not table:
            msg = (
                f"DatabaseWriter(table={short_repr(table)}, columns={short_repr(columns)}): expected a name and a list"
            )
            raise GraphError(msg)
        if columns is not None and not set(self._key) <= set(columns):
            msg = f"DatabaseWriter(columns={short_repr(columns)}, key={short_repr(key)}): the key is no column; add it"
            raise GraphError(msg)

    def setup(self) -> None:
        """Connect, so that a wrong address is found before any item.

        Raises:
            SinkError: The address means nothing, or nobody answers there.
        """
        from sqlalchemy.exc import DBAPIError

        try:
            engine = self._address.engine(self._timeout_s)
        except ValueError as error:
            msg = f"DatabaseWriter: {error}"
            raise SinkError(msg) from error
        self._dialect = engine.dialect.name
        try:
            engine.connect().close()
        except DBAPIError as error:
            engine.dispose()
            msg = (
                f"DatabaseWriter: {self._address} can't be opened: {error.orig}; does the folder, or the server, exist?"
            )
            raise SinkError(msg) from error
        self._engine = engine

    def process_batch(self, items: list[Any]) -> None:
        """Write a frame.

        Raises:
            SinkError: An item doesn't fit the table; nothing of the frame was written.
            ValueError: An item lacks a field or has one too many; the same holds.
        """
        from sqlalchemy.exc import SQLAlchemyError

        where = f"DatabaseWriter: {self._address}, table {self._table_name}"
        patience = Patience(self._retry_s, self._clock, where)
        while True:
            try:
                self._write(items)
            except SQLAlchemyError as error:
                if not may_pass(error):
                    raise self._refused(error, items) from error
                if patience.waits(short_text(error)):
                    continue
                # To try each item alone would wait once for each of them.
                for index in range(len(items)):
                    failure = SinkError(f"{where}: {short_text(error)}; no item of the frame is written")
                    failure.__cause__ = error
                    self.fail(index, failure)
                return
            patience.ended_well()
            return

    def teardown(self) -> None:
        """Close the connection."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.dispose()

    def _refused(self, error: Exception, items: list[Any]) -> SinkError:
        said = short_text(error)
        what = f"item {short_repr(items[0])}" if len(items) == 1 else f"a frame of {len(items)} items"
        return SinkError(f"DatabaseWriter: table {self._table_name} refuses {what}: {said}")

    def _write(self, items: list[Any]) -> None:
        from consecution.sinks.tables import as_row

        assert self._engine is not None, "process_batch() before setup()"
        columns = self._columns or self._learned(items[0])
        rows = [as_row(columns, pick(item, columns, all_of_them=not self._has_chosen), self._dialect) for item in items]
        if self._statement is None:
            self._prepare(self._engine, columns, items[0])
        if self._key:  # the last of equal keys wins, as it would one by one
            rows = list({tuple(row[column] for column in self._key): row for row in rows}.values())
        with self._engine.begin() as connection:
            connection.execute(self._statement, rows)

    def _learned(self, item: Any) -> tuple[str, ...]:
        record = as_record(item)
        if isinstance(record, Mapping):
            return tuple(map(str, record))
        msg = f"item {short_repr(item)} has no field names; give columns=[…]"
        raise ValueError(msg)

    def _prepare(self, engine: sqlalchemy.Engine, columns: tuple[str, ...], item: Any) -> None:
        """Find or make the table; the first item that gets here decides."""
        import sqlalchemy

        from consecution.sinks.tables import existing_table, new_table, write_statement

        if not sqlalchemy.inspect(engine).has_table(self._table_name):
            if not self._create:
                msg = f"DatabaseWriter: {self._address} has no table {self._table_name}; make it, or leave out"
                raise SinkError(msg + " create=False")
            record = dict(zip(columns, pick(item, columns), strict=True))
            table = new_table(self._table_name, record, self._key)
            try:
                table.create(engine)
            except sqlalchemy.exc.DBAPIError:
                if not sqlalchemy.inspect(engine).has_table(self._table_name):
                    raise  # else another task made it at the same moment
        with engine.connect() as connection:
            table = existing_table(self._table_name, connection, columns, self._key)
        self._statement = write_statement(table, columns, self._key, self._dialect)
        self._columns = columns
