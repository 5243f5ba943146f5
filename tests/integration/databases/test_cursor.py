"""CursorProducer reads real databases, and skips nothing."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Collect, Consecutor, Map, Producer
from consecution.errors import GraphError, SourceError
from consecution.producers import CursorProducer
from consecution.testing.producer_contract import check_producer, check_replaced, drain, journalled

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import WaitFor
    from tests.integration.databases.conftest import Database
    from tests.integration.databases.postgresql import PostgresqlServer

ORDERS = "SELECT id, name FROM orders"


def fill(database: Database, rows: int, first: int = 1) -> list[dict[str, Any]]:
    """Make a table with keys 10, 20, …; gives its rows as items."""
    values = ", ".join(f"({number * 10}, 'n{number}')" for number in range(first, first + rows))
    database.execute(
        "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, name TEXT)", f"INSERT INTO orders VALUES {values}"
    )
    return [{"id": number * 10, "name": f"n{number}"} for number in range(first, first + rows)]


def read_some(producer: Producer, count: int, wait_for: WaitFor) -> list[Any]:
    """Read until there are so many items."""
    items: list[Any] = []

    def has_enough() -> bool:
        items.extend(producer.read(count - len(items), 0.05).items)
        return len(items) >= count

    wait_for(has_enough, 60, f"{count} items")
    return items


@pytest.mark.parametrize("page_rows", [1, 4, 1000])
def test_it_keeps_the_contract_of_producers(database: Database, page_rows: int) -> None:
    items = fill(database, 9)
    check_producer(lambda: CursorProducer(database.address, ORDERS, "id", page_rows=page_rows), items)


def test_keys_of_several_columns_and_of_text(database: Database) -> None:
    database.execute(
        "CREATE TABLE t (day TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, n))",
        "INSERT INTO t VALUES ('b', 1), ('a', 2), ('a', 10), ('c', 0)",
    )
    items = [{"day": day, "n": n} for day, n in [("a", 2), ("a", 10), ("b", 1), ("c", 0)]]
    check_producer(lambda: CursorProducer(database.address, "SELECT * FROM t", ["day", "n"], page_rows=2), items)


def test_keys_that_are_times_decimals_and_uuids(postgresql: PostgresqlServer) -> None:
    postgresql.execute(
        "CREATE TABLE t (at timestamptz, price numeric(10, 2), id uuid)",
        "INSERT INTO t SELECT timestamptz '2026-01-01 12:00Z' + n * interval '1 microsecond', n / 8.0,"
        " ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM generate_series(1, 5) AS n",
    )
    for key in ("at", "price", "id"):
        items = drain(CursorProducer(postgresql.url, "SELECT * FROM t", key)).items
        assert len(items) == 5
        check_producer(lambda key=key: CursorProducer(postgresql.url, "SELECT * FROM t", key, page_rows=2), items)


def test_any_select_with_parameters_and_a_comment(database: Database) -> None:
    fill(database, 5)
    query = (
        "WITH big AS (SELECT id AS number, name FROM orders WHERE id > :least)\n"
        "SELECT b.number, a.name, 'x\\:y' AS note FROM big b JOIN orders a ON a.id = b.number; -- all"
    )
    query = query.replace("; -- all", " -- all")
    producer = Producer(kind="cursor", database=database.address, query=query, key="number", parameters={"least": 30})
    assert isinstance(producer, CursorProducer)
    assert drain(producer).items == [
        {"number": 40, "name": "n4", "note": "x:y"},
        {"number": 50, "name": "n5", "note": "x:y"},
    ]


def test_another_table_in_its_place_is_refused(database: Database) -> None:
    fill(database, 6)
    make = lambda: CursorProducer(database.address, ORDERS, "id", page_rows=2)  # noqa: E731
    check_replaced(make, lambda: database.execute("UPDATE orders SET name = 'other'") and None, items_before=3)
    check_replaced(make, lambda: database.execute("DELETE FROM orders WHERE id = 30") and None, items_before=3)


@pytest.mark.parametrize("change", ["DELETE FROM orders WHERE id = 40", "INSERT INTO orders VALUES (45, 'late')"])
def test_rows_that_came_or_went_among_the_unfinished_ones_are_an_error(database: Database, change: str) -> None:
    """Finished rows above the mark are known by their place alone.

    1. Six rows are read, and the first two are finished. 2. The process dies; a row among the others comes or goes.
    3. The restart must not take one row for another.
    """
    fill(database, 6)
    producer = CursorProducer(database.address, ORDERS, "id")
    producer.open()
    read = producer.read(6, 10.0)
    assert len(read.items) == 6
    position, check = journalled(read.positions[2]), journalled(producer.check(read.positions[2]))
    producer.close()
    producer.open(position, check)
    assert [item["id"] for item in producer.read(10, 10.0).items] == [30, 40, 50, 60]
    producer.close()
    database.execute(change)
    with pytest.raises(SourceError, match="4 rows were read up to the key 60 and not all finished; now there are"):
        producer.open(position, check)
    database.execute("INSERT INTO orders VALUES (70, 'new')" if "DELETE" in change else "DELETE FROM orders")


def test_rows_may_change_when_only_the_key_is_compared(database: Database) -> None:
    fill(database, 4)
    producer = CursorProducer(database.address, ORDERS, "id", compare=["id"])
    first = drain(producer, sizes=(2,), items_max=2)
    database.execute("UPDATE orders SET name = 'done'")
    rest = drain(producer, journalled(first.places[-1]), journalled(first.checks[-1]))
    assert rest.items == [{"id": 30, "name": "done"}, {"id": 40, "name": "done"}]


def test_new_rows_are_followed(database: Database, wait_for: WaitFor) -> None:
    items = fill(database, 3)
    producer = CursorProducer(database.address, ORDERS, "id", follow=True, poll_s=0.02)
    assert producer.endless
    producer.open()
    assert read_some(producer, 3, wait_for) == items
    assert producer.read(10, 0.1).items == []
    assert producer.ready_in() is None
    more = fill(database, 4, first=4)
    assert read_some(producer, 4, wait_for) == more
    producer.close()


def test_a_transaction_that_commits_late_is_not_skipped(
    postgresql: PostgresqlServer, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys are given in one order and committed in another.

    1. A inserts and gets key 1. 2. B inserts, gets key 2 and commits. 3. The cursor looks: 2 is there, 1 is not.
    4. A commits; a cursor that had gone on behind 2 would never see 1.
    """
    postgresql.execute("CREATE TABLE t (id bigserial PRIMARY KEY, who text)")
    with closing(postgresql.connect()) as late:
        late.autocommit = False
        late.execute("INSERT INTO t (who) VALUES ('A')")
        postgresql.execute("INSERT INTO t (who) VALUES ('B')")
        producer = CursorProducer(postgresql.url, "SELECT * FROM t", "id", follow=True, poll_s=0.02)
        producer.open()
        assert producer.read(10, 0.5).items == []
        late.commit()
        late.execute("INSERT INTO t (who) VALUES ('C')")  # is in the way of nobody before it
        assert [item["who"] for item in read_some(producer, 2, wait_for)] == ["A", "B"]
        assert producer.read(10, 0.2).items == []
        late.execute("PREPARE TRANSACTION 'c'")
        postgresql.execute("INSERT INTO t (who) VALUES ('D')")
        assert producer.read(10, 0.3).items == []
        postgresql.execute("COMMIT PREPARED 'c'")
        assert [item["who"] for item in read_some(producer, 2, wait_for)] == ["C", "D"]
        producer.close()


def test_many_writers_at_once_and_every_row_comes_in_order(postgresql: PostgresqlServer, wait_for: WaitFor) -> None:
    postgresql.execute("CREATE TABLE t (id bigserial PRIMARY KEY, who int, n int)")

    def write(who: int) -> None:
        with closing(postgresql.connect()) as connection:
            for number in range(0, 120, 3):
                with connection.transaction():
                    for step in range(3):
                        connection.execute("INSERT INTO t (who, n) VALUES (%s, %s)", (who, number + step))
                        connection.execute("SELECT pg_sleep(0.001)")

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    producer = CursorProducer(postgresql.url, "SELECT * FROM t", "id", follow=True, poll_s=0.005, page_rows=10)
    producer.open()
    for thread in threads:
        thread.start()
    items = read_some(producer, 480, wait_for)
    producer.close()
    for thread in threads:
        thread.join()
    assert [item["id"] for item in items] == sorted({item["id"] for item in items})
    for who in range(4):
        assert [item["n"] for item in items if item["who"] == who] == list(range(120))


def test_the_server_stopped_and_started_in_the_middle_of_a_run(
    postgresql: PostgresqlServer, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    """The outage is shown, nothing is lost, nothing comes twice."""
    postgresql.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 300)")
    seen: list[int] = []
    source = CursorProducer(postgresql.url, "SELECT id FROM t", "id", follow=True, poll_s=0.02, page_rows=50)
    with caplog.at_level(logging.WARNING, "consecution"):
        running = Consecutor(source | Map(lambda row: seen.append(row["id"])), "outage", journal=None).start("threads")
        try:
            wait_for(lambda: len(seen) == 300, 30, "the first rows")
            postgresql.stop()
            try:
                wait_for(lambda: running.progress.waiting_for, 30, "the outage in the progress")
                assert "the database, away for" in str(running.progress.waiting_for)
            finally:
                postgresql.start()
            postgresql.execute("INSERT INTO t SELECT generate_series(301, 400)")
            wait_for(lambda: len(seen) == 400, 60, "the rows after the outage")
            assert running.progress.waiting_for is None
        finally:
            report = running.drain()
    assert seen == list(range(1, 401))
    assert report.completed == 400
    warnings = [record.getMessage() for record in caplog.records]
    assert any("the database is away, it is tried again" in text for text in warnings)
    assert any("the database is back" in text for text in warnings)


def test_an_outage_that_lasts_is_given_up(postgresql: PostgresqlServer, wait_for: WaitFor) -> None:
    postgresql.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    producer = CursorProducer(postgresql.url, "SELECT id FROM t", "id", follow=True, poll_s=0.02, give_up_s=0.3)
    producer.open()
    read_some(producer, 1, wait_for)
    postgresql.stop()
    try:

        def raised() -> SourceError | None:
            try:
                producer.read(1, 0.05)
            except SourceError as error:
                return error
            return None

        error = wait_for(raised, 30, "the end of patience")
        assert "rows before it were given, the next start goes on behind them" in str(error)
    finally:
        producer.close()
        postgresql.start()


def test_a_locked_file_is_waited_for(tmp_path: Path, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consecution.producers.cursor.LOCK_TIMEOUT_S", 0.01)
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        producer = CursorProducer(path, "SELECT id FROM t", "id", follow=True, poll_s=0.01)
        producer.open()
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("INSERT INTO t VALUES (1)")
        wait_for(lambda: producer.waiting_for() and "locked" in str(producer.waiting_for()), 30, "the lock")
        connection.execute("COMMIT")
        assert read_some(producer, 1, wait_for) == [{"id": 1}]
        producer.close()


def test_two_rows_with_one_key_stop_the_run(database: Database) -> None:
    database.execute("CREATE TABLE t (id INTEGER, n INTEGER)", "INSERT INTO t VALUES (1, 1), (2, 2), (2, 3), (3, 4)")
    for page_rows in (1, 2, 3):  # also when a page ends between the two
        producer = CursorProducer(database.address, "SELECT * FROM t", "id", page_rows=page_rows)
        with pytest.raises(SourceError, match=r"two rows have the key 2.*add a column to key=\[…\]"):
            drain(producer)
        producer.close()


def test_an_empty_key_is_refused(database: Database) -> None:
    database.execute("CREATE TABLE t (id INTEGER)", "INSERT INTO t VALUES (1), (NULL)")
    with pytest.raises(SourceError, match="a row has NULL in its key, and would never be read"):
        CursorProducer(database.address, "SELECT * FROM t", "id").open()


@pytest.mark.parametrize(
    ("query", "key", "options", "said"),
    [
        ("SELECT id FROM nothing", "id", {}, "the query can't be asked: .*nothing"),
        ("SELEC 1", "id", {}, "expected a SELECT that the database understands"),
        ("SELECT 1 AS a", "id", {}, "the query has no column id for its key; it gives a"),
        ("SELECT 1 AS id", "id", {"compare": ["x"]}, "compare names x; the query gives id"),
        ("SELECT :what AS id", "id", {}, "what"),
    ],
)
def test_a_wrong_query_is_an_error_before_any_row(
    database: Database, query: str, key: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        CursorProducer(database.address, query, key, **options).open()


def test_an_address_that_does_not_work_is_an_error_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"unable to open database file; is the database there\?"):
        CursorProducer(tmp_path / "none.db", "SELECT 1 AS id", "id").open()
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(SourceError, match="can't be used") as caught:
        CursorProducer("klingon://user:secret@host/db", "SELECT 1 AS id", "id").open()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"query": ""}, {"query": 5}, {"key": []}, {"compare": "id"}, {"page_rows": 0}, {"poll_s": 0}]
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match=r"expected a (SELECT|key column)"):
        CursorProducer(**{"database": "x.db", "query": "SELECT 1 AS id", "key": "id", **options})


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_a_run_ends_behind_the_last_row(database: Database, mode: Any, tmp_path: Path) -> None:
    items = fill(database, 250)
    source = CursorProducer(database.address, ORDERS, "id", page_rows=40)
    flow = source | Map(lambda row: row["name"]) | Collect("out")
    report = Consecutor(flow, "cursor", journal=tmp_path / "journal").run(mode)
    assert report
    assert report.collected["out"] == [item["name"] for item in items]
