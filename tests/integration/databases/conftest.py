"""Databases for the tests of this folder: a PostgreSQL server for each test process, and an SQLite file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.integration.databases.postgresql import PostgresqlServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Execute(Protocol):
    def __call__(self, *statements: str) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True)
class Database:
    """A database of a test.

    Attributes:
        address: As producers and sinks take it.
        execute: Runs statements, each a transaction, and gives the rows of the last.
    """

    address: str
    execute: Execute


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    binaries = find_binaries()
    if binaries is None:
        message = "PostgreSQL is not installed (Debian's package postgresql)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    server = PostgresqlServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer) -> PostgresqlServer:
    """A running server with an empty database."""
    postgresql_server.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return postgresql_server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        yield Database(server.url, server.execute)
        return
    path = tmp_path / "test.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60.0)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # the test's looking about never holds up who writes

        def execute(*statements: str) -> list[tuple[Any, ...]]:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
            return rows

        yield Database(str(path), execute)
