"""When a file that is written is full or old, and what it is called then; pure.

Rules of this module:
1. Rotated files are called NAME-000001.EXT, NAME-000002.EXT, …, in the order in which they were closed; a number is
   never used again while its file is there, and no file is renamed twice.
2. An age is a period of UTC (an hour begins at minute 0). A file holds rows of one period, that of its last write:
   nothing but the file itself has to be remembered over a restart.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from math import floor
from typing import TYPE_CHECKING

from consecution.errors import GraphError, short_repr

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKS_A_PERIOD = 10  # how often an idle file is looked at
CHECK_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to close a file.

    Attributes:
        bytes_max: Before it grows beyond this; None for any size.
        every_s: When a new period of so many seconds has begun; None for any age.

    >>> Rotation(100, None).is_due(90, 0.0, now=0.0, more=20)
    True
    """

    bytes_max: int | None
    every_s: float | None

    def is_due(self, size: int, written_at: float, *, now: float, more: int) -> bool:
        """Whether a file has to be closed before more is written.

        Args:
            size: Its bytes.
            written_at: When it was last written to, in seconds since 1970.
            now: The time.
            more: Bytes that are to be written.
        """
        if not size:
            return False
        if self.bytes_max is not None and more and size + more > self.bytes_max:
            return True
        return self.every_s is not None and floor(written_at / self.every_s) != floor(now / self.every_s)

    @property
    def check_every(self) -> timedelta | None:
        """How often to look whether an idle file's period is over; None: not at all."""
        if self.every_s is None:
            return None
        return timedelta(seconds=min(CHECK_S_MAX, self.every_s / CHECKS_A_PERIOD))


def next_name(path: str, names: Iterable[str]) -> str:
    """Give the path that a closed file is moved to.

    Args:
        path: Of the file.
        names: All names of its folder.

    >>> next_name("/logs/out.csv", ["out.csv", "out-000009.csv", "out-x.csv"])
    '/logs/out-000010.csv'
    """
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    pattern = re.compile(re.escape(stem) + r"-(\d{6,})" + re.escape(suffix))
    numbers = [int(found[1]) for found in map(pattern.fullmatch, names) if found]
    return os.path.join(folder, f"{stem}-{max(numbers, default=0) + 1:06d}{suffix}")


def rotation_of(bytes_max: object, every: object, where: str) -> Rotation | None:
    """Give what two arguments of a sink mean; None for no rotation.

    Raises:
        GraphError: One is out of its range.
    """
    is_size = bytes_max is None or (isinstance(bytes_max, int) and not isinstance(bytes_max, bool) and bytes_max > 0)
    if not is_size or not (every is None or (isinstance(every, timedelta) and every >= timedelta(seconds=1))):
        msg = (
            f"{where}: rotate_bytes={short_repr(bytes_max)}, rotate_every={short_repr(every)}; expected a number of"
            " bytes above 0, and a timedelta of a second or more"
        )
        raise GraphError(msg)
    if bytes_max is None and every is None:
        return None
    assert bytes_max is None or isinstance(bytes_max, int)
    return Rotation(bytes_max, every.total_seconds() if isinstance(every, timedelta) else None)
