"""What a run below level REPLAY claims of its items, compared with what really happened.

Rules of this module: there is no journal at these levels, so what counts is what processes tell: the number of items
that entered, completed and failed, and which failed. The truth comes from the `Oracle`'s tokens. What each level owes:

1. CONFIRM and TRACK: every item is completed or failed. One that is completed was passed to its end at each entry node,
   without an exception, whoever died meanwhile.
2. TRACK: who is failed has raised, or a process has died, and the cause says so.
3. As long as its producer's process lives, no item is sent twice, at any level.
4. When nobody died: every item was passed to its end, once, and those that failed are those that raised; at NONE,
   where items have no names, there are as many failures as exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.guarantee.levels import Robustness
from consecution.process.tally import RunTally
from consecution.testing.sim.promises import Promise, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consecution.testing.sim.oracle import Oracle, Seq
    from consecution.wire.control import Told

OF_DEATHS = ("Lost", "ProcessDied")


class Claims:
    """What all processes of a run have told.

    Args:
        level: Of the run.
        oracle: What really happened.
        widths: By entry node, to how many of its tasks an item goes.

    Attributes:
        lives: How many processes have had the producers.
    """

    def __init__(self, level: Robustness, oracle: Oracle, widths: Mapping[str, int]) -> None:
        self._level = level
        self._widths = widths
        self._oracle = oracle
        self._tally = RunTally(level)
        self.lives = 0

    def told(self, told: Told) -> None:
        """A process tells how it stands."""
        self._tally.told(told, None, has_feeds=bool(told.feeds))

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many items entered, are completed, and failed."""
        progress = self._tally.progress(0.0)
        return progress.introduced, progress.completed, progress.failed

    def check(self, *, is_exact: bool) -> None:
        """Compare, at the end of the run.

        Args:
            is_exact: Nobody died, and nobody was taken for dead.

        Raises:
            Violation: A claim is not true.
        """
        introduced, completed, failed = self.counts
        items = self._oracle.items
        if introduced != len(items):
            raise Violation(Promise.ONE_OUTCOME, f"{introduced} of {len(items)} items entered")
        if self._level.is_tracked and completed + failed != introduced:
            found = f"of {introduced} items {completed} are completed and {failed} failed"
            raise Violation(Promise.ONE_OUTCOME, found)
        if self.lives <= 1:
            self._check_once()
        if is_exact:
            self._check_whole(failed)
        if self._level.is_tracked:
            self._check_outcomes(is_exact=is_exact)

    def _check_once(self) -> None:
        for seq in sorted(self._oracle.items):
            for entry, passes in self._oracle.passes(seq):
                if len(passes) > self._widths[entry]:
                    found = f"{seq} came to {entry} {len(passes)} times, though nothing is replayed"
                    raise Violation(Promise.ONE_OUTCOME, found)

    def _check_whole(self, failed: int) -> None:
        for seq in sorted(self._oracle.items):
            for entry, passes in self._oracle.passes(seq):
                if len(passes) < self._widths[entry] or any(one.open for one in passes):
                    raise Violation(Promise.ONE_OUTCOME, f"{seq} is lost behind {entry}, though nobody died: {passes}")
        if self._level is Robustness.NONE and failed != self._oracle.raised:
            found = f"{failed} failures are told, but there were {self._oracle.raised} exceptions"
            raise Violation(Promise.GUILTY_ALONE, found)

    def _check_outcomes(self, *, is_exact: bool) -> None:
        told: dict[Seq, str] = {
            (one.producer, one.seq): "" if one.cause is None else one.cause.exception for one in self._tally.failures
        }
        for seq in sorted(self._oracle.items):
            passes = [one for _, several in self._oracle.passes(seq) for one in several]
            if seq not in told:
                self._check_completed(seq)
            elif not any(one.is_failed for one in passes) and (
                is_exact or (self._level.keeps_causes and told[seq] not in OF_DEATHS)
            ):
                raise Violation(Promise.GUILTY_ALONE, f"{seq} is told failed by {told[seq]!r}, but it never raised")

    def _check_completed(self, seq: Seq) -> None:
        for entry, passes in self._oracle.passes(seq):
            done = [one for one in passes if one.open == 0 and not one.is_failed]
            if len(done) < self._widths[entry]:
                found = f"{seq} is told completed, but its passes behind {entry} are {passes}"
                raise Violation(Promise.NOT_EARLY, found)
