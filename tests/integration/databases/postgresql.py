"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, gone at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.ports import Ports

START_S = 60


class PostgresqlServer:
    """A server that can be stopped and started; PostgreSQL refuses root, so that then it runs as somebody else.

    Attributes:
        url: SQLAlchemy's address of its database.
    """

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._user = None if os.getuid() else _somebody()
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._ports = Ports()
        self._port = self._ports.take()
        self.url = f"postgresql+psycopg://tester@127.0.0.1:{self._port}/postgres"
        self._is_started = False
        self._run(
            "initdb", "-D", self._data, "-U", "tester", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"
        )

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"listen_addresses=127.0.0.1 port={self._port} unix_socket_directories= max_prepared_transactions=5"
        settings = " ".join(f"-c {option}" for option in options.split(" "))
        log = str(self._folder / "log")
        # The server is nobody's child: it outlives the test that asked for it first, but not the test process.
        self._run("pg_ctl", "start", "-D", self._data, "-l", log, "-o", settings, "-w", "-t", str(START_S))
        self._is_started = True

    def stop(self) -> None:
        """Break off all that goes on, and stop it."""
        if self._is_started:
            self._is_started = False
            self._run("pg_ctl", "stop", "-D", self._data, "-m", "immediate", "-w")

    def remove(self) -> None:
        """Stop it, and remove its folder."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._ports.close()

    def connect(self) -> Any:
        """Give a connection in autocommit mode; the caller closes it."""
        import psycopg

        return psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each a transaction, and give the rows of the last."""
        with contextlib.closing(self.connect()) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        # A file, not a pipe: a server that was started keeps it open.
        with (self._folder / "said").open("w+b") as said:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self._folder,
                user=self._user,
                check=False,
            )
        if done.returncode:
            text = "".join(path.read_text(errors="replace")[-2000:] for path in sorted(self._folder.glob("[ls][oa]*")))
            message = f"{program} ended with {done.returncode}: {text}"
            raise AssertionError(message)


def find_binaries() -> Path | None:
    """Give the folder of the newest PostgreSQL of this machine; None when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    path = shutil.which("postgres")
    return None if path is None else Path(os.path.realpath(path)).parent


def _somebody() -> str:
    """Give a user that is not root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    message = "PostgreSQL refuses root, and there is no user postgres or nobody to run it"
    raise AssertionError(message)
