"""Finding a log file again after it was rotated.

Rules of this module:
1. A rotated file lies beside the live one, with its name and a suffix that begins with a digit: app.log.1,
   app.log-20261122. Compressed ones are not read.
2. A file is known by device and inode and the CRC of the bytes before an offset; a copy (copytruncate) by the CRC.
3. Files follow each other by the time of their last change.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass

from consecution.producers.files import crc_before

SCANS_MAX = 100
ROTATED_SUFFIX = re.compile(r"[.-]?[0-9][0-9TZ_.:-]*\Z")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a file that was read: where it was, and the CRC of the at most 4 KiB before ``offset``."""

    device: int
    inode: int
    offset: int
    crc: int


def opened(path: str) -> int | None:
    """Open a file to read it; None when it is not there."""
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def status_of(path: str) -> os.stat_result | None:
    """Give the file's status; None when it is not there."""
    with suppress(FileNotFoundError):
        return os.stat(path)
    return None


def rotated_files(path: str) -> list[tuple[str, os.stat_result]]:
    """Give the rotated files of ``path`` with their status, the one that was changed first at first."""
    found = _scan(path)
    # A file that is renamed while a folder is read may be missing, or be there twice: look until nothing moves.
    for _ in range(SCANS_MAX):
        again = _scan(path)
        if [(name, status.st_ino) for name, status in again] == [(name, status.st_ino) for name, status in found]:
            break
        found = again
    # Two rotations in one tick of the file system's clock: app.log.2 is the older of the two.
    found.sort(key=lambda pair: pair[0], reverse=True)
    found.sort(key=lambda pair: pair[1].st_mtime_ns)
    return found


def _scan(path: str) -> list[tuple[str, os.stat_result]]:
    """Give the rotated files of ``path`` as they lie there now, by name."""
    folder, name = os.path.split(path)
    found = []
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.startswith(name) and ROTATED_SUFFIX.match(entry.name, len(name)):
                with suppress(FileNotFoundError):
                    found.append((entry.path, os.stat(entry.path)))
    return sorted(found, key=lambda pair: pair[0])


def find(path: str, known: Known, size_min: int) -> int | None:
    """Open the known file, in its place, renamed, or a copy; None when it is gone or was changed.

    Returns:
        A descriptor that the caller closes.
    """
    candidates = [path, *(rotated for rotated, _ in reversed(rotated_files(path)))]
    for is_same_needed in (True, False):
        for candidate in candidates:
            fd = opened(candidate)
            if fd is not None and _fits(fd, known, size_min, is_same_needed=is_same_needed):
                return fd
            if fd is not None:
                os.close(fd)
    return None


def is_followed(path: str, after: os.stat_result) -> bool:
    """True when there is a file that was begun after the one with status ``after``."""
    fd = following(path, after)
    if fd is not None:
        os.close(fd)
    return fd is not None


def following(path: str, after: os.stat_result) -> int | None:
    """Open the file that was begun after the one with status ``after``: a rotated one, else the live one.

    Returns:
        A descriptor that the caller closes; None when there is no such file yet.
    """
    rotated = rotated_files(path)
    places = [place for place, (_, status) in enumerate(rotated) if os.path.samestat(status, after)]
    if places:
        rotated = rotated[places[-1] + 1 :]
    else:  # it was removed meanwhile
        rotated = [pair for pair in rotated if pair[1].st_mtime_ns > after.st_mtime_ns]
    for candidate, status in rotated:
        fd = opened(candidate)
        if fd is None or os.path.samestat(os.fstat(fd), status):
            return fd  # None: rotated on just now, look again
        os.close(fd)
        return None
    return opened(path)


def _fits(fd: int, known: Known, size_min: int, *, is_same_needed: bool) -> bool:
    status = os.fstat(fd)
    is_same = (status.st_dev, status.st_ino) == (known.device, known.inode)
    # Nothing is known of a file's content before its first byte, so that only the file itself will do.
    if is_same_needed != is_same or (not is_same and known.offset == 0):
        return False
    return status.st_size >= max(size_min, known.offset) and crc_before(fd, known.offset) == known.crc
