"""CursorProducer killed: the whole program, and in mode "processes" the executor that reads."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.e2e.kill_child import DATABASE
from tests.e2e.killing import kill_again_and_again

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartProcess, WaitFor
    from tests.integration.databases.conftest import Database
    from tests.integration.databases.postgresql import PostgresqlServer

ROWS = 3_000

FLOW = """
import sys
from consecution import Consecutor, CursorProducer, Node
from consecution.sinks import DatabaseWriter

class Square(Node):
    def process(self, row):
        self.push({"id": row["id"], "square": row["id"] ** 2})

cons = Consecutor(
    CursorProducer(sys.argv[1], "SELECT id FROM numbers", key="id", page_rows=500)
    | Square(grouping="shuffle")
    | DatabaseWriter(sys.argv[1], "squares", key="id", grouping="shuffle"),
    journal="journal",
)
report = cons.run("processes", workers=2)
print(report.introduced, report.completed, report.failed)
"""


def test_killed_again_and_again_every_row_of_postgresql_comes_through(
    postgresql: PostgresqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE, postgresql.url)
    toll = kill_again_and_again("cursor", "threads", tmp_path, kills=3, total=4_000, seed=5)
    assert (toll.wrong, toll.lost) == ((), 0)


def executors(child: Any) -> list[psutil.Process]:
    """The program's executors and ackers."""
    try:
        return [one for one in psutil.Process(child.pid).children() if "consecution/process" in " ".join(one.cmdline())]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize(
    ("database", "whom"), [("sqlite", "program"), ("postgresql", "children")], indirect=["database"]
)
def test_killed_processes_of_a_run_lose_no_row_and_double_none(
    database: Database, tmp_path: Path, process: StartProcess, wait_for: WaitFor, whom: str
) -> None:
    """1. Rows are read in an executor, or in the program. 2. Who reads or writes them dies, twice. 3. All are there."""
    chance = random.Random(whom + database.address[:6])
    (tmp_path / "flow.py").write_text(FLOW)
    database.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY)")
    for start in range(0, ROWS, 500):
        values = ", ".join(f"({number})" for number in range(start, start + 500))
        database.execute(f"INSERT INTO numbers VALUES {values}")
    database.execute("CREATE TABLE squares (id INTEGER PRIMARY KEY, square BIGINT)")

    def count() -> int:
        return int(database.execute("SELECT count(*) FROM squares")[0][0])

    child = process(sys.executable, "flow.py", database.address)
    for _ in range(2):
        before = count()
        wait_for(
            lambda before=before, child=child: count() > before or child.returncode is not None,
            60,
            "rows",
        )
        time.sleep(chance.random() * 0.05)
        if whom == "program":
            child.kill()
            child = process(sys.executable, "flow.py", database.address)
        elif victims := executors(child):
            chance.choice(victims).kill()
    assert child.wait(120) == 0, child.stderr
    assert child.stdout.split() == [str(ROWS), str(ROWS), "0"]
    assert database.execute("SELECT count(*), sum(square) FROM squares") == [(ROWS, sum(n * n for n in range(ROWS)))]
