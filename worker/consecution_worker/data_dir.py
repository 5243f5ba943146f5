"""The folder of a worker: where what is, whose it is, and what is removed when.

Rules of this module: one worker at a time owns a folder (the kernel's lock, which ends with its process however that
dies). Names of topologies come from others: they are quoted, so that none leads out of the folder.

    lock                              whose it is
    identity                          random; made with the folder
    bundles/SHA256/                   code of a flow, unpacked; bundles/SHA256.part while it is fetched. It stays when
                                      a flow wrote into it
    work/TOPOLOGY/executor-0.3/       crash slot and tables of the third start of an executor; gone when it is reaped
    logs/TOPOLOGY/executor-0.log      what it printed; .log.1 before that
    journals/TOPOLOGY/                what producers must still finish; removed when the coordinator says so
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from consecution.errors import ClusterError
from consecution_worker.leftovers import written_files

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

LOG_FOLDERS_MAX = 50


class DataDir:
    """A worker's folder, locked from its making until `close`.

    Args:
        path: The folder; made when it isn't there.
        worker: The worker's name, for the message to who comes second.

    Raises:
        ClusterError: It can't be made or written, or another worker has it.
    """

    def __init__(self, path: Path, worker: str) -> None:
        self.path = path.expanduser().absolute()
        self._told: set[str] = set()
        try:
            for folder in (self.path, self.bundles, self.work, self.logs, self.journals):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock: int | None = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = (
                f"data directory {self.path} can't be written ({error.strerror}); give a folder of this worker's own "
                "that it may write (--data-dir DIR)"
            )
            raise ClusterError(message) from error
        try:
            self._take(worker)
        except BaseException:
            os.close(self._lock)
            raise

    def _take(self, worker: str) -> None:
        assert self._lock is not None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 200, 0).decode(errors="replace").strip() or "another process"
            message = (
                f"data directory {self.path} is in use by {holder}; each worker needs a folder of its own: stop that "
                "one, or give this one another --data-dir"
            )
            raise ClusterError(message) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"worker {worker!r} (process {os.getpid()})\n".encode(), 0)

    def identity(self) -> str:
        """Give the random word that was made with this folder: the same one means the same disk, thus its journals."""
        path = self.path / "identity"
        if not path.is_file():
            half = path.with_name("identity.part")
            with half.open("w") as file:
                file.write(secrets.token_hex(16))
                file.flush()
                os.fsync(file.fileno())  # else a power cut may leave the name without the word
            half.rename(path)
        return path.read_text()

    @property
    def bundles(self) -> Path:
        """Where code is unpacked."""
        return self.path / "bundles"

    @property
    def work(self) -> Path:
        """Where running children keep what is read after their death."""
        return self.path / "work"

    @property
    def logs(self) -> Path:
        """Where logs are."""
        return self.path / "logs"

    @property
    def journals(self) -> Path:
        """Where journals are."""
        return self.path / "journals"

    def bundle(self, sha256: str) -> Path:
        """Where the code of a bundle is, or will be."""
        return self.bundles / quoted(sha256)

    def in_work(self, topology: str, task: str, start: int) -> Path:
        """Make and give the folder of one start of a process, such as ``executor-0``."""
        folder = self.work / quoted(topology) / f"{quoted(task)}.{start}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def log(self, topology: str, task: str) -> Path:
        """Where the log of a process is."""
        return self.logs / quoted(topology) / f"{quoted(task)}.log"

    def journal(self, topology: str, task: str) -> Path:
        """Make the folder of a topology's journals, and give that of one process; it makes its own."""
        folder = self.journals / quoted(topology)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / quoted(task)

    def remove_journal(self, topology: str, task: str) -> None:
        """Remove the journal of a process, and the folder of its topology when it was the last."""
        folder = self.journals / quoted(topology)
        remove(folder / quoted(task))
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def clean_up(self) -> None:
        """Remove what an earlier agent on this folder left behind: its children died with it."""
        for folder in self.work.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        for half in self.bundles.iterdir():
            if _is_half(half):
                remove(half)
        folders = sorted((f for f in self.logs.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
        for folder in folders[:-LOG_FOLDERS_MAX]:
            remove(folder)

    def remove_bundles(self, keep: frozenset[str], older_than_s: float) -> list[str]:
        """Remove code that nobody runs and that nobody has asked for in that time; gives the names of what went.

        Code into whose folder a flow wrote stays, and that is logged once.
        """
        kept = {quoted(sha256) for sha256 in keep}
        gone: list[str] = []
        for folder in sorted(self.bundles.iterdir()):
            if folder.name in kept or _is_half(folder):
                continue
            if time.time() - folder.stat().st_mtime < older_than_s or folder.name in self._told:
                continue
            if written := written_files(folder):
                self._told.add(folder.name)
                log.warning(
                    "%s stays: a flow wrote there by a relative path (%s%s); move it, and give the flow absolute paths",
                    folder, ", ".join(written[:3]), ", …" if len(written) > 3 else "",
                )  # fmt: skip
                continue
            remove(folder)
            gone.append(folder.name)
        return gone

    def remove_work(self, folder: Path) -> None:
        """Remove the folder of a process that is reaped, and that of its topology when it was the last."""
        remove(folder)
        if folder.parent != self.work and folder.parent.is_dir() and not any(folder.parent.iterdir()):
            folder.parent.rmdir()

    def close(self) -> None:
        """Let another worker have it. The lock's file stays: removing it would let two processes lock two files."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _is_half(path: Path) -> bool:
    """Whether it is code that is being fetched or unpacked."""
    return path.name.endswith(".part") or path.name.startswith(".")


def quoted(name: str) -> str:
    """Give a name as one part of a path, whatever is in it.

    >>> quoted("../etc"), quoted("word count"), quoted("..")
    ('%2E.%2Fetc', 'word%20count', '%2E.')
    """
    text = quote(name, safe="")
    return "%2E" + text[1:] if text.startswith(".") else text or "%"


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; what isn't there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
