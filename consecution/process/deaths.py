"""The deaths of a run over processes: what placements tell of them, and what follows when there are many.

Rules of this module: it decides, and does nothing to processes or placements. A death that an item is charged for ends
no run, however many there are: each of its attempts is one (R15). Others do when processes die at once after their
start, again and again: another start mends nothing.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from consecution.errors import ClusterError
from consecution.guarantee.crashes import CAREFUL_S, Crashes, is_unexplained_end, tells_of_items

if TYPE_CHECKING:
    from consecution.process.crew import Child
    from consecution.wire.placement import Death

log = logging.getLogger(__name__)

QUICK_DEATH_S = 2.0
QUICK_DEATHS_MAX = 5
CAREFUL_DEATHS_MAX = 50  # one by one, an item that damages its process is found and has had all of its attempts
DEATHS_KEPT = 32


class Deaths:
    """The deaths of one run, its passes together. Not thread-safe: one owner.

    Args:
        may_care: What is lost is replayed, and attempts outlive a pass: items can go one by one.
    """

    def __init__(self, *, may_care: bool) -> None:
        self._may_care = may_care
        self._deaths: list[Death] = []
        self._quick = 0
        self._crashes = Crashes()

    @property
    def told(self) -> tuple[Death, ...]:
        """What placements tell."""
        return tuple(self._deaths[-DEATHS_KEPT:])

    @property
    def is_careful(self) -> bool:
        """Items go one by one: executors crashed again and again, and no item was found guilty."""
        return self._crashes.is_careful

    def died(self, child: Child, death: Death | None) -> None:
        """Note a death.

        Args:
            child: It isn't the spare one.
            death: What it had in work; None for an acker, or an executor that wasn't born.

        Raises:
            ClusterError: Processes die at once, again and again, and no item is to blame.
        """
        if death is not None:
            code = None if child.killed_for else child.process.poll()
            if tells_of_items(code, death.runs, is_cut=death.is_cut):
                self._deaths.append(death)
            self._count(child, death, code)
        if death is None or not death.runs:
            self._judge(child)

    def _count(self, child: Child, death: Death, code: int | None) -> None:
        if not child.birth or not is_unexplained_end(code, death.runs, is_cut=death.is_cut):
            return
        if self._crashes.crashed(time.monotonic(), may_care=self._may_care):
            log.warning(
                "executors crashed %d times, the last time %s, and no item was found guilty: items go one by one from "
                "now on, and no timer fires",
                self._crashes.count, child.name,
            )  # fmt: skip

    def _judge(self, child: Child) -> None:
        is_quick = time.monotonic() - child.started_at < QUICK_DEATH_S
        self._quick = self._quick + 1 if is_quick else 0
        if self._quick > (CAREFUL_DEATHS_MAX if self.is_careful else QUICK_DEATHS_MAX):
            how = child.how_it_ended
            message = f"{child.name} died {self._quick} times at once after its start ({how}); see its output above"
            raise ClusterError(message)

    def look(self) -> bool:
        """Whether items go in batches again from now on, as nothing has crashed for long."""
        if not self._crashes.look(time.monotonic()):
            return False
        log.info("nothing crashed for %.0f s: items go in batches again", CAREFUL_S)
        return True
