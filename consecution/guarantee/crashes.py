"""Crashes of which nobody knows the guilty item: when there are many, items go one by one.

Rules of this module: pure. A process that an item has damaged may die a while later, with any other item in work, or
none. Then its slot doesn't name the guilty one, and everything that was under way is replayed, the guilty one among it.
One by one (R15), an item either is completed before its process dies, and is replayed no more, or is the only one under
way at the crash, and is charged.

What doesn't count: a crash with one item in the slot, which is charged for it, and a process that somebody killed.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BY_SOMEBODY = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, None)
CAREFUL_AFTER = 5
CAREFUL_S = 120.0
_ALL = 0xFFFFFFFF


def is_unexplained_end(code: int | None, runs: Sequence[tuple[int, int, int]], *, is_cut: bool) -> bool:
    """Whether an executor crashed and nobody knows of which item.

    Args:
        code: Its exit code as of ``subprocess``; None when nobody knows it.
        runs: What its slot held: (root, first index, count).
        is_cut: The slot couldn't name all of it.
    """
    if code in BY_SOMEBODY:
        return False
    return is_cut or not (len(runs) == 1 and runs[0][2] == 1 and runs[0][2] != _ALL)


def tells_of_items(code: int | None, runs: Sequence[tuple[int, int, int]], *, is_cut: bool) -> bool:
    """Whether the end of a process says anything about the items that it had; arguments as of `is_unexplained_end`.

    Who was killed by somebody, with nothing in its slot, says nothing: no item under way is to blame.
    """
    return bool(runs) or is_cut or code not in BY_SOMEBODY


@dataclass(slots=True)
class Crashes:
    """How many unexplained crashes there were lately.

    Attributes:
        count: Each soon after the one before.
        at: When the last one was, in seconds.
        is_careful: There were so many that items go one by one.
    """

    count: int = 0
    at: float = float("-inf")
    is_careful: bool = False

    def crashed(self, now: float, *, may_care: bool, after: int = CAREFUL_AFTER, quiet_s: float = CAREFUL_S) -> bool:
        """Count one; whether items go one by one from now on.

        Args:
            now: In seconds.
            may_care: They can at all: what is lost is replayed.
            after: So many crashes make careful, each within ``quiet_s`` of the one before.
            quiet_s: In seconds.
        """
        self.count = self.count + 1 if now - self.at < quiet_s else 1
        self.at = now
        begins = self.count >= after and not self.is_careful and may_care
        self.is_careful = self.is_careful or begins
        return begins

    def look(self, now: float, *, quiet_s: float = CAREFUL_S) -> bool:
        """Whether items go in batches again from now on: nothing has crashed for so long."""
        if not self.is_careful or now - self.at < quiet_s:
            return False
        self.count, self.is_careful = 0, False
        return True
