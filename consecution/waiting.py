"""Waiting for files, whatever their numbers: ``select.select`` refuses descriptors from 1024 on."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class HasFileno(Protocol):
    """An open file, socket or pipe."""

    def fileno(self) -> int:
        """Give its descriptor."""


File = TypeVar("File", bound="int | HasFileno")


def wait_readable(files: Iterable[File], wait_s: float | None) -> list[File]:
    """Wait until something can be read, or an end be heard, from one of these.

    Args:
        files: Descriptors, or what has one; open.
        wait_s: At most so long, in whole milliseconds, rounded up; None: as long as it takes.

    Returns:
        Those of them that are ready; [] when the time was over.
    """
    return _wait(files, wait_s, select.POLLIN)


def wait_writable(file: int | HasFileno, wait_s: float) -> bool:
    """Wait until something can be written to this one, at most so long; whether it can."""
    return bool(_wait([file], wait_s, select.POLLOUT))


def _wait(files: Iterable[File], wait_s: float | None, what: int) -> list[File]:
    poll = select.poll()
    file_of: dict[int, File] = {}
    for file in files:
        number = file if isinstance(file, int) else file.fileno()
        poll.register(number, what)
        file_of[number] = file
    return [file_of[number] for number, _ in poll.poll(None if wait_s is None else max(0.0, wait_s) * 1000)]
