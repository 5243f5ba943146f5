"""Several consecutors that run together in mode "processes": each has processes of its own.

Rules of this module: a thin shell. Each run is looked after by a thread of the calling process, which also runs the
doors and journals what comes through them; no user code runs there. Ends go from one to the next as local/group.py
says.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING

from consecution.report import combined, joint_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.process.parent import ProcessesRun
    from consecution.producers.handover import Handover
    from consecution.report import Progress, Report

PROGRESS_EVERY_S = 0.1
QUIT_S = 2.0
JOIN_S = 30.0


@dataclasses.dataclass(slots=True, eq=False)
class Member:
    """One consecutor of the group.

    Attributes:
        name: The consecutor's.
        outputs: Where it hands over, and to which member, by place.
        upstream: Those that hand over to it, by place.
        run: Its run.
        report: What it came to; None before it has ended, and when it failed.
        error: Why it failed.
        has_ended: Nothing more comes from it.
        is_done: Its thread is over.
        is_released: Its journal was released, if all was finished.
        must_drain: One before it was drained or failed: it drains once all before it have ended.
        has_started_over: Its pass began anew, so that it pushes again what it had pushed.
        pushed_before: Where it had handed over items of this run before its pass began anew.
        is_doubled: Some of what it took may have been pushed to it twice.
    """

    name: str
    outputs: tuple[tuple[Handover, int], ...]
    upstream: frozenset[int]
    run: ProcessesRun | None = None
    report: Report | None = None
    error: BaseException | None = None
    has_ended: bool = False
    is_done: bool = False
    is_released: bool = False
    must_drain: bool = False
    has_started_over: bool = False
    pushed_before: set[str] = dataclasses.field(default_factory=set)
    is_doubled: bool = False


class ProcessesGroup:
    """One run of a group in processes. `drain`, `stop` and `progress` are thread-safe.

    Args:
        members: Upstream first; each gets its `Member.run` before the group runs.
        progress: Told where all of them together stand.
    """

    def __init__(self, members: Sequence[Member], *, progress: Callable[[Progress], None] | None) -> None:
        self._members = list(members)
        self._progress = progress
        self._changed = threading.Condition()
        self._is_draining = False
        self._started_at = time.monotonic()

    @property
    def engine(self) -> ProcessesGroup:
        """Itself: what is run, drained and stopped."""
        return self

    # ---- from other threads --------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Read nothing more, finish what entered, then end without ``finish``."""
        self._is_draining = True
        for member in self._members:
            self._drain_when_due(member)

    def stop(self, *, patience_s: float | None = None) -> None:
        """End after the work in hand; what is unfinished stays in the journals."""
        for member in self._members:
            self._run_of(member).stop(patience_s=patience_s)

    def progress(self) -> Progress:
        """Where all of them together stand."""
        return joint_progress(
            [self._run_of(member).progress() for member in self._members], time.monotonic() - self._started_at
        )

    # ---- running -------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run to the end of all.

        Returns:
            One report of all; `Report.by_consecutor` has each one's.

        Raises:
            ConsecutionError: As `ProcessesRun.run`, of the first that failed.
        """
        self._started_at = time.monotonic()
        threads = [
            threading.Thread(target=self._run_member, args=(place,), name=f"consecution-{member.name}", daemon=True)
            for place, member in enumerate(self._members)
        ]
        try:
            for thread in threads:
                thread.start()
            self._await_all()
        except BaseException:
            self.stop(patience_s=QUIT_S)
            raise
        finally:
            for thread in threads:
                thread.join(JOIN_S)
        for member in self._members:
            if member.error is not None:
                raise member.error
        reports = {member.name: member.report for member in self._members if member.report is not None}
        return combined(reports, elapsed_s=time.monotonic() - self._started_at)

    def close(self, *, is_finished: bool) -> None:
        """Nothing is left to close after `run`; here for whoever closes a run of any mode."""

    def _await_all(self) -> None:
        while True:
            with self._changed:
                if all(member.is_done for member in self._members):
                    return
                self._changed.wait(PROGRESS_EVERY_S)
            if self._progress is not None:
                self._progress(self.progress())

    def _run_member(self, place: int) -> None:
        member = self._members[place]
        try:
            self._run_of(member).run()
        except BaseException as error:  # raised again where the user waits
            member.error = error
            self._pass_on(member, is_finished=False)
        with self._changed:
            member.is_done = True
            self._changed.notify_all()

    def has_ended(self, place: int, report: Report) -> bool:
        """Hear, in its thread, that one has ended; gives whether its journal may be released, once that is known."""
        member = self._members[place]
        dropped = sum(handover.dropped for handover, _ in member.outputs)
        lost = self._uncertain(place)
        member.report = dataclasses.replace(report, outputs_dropped=dropped, state_lost=report.state_lost | lost)
        self._pass_on(member, is_finished=report.is_finished)
        below = [self._members[other] for other in {other for _, other in member.outputs}]
        with self._changed:
            self._changed.wait_for(lambda: all(other.is_done for other in below))
        member.is_released = report.is_finished and all(other.is_released for other in below)
        return member.is_released

    def starts_over(self, place: int) -> None:
        """Hear, in its thread, that one begins its pass anew: those behind it take again what they had taken."""
        member = self._members[place]
        member.has_started_over = True
        member.pushed_before |= {str(handover.name) for handover, _ in member.outputs if handover.offered}

    def _uncertain(self, place: int) -> frozenset[str]:
        """The nodes of one whose sums may hold items twice; asked once all before it have ended."""
        member = self._members[place]
        run = self._run_of(member)
        for number in member.upstream:
            before = self._members[number]
            names = [str(handover.name) for handover, target in before.outputs if target == place]
            again = any(name in before.pushed_before or run.knew_items_of(name) for name in names)
            member.is_doubled = member.is_doubled or before.is_doubled or (before.has_started_over and again)
        return run.accumulating if member.is_doubled else frozenset()

    def _pass_on(self, member: Member, *, is_finished: bool) -> None:
        """Tell its neighbours that nothing more comes from it, and that it takes nothing more."""
        with self._changed:
            member.has_ended = True
            for handover, place in member.outputs:
                handover.end()
                self._members[place].must_drain = self._members[place].must_drain or not is_finished
        for place in {place for _, place in member.outputs}:
            self._drain_when_due(self._members[place])
        if not is_finished:
            for place in member.upstream:
                self._run_of(self._members[place]).stop()

    def _drain_when_due(self, member: Member) -> None:
        is_wanted = self._is_draining or member.must_drain
        if is_wanted and all(self._members[place].has_ended for place in member.upstream):
            self._run_of(member).drain()

    def _run_of(self, member: Member) -> ProcessesRun:
        assert member.run is not None, "each member gets its run before the group runs"
        return member.run
