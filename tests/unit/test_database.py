"""Which errors of a database pass, and how its address is shown."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from consecution.database import Address, may_pass, short_text

if TYPE_CHECKING:
    from pathlib import Path


def error_of(statement: str, path: Path, *, raw: bool) -> BaseException:
    with pytest.raises((sqlite3.Error, sqlalchemy.exc.SQLAlchemyError)) as caught:
        ask(statement, path, raw=raw)
    return caught.value


def ask(statement: str, path: Path, *, raw: bool) -> None:
    if raw:
        with closing(sqlite3.connect(path, timeout=0.0)) as connection:
            connection.execute(statement)
        return
    engine = Address(path).engine(0.0)
    try:
        with engine.begin() as session:
            session.execute(sqlalchemy.text(statement))
    finally:
        engine.dispose()


@pytest.mark.parametrize("raw", [False, True])
def test_a_locked_database_passes_and_a_wrong_question_does_not(tmp_path: Path, raw: bool) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (a INTEGER NOT NULL)")
        other.execute("BEGIN EXCLUSIVE")
        locked = error_of("INSERT INTO t VALUES (1)", path, raw=raw)
        other.execute("ROLLBACK")
    assert may_pass(locked)
    assert short_text(locked) == "database is locked"
    for statement in ("SELECT * FROM nothing", "SELEC", "INSERT INTO t VALUES (NULL)"):
        assert not may_pass(error_of(statement, path, raw=raw))
    assert may_pass(error_of("SELECT 1", tmp_path / "no" / "x.db", raw=raw))
    assert not may_pass(ValueError("x"))


def test_an_address_is_shown_without_its_password(tmp_path: Path) -> None:
    assert str(Address("postgresql+psycopg://me:secret@db/shop")) == "postgresql+psycopg://me:***@db/shop"
    assert str(Address(tmp_path / "a.db", may_create=False)) == str(tmp_path / "a.db")
    with pytest.raises(ValueError, match="can't be used") as caught:
        Address("klingon://me:secret@db/shop").engine(1.0)
    assert "secret" not in str(caught.value)
