"""Reading a regular file by byte offset, once, to its end.

Rules of this module:
1. A position is the byte offset at which a line begins; the check is [device, inode, offset, CRC] of the at most 4 KiB
   before that offset. Nothing lies before the start: there it is of the first bytes that were read.
2. The file is read with pread: nobody's file position moves.
3. A file that became shorter than what was read is an error; nothing is skipped.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any

from consecution.errors import SourceError, short_repr
from consecution.producers.lines import LineFeed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.producers.lines import TextLines

CHUNK_BYTES = 1 << 18
CHECK_BYTES = 4096


def check_of(fd: int, offset: int) -> list[int]:
    """Give [device, inode, offset, CRC-32 of the at most 4 KiB before the offset] of an open file."""
    status = os.fstat(fd)
    return [status.st_dev, status.st_ino, offset, crc_before(fd, offset)]


def crc_before(fd: int, offset: int) -> int:
    """Give the CRC-32 of the at most 4 KiB before ``offset``."""
    first = max(0, offset - CHECK_BYTES)
    return zlib.crc32(pread_all(fd, offset - first, first))


def pread_all(fd: int, count: int, offset: int) -> bytes:
    """Give ``count`` bytes from ``offset``, fewer only at the end of the file."""
    parts = []
    while count > 0 and (part := os.pread(fd, count, offset)):
        parts.append(part)
        count -= len(part)
        offset += len(part)
    return b"".join(parts)


def parse_check(check: object, label: str) -> tuple[int, int, int, int] | None:
    """Read a journalled check.

    Raises:
        SourceError: It is not [device, inode, offset, CRC].
    """
    if check is None:
        return None
    if isinstance(check, (list, tuple)) and len(check) == 4 and all(isinstance(part, int) for part in check):
        return check[0], check[1], check[2], check[3]
    msg = (
        f"{label}: the journal's check is {short_repr(check)}, expected [device, inode, offset, CRC]; the journal is"
        " of another kind of source: start anew with --fresh"
    )
    raise SourceError(msg)


class FileReader:
    """Reads one open regular file; owns ``fd`` and closes it when ``owns_fd``.

    Args:
        label: Names the file in messages.
        start: Byte offset of the first item; the position of a source that was never read.
    """

    def __init__(self, fd: int, label: str, text: TextLines, line_bytes_max: int, *, start: int, owns_fd: bool) -> None:
        self._fd = fd
        self._label = label
        self._owns_fd = owns_fd
        self._feed = LineFeed(text, line_bytes_max, label, start)
        self._offset = start  # of the next byte to read; the feed's offset is that of the next item
        self._is_over = False
        self._was_told = False

    def verify(self, check: object) -> None:
        """Compare the file with what the journal knows of it, and its length with the start.

        Raises:
            SourceError: It is another file, was changed below the start, or is shorter.
        """
        found = parse_check(check, self._label)
        status = os.fstat(self._fd)
        cure = "; nothing was read: restore the file, or start anew with --fresh"
        if status.st_size < self._offset:
            msg = f"{self._label}: it has {status.st_size} bytes, but {self._offset} were read of it before{cure}"
            raise SourceError(msg)
        if found is None:
            return
        device, inode, offset, crc = found
        if (device, inode) != (status.st_dev, status.st_ino):
            msg = (
                f"{self._label}: it was replaced by another file (device {status.st_dev}, inode {status.st_ino}; before"
                f" {device}, {inode}){cure}"
            )
            raise SourceError(msg)
        if crc_before(self._fd, offset) != crc:
            msg = f"{self._label}: its bytes before offset {offset} are not those that were read before{cure}"
            raise SourceError(msg)

    def read(self, items_max: int, wait_s: float) -> tuple[list[Any], Sequence[int], int, bool]:
        """Give items, their offsets, the next offset and whether the file has ended; never waits."""
        while len(self._feed) < items_max and not self._is_over and not self._feed.is_stuck:
            data = os.pread(self._fd, CHUNK_BYTES, self._offset)
            if data:
                (self._feed.feed if self._offset else self._feed.begin)(data)
                self._offset += len(data)
            elif len(self._feed):
                break  # what ends the file may be an error: give these first
            else:
                self._end()
        items, offsets = self._feed.take(items_max)
        # The last line may lack its newline: the next offset is the file's end, not one behind it.
        following = min(self._feed.offset, self._offset)
        ended = self._is_over and not len(self._feed) and not self._was_told
        self._was_told = self._was_told or ended
        return items, offsets, following, ended

    def check(self, position: object) -> object | None:
        """Give what identifies the file below ``position``; at the start, its first bytes that were read."""
        return check_of(self._fd, position or min(self._offset, CHECK_BYTES)) if isinstance(position, int) else None

    def fileno(self) -> int | None:
        """A regular file is always readable, which tells nothing."""
        return None

    def ready_in(self) -> float | None:
        """There is something, or the end."""
        return 0.0

    def close(self) -> None:
        """Close the file, if it was opened for this reader."""
        if self._owns_fd:
            self._owns_fd = False
            os.close(self._fd)

    def _end(self) -> None:
        size = os.fstat(self._fd).st_size
        if size < self._offset:
            msg = (
                f"{self._label}: it was cut to {size} bytes while {self._offset} had been read of it; read a growing or"
                " rotated file with follow=True"
            )
            raise SourceError(msg)
        self._feed.end()
        self._is_over = True
