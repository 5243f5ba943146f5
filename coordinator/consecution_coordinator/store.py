"""The coordinator's memory on disk: one SQLite file, written before anything is told.

Rules of this module: one process at a time (the lock ends with it); each call of `apply` is one transaction, synced. A
file that can't be read stops the coordinator with its name: nothing is guessed or overwritten.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from typing import TYPE_CHECKING, TypeVar

from consecution.errors import ClusterError, ProtocolError
from consecution.wire.cluster.from_client import Submit
from consecution.wire.control import Letter
from consecution.wire.plain import decode, encode
from consecution_coordinator.events import (
    ForgetTopology,
    ForgetWorker,
    SaveLetters,
    SaveTopology,
    SaveWorker,
    VoidLetters,
)
from consecution_coordinator.kept import Topology, WorkerKept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from consecution_coordinator.events import Instruction

T = TypeVar("T")

FORMAT = 1
FILE_NAME = "coordinator.db"
LETTERS_PART = 100
PLACE_MAX = (1 << 63) - 1  # what SQLite takes
LETTERS_PART_BYTES = 512 << 10
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS topology (name TEXT PRIMARY KEY, body BLOB NOT NULL, submit BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS worker (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS letter (
    place INTEGER PRIMARY KEY AUTOINCREMENT, topology TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS letter_of ON letter (topology, place);
"""


class Store:
    """Owned by one thread; close it.

    Args:
        folder: The coordinator's data folder; made when it isn't there.

    Attributes:
        cluster: Random id, made with the file.
        is_new: Whether the file was made now.

    Raises:
        ClusterError: The folder can't be written, another coordinator uses it, or the file isn't ours.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = (
                f"data folder {folder} can't be written ({error.strerror}); give another --data-dir, or make it "
                f"writable for user {os.geteuid()}"
            )
            raise ClusterError(message) from error
        try:
            self._take_lock(folder)
            self._db = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _take_lock(self, folder: Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            message = f"data folder {folder} is in use by process {holder}; stop that one, or give another --data-dir"
            raise ClusterError(message) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode("ascii"), 0)

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self._path, isolation_level=None)
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=FULL")
                problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if problem != "ok":
                    raise sqlite3.DatabaseError(problem)
                db.executescript(_TABLES)
                db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (str(FORMAT),))
                made = db.execute("INSERT OR IGNORE INTO meta VALUES ('cluster', ?)", (uuid.uuid4().hex,))
                meta = dict(db.execute("SELECT key, value FROM meta"))
            except BaseException:
                db.close()
                raise
        except sqlite3.Error as error:
            message = (
                f"{self._path} can't be used ({error}); nothing in it was changed. Restore it from a copy, or give "
                "another --data-dir: running topologies end when a new coordinator doesn't know them"
            )
            raise ClusterError(message) from error
        if meta["format"] != str(FORMAT):
            db.close()
            message = f"{self._path} has format {meta['format']}, expected {FORMAT}: start the release that wrote it"
            raise ClusterError(message)
        self.cluster: str = meta["cluster"]
        self.is_new = made.rowcount == 1
        return db

    def close(self) -> None:
        """Close the file and let others use it."""
        self._db.close()
        os.close(self._lock)

    def topologies(self) -> list[tuple[Topology, Submit]]:
        """All that are kept, by name.

        Raises:
            ClusterError: A record can't be read.
        """
        rows = self._db.execute("SELECT name, body, submit FROM topology ORDER BY name")
        return [(self._read(name, body, Topology), self._read(name, submit, Submit)) for name, body, submit in rows]

    def workers(self) -> list[WorkerKept]:
        """All that are kept, by name.

        Raises:
            ClusterError: A record can't be read.
        """
        rows = self._db.execute("SELECT name, body FROM worker ORDER BY name")
        return [self._read(name, body, WorkerKept) for name, body in rows]

    def _read(self, name: str, body: bytes, kind: type[T]) -> T:
        try:
            return decode(body, (kind,))
        except ProtocolError as error:
            message = (
                f"{self._path}: the {kind.__name__} {name!r} can't be read ({error}); restore the file from a copy"
            )
            raise ClusterError(message) from error

    def letters(self, name: str, first: int) -> tuple[list[Letter], int | None]:
        """Dead letters of a topology from a place on, and where the next part begins; None at the end."""
        rows = self._db.execute(
            "SELECT place, body FROM letter WHERE topology = ? AND place >= ? ORDER BY place LIMIT ?",
            (name, min(max(0, first), PLACE_MAX), LETTERS_PART + 1),
        ).fetchall()
        part: list[Letter] = []
        total = 0
        for place, body in rows:
            total += len(body)
            if len(part) == LETTERS_PART or (part and total > LETTERS_PART_BYTES):
                return part, place
            part.append(self._read(name, body, Letter))
        return part, None

    def letter_keys(self, name: str) -> Iterator[tuple[str, int]]:
        """Producer and seq of each dead letter of a topology; not of what is no item of a producer."""
        for (body,) in self._db.execute("SELECT body FROM letter WHERE topology = ?", (name,)):
            letter = self._read(name, body, Letter)
            if letter.seq >= 0:
                yield letter.producer, letter.seq

    def apply(self, instructions: Iterable[Instruction]) -> None:
        """Keep what the instructions say, in one transaction that is on disk when this returns.

        Raises:
            ClusterError: It isn't: the disk is full or broken. The coordinator must stop.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for one in instructions:
                    self._apply(one)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            message = f"{self._path} can't be written ({error}); make room or repair the disk, and start again"
            raise ClusterError(message) from error

    def _apply(self, one: Instruction) -> None:
        if isinstance(one, SaveTopology):
            if one.submit is not None:
                self._db.execute(
                    "INSERT INTO topology VALUES (?, ?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET body = excluded.body, submit = excluded.submit",
                    (one.name, one.body, one.submit),
                )
            else:
                self._db.execute("UPDATE topology SET body = ? WHERE name = ?", (one.body, one.name))
        elif isinstance(one, SaveWorker):
            self._db.execute("INSERT OR REPLACE INTO worker VALUES (?, ?)", (one.name, one.body))
        elif isinstance(one, SaveLetters):
            self._db.executemany(
                "INSERT INTO letter (topology, body) VALUES (?, ?)", [(one.name, encode(each)) for each in one.letters]
            )
        elif isinstance(one, VoidLetters):
            self._db.execute("DELETE FROM letter WHERE topology = ?", (one.name,))
        elif isinstance(one, ForgetTopology):
            self._db.execute("DELETE FROM topology WHERE name = ?", (one.name,))
            self._db.execute("DELETE FROM letter WHERE topology = ?", (one.name,))
        elif isinstance(one, ForgetWorker):
            self._db.execute("DELETE FROM worker WHERE name = ?", (one.name,))
