"""The example log_etl.py with everything real: a file that grows, senders, a service, PostgreSQL, a kill, a restart."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import WaitFor
    from tests.integration.databases.conftest import Database
    from tests.ports import Ports

LEVELS = ("INFO", "error", "DEBUG", "WARNING")
HOSTS = 7


def line(number: int) -> str:
    fields = {
        "id": f"line-{number}",
        "at": f"2026-11-25T10:00:{number % 60:02d}Z",
        "level": LEVELS[number % 4],
        "host": f"web/{number % HOSTS}",
        "text": f"number {number}",
    }
    return json.dumps(fields)


def loud(numbers: range) -> set[str]:
    return {f"line-{number}" for number in numbers if number % 2}


@contextmanager
def owners() -> Iterator[tuple[str, Counter[str]]]:
    """The service: its address, and how often each host was asked for."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.path.removeprefix("/owners/").replace("%2F", "/")
            asked[host] += 1
            body = json.dumps({"owner": f"team of {host}"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(port: int, numbers: range) -> int:
    """Post lines; gives the status, 0 when nobody listens."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = "\n".join(map(line, numbers))
        client.request("POST", "/items", body, {"Content-Type": "application/x-ndjson"})
        return client.getresponse().status
    except ConnectionError:
        return 0
    finally:
        client.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_logs_come_through_a_kill_into_the_database_and_the_files(
    database: Database, tmp_path: Path, root: Path, consecution: Callable[..., Any], wait_for: WaitFor, ports: Ports
) -> None:
    """1. Lines stand in the file, others are posted. 2. The program is killed at work, and started again.

    3. More are written and posted. 4. It is stopped: each loud line is in the table once with its owner, each quiet one
    in its file, and the line that is no JSON is a dead letter.
    """
    port = ports.take()
    out = tmp_path / "out"
    out.mkdir()
    with owners() as (service, asked):
        options = {"out": out, "log": "app.log", "port": port, "owners": service, "database": database.address}
        defines = [word for key, value in options.items() for word in ("-D", f"{key}={value}")]
        flow = str(root / "examples" / "log_etl.py")

        def count() -> int:
            if not has_table():
                return 0
            return int(database.execute("SELECT count(*) FROM logs")[0][0])

        def has_table() -> bool:
            catalog = (
                "pg_catalog.pg_tables WHERE tablename" if "://" in database.address else "sqlite_master WHERE name"
            )
            return bool(database.execute(f"SELECT 1 FROM {catalog} = 'logs'"))

        (tmp_path / "app.log").write_text("".join(line(number) + "\n" for number in range(1500)) + "no json\n")
        child = consecution("run", flow, *defines)
        wait_for(lambda: post(port, range(5000, 5100)) == 202, 60, "the posts to be taken")
        wait_for(count, 60, "the first rows")
        child.kill()

        child = consecution("run", flow, *defines)
        wait_for(lambda: post(port, range(6000, 6100)) == 202, 60, "the posts to be taken")
        assert post(port, range(6050, 6100)) == 202  # sent again: known by their ids
        with (tmp_path / "app.log").open("a") as log:
            log.writelines(line(number) + "\n" for number in range(1500, 2000))
        expected = loud(range(2000)) | loud(range(5000, 5100)) | loud(range(6000, 6100))
        wait_for(lambda: count() >= len(expected), 60, "all rows")
        child.send_signal(signal.SIGTERM)
        assert child.wait() == 3, child.stderr  # the line that is no JSON
    rows = database.execute("SELECT id, level, host, owner FROM logs")
    assert {row[0] for row in rows} == expected
    assert len(rows) == len(expected)
    assert {(level, owner == f"team of {host}") for _, level, host, owner in rows} == {
        ("ERROR", True),
        ("WARNING", True),
    }
    assert set(asked) == {f"web/{number}" for number in range(HOSTS)}
    quiet = {json.loads(text)["id"] for path in out.glob("quiet*.jsonl") for text in path.read_text().splitlines()}
    posted = [*range(5000, 5100), *range(6000, 6100)]
    assert quiet == {f"line-{number}" for number in [*range(2000), *posted] if number % 2 == 0}
    copies = {json.loads(text)["id"] for text in (out / "loud.jsonl").read_text().splitlines()}
    assert copies == expected
    listed = consecution("failed", "list", flow)
    assert listed.wait() == 0, listed.stderr
    assert "JSONDecodeError" in listed.stdout
