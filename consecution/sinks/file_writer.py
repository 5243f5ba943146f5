"""FileWriter: items as lines of a file, whole after a kill."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.errors import GraphError, short_repr
from consecution.graph.node import Node
from consecution.sinks.errors import SinkError
from consecution.sinks.formats import Csv, format_by_path, format_of
from consecution.sinks.rotation import next_name, rotation_of
from consecution.sinks.tails import cut_tail, sound_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta


class FileWriter(Node):
    r"""Appends each item to a file; pushes nothing.

    A frame is one write, done before its items count as processed: it outlives a kill of the process, and with
    ``fsync`` a power failure. After a kill the frame in work is replayed, so that lines may be there twice, but never
    half: a torn last line is moved to ``PATH.torn`` before the next write. Tasks of one sink, in processes of one
    host, may share the file: each write is done under its lock.

    With ``rotate_bytes`` or ``rotate_every`` a file that is full or old is renamed, at once, to ``NAME-000001.EXT``,
    the next one to ``NAME-000002.EXT``, and so on; what has such a name is never written to again. A frame is never
    split between two files, so that one that is larger than ``rotate_bytes`` makes a larger file.

    Args:
        path: The file; its folder must exist.
        format: "lines" (``str(item)``), "csv" or "jsonl"; None goes by the path: "csv" for ``.csv``, "jsonl" for
            ``.jsonl`` and ``.ndjson``, else "lines". Text that is JSON already goes into a ``.jsonl`` as "lines".
        fields: Names of the values to write of each item (csv, jsonl); None takes those of the first item. A csv file
            gets them once as its header.
        append: False empties the file whenever the node is set up: also after a restart in mid-run, when lines of
            items that are not replayed are gone. Only for runs that are repeated from their start.
        fsync: Wait for the disk at each frame.
        rotate_bytes: Close the file before it grows beyond so many bytes.
        rotate_every: Close the file when a new period begins: with an hour, at minute 0 of each hour in UTC, also when
            nothing is written (then up to a minute later, or a tenth of the period).
        clock: Tells the time.
        name: As of any node; so are the other options.

    Raises:
        GraphError: The arguments don't fit together.

    Errors of the disk fail the items of the frame with a `SinkError`.
    """

    needs_no_timer = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        fields: Sequence[str] | None = None,
        append: bool = True,
        fsync: bool = False,
        rotate_bytes: int | None = None,
        rotate_every: timedelta | None = None,
        clock: Clock = SYSTEM_CLOCK,
        name: str | None = None,
        parallelism: int = 1,
        key: Any = None,
        grouping: str | None = None,
    ) -> None:
        rotation = rotation_of(rotate_bytes, rotate_every, f"FileWriter({short_repr(path)})")
        every = None if rotation is None else rotation.check_every
        super().__init__(name, parallelism=parallelism, key=key, grouping=grouping, every=every)
        if isinstance(path, bytes) or not isinstance(path, (str, os.PathLike)):
            msg = f"FileWriter({path!r}): expected a path; to print items, use StdoutWriter()"
            raise GraphError(msg)
        self._path = os.fsdecode(path)
        if not append and parallelism > 1:
            msg = f"FileWriter({self._path!r}, append=False, parallelism={parallelism}): each task would empty the file"
            raise GraphError(msg + "; use append=True, or parallelism=1")
        chosen = format_by_path(self._path) if format is None else format
        self._format = format_of(chosen, fields, where=f"FileWriter({self._path!r})")
        self._append = append
        self._fsync = fsync
        self._rotation = rotation
        self._clock = clock
        self._fd = -1
        self._is_regular = True
        self._sound = 0  # the file is known to hold whole rows up to here

    def setup(self) -> None:
        """Open the file and mend its end.

        Raises:
            SinkError: It can't be opened or mended, or has another header.
        """
        try:
            self._fd = self._opened()
        except OSError as error:
            msg = f"FileWriter: {self._path} can't be opened: {error.strerror}; expected a file in a folder that exists"
            msg += " and that you may write"
            raise SinkError(msg) from error
        try:
            self._begin()
        except BaseException as error:
            self.teardown()  # nobody else calls it for a setup that failed
            if isinstance(error, OSError):
                msg = f"FileWriter: the end of {self._path} can't be mended: {error.strerror}; nothing was cut off it"
                raise SinkError(msg) from error
            raise

    def _begin(self) -> None:
        self._is_regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._sound = 0
        with self._locked():
            if not self._append and self._is_regular:
                os.ftruncate(self._fd, 0)
            size = self._mended()
            if isinstance(self._format, Csv) and self._format.fields is not None and size:
                self._adopt_header(self._format, self._format.fields)

    def process_batch(self, items: list[Any]) -> None:
        """Write a frame."""
        if isinstance(self._format, Csv) and self._format.fields is None:
            self._learn_fields(self._format, items)
        data = self._format.encode(items)
        try:
            with self._locked():
                size = self._mended()
                while self._is_due(size, more=len(data)):  # another task may have filled the next one meanwhile
                    self._rotate()
                    size = self._mended()
                if not size and isinstance(self._format, Csv):
                    data = self._format.header() + data
                self._write(data, size)
        except OSError as error:
            msg = (
                f"FileWriter: writing {len(data)} bytes to {self._path} failed: {error.strerror}; nothing of the frame"
            )
            raise SinkError(msg + " is in the file") from error

    def on_timer(self) -> None:
        """Close an idle file whose period is over."""
        try:
            with self._locked():
                if self._is_due(self._mended(), more=0):
                    self._rotate()
        except OSError as error:
            msg = f"FileWriter: {self._path} can't be rotated: {error.strerror}; it is tried again"
            raise SinkError(msg) from error

    def teardown(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep the other tasks that share the file out; the lock is gone with a killed process."""
        if not self._is_regular:
            yield
            return
        self._lock()
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> None:
        """Lock the file, or the one that has taken its place when another task has rotated it."""
        while True:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if self._rotation is None or self._is_in_place():
                return
            moved, self._fd = self._fd, self._opened()
            self._sound = 0
            os.close(moved)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _is_due(self, size: int, *, more: int) -> bool:
        if self._rotation is None or not self._is_regular:
            return False
        return self._rotation.is_due(size, os.fstat(self._fd).st_mtime, now=self._clock.time(), more=more)

    def _rotate(self) -> None:
        """Give the locked file its last name, and begin a new one, locked too."""
        folder = os.path.dirname(os.path.abspath(self._path))
        os.rename(self._path, next_name(self._path, os.listdir(folder)))
        self._lock()
        if self._fsync:
            fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _mended(self) -> int:
        """Cut off what a killed task left half written, and give the file's size."""
        if not self._is_regular:
            return 0
        size = os.fstat(self._fd).st_size
        if size == self._sound:
            return size
        known = self._sound if self._sound < size else 0  # shorter: somebody emptied it
        end = sound_end(self._fd, known, size, has_quotes=isinstance(self._format, Csv))
        if end < size:
            cut_tail(self._path, self._fd, end, size)
        self._sound = end
        return end

    def _write(self, data: bytes, size: int) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
            if self._fsync:
                os.fsync(self._fd)
        except OSError:
            if self._is_regular:
                os.ftruncate(self._fd, size)
            raise
        self._sound = size + len(data)

    def _learn_fields(self, table: Csv, items: list[Any]) -> None:
        """Take the fields from the file, if it has a header already, else from the first item."""
        fields = table.learn(items)
        if fields is None:
            return
        with self._locked():
            if self._mended():
                self._adopt_header(table, fields)
            else:
                table.fields = fields

    def _adopt_header(self, table: Csv, fields: tuple[str, ...]) -> None:
        head = os.pread(self._fd, 1 << 20, 0).decode(errors="replace")
        header = tuple(next(csv.reader(io.StringIO(head, newline="")), []))
        if sorted(header) != sorted(fields) or (table.is_chosen and header != fields):
            msg = (
                f"FileWriter: {self._path} has the columns {', '.join(header)}, but the items have {', '.join(fields)};"
                " write to another file, or give the same fields"
            )
            raise SinkError(msg)
        table.fields = header
