"""The journal on disk: one SQLite file in a folder of its own.

Rules of this module:

1. WAL; ``synchronous=FULL`` for transactions that must be on the disk when the call returns, NORMAL for the others.
2. SQLite has no checksums of its own in the main file, so each row carries a CRC-32 over its table, id and body, and
   the *seal* (one row, changed in each transaction) the number and a sum of each table's rows. A row that vanished or
   came from nowhere is found when the journal is opened, one that changed at the latest when it is read.
3. A new journal is built aside and renamed, so a file of this name is always whole. An empty or foreign file, a file
   that `quick_check` refuses and a WAL with a damaged middle (`consecution.journal.wal`) stop with a JournalError.
4. Items are taken in only when the disk has space for them, in the WAL and in the file, for as much again as dead
   letters, and `RESERVE_BYTES` for outcomes: else what entered could not be finished, and nothing would make space
   again. When little is left, the WAL is moved into the file before it stands in the way, not only at four megabytes.
5. Not found, as in any log: when the very last transaction's bytes are damaged it looks like one that was being
   written when the machine stopped, and is left out.

The stdlib's sqlite3 is used, not SQLAlchemy: a commit is on the path of each round of verdicts.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consecution.errors import CodecError, JournalError
from consecution.journal.base import JournalFull
from consecution.journal.kept import RECEIPTS_KEEP_S, KeptJournal
from consecution.journal.lock import JournalLock
from consecution.journal.shelf import Row, Shelf, Table, Transaction
from consecution.journal.wal import check_wal
from consecution.wire.codec import DISK, Codec, default_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FILE_NAME = "journal.sqlite"
CHECKED_WHOLE_BYTES = 64 * 2**20  # above this, quick_check runs only after a death: it reads the whole file
BUSY_S = 5.0
RESERVE_BYTES = 128 << 10
_PAGE_BYTES = 4096
_MAGIC = b"SQLite format 3\0"
_SCHEMA = (
    *(
        f"CREATE TABLE t{table:d} (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, at INTEGER NOT NULL, "
        "items INTEGER NOT NULL, body BLOB NOT NULL)"
        for table in Table
    ),
    f"CREATE INDEX t{Table.KEYS:d}_at ON t{Table.KEYS:d} (at)",
    "CREATE TABLE seal (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL)",
)
_GET = {table: f"SELECT id, crc, at, items, body FROM t{table:d} WHERE id = ?" for table in Table}
_SCAN = {
    table: f"SELECT id, crc, at, items, body FROM t{table:d} WHERE id >= ? ORDER BY id LIMIT 100" for table in Table
}
_HEAD = {table: f"SELECT id, crc, at, items FROM t{table:d} WHERE id = ?" for table in Table}
_HEADS = {table: f"SELECT id, crc, at, items FROM t{table:d}" for table in Table}
_PUT = {
    table: f"INSERT OR REPLACE INTO t{table:d} (id, crc, at, items, body) VALUES (?, ?, ?, ?, ?)" for table in Table
}
_DROP = {table: f"DELETE FROM t{table:d} WHERE id = ?" for table in Table}
_FULL_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class SqliteShelf(Shelf):
    """Rows in a SQLite file.

    Args:
        folder: The journal's folder; made when it is missing, unless read-only.
        codec: Knows the user's registered classes.
        is_read_only: True: no lock, no change; works beside a running writer.
    """

    def __init__(self, folder: Path, *, codec: Codec = default_codec, is_read_only: bool = False) -> None:
        self.where = str(folder)
        self._folder = folder
        self._file = folder / FILE_NAME
        self._codec = codec
        self._is_read_only = is_read_only
        self._lock: JournalLock | None = None
        self._connection: sqlite3.Connection | None = None
        self._is_synced: bool | None = None
        self._seal: list[list[int]] = []
        try:
            if not is_read_only:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = JournalLock(folder)
            self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise self._error(error) from error
            if isinstance(error, UnicodeDecodeError):  # sqlite3 quotes the damaged bytes in its message
                raise self._damage(str(error)) from error
            raise

    # -- opening -------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if not self._file.exists():
            if self._is_read_only:
                message = (
                    f"there is no journal in {self.where}; expected {FILE_NAME} there; give its folder by --journal"
                )
                raise JournalError(message)
            self._create()
        with self._file.open("rb") as file:
            head = file.read(len(_MAGIC))
        if head != _MAGIC:
            what = "it doesn't begin like a journal"
            raise self._damage(what)
        wal = Path(f"{self._file}-wal")
        was_killed = wal.exists() and wal.stat().st_size > 0
        if was_killed and not self._is_read_only:
            self._check_wal(wal)
        self._connection = self._connect()
        if was_killed or self._file.stat().st_size <= CHECKED_WHOLE_BYTES:
            self._quick_check()
        self._check_seal()
        self.is_new = self._seal[Table.FACTS][0] == 0  # made, and its first `begin` never came

    def _connect(self) -> sqlite3.Connection:
        uri = self._file.absolute().as_uri() + ("?mode=ro" if self._is_read_only else "?mode=rw")
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
        # Debian's SQLite overwrites what is deleted: each finished item would be written once more.
        connection.execute("PRAGMA secure_delete=OFF")
        if self._is_read_only:
            try:
                connection.execute("SELECT count(*) FROM seal").fetchone()
            except sqlite3.OperationalError:
                connection.close()
                if Path(f"{self._file}-wal").exists():
                    raise
                # A folder that we may not write: without a WAL nobody writes there, so the file is all there is.
                connection = sqlite3.connect(
                    uri + "&immutable=1", uri=True, isolation_level=None, check_same_thread=False
                )
        return connection

    def _check_wal(self, wal: Path) -> None:
        """Let SQLite find the end of the WAL without changing a thing, then look behind it."""
        with closing(sqlite3.connect(self._file.absolute().as_uri() + "?mode=ro", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            check_wal(wal, Path(f"{self._file}-shm"))

    def _create(self) -> None:
        """Build an empty journal aside and rename it: a file of the journal's name is never half made."""
        aside = self._folder / f"{FILE_NAME}.new"
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{aside}{suffix}").unlink(missing_ok=True)
            Path(f"{self._file}{suffix}").unlink(
                missing_ok=True
            )  # a WAL without its file: of a journal that was removed
        with closing(sqlite3.connect(aside, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN")
            for statement in _SCHEMA:
                connection.execute(statement)
            crc, body = _seal_row([[0, 0] for _ in Table])
            connection.execute("INSERT INTO seal VALUES (0, ?, ?)", (crc, body))
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.rename(aside, self._file)
        _sync_folder(self._folder)

    def _quick_check(self) -> None:
        found = [line for (line,) in self._db.execute("PRAGMA quick_check(5)")]
        if found != ["ok"]:
            raise self._damage("; ".join(map(str, found)))

    def _check_seal(self) -> None:
        self._db.execute("BEGIN")
        try:
            row = self._db.execute("SELECT crc, body FROM seal WHERE id = 0").fetchone()
            if row is None or type(row[1]) is not bytes or zlib.crc32(row[1]) != row[0]:
                what = "its seal is broken"
                raise self._damage(what)
            self._seal = default_codec.unpack(row[1])
            for table in Table:
                count = total = 0
                for head in self._db.execute(_HEADS[table]):
                    count += 1
                    total ^= _weight(head)
                if [count, total] != self._seal[table]:
                    what = f"table {table.name.lower()} doesn't match the seal: rows are missing or changed"
                    raise self._damage(what)
        finally:
            self._db.execute("COMMIT")

    # -- rows ----------------------------------------------------------------------------------------------------------

    def encode(self, value: object) -> bytes:
        """See `Shelf.encode`."""
        return self._codec.pack(value, limits=DISK)

    def decode(self, body: Any) -> Any:
        """See `Shelf.decode`."""
        return self._decoded(self._codec.unpack, body)

    def encode_items(self, items: list[Any]) -> bytes:
        """See `Shelf.encode_items`."""
        return self._codec.pack_items(items, limits=DISK)

    def decode_items(self, body: Any) -> list[Any]:
        """See `Shelf.decode_items`."""
        items: list[Any] = self._decoded(self._codec.unpack_items, body)
        return items

    def _decoded(self, unpack: Callable[..., Any], body: bytes) -> Any:
        try:
            return unpack(body, limits=DISK)
        except CodecError as error:  # the CRC is right, so the bytes are what was written
            message = (
                f"journal {self._file}: {error}; start the flow with the code that wrote it, or its registered classes"
            )
            raise JournalError(message) from error

    def make_room(self, transaction: Transaction) -> None:
        """See `Shelf.make_room`; what only SQLite finds out (a quota) is still a JournalFull of `apply`."""
        size = _size_of(transaction)
        if self._free_bytes() >= 3 * size + 2 * self._wal_bytes() + RESERVE_BYTES:
            return
        self._empty_wal()
        (spare_pages,) = self._db.execute("PRAGMA freelist_count").fetchone()
        needed = size + max(0, 2 * size - spare_pages * _PAGE_BYTES) + RESERVE_BYTES
        free = self._free_bytes() - self._wal_bytes()
        if free < needed:
            message = (
                f"journal {self.where}: the disk is full: {max(0, free):,} bytes are left, and the next items need "
                f"{needed:,} with what is kept for outcomes; nothing was written; free some space, it goes on by itself"
            )
            raise JournalFull(message)

    def _free_bytes(self) -> int:
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def _wal_bytes(self) -> int:
        try:
            return os.stat(f"{self._file}-wal").st_size
        except FileNotFoundError:
            return 0

    def _empty_wal(self) -> None:
        """Move all that the WAL holds into the file, and give its space back, as far as that can be done now."""
        if self._wal_bytes():
            with suppress(sqlite3.Error):  # no space for it, or somebody reads: what the WAL holds is safe there
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def apply(self, transaction: Transaction, *, sync: bool) -> None:
        """See `Shelf.apply`."""
        if self._is_read_only:
            message = f"journal {self.where} was opened for reading"
            raise JournalError(message)
        if self._free_bytes() < 2 * _size_of(transaction) + self._wal_bytes() + RESERVE_BYTES:
            self._empty_wal()  # once the disk is full to the last byte, there is no space to move it to
        self._write(transaction, sync=sync)

    def _write(self, transaction: Transaction, *, sync: bool) -> None:
        seal = [list(pair) for pair in self._seal]
        database = self._db
        try:
            if sync is not self._is_synced:
                database.execute("PRAGMA synchronous=FULL" if sync else "PRAGMA synchronous=NORMAL")
                self._is_synced = sync
            database.execute("BEGIN IMMEDIATE")
            for table, id_ in transaction.drops:
                self._unseal(seal, table, id_)
                database.execute(_DROP[table], (id_,))
            for row in transaction.puts:
                if row.table is not Table.ENTRIES:  # an entry row is new, always
                    self._unseal(seal, row.table, row.id)
                crc = _row_crc(row)
                database.execute(_PUT[row.table], (row.id, crc, row.at, row.items, row.body))
                pair = seal[row.table]
                pair[0] += 1
                pair[1] ^= _weight((row.id, crc, row.at, row.items))
            database.execute("UPDATE seal SET crc = ?, body = ? WHERE id = 0", _seal_row(seal))
            database.execute("COMMIT")
        except sqlite3.Error as error:
            told = self._error(error)
            self._roll_back()
            if not isinstance(told, JournalFull):
                self.close()  # what the disk holds now is only known to the next start
            raise told from error
        self._seal = seal
        self.is_new = False

    def _unseal(self, seal: list[list[int]], table: Table, id_: int) -> None:
        found = self._db.execute(_HEAD[table], (id_,)).fetchone()
        if found is not None:
            pair = seal[table]
            pair[0] -= 1
            pair[1] ^= _weight(found)

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:  # the first error is the one to tell; what the disk holds is found out at the next start
            self._disconnect()

    def get(self, table: Table, id_: int) -> Row | None:
        """See `Shelf.get`."""
        found = self._query(_GET[table], id_)
        return self._checked(table, found[0]) if found else None

    def scan(self, table: Table, first: int = 0) -> Iterator[Row]:
        """See `Shelf.scan`; reads 100 rows at a time."""
        while found := self._query(_SCAN[table], first):
            for columns in found:
                yield self._checked(table, columns)
            first = found[-1][0] + 1

    def batches(self) -> Iterator[tuple[int, int]]:
        """See `Shelf.batches`."""
        return iter(self._query(f"SELECT id, items FROM t{Table.ENTRIES:d} WHERE id >= ? ORDER BY id", 0))

    def expired(self, table: Table, before: int, limit: int) -> Sequence[int]:
        """See `Shelf.expired`."""
        found = self._query(f"SELECT id FROM t{table:d} WHERE at > 0 AND at < ? LIMIT {limit:d}", before)
        return [id_ for (id_,) in found]

    def _query(self, statement: str, argument: int) -> list[Any]:
        try:
            return self._db.execute(statement, (argument,)).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from error
        except UnicodeDecodeError as error:  # sqlite3 quotes the damaged bytes in its message
            raise self._damage(str(error)) from error

    def _checked(self, table: Table, columns: tuple[int, int, int, int, bytes]) -> Row:
        id_, crc, at, items, body = columns
        row = Row(table, id_, body, at, items)
        if type(body) is not bytes or _row_crc(row) != crc:
            what = f"row {id_} of table {table.name.lower()} doesn't match its checksum"
            raise self._damage(what)
        return row

    # -- end -----------------------------------------------------------------------------------------------------------

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            message = f"journal {self.where} is closed"
            raise JournalError(message)
        return self._connection

    def remove(self) -> None:
        """Close it and remove its files; the folder and its lock stay."""
        try:
            self._disconnect()
            for suffix in (
                "",
                "-wal",
                "-shm",
            ):  # what lies there without its file is removed before the next one is made
                Path(f"{self._file}{suffix}").unlink(missing_ok=True)
            _sync_folder(self._folder)
        except (sqlite3.Error, OSError) as error:
            raise self._error(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """See `Shelf.close`."""
        self._disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _disconnect(self) -> None:
        connection = self._connection
        self._connection = None
        if connection is not None:
            connection.close()

    def _error(self, error: sqlite3.Error | OSError) -> JournalError:
        code = getattr(error, "sqlite_errorcode", None)
        if code in _FULL_CODES or getattr(error, "errno", None) in _NO_SPACE:
            message = (
                f"journal {self.where}: the disk is full; nothing was written; free some space and start again; a run "
                "that has begun goes on by itself"
            )
            return JournalFull(message)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damage(str(error))
        return JournalError(
            f"journal {self._file}: {error}; expected a local disk and a folder that this user may write; see to it, "
            "or give another folder (--journal DIR)"
        )

    def _damage(self, what: str) -> JournalError:
        return JournalError(
            f"journal {self._file} is damaged: {what}; nothing was changed; restore it from a copy, or move it aside "
            "with --fresh (items that it still held are then not replayed)"
        )


_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


def _row_crc(row: Row) -> int:
    return zlib.crc32(row.body, zlib.crc32(b"%d %d %d %d" % (row.table, row.id, row.at, row.items)))


def _weight(head: tuple[object, ...]) -> int:
    """Give what a row adds to its table's sum, by xor: the checksum of its id, crc, at and items."""
    return zlib.crc32(repr(head).encode())


def _size_of(transaction: Transaction) -> int:
    """Bytes that a transaction may take in the WAL: a batch is one long row, of others each may lie on its own page."""
    pages = 2 + len(transaction.drops) + sum(row.items == 0 for row in transaction.puts)
    return sum(len(row.body) for row in transaction.puts) + pages * _PAGE_BYTES


def _seal_row(seal: list[list[int]]) -> tuple[int, bytes]:
    body = default_codec.pack(seal)
    return zlib.crc32(body), body


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SqliteJournal(KeptJournal):
    """A journal on disk, locked for this process until it is closed.

    Args:
        folder: Its folder, such as ``.consecution/NAME``.
        codec: Knows the user's registered classes.
        receipts_keep_s: How long idempotency keys are known.
        now: Gives seconds since the epoch.
        is_read_only: True: for looking on while another process writes, or may write; call `load` (again) to see.

    Raises:
        JournalError: In use by another process (names its pid), damaged, or not to be written here.
        JournalFull: No space to open it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        codec: Codec = default_codec,
        receipts_keep_s: float = RECEIPTS_KEEP_S,
        now: Callable[[], float] = time.time,
        is_read_only: bool = False,
    ) -> None:
        shelf = SqliteShelf(folder, codec=codec, is_read_only=is_read_only)
        super().__init__(shelf, receipts_keep_s=receipts_keep_s, now=now)


def open_for_reading(folder: Path, *, codec: Codec = default_codec) -> SqliteJournal:
    """Open a journal to look at it, while its writer runs or not; nothing is changed.

    Raises:
        JournalError: There is none, or it is damaged.
    """
    return _loaded(SqliteJournal(folder, codec=codec, is_read_only=True))


def open_for_editing(folder: Path, *, codec: Codec = default_codec) -> SqliteJournal:
    """Open whatever journal is there to drop or replay its dead letters, without asking whose it is.

    Raises:
        JournalError: There is none, it is in use, or it is damaged.
    """
    if not has_journal(folder):
        message = f"there is no journal in {folder}; expected {FILE_NAME} there; give its folder by --journal"
        raise JournalError(message)
    return _loaded(SqliteJournal(folder, codec=codec))


def _loaded(journal: SqliteJournal) -> SqliteJournal:
    try:
        journal.load()
    except BaseException:
        journal.close()
        raise
    return journal


def has_journal(folder: Path) -> bool:
    """Whether a folder holds a journal (whole or damaged)."""
    return (folder / FILE_NAME).exists()


def fresh(folder: Path) -> Path | None:
    """Move a journal aside, damaged or not, with everything in its folder.

    Returns:
        Where it lies now: the first free one of ``NAME.1``, ``NAME.2`` …; None when there was none.

    Raises:
        JournalError: Another process uses it, or the folder can't be moved.
    """
    if not has_journal(folder):
        return None
    lock = JournalLock(folder)
    try:
        number = 1
        while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        os.rename(folder, aside)
        _sync_folder(aside.parent)
    except OSError as error:
        message = f"journal {folder} can't be moved aside: {error}; move it by hand, or give another (--journal DIR)"
        raise JournalError(message) from error
    finally:
        lock.release()
    return aside
