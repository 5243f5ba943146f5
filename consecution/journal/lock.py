"""One process at a time writes a journal.

Rules: the lock is the kernel's (flock), so it ends with its process however that dies; the file only tells whose it is.
Who only reads takes no lock.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from consecution.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

LOCK_NAME = "lock"


class JournalLock:
    """The right to write in a journal's folder, from its making until `release`.

    Args:
        folder: The journal's folder; it exists.

    Raises:
        JournalError: Another process, or another journal object of this one, has it; names its pid.
        OSError: The file can't be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._descriptor: int | None = None
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                message = f"journal {folder} can't be locked ({error}); keep it on a local disk (--journal DIR)"
                raise JournalError(message) from error
            message = (
                f"journal {folder} is in use by process {holder}; wait for it or stop it, or give this run a journal "
                "of its own (--journal DIR)"
            )
            raise JournalError(message) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others write; twice is fine. The file stays: removing it would let two processes lock two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def seems_in_use(folder: Path) -> bool:
    """Say whether the process that locked a journal last is alive, without being in its way by taking the lock.

    A process that has got its number meanwhile looks the same, so this is for what may be left out, never to decide.
    """
    try:
        holder = int((folder / LOCK_NAME).read_text())
        if holder == os.getpid():
            return False
        os.kill(holder, 0)
    except (ProcessLookupError, FileNotFoundError, ValueError, OverflowError):  # no number: it is being written
        return False
    except PermissionError:  # of another user, or a file that only they may read
        return True
    return True
