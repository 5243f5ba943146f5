"""A query whose rows have a key: the statements that read it piece by piece.

Rules of this module:
1. The user's query is a subselect and is never taken apart. Its keys are compared by the database alone, whose order
   of text may not be Python's.
2. Nothing is kept between two calls; every call is given a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from consecution.errors import short_repr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from consecution.producers.paging import Key

# Whoever has taken a number of a sequence, or is about to write a row, holds such a lock to the end of its transaction.
# VACUUM holds one on indexes, and writes no row.
WRITERS = """
SELECT DISTINCT l.virtualtransaction
FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND c.relkind IS DISTINCT FROM 'i'
"""


class KeyedQuery:
    """Reads a query by its key.

    Args:
        connection: To the database; asked once for the query's columns.
        query: The user's.
        key: Its key columns, greatest first.
        parameters: Values of the query's own ``:names``.

    Attributes:
        columns: Of the query, in order.

    Raises:
        ValueError: A column is named twice, or the key is no column.
        sqlalchemy.exc.SQLAlchemyError: The query can't be run.
    """

    def __init__(
        self, connection: Connection, query: str, key: Sequence[str], parameters: Mapping[str, object]
    ) -> None:
        quote = connection.dialect.identifier_preparer.quote_identifier
        self._parameters = dict(parameters)
        # On lines of its own: the query may end in a comment.
        self._from = f"FROM (\n{query.strip().rstrip(';')}\n) AS consecution_rows"
        self.columns: tuple[str, ...] = ()
        self.columns = tuple(self._ask(connection, f"SELECT * {self._from} LIMIT 0").keys())
        twice = sorted({column for column in self.columns if self.columns.count(column) > 1})
        missing = [column for column in key if column not in self.columns]
        if twice or missing:
            what = f"names {', '.join(twice)} twice" if twice else f"has no column {', '.join(missing)} for its key"
            msg = f"the query {what}; it gives {', '.join(self.columns)}: name them by AS"
            raise ValueError(msg)
        self._places = [self.columns.index(column) for column in key]
        self._keys = [quote(column) for column in key]
        self._order = ", ".join(self._keys)

    def key_of(self, row: Sequence[object]) -> Key:
        """Give the key of a row."""
        if len(self._places) == 1:
            return (row[self._places[0]],)
        return tuple([row[place] for place in self._places])

    def page(self, connection: Connection, after: Key | None, upto: Key | None, rows_max: int) -> list[Any]:
        """Give the rows above ``after`` and up to ``upto`` by rising key, at most ``rows_max``."""
        where, values = self._span(after, upto)
        statement = f"SELECT * {self._from} {where} ORDER BY {self._order} LIMIT :consecution_max"
        return list(self._ask(connection, statement, {**values, "consecution_max": rows_max}))

    def keys(self, connection: Connection, after: Key | None, upto: Key) -> Iterator[Key]:
        """Give the keys above ``after`` and up to ``upto``, rising."""
        where, values = self._span(after, upto)
        for row in self._ask(connection, f"SELECT {self._order} {self._from} {where} ORDER BY {self._order}", values):
            yield tuple(row)

    def newest(self, connection: Connection, after: Key | None) -> Key | None:
        """Give the greatest key above ``after``; None when there is none."""
        where, values = self._span(after, None)
        falling = ", ".join(f"{key} DESC" for key in self._keys)
        row = self._ask(
            connection, f"SELECT {self._order} {self._from} {where} ORDER BY {falling} LIMIT 1", values
        ).first()
        return None if row is None else tuple(row)

    def row_at(self, connection: Connection, key: Key) -> Sequence[Any] | None:
        """Give the row with this key; None when there is none."""
        values = {f"consecution_at_{place}": value for place, value in enumerate(key)}
        where = " AND ".join(f"{column} = :consecution_at_{place}" for place, column in enumerate(self._keys))
        row: Sequence[Any] | None = self._ask(connection, f"SELECT * {self._from} WHERE {where}", values).first()
        return row

    def has_empty_key(self, connection: Connection) -> bool:
        """Whether a row has NULL in its key."""
        where = " OR ".join(f"{key} IS NULL" for key in self._keys)
        return self._ask(connection, f"SELECT 1 {self._from} WHERE {where} LIMIT 1").first() is not None

    def equal_keys(self, rows: Sequence[Sequence[object]], before: Key | None) -> str | None:
        """Say which key two neighbours share, for an error; None when each row has its own."""
        for row in rows:
            key = self.key_of(row)
            if key == before:
                return short_repr(key[0] if len(key) == 1 else key)
            before = key
        return None

    def _span(self, after: Key | None, upto: Key | None) -> tuple[str, dict[str, object]]:
        conditions = []
        values: dict[str, object] = {}
        for name, sign, key in (("after", ">", after), ("upto", "<=", upto)):
            if key is None:
                continue
            names = [f"consecution_{name}_{place}" for place in range(len(key))]
            values.update(zip(names, key, strict=True))
            shown = ", ".join(f":{name}" for name in names)
            # A list of one is no list in every database.
            is_list = len(key) > 1
            conditions.append(f"({self._order}) {sign} ({shown})" if is_list else f"{self._order} {sign} {shown}")
        return ("WHERE " + " AND ".join(conditions) if conditions else ""), values

    def _ask(self, connection: Connection, statement: str, values: Mapping[str, object] | None = None) -> Any:
        return connection.execute(text(statement), {**self._parameters, **(values or {})})


def writers(connection: Connection) -> frozenset[str]:
    """Give PostgreSQL's names of all transactions of this database that write now."""
    return frozenset(row[0] for row in connection.execute(text(WRITERS)))


def is_standby(connection: Connection) -> bool:
    """Whether this PostgreSQL is a copy, which doesn't know who writes at its primary."""
    return bool(connection.execute(text("SELECT pg_catalog.pg_is_in_recovery()")).scalar())
