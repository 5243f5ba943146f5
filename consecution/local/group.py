"""Several consecutors that run together on this machine, their engines in one thread.

Rules of this module: a thin shell; what joins two of them is a `Handover`. Each has its own journal, window and ledger.

The order of ends: a consecutor ends when its producers have, which for a link is when the consecutor before it has
ended. One that was drained drains those behind it, so that what entered is finished and nothing more is read. One that
fails or is stopped stops those before it, whose items stay in their journals. A journal is released only when those of
all consecutors behind it are: a death before that would otherwise begin a pass anew that is half done.
"""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from consecution.local.engine import PROGRESS_EVERY_S, QUIT_S, wait_for_any
from consecution.report import combined, joint_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.local.build import Build
    from consecution.local.engine import Engine
    from consecution.producers.handover import Handover
    from consecution.report import Progress, Report


@dataclasses.dataclass(slots=True, eq=False)
class Member:
    """One consecutor of a group, ready to run.

    Attributes:
        name: The consecutor's.
        build: Its run.
        outputs: Where it hands over, and to which member, by place.
        upstream: Those that hand over to it, by place.
        is_over: Its engine has ended.
        must_drain: One before it was drained: it drains once all before it have ended.
        report: What it came to.
    """

    name: str
    build: Build
    outputs: tuple[tuple[Handover, int], ...]
    upstream: frozenset[int]
    is_over: bool = False
    must_drain: bool = False
    report: Report | None = None
    downstream: frozenset[int] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.downstream = frozenset(place for _, place in self.outputs)

    @property
    def engine(self) -> Engine:
        """What runs it."""
        return self.build.engine


class GroupRun:
    """One run of a group. `drain`, `stop` and `progress` are thread-safe.

    Args:
        members: Upstream first.
        progress: Told where all of them together stand.
    """

    def __init__(self, members: Sequence[Member], *, progress: Callable[[Progress], None] | None) -> None:
        self._members = list(members)
        self._progress = progress
        self._is_draining = False
        self._started_at = time.monotonic()
        self._told_at = self._started_at

    @property
    def engine(self) -> GroupRun:
        """Itself: what is run, drained and stopped."""
        return self

    # ---- from other threads --------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Read nothing more, finish what entered, then end without ``finish``."""
        self._is_draining = True
        for member in self._members:
            self._drain_when_due(member)

    def stop(self) -> None:
        """End after the work in hand; what is unfinished stays in the journals."""
        for member in self._members:
            member.engine.stop()

    def progress(self) -> Progress:
        """Where all of them together stand."""
        parts = [member.engine.progress() for member in self._members]
        return joint_progress(parts, time.monotonic() - self._started_at)

    # ---- running -------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run to the end of all.

        Returns:
            One report of all; `Report.by_consecutor` has each one's.

        Raises:
            ConsecutionError: As `Engine.run`, of the first that failed.
        """
        self._started_at = time.monotonic()
        patience_s: float | None = None
        try:
            for member in reversed(self._members):  # who takes is there before who gives
                member.engine.begin()
            self._loop()
        except KeyboardInterrupt:
            patience_s = QUIT_S
            raise
        except BaseException as error:
            for member in self._members:
                member.engine.error = member.engine.error or error
            raise
        finally:
            for member in self._members:
                if not member.is_over:
                    member.engine.shut(patience_s)
        for member in self._members:
            if member.engine.error is not None:
                raise member.engine.error
        reports = {member.name: member.report for member in self._members if member.report is not None}
        return combined(reports, elapsed_s=time.monotonic() - self._started_at)

    def close(self, *, is_finished: bool) -> None:
        """Release the journals of what is done, from the end on, and close everything."""
        released: set[int] = set()
        with ExitStack() as stack:
            for place, member in enumerate(self._members):
                stack.callback(self._close, place, member, released)  # called in reverse order, each whatever happens

    def _close(self, place: int, member: Member, released: set[int]) -> None:
        is_done = member.report is not None and member.report.is_finished and member.downstream <= released
        member.build.close(is_finished=is_done)
        if is_done:
            released.add(place)

    def _loop(self) -> None:
        while running := [member for member in self._members if not member.is_over]:
            did = False
            for member in running:
                did = member.engine.turn() or did
                if not member.engine.is_running:
                    self._has_ended(member)
                    did = True
            now = time.monotonic()
            if self._progress is not None and now - self._told_at >= PROGRESS_EVERY_S:
                self._told_at = now
                self._progress(self.progress())
            if not did:
                wait_for_any([member.engine for member in running], PROGRESS_EVERY_S if self._progress else None)

    def _has_ended(self, member: Member) -> None:
        """Pass on that one has ended, and how."""
        member.engine.shut(None)
        dropped = sum(handover.dropped for handover, _ in member.outputs)
        report = member.report = dataclasses.replace(member.engine.report(), outputs_dropped=dropped)
        member.is_over = True
        for handover, place in member.outputs:
            handover.end()
            self._members[place].must_drain = self._members[place].must_drain or not report.is_finished
        for place in member.downstream:
            self._drain_when_due(self._members[place])
        if not report.is_finished:
            for place in member.upstream:
                self._members[place].engine.stop()  # nobody takes what it hands over

    def _drain_when_due(self, member: Member) -> None:
        is_wanted = self._is_draining or member.must_drain
        if is_wanted and all(self._members[place].is_over for place in member.upstream):
            member.engine.drain()
