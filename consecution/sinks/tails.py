"""What a killed writer left at the end of a file.

Rules of this module:
1. Rows end with a newline; what comes after the last one was never finished, and its frame is replayed.
2. Such a torn tail is cut off, and kept beside the file in ``NAME.torn``: nothing that anyone wrote is destroyed.
3. A newline inside the quotes of a CSV field ends no row: quotes are counted from where the file is known to be sound.
"""

from __future__ import annotations

import logging
import os

CHUNK_BYTES = 1 << 20
NEWLINE = b"\n"
QUOTE = b'"'

log = logging.getLogger(__name__)


def sound_end(fd: int, sound: int, size: int, *, has_quotes: bool) -> int:
    """Give the offset behind the last whole row.

    Args:
        fd: Open for reading.
        sound: Where a row is known to begin; 0 knows nothing.
        size: Where the file ends.
        has_quotes: True for CSV.
    """
    if sound >= size:
        return size
    if not has_quotes:
        return size if os.pread(fd, 1, size - 1) == NEWLINE else _last_newline(fd, sound, size)
    end = sound
    is_open = False  # inside a field in quotes
    at = sound
    while at < size and (chunk := os.pread(fd, min(CHUNK_BYTES, size - at), at)):
        # Whole chunks at once; row by row only where the last end of a row is looked for.
        place = _last_row_end(chunk, is_open=is_open)
        if place:
            end = at + place
        is_open ^= chunk.count(QUOTE) % 2 == 1
        at += len(chunk)
    return end


def cut_tail(path: str, fd: int, end: int, size: int) -> None:
    """Move the bytes from ``end`` on into ``PATH.torn`` and cut them off.

    Raises:
        OSError: They can't be kept (a full disk); then nothing is cut off.
    """
    kept = os.open(path + ".torn", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        before = os.fstat(kept).st_size
        try:
            _copy(fd, end, size, kept)
        except OSError:
            os.ftruncate(kept, before)
            raise
    finally:
        os.close(kept)
    os.ftruncate(fd, end)
    log.warning("%s ended in a torn line of bytes=%d, moved to %s.torn; its items are replayed", path, size - end, path)


def _copy(fd: int, start: int, stop: int, target: int) -> None:
    """Append these bytes and a newline; a disk that is nearly full takes less than it is given."""
    at = start
    while at < stop and (chunk := os.pread(fd, min(CHUNK_BYTES, stop - at), at)):
        at += os.write(target, chunk)
    os.write(target, NEWLINE)


def _last_newline(fd: int, sound: int, size: int) -> int:
    at = size
    while at > sound:
        first = max(sound, at - CHUNK_BYTES)
        place = os.pread(fd, at - first, first).rfind(NEWLINE)
        if place >= 0:
            return first + place + 1
        at = first
    return sound


def _last_row_end(chunk: bytes, *, is_open: bool) -> int:
    """Give the place behind the last newline outside of quotes; 0 when there is none."""
    end = len(chunk)
    # Quotes before a newline tell whether it lies inside; counted once and then from the back.
    quotes = chunk.count(QUOTE) + is_open
    while (newline := chunk.rfind(NEWLINE, 0, end)) >= 0:
        quotes -= chunk.count(QUOTE, newline, end)
        if quotes % 2 == 0:
            return newline + 1
        end = newline
    return 0
