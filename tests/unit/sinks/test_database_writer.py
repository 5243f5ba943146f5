"""Rows of a real SQLite file."""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from consecution.errors import GraphError
from consecution.sinks import DatabaseWriter, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Runtime:
    """What a stage runner binds, as far as a sink needs it."""

    def __init__(self) -> None:
        self.fails: dict[int, BaseException] = {}

    def push(self, item: Any, output: str, of: Any) -> None:
        raise AssertionError(item)

    def hold(self) -> Any:
        raise AssertionError

    def release(self, tokens: Iterable[Any]) -> None:
        raise AssertionError

    def fail(self, index: int, error: BaseException) -> None:
        self.fails[index] = error

    def now(self) -> float:
        raise AssertionError


@dataclass
class Point:
    x: int
    y: float


def rows(path: Path, query: str = "SELECT * FROM t") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def write(writer: DatabaseWriter, *frames: list[Any]) -> None:
    runtime = Runtime()
    writer._slot.runtime = runtime
    writer.setup()
    try:
        for frame in frames:
            writer.process_batch(frame)
    finally:
        writer.teardown()
    assert runtime.fails == {}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.db"


def test_the_first_item_makes_the_table(path: Path) -> None:
    item = {
        "i": 2**60,
        "f": 0.1,
        "s": "text",
        "b": True,
        "raw": b"\0\xff",
        "when": datetime(2026, 1, 2, 3, 4, 5, 6),
        "aware": datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))),
        "day": date(2026, 1, 2),
        "at": time(1, 2),
        "price": Decimal("10.10"),
        "id": UUID(int=5),
        "span": timedelta(minutes=1),
        "deep": {"a": [1, None]},
        "nothing": None,
    }
    write(DatabaseWriter(path, "t"), [item])
    write(DatabaseWriter(path, "t"), [item])  # the table as it is found in another run
    row, again = rows(path)
    assert row == again
    assert row[:5] == (2**60, 0.1, "text", 1, b"\0\xff")
    assert row[5:9] == ("2026-01-02 03:04:05.000006", "2026-01-02 01:00:00.000000", "2026-01-02", "01:02:00.000000")
    assert row[9] == "10.10"
    assert row[10:] == (str(UUID(int=5)), 60.0, '{"a": [1, null]}', None)


def test_dataclasses_and_rows_with_columns(path: Path) -> None:
    write(DatabaseWriter(path, "t"), [Point(1, 0.5)], [Point(2, 1.5)])
    write(DatabaseWriter(path, "t", columns=["y", "x"]), [(2.5, 3), {"x": 4, "y": 3.5, "more": 1}])
    assert rows(path) == [(1, 0.5), (2, 1.5), (3, 2.5), (4, 3.5)]


def test_a_replay_writes_no_row_twice_with_a_key(path: Path) -> None:
    frame = [{"id": n, "v": "a"} for n in range(5)]
    write(DatabaseWriter(path, "t", key="id"), frame, frame)
    write(DatabaseWriter(path, "t", key="id"), [{"id": 3, "v": "b"}, {"id": 3, "v": "c"}, {"id": 9, "v": "d"}])
    assert rows(path) == [(0, "a"), (1, "a"), (2, "a"), (3, "c"), (4, "a"), (9, "d")]


def test_a_key_of_all_columns(path: Path) -> None:
    frame = [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}]
    write(DatabaseWriter(path, "t", key=["a", "b"]), frame, frame)
    assert rows(path) == [(1, "x"), (1, "y")]


def test_without_a_key_a_replay_may_write_twice(path: Path) -> None:
    frame = [{"id": 1}]
    write(DatabaseWriter(path, "t"), frame, frame)
    assert rows(path) == [(1,), (1,)]


def test_a_bad_item_leaves_nothing_of_its_frame(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL CHECK (v <> 'bad'))")
    writer = DatabaseWriter(path, "t", key="id")
    writer.setup()
    good = {"id": 1, "v": "good"}
    bad = [{"id": 2, "v": None}, {"id": 2, "v": "bad"}, {"id": 2}, {"id": 2, "v": "x", "w": 1}, 5, {"id": 2, "v": {1}}]
    bad.append({"id": 2**70, "v": "too large"})
    writer.process_batch([good])
    for item in bad:
        with pytest.raises((SinkError, ValueError, OverflowError)) as caught:
            writer.process_batch([{"id": 7, "v": "good"}, item])
        assert "INSERT" not in str(caught.value)
        assert rows(path) == [(1, "good")]
    writer.process_batch([{"id": 7, "v": "good"}])
    writer.teardown()
    assert rows(path) == [(1, "good"), (7, "good")]


def test_a_locked_database_fails_each_item_once(path: Path) -> None:
    write(DatabaseWriter(path, "t"), [{"a": 0}])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("INSERT INTO t VALUES (100)")
        runtime = Runtime()
        writer = DatabaseWriter(path, "t", timeout_s=0.05, retry_s=0)
        writer._slot.runtime = runtime
        writer.setup()
        writer.process_batch([{"a": 1}, {"a": 2}])
        assert sorted(runtime.fails) == [0, 1]
        assert isinstance(runtime.fails[0], SinkError)
        assert "out.db, table t: database is locked; no item of the frame is written" in str(runtime.fails[1])
        other.execute("COMMIT")
    writer.process_batch([{"a": 1}, {"a": 2}])
    writer.teardown()
    assert rows(path) == [(0,), (100,), (1,), (2,)]


def test_tasks_may_share_a_database(path: Path) -> None:
    def task(name: int) -> None:
        frames = ([{"id": f"{name}-{n}", "n": n}] for n in range(25))
        write(DatabaseWriter(path, "t", key="id", timeout_s=30.0), *frames)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(task, range(4)))
    assert rows(path, "SELECT count(*) FROM t") == [(100,)]


def test_a_kill_leaves_whole_frames_and_a_replay_completes_them(path: Path, process: Any, wait_for: Any) -> None:
    code = (
        "import sys; from consecution.sinks import DatabaseWriter\n"
        "w = DatabaseWriter(sys.argv[1], 't', key='id'); w.setup()\n"
        "for f in range(10_000): w.process_batch([{'id': f * 50 + n, 'frame': f} for n in range(50)])\n"
    )
    child = process(sys.executable, "-c", code, str(path))

    def has_rows() -> bool:
        try:
            return bool(rows(path, "SELECT count(*) FROM t")[0][0] > 200)
        except sqlite3.OperationalError:
            return False

    wait_for(has_rows)
    child.kill()
    counts = rows(path, "SELECT count(*) FROM t GROUP BY frame")
    assert set(counts) == {(50,)}
    write(DatabaseWriter(path, "t", key="id"), [{"id": n, "frame": n // 50} for n in range(400)])
    assert rows(path, "SELECT count(*) FROM t WHERE id < 400") == [(400,)]


def test_an_existing_table_is_not_changed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    with pytest.raises(SinkError, match=r"table t has no column c; it has a, b: add it, or say columns=\[…\]"):
        write(DatabaseWriter(path, "t"), [{"a": 1, "c": 2}])
    with pytest.raises(SinkError, match=r"CREATE UNIQUE INDEX t_key ON t \(a\)"):
        write(DatabaseWriter(path, "t", key="a"), [{"a": 1, "b": "x"}])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE UNIQUE INDEX t_key ON t (a)")
    write(DatabaseWriter(path, "t", key="a"), [{"a": 1, "b": "x"}], [{"a": 1, "b": "y"}])
    assert rows(path) == [(1, "y")]


def test_create_false_expects_the_table(path: Path) -> None:
    with pytest.raises(SinkError, match="has no table t; make it, or leave out create=False"):
        write(DatabaseWriter(path, "t", create=False), [{"a": 1}])


def test_names_are_quoted(path: Path) -> None:
    write(DatabaseWriter(path, 'odd "name"; DROP TABLE t'), [{"select": 1, 'a"b': 2}])
    assert rows(path, 'SELECT * FROM "odd ""name""; DROP TABLE t"') == [(1, 2)]


def test_a_value_without_a_column_type_is_refused(path: Path) -> None:
    with pytest.raises(SinkError, match=r"field 'a' is <object object.*which no column holds"):
        write(DatabaseWriter(path, "t"), [{"a": object()}])
    with pytest.raises(SinkError, match="key id is no field of the first item; it has a"):
        write(DatabaseWriter(path, "t", key="id"), [{"a": 1}])


def test_addresses_that_do_not_work_are_errors_at_setup_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="can't be opened: unable to open database file"):
        DatabaseWriter(tmp_path / "no" / "out.db", "t").setup()
    for address in ("klingon://x", "://"):
        with pytest.raises(SinkError, match="can't be used"):
            DatabaseWriter(address, "t").setup()
    with pytest.raises(SinkError) as caught:
        DatabaseWriter("klingon://user:secret@host/db", "t").setup()
    assert "secret" not in str(caught.value)


def test_a_relative_path_is_kept_over_a_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    writer = DatabaseWriter("out.db", "t")
    monkeypatch.chdir("/")
    write(writer, [{"a": datetime.now(UTC)}])
    assert (tmp_path / "out.db").exists()


def test_a_key_that_is_no_column_of_the_table_is_named(tmp_path: Path) -> None:
    write(DatabaseWriter(tmp_path / "shop.db", "orders"), [{"id": 1}])
    with pytest.raises(SinkError, match="table orders has no column day; it has id"):
        write(DatabaseWriter(tmp_path / "shop.db", "orders", key="day"), [{"id": 2}])


def test_a_driver_that_is_not_installed_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SinkError, match=r"can't be used: .*psycopg.*; pip install 'consecution\[postgresql\]'"):
        DatabaseWriter("postgresql+psycopg://me@host/shop", "orders").setup()


@pytest.mark.parametrize(
    "options",
    [{"columns": "ab"}, {"columns": []}, {"table": ""}, {"columns": ["a"], "key": "b"}, {"key": 5}, {"key": ["a", 5]}],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match=r"expected a name and a list|the key is no column|expected a column's name"):
        DatabaseWriter(**{"database": "x", "table": "t", **options})
