"""Reading a pipe, a FIFO, a socket or a terminal: what was read once can't be read again.

Rules of this module: fire and forget. Bytes are read with os.read, unbuffered, only when no whole line is there, and no
more of them than the lines that were asked for will take, as far as the lines before them tell, up to the end of a
line: so a death of the process loses about one batch at most, and leaves no half of a line in the pipe, unless it comes
between two of these reads. The end is when the last writer closes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from consecution.producers.lines import LineFeed
from consecution.waiting import wait_readable

if TYPE_CHECKING:
    from consecution.producers.lines import TextLines

CHUNK_BYTES = 1 << 16
CHUNK_BYTES_MIN = 256
LINE_BYTES_GUESS = 8
LINE_END_BYTES_MAX = 1 << 10


class PipeReader:
    """Reads lines of an open file descriptor; closes it when ``owns_fd``."""

    def __init__(self, fd: int, label: str, text: TextLines, line_bytes_max: int, *, owns_fd: bool) -> None:
        self._fd = fd
        self._owns_fd = owns_fd
        self._feed = LineFeed(text, line_bytes_max, label)
        self._is_over = False
        self._was_told = False
        self._line_bytes = LINE_BYTES_GUESS  # of the lines of the last read

    def read(self, items_max: int, wait_s: float) -> tuple[list[Any], tuple[()], None, bool]:
        """Give the lines that are there, waiting at most ``wait_s`` seconds for the first bytes."""
        if not len(self._feed) and not self._is_over and self._is_readable(wait_s):
            data = self._to_line_end(os.read(self._fd, self._chunk_bytes(items_max)))
            if data:
                self._feed.feed(data)
                if lines := len(self._feed):
                    self._line_bytes = max(1, len(data) // lines)
            else:
                self._feed.end()
                self._is_over = True
        items, _ = self._feed.take(items_max)
        ended = self._is_over and not len(self._feed) and not self._was_told
        self._was_told = self._was_told or ended
        return items, (), None, ended

    def _chunk_bytes(self, items_max: int) -> int:
        """A little less than ``items_max`` lines take, so that none waits here; all when a long line has begun."""
        if self._feed.rest_bytes:
            return CHUNK_BYTES
        return max(CHUNK_BYTES_MIN, min(CHUNK_BYTES, items_max * self._line_bytes * 3 // 4))

    def _to_line_end(self, data: bytes) -> bytes:
        """Read on to the end of the line, byte by byte: what is read beyond it would be another line's beginning."""
        if not data or data.endswith(b"\n"):
            return data
        more = bytearray()
        while len(more) < LINE_END_BYTES_MAX and self._is_readable(0.0):
            byte = os.read(self._fd, 1)
            more += byte
            if byte in (b"\n", b""):
                break
        return data + bytes(more)

    def check(self, position: object) -> object | None:
        """There is nothing to compare."""
        return None

    def fileno(self) -> int | None:
        """Give the descriptor; only `ready_in` knows of lines that were read and not given yet."""
        return self._fd

    def ready_in(self) -> float | None:
        """Give 0.0 while lines wait here; else only the descriptor can tell."""
        return 0.0 if len(self._feed) or (self._is_over and not self._was_told) else None

    def close(self) -> None:
        """Close the descriptor, if it was opened for this reader."""
        if self._owns_fd:
            self._owns_fd = False
            os.close(self._fd)

    def _is_readable(self, wait_s: float) -> bool:
        return bool(wait_readable([self._fd], wait_s))
