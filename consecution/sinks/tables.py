"""Tables for items: columns of a new one, and what an existing one must have.

Rules of this module:
1. The first item decides the columns of a new table, and the type of each value its column's type.
2. An existing table is never changed; what it lacks is named.
3. Only this module and database_writer.py import SQLAlchemy, and only when a database is written.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sql
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql import quoted_name

from consecution.errors import short_repr
from consecution.sinks.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Tried in this order: a bool is an int, and a datetime is a date.
TYPES: tuple[tuple[tuple[type, ...], Any], ...] = (
    ((bool,), sql.Boolean),
    ((int,), sql.BigInteger),
    ((float,), sql.Double),
    ((str,), sql.Text),
    ((bytes,), sql.LargeBinary),
    ((datetime,), sql.DateTime),
    ((date,), sql.Date),
    ((time,), sql.Time),
    ((dict, list, tuple), sql.JSON),
)


def new_table(name: str, record: Mapping[str, Any], key: Sequence[str]) -> sql.Table:
    """Give a table for items like ``record``; a None in it makes a column of text.

    Raises:
        SinkError: A value has no type in a database, or the key is no field.
    """
    missing = [column for column in key if column not in record]
    if missing:
        msg = f"DatabaseWriter: key {', '.join(missing)} is no field of the first item; it has {', '.join(record)}"
        raise SinkError(msg)
    columns = [
        sql.Column(
            quoted_name(column, quote=True),
            _type_of(column, value, is_key=column in key),
            primary_key=column in key,
            autoincrement=False,
        )
        for column, value in record.items()
    ]
    return sql.Table(quoted_name(name, quote=True), sql.MetaData(), *columns)


def existing_table(name: str, connection: sql.Connection, columns: Sequence[str], key: Sequence[str]) -> sql.Table:
    """Give the table as the database has it.

    Raises:
        SinkError: It lacks a column, or nothing makes the key unique.
    """
    table = sql.Table(name, sql.MetaData(), autoload_with=connection)
    missing = [column for column in dict.fromkeys((*columns, *key)) if column not in table.columns]
    if missing:
        msg = (
            f"DatabaseWriter: table {name} has no column {', '.join(missing)}; it has"
            f" {', '.join(table.columns.keys())}: add it, or say columns=[…]"
        )
        raise SinkError(msg)
    if key and frozenset(key) not in _unique_sets(table):
        msg = (
            f"DatabaseWriter: nothing makes {', '.join(key)} unique in table {name}, so that a replay would write rows"
            f" twice; run: CREATE UNIQUE INDEX {name}_key ON {name} ({', '.join(key)})"
        )
        raise SinkError(msg)
    # Every name in quotes: SQLAlchemy's lists of reserved words lack some ("nothing" in SQLite).
    copies = [sql.Column(quoted_name(column, quote=True), table.columns[column].type) for column in columns]
    return sql.Table(quoted_name(table.name, quote=True), sql.MetaData(), *copies)


def write_statement(table: sql.Table, columns: Sequence[str], key: Sequence[str], dialect: str) -> Any:
    """Give the statement that writes one row: an insert, or with a key an insert or update.

    Raises:
        SinkError: Rows can't be updated by key in this kind of database.
    """
    others = [column for column in columns if column not in key]
    if not key:
        return sql.insert(table)
    if dialect in ("mysql", "mariadb"):
        add = mysql.insert(table)
        kept = others or list(key)  # to set the key to itself does nothing
        return add.on_duplicate_key_update({column: add.inserted[column] for column in kept})
    if dialect not in ("sqlite", "postgresql"):
        msg = f"DatabaseWriter: key= is not known for {dialect}; expected sqlite, postgresql, mysql or mariadb; leave"
        raise SinkError(msg + " key= out, and replays may write rows twice")
    insert: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    if not others:
        return insert.on_conflict_do_nothing(index_elements=list(key))
    return insert.on_conflict_do_update(
        index_elements=list(key), set_={column: insert.excluded[column] for column in others}
    )


def as_row(columns: Sequence[str], values: Sequence[Any], dialect: str) -> dict[str, Any]:
    """Give the row as the database takes it.

    PostgreSQL takes all of them. Elsewhere UUIDs are stored as text, time spans as seconds, aware times in UTC, and in
    SQLite Decimals as text.
    """
    if dialect != "postgresql":
        values = [_plain(value, dialect) for value in values]
    return dict(zip(columns, values, strict=True))


def _type_of(column: str, value: Any, *, is_key: bool) -> Any:
    if isinstance(value, str) and is_key:
        return sql.Text().with_variant(sql.String(255), "mysql", "mariadb")  # a key of theirs needs a length
    if value is None:
        return sql.Text()
    if isinstance(value, Decimal):
        return sql.Numeric().with_variant(sql.Text(), "sqlite")
    if isinstance(value, UUID):
        return sql.String(36).with_variant(postgresql.UUID(), "postgresql")
    if isinstance(value, timedelta):
        return sql.Double().with_variant(postgresql.INTERVAL(), "postgresql")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return sql.DateTime(timezone=True)
    for types, made in TYPES:
        if isinstance(value, types):
            return made()
    msg = f"DatabaseWriter: field {column!r} is {short_repr(value)}, a {type(value).__name__}, which no column holds"
    raise SinkError(msg + "; make it a str, number, date, bytes, dict or list")


def _unique_sets(table: sql.Table) -> set[frozenset[str]]:
    found = {frozenset(column.name for column in table.primary_key.columns)}
    found |= {frozenset(column.name for column in index.columns) for index in table.indexes if index.unique}
    for constraint in table.constraints:
        if isinstance(constraint, sql.UniqueConstraint):
            found.add(frozenset(column.name for column in constraint.columns))
    return found


def _plain(value: Any, dialect: str) -> Any:
    if isinstance(value, UUID) or (isinstance(value, Decimal) and dialect == "sqlite"):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return value
