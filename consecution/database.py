"""Databases, as producers and sinks reach them: addresses, engines, and which errors pass by themselves.

Rules of this module: SQLAlchemy is loaded when a database is opened, never before; a password is never shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from consecution.errors import GraphError, short_repr

if TYPE_CHECKING:
    import sqlalchemy

TEXT_CHARS_MAX = 200
CONNECT_TIMEOUT_S = 10
PASSING = frozenset({"OperationalError", "InterfaceError"})  # names that PEP 249 gives to drivers' errors


class Address:
    """Where a database is: the path of an SQLite file, or an SQLAlchemy URL.

    >>> str(Address("postgresql+psycopg://me:secret@db/shop"))
    'postgresql+psycopg://me:***@db/shop'

    Args:
        database: The path or the URL.
        may_create: Whether an SQLite file that is not there is made, when a path is given.
    """

    def __init__(self, database: str | os.PathLike[str], *, may_create: bool = True) -> None:
        text = os.fspath(database)
        self._path = None if "://" in text else os.path.abspath(text)
        if self._path is None:
            self.url = text
        elif may_create:
            self.url = f"sqlite:///{self._path}"
        else:
            self.url = f"sqlite:///file:{quote(self._path)}?mode=rw&uri=true"

    def __str__(self) -> str:
        """The path, or the address without its password."""
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        if self._path is not None:
            return self._path
        try:
            return make_url(self.url).render_as_string(hide_password=True)
        except ArgumentError:
            return "the address"

    def engine(self, timeout_s: float) -> sqlalchemy.Engine:
        """Give an engine, which opens nothing yet; its owner disposes of it.

        Args:
            timeout_s: How long to wait for a locked SQLite file.

        Raises:
            ValueError: The address means nothing, or its driver is not installed.
        """
        import sqlalchemy

        try:
            url = sqlalchemy.make_url(self.url)
            options: dict[str, Any] = {}
            if url.get_backend_name() == "sqlite":
                options = {"timeout": timeout_s}
            elif url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
                options = {"connect_timeout": CONNECT_TIMEOUT_S}
            # A connection that died while nothing was asked is replaced before it is used.
            return sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args=options)
        except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
            msg = f"{self} can't be used: {error}; {_driver_cure(error)}"
            raise ValueError(msg) from error


def as_names(columns: object, where: str) -> tuple[str, ...]:
    """Give the names of columns that a user wrote: one, a list of them, or None for none.

    Args:
        columns: What the user wrote.
        where: Class and argument, for the error.

    Raises:
        GraphError: They are no names.

    >>> as_names("id", "DatabaseWriter(key=…)"), as_names(["shop", "day"], "DatabaseWriter(key=…)")
    (('id',), ('shop', 'day'))
    """
    if columns is None:
        return ()
    if isinstance(columns, str):
        return (columns,)
    names = tuple(columns) if isinstance(columns, Iterable) else (columns,)
    if all(isinstance(name, str) for name in names):
        return names
    msg = f"{where}: {short_repr(columns)}; expected a column's name, or a list of names"
    raise GraphError(msg)


def _driver_cure(error: Exception) -> str:
    if isinstance(error, ImportError) and error.name == "psycopg":
        return "pip install 'consecution[postgresql]'"
    return "expected a path or an SQLAlchemy URL, and its driver installed"


def may_pass(error: BaseException) -> bool:
    """Whether an error of the database may be gone at another try: it is away, locked or full, not asked wrongly.

    Args:
        error: SQLAlchemy's, or the driver's own, which some of SQLAlchemy's calls let through.
    """
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError

    if isinstance(error, TimeoutError):  # no connection in the pool
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        driver_error: BaseException | None = error.orig
    else:
        driver_error = None if isinstance(error, SQLAlchemyError) else error
    if getattr(driver_error, "sqlite_errorname", "") == "SQLITE_ERROR":  # "no such table" is an OperationalError too
        return False
    return any(kind.__name__ in PASSING for kind in type(driver_error).__mro__)


def short_text(error: object) -> str:
    """Give the first line of the database's own text, at most 200 characters.

    SQLAlchemy's repeats the statement and all its rows.
    """
    own = getattr(error, "orig", None) or error
    return str(own).strip().split("\n", 1)[0][:TEXT_CHARS_MAX]
