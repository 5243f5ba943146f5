"""PipeProducer: lines of stdin, of a pipe, of a file, or of a file that grows.

What stands behind it decides what it promises: a regular file is re-readable by byte offset (files.py, tail.py); stdin
from a pipe, a FIFO, a terminal is fire and forget (pipes.py).
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.errors import GraphError, SourceError, short_repr
from consecution.producers.base import NOTHING_YET, Producer, Read, SourceClass
from consecution.producers.files import FileReader
from consecution.producers.lines import LINE_BYTES_MAX, TextLines
from consecution.producers.pipes import PipeReader
from consecution.producers.tail import TailReader

STDIN = 0


class PipeProducer(Producer):
    r"""Gives one item for each line, without its "\n"; a "\r" before it and NUL bytes stay in the item.

    The last line counts too when it has no newline; an empty line is an item.

    Args:
        source: A path, an open file, or a file descriptor; None is stdin. An open regular file is read from where it
            stands; what the caller opened, the caller closes.
        follow: Go on for ever with a file that grows, and that may be renamed or truncated by a log rotation. It may
            be missing at first.
        encoding: Of the text; None gives bytes.
        errors: What becomes of bytes that are no text: "strict" stops the run with an error that names the byte,
            "replace" or "surrogateescape" make text of them.
        line_bytes_max: A longer line stops the run with an error that names its place.
        rotation_grace_s: With ``follow``: how long writers may still write into a file that was renamed.

    Raises:
        GraphError: The arguments don't fit together.
    """

    kind = "pipe"
    immutable_items = True

    def __init__(
        self,
        source: str | os.PathLike[str] | int | IO[Any] | None = None,
        *,
        follow: bool = False,
        encoding: str | None = "utf-8",
        errors: str = "strict",
        line_bytes_max: int = LINE_BYTES_MAX,
        rotation_grace_s: float = 1.0,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.endless = follow
        self._path, self._fd, self._file, self._start = _place_of(source)
        if follow and self._path is None:
            msg = f"PipeProducer({short_repr(source)}, follow=True): only a path can be followed; give the file's path"
            raise GraphError(msg)
        if line_bytes_max < 1:
            msg = f"PipeProducer(line_bytes_max={line_bytes_max}): expected 1 or more bytes"
            raise GraphError(msg)
        self._follow = follow
        self._text = TextLines(encoding, errors)
        self._line_bytes_max = line_bytes_max
        self._rotation_grace_s = rotation_grace_s
        self._clock = clock
        self._lines: FileReader | PipeReader | TailReader | None = None

    @classmethod
    def of_file(cls, file: io.IOBase, *, name: str | None = None) -> PipeProducer:
        """Give the producer of an open file, with the file's own encoding: bytes when it was opened as bytes."""
        encoding = getattr(file, "encoding", None) if isinstance(file, io.TextIOBase) else None
        errors = getattr(file, "errors", None) or "strict"
        return cls(file, encoding=encoding, errors=errors, name=name)  # type: ignore[arg-type]

    def obstacle(self) -> str | None:
        """Say why its file can't be read now; one that is followed may come later."""
        if self._path is None or self._follow:
            return None
        path = Path(self._path)
        if not path.exists():
            return f"there is no file {str(path)!r}"
        if path.is_dir():
            return f"{str(path)!r} is a folder"
        return None if os.access(path, os.R_OK) else f"{str(path)!r} may not be read"

    @property
    def label(self) -> str:
        """The name or kind, and the path."""
        place = self._path or ("stdin" if self._fd == STDIN else f"file descriptor {self._fd}")
        return f"{super().label} {place}"

    @property
    def _where(self) -> str:
        return f"producer {self.label!r}"

    @property
    def source(self) -> SourceClass:  # type: ignore[override]
        """Re-readable for a regular file, also one that is not there yet; fire and forget for anything else."""
        with suppress(OSError):
            mode = os.stat(self._path if self._fd is None else self._fd).st_mode  # type: ignore[arg-type]
            return SourceClass.RE_READABLE if stat.S_ISREG(mode) else SourceClass.FIRE_AND_FORGET
        return SourceClass.RE_READABLE

    @property
    def lives_in_caller(self) -> bool:  # type: ignore[override]
        """True for what the caller opened, and for stdin."""
        return self._fd is not None

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Open the file, or go on at a position of it; see `Producer.open`."""
        self.close()
        if self._follow:
            tail = TailReader(
                os.fspath(self._path or ""),
                self._where,
                self._text,
                self._line_bytes_max,
                rotation_grace_s=self._rotation_grace_s,
                clock=self._clock,
            )
            tail.open(position, check)
            self._lines = tail
            return
        self._lines = self._opened(position, check)

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """Give the next lines; see `Producer.read`.

        Raises:
            SourceError: A line is too long or no text, the file was cut, or reading failed.
        """
        assert self._lines is not None, "read() before open()"
        try:
            items, positions, following, ended = self._lines.read(items_max, wait_s)
        except OSError as error:
            msg = f"{self._where}: reading failed: {error}; lines before it were given"
            raise SourceError(msg) from error
        if not items and not ended and following is None:
            return NOTHING_YET
        return Read(items, positions, following, ended)

    def check(self, position: object, item_below: object = None) -> object | None:
        """Give [device, inode, offset, CRC of 4 KiB]; None for a pipe."""
        return None if self._lines is None else self._lines.check(position)

    def fileno(self) -> int | None:
        """Give the pipe's descriptor; None for a regular file."""
        return None if self._lines is None else self._lines.fileno()

    def ready_in(self) -> float | None:
        """See `Producer.ready_in`."""
        return None if self._lines is None else self._lines.ready_in()

    def close(self) -> None:
        """Close what `open` opened."""
        if self._lines is not None:
            lines, self._lines = self._lines, None
            lines.close()

    def _opened(self, position: object | None, check: object | None) -> FileReader | PipeReader:
        fd, owns_fd = self._fd, False
        try:
            if fd is None:
                # Without O_NONBLOCK opening a FIFO would wait for its writer; with it, poll() does that.
                fd, owns_fd = os.open(self._path or "", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), True
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                msg = f"{self._where}: it is a folder; expected a file, a pipe or stdin"
                raise SourceError(msg)
            if not stat.S_ISREG(mode):
                return PipeReader(fd, self._where, self._text, self._line_bytes_max, owns_fd=owns_fd)
            return self._opened_file(fd, position, check, owns_fd=owns_fd)
        except OSError as error:
            msg = f"{self._where}: it can't be opened: {error.strerror}; expected a file that can be read"
            raise SourceError(msg) from error
        except SourceError:
            if owns_fd and fd is not None:
                os.close(fd)
            raise

    def _opened_file(self, fd: int, position: object | None, check: object | None, *, owns_fd: bool) -> FileReader:
        start = self._start if position is None else position
        if start is None:
            start = os.lseek(fd, 0, os.SEEK_CUR) if self._fd is not None else 0
        if not isinstance(start, int) or start < 0:
            msg = (
                f"{self._where}: the journal's position is {short_repr(start)}, expected a byte offset; the journal is"
                " of a file read with follow=True or of another kind of source: start anew with --fresh"
            )
            raise SourceError(msg)
        reader = FileReader(fd, self._where, self._text, self._line_bytes_max, start=start, owns_fd=owns_fd)
        reader.verify(check)
        return reader


def _place_of(source: object) -> tuple[str | None, int | None, object, int | None]:
    """Give (path, file descriptor, what keeps it open, start offset); the path or the descriptor is None."""
    if source is None:
        return None, STDIN, None, None
    if isinstance(source, int) and not isinstance(source, bool):
        return None, source, None, None
    if isinstance(source, (str, os.PathLike)):
        # Absolute, so that a chdir between here and open() changes nothing.
        return os.path.abspath(os.fsdecode(source)), None, None, None
    if not isinstance(source, io.IOBase):
        msg = f"PipeProducer({short_repr(source)}): expected a path, an open file, a file descriptor, or None for stdin"
        raise GraphError(msg)
    try:
        fd = source.fileno()
        status = os.fstat(fd)
    except (OSError, ValueError) as error:
        msg = (
            f"PipeProducer({short_repr(source)}): it is no open file of the operating system ({error}); give its lines"
        )
        raise GraphError(msg + ", such as `(line for line in file)`") from error
    if not stat.S_ISREG(status.st_mode):
        return None, fd, source, None
    start = _offset_of(source)
    path = getattr(source, "name", None)
    if isinstance(path, str):
        with suppress(OSError):
            if os.path.samestat(os.stat(path), status):
                return os.path.abspath(path), None, source, start
    return None, fd, source, start


def _offset_of(file: io.IOBase) -> int:
    """Give the byte offset at which an open file stands."""
    try:
        offset = file.tell()
    except OSError as error:
        msg = f"{short_repr(file)} was read by a for loop or next(), so that nobody knows where it stands"
        raise GraphError(msg + "; take lines off it with readline(), or give PipeProducer the path") from error
    if offset >= 1 << 63:  # a text file's cookie with the state of its decoder
        msg = f"{short_repr(file)} stands in the middle of a character; give PipeProducer the path"
        raise GraphError(msg)
    return offset
