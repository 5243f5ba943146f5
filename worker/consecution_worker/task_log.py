"""Logs: what a child and its nodes print, one file for each task's process, rotated by size.

Rules of this module: the child writes straight to the file (append mode), so that it never waits for the agent and a
killed agent loses none of it. A file can't be renamed under its writer, so it is rotated by copy and truncation: lines
written between the two, a few microseconds, are lost. One older part is kept.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class TaskLog:
    """The log of one process, over its restarts.

    Args:
        path: The file; its folder is made.
        bytes_max: Size at which it is rotated.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open(self) -> int:
        """Give a file descriptor for a child to write to; the caller closes its own."""
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, line: str) -> None:
        """Add a line of the agent's own: a start, an exit."""
        descriptor = self.open()
        try:
            os.write(descriptor, f"-- {line}\n".encode())
        finally:
            os.close(descriptor)

    def size(self) -> int:
        """How many bytes it has now; 0 when it isn't there."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def rotate(self) -> bool:
        """Move what is there to ``NAME.1`` when it is too large; whether it was."""
        if self.size() <= self._bytes_max:
            return False
        older = self.path.with_name(self.path.name + ".1")
        with self.path.open("rb") as now, older.open("wb") as old:
            # A child that prints a gigabyte between two looks must not fill the disk twice.
            now.seek(max(0, self.size() - self._bytes_max))
            shutil.copyfileobj(now, old)
        os.truncate(self.path, 0)
        return True

    def tail(self, bytes_max: int, since: int = 0) -> str:
        """Give its end as text.

        Args:
            bytes_max: At most so much.
            since: Not what was written before this size; 0 when it was rotated in between.
        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - bytes_max, since if since <= size else 0))
                return file.read(bytes_max).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def part(self, offset: int, bytes_max: int) -> tuple[str, int]:
        """Give a part of it as text, and where the next part begins.

        Args:
            offset: From where on; negative: that many bytes before the end. Beyond the end it begins at the start: the
                log was rotated in between.
            bytes_max: At most so much.
        """
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size + offset) if offset < 0 else offset if offset <= size else 0
            file.seek(start)
            data = file.read(bytes_max)
        return data.decode(errors="replace"), start + len(data)
