"""DatabaseWriter and real databases: upserts, outages, kills."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from consecution import Consecutor, Map
from consecution.producers import CursorProducer
from consecution.sinks import DatabaseWriter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartProcess, WaitFor
    from tests.integration.databases.conftest import Database
    from tests.integration.databases.postgresql import PostgresqlServer


def run(writer: DatabaseWriter, items: list[Any], **options: Any) -> Any:
    return Consecutor(items | writer, "sink", journal=None, **options).run("single")


def test_a_replay_updates_its_row(database: Database) -> None:
    items = [{"id": number, "euros": number} for number in range(50)]
    for raised in (0, 100):
        changed = [{**item, "euros": item["euros"] + raised} for item in items]
        assert run(DatabaseWriter(database.address, "orders", key="id"), changed)
    assert database.execute("SELECT count(*), min(euros), max(euros) FROM orders") == [(50, 100, 149)]


def test_a_key_of_two_columns_and_the_last_of_equal_keys_wins(database: Database) -> None:
    items = [{"shop": "a", "day": 1, "n": 1}, {"shop": "a", "day": 2, "n": 2}, {"shop": "a", "day": 1, "n": 3}]
    assert run(DatabaseWriter(database.address, "sales", key=["shop", "day"]), items)
    assert database.execute("SELECT day, n FROM sales ORDER BY day") == [(1, 3), (2, 2)]


def test_one_bad_item_fails_alone(database: Database) -> None:
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 100))")
    items = [{"id": number, "n": 100 if number == 7 else number} for number in range(20)]
    report = run(DatabaseWriter(database.address, "orders", key="id"), items, replays_max=0)
    assert [failure.item["id"] for failure in report.failures] == [7]
    assert "table orders refuses item" in report.failures[0].cause.message
    assert database.execute("SELECT count(*) FROM orders") == [(19,)]


def test_values_of_all_types_come_back_from_postgresql(postgresql: PostgresqlServer) -> None:
    item = {
        "i": 2**60,
        "f": 0.1,
        "s": "text",
        "b": True,
        "raw": b"\0\xff",
        "when": datetime(2026, 1, 2, 3, 4, 5, 6),
        "aware": datetime(2026, 1, 2, 3, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "at": time(1, 2),
        "price": Decimal("10.10"),
        "id": UUID(int=5),
        "span": timedelta(minutes=1),
        "deep": {"a": [1, None]},
        "nothing": None,
    }
    for _ in range(2):
        assert run(DatabaseWriter(postgresql.url, "everything", key="id"), [item])
    (row,) = postgresql.execute("SELECT * FROM everything")
    assert row == tuple(item.values())
    source = CursorProducer(postgresql.url, "SELECT * FROM everything", "id")
    seen: list[Any] = []
    assert Consecutor(source | Map(seen.append), "again", journal=None).run()
    assert seen == [item]


def test_postgresql_stopped_and_started_in_the_middle_loses_no_item_and_doubles_none(
    postgresql: PostgresqlServer, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    """The outage is as long as a restart takes; the frame in work is tried again, so that no item is a dead letter."""
    postgresql.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    flow = DatabaseWriter(postgresql.url, "orders", key="id", retry_s=60.0, grouping="shuffle")
    running = Consecutor(flow, "outage", journal=None, replays_max=0).start("threads")
    try:
        for number in range(150):
            running.push({"id": number})
        wait_for(lambda: postgresql.execute("SELECT count(*) FROM orders") == [(150,)], 30, "the first half")
        postgresql.stop()
        try:
            for number in range(150, 300):
                running.push({"id": number})
            wait_for(lambda: "away, tried again for retry_s=60.0" in caplog.text, 30, "the outage in the log")
        finally:
            postgresql.start()
    finally:
        report = running.end()
    assert report.completed == 300
    assert postgresql.execute("SELECT count(*), max(id) FROM orders") == [(300, 299)]
    assert "back after tries=" in caplog.text


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # of SQLite in tests/unit/sinks
def test_killed_again_and_again_each_row_is_there_once(
    database: Database, tmp_path: Path, process: StartProcess, wait_for: WaitFor
) -> None:
    """SIGKILL in the middle of transactions: the journal replays, the key doubles nothing."""
    (tmp_path / "flow.py").write_text(
        "import sys\nfrom consecution import Consecutor\nfrom consecution.sinks import DatabaseWriter\n"
        "rows = [{'id': n, 'square': n * n} for n in range(8_000)]\n"
        "writer = DatabaseWriter(sys.argv[1], 'squares', key='id')\n"
        "report = Consecutor(rows | writer, 'squares', journal='journal').run('threads')\n"
        "print(report.introduced, report.completed, report.failed)\n"
    )
    database.execute("CREATE TABLE squares (id INTEGER PRIMARY KEY, square INTEGER)")

    def count() -> int:
        return int(database.execute("SELECT count(*) FROM squares")[0][0])

    for _ in range(2):
        before = count()
        child = process(sys.executable, "flow.py", database.address)
        wait_for(lambda before=before, child=child: count() > before or child.returncode is not None, 60, "rows")
        child.kill()
    child = process(sys.executable, "flow.py", database.address)
    assert child.wait() == 0, child.stderr
    assert child.stdout.split() == ["8000", "8000", "0"]
    assert database.execute("SELECT count(*), sum(square) FROM squares") == [
        (8_000, sum(number * number for number in range(8_000)))
    ]
