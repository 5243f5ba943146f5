"""Runs the work that a core gives on the runners of its tasks, with the crash slot round it (R15).

Rules of this module: used from one thread; the only caller of runners, in every mode. A slot has two places: what is
run, and what is awaited beside it.
"""

from __future__ import annotations

import time
from array import array
from itertools import islice
from typing import TYPE_CHECKING, Any

from consecution.errors import UserCodeError
from consecution.executor.causes import cause_of
from consecution.executor.events import Kind, Ran, Work
from consecution.executor.own import OWN_BATCH_MAX
from consecution.executor.runner import StageRunner
from consecution.journal.slots import runs_of_codes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from consecution.executor.booking import Outcome
    from consecution.executor.door import TaskRunner
    from consecution.executor.frames import Frame
    from consecution.executor.under_way import UnderWay
    from consecution.guarantee.messages import Origin
    from consecution.journal.slots import Run, Slots


class Working:
    """What a thread works on.

    Args:
        runners: By task; the caller adds and removes some.
        slot: Where the origins of what is in work are written; None to write nothing.

    Attributes:
        count: Pieces of work begun; read by other threads to see that it goes on.
        runner: Whose work is in hand; None between two pieces.
        oldest_awaited: When the oldest item began that is awaited, and at which node; None when none is.
    """

    def __init__(self, runners: Mapping[int, TaskRunner], slot: Slots | None) -> None:
        self.count = 0
        self.runner: TaskRunner | None = None
        self._runners = runners
        self._slot = slot
        self._noted: list[Run] = []
        self._coded: Frame | None = None  # the frame that was noted by its codes
        self._pulls: dict[tuple[int, int], Iterator[tuple[int, Any]]] = {}
        self._under_way: dict[int, UnderWay] = {}  # of the tasks that await something
        self._awaited: dict[int, Sequence[Origin]] = {}
        self.oldest_awaited: tuple[float, str] | None = None

    @property
    def has_slot(self) -> bool:
        """Whether what is in work is written."""
        return self._slot is not None

    def run(self, work: Work) -> Ran:
        """Run a piece of work; gives what the core wants to hear of it."""
        ran = self._run(work)
        if ran.outcome is not None:
            self._see(work.task, ran.outcome)
        return ran

    def resumed(self) -> list[Ran]:
        """Let what is awaited go on a step; gives what that came to."""
        found: list[Ran] = []
        if not self._under_way:
            self.oldest_awaited = None
            return found
        for task in list(self._under_way):
            runner = self._runners.get(task)
            if not isinstance(runner, StageRunner):  # it was given up
                self._forget(task)
                continue
            outcome = self._resume(runner)
            if outcome is not None:
                self._see(task, outcome)
                found.append(Ran(Work(task, Kind.RESUME), outcome))
        self.oldest_awaited = min(filter(None, (one.oldest for one in self._under_way.values())), default=None)
        return found

    def waits_for(self) -> tuple[float | None, list[int]]:
        """Say what `resumed` waits for: seconds until something is due, and files that are readable then."""
        due = (one.due_in_s for one in self._under_way.values())
        return min((wait_s for wait_s in due if wait_s is not None), default=None), [
            one.fileno() for one in self._under_way.values()
        ]

    def _see(self, task: int, outcome: Outcome) -> None:
        """Remember whether a task has something under way."""
        if not outcome.under_way:
            self._forget(task)
            return
        runner = self._runners[task]
        assert isinstance(runner, StageRunner)
        self._under_way[task] = runner.under_way

    def _forget(self, task: int) -> None:
        if self._under_way.pop(task, None) is not None:
            self.note_awaited(task, ())

    def _resume(self, runner: StageRunner) -> Outcome | None:
        self.count += 1
        self.runner = runner
        try:
            return runner.resume()
        finally:
            self._is_done()

    def _run(self, work: Work) -> Ran:
        runner = self._runners[work.task]
        self.count += 1
        self.runner = runner
        try:
            if work.kind is Kind.RUN:
                assert work.frame is not None
                if self._slot is not None and work.frame.roots:
                    self._note_frame(self._slot, work.frame)
                return Ran(work, runner.run(work.frame))
            if work.kind is Kind.FLUSH:
                return Ran(work, runner.flush())
            if work.kind is Kind.TIMER:
                return Ran(work, runner.timer(work.node))
            return self._pull(work, runner)
        finally:
            self._is_done()

    def _is_done(self) -> None:
        self.runner = None
        if self._slot is not None:
            self._slot.clear()
            self._noted.clear()
            self._coded = None

    def _pull(self, work: Work, runner: TaskRunner) -> Ran:
        """Pull some more of what a node's finish gives."""
        key = (work.task, work.node)
        values = self._pulls.get(key)
        if values is None:
            values = self._pulls[key] = runner.finish(work.node)
        pulled: list[tuple[int, Any]] = []
        try:
            pulled.extend(islice(values, OWN_BATCH_MAX))
        except UserCodeError as error:
            del self._pulls[key]
            cause = cause_of(error.node or "", error.__cause__ or error, None)
            return Ran(work, pulled=pulled, exhausted=True, cause=cause)
        is_last = len(pulled) < OWN_BATCH_MAX
        if is_last:
            del self._pulls[key]
        return Ran(work, pulled=pulled, exhausted=is_last)

    def _note_frame(self, slot: Slots, frame: Frame) -> None:
        """Write what is taken into work; as it is where that takes no look at each item."""
        if type(frame.origins) is array and frame.origins.typecode == "H":
            slot.write_codes(frame.roots[0], frame.origins)
            self._coded = frame
        else:
            self._note(runs_of(frame))

    def _note(self, runs: Sequence[Run]) -> None:
        """Write what is in work; what a holder pushes is in work beside the frame (R15)."""
        assert self._slot is not None
        if self._coded is not None:
            self._noted.extend(runs_of(self._coded))
            self._coded = None
        self._noted.extend(runs)
        self._slot.write(self._noted)

    def note_pushed(self, origins: Sequence[Origin]) -> None:
        """Note the origins of a value that a holder pushes."""
        if self._slot is not None:
            self._note(joined_runs(origins))

    def note_awaited(self, task: int, origins: Sequence[Origin]) -> None:
        """Note the origins of all that a task awaits, in place of those of the call before."""
        if self._slot is None:
            return
        if origins:
            self._awaited[task] = origins
        else:
            self._awaited.pop(task, None)
        self._slot.write(joined_runs(origin for each in self._awaited.values() for origin in each), place=1)

    def awaited_s(self, now: float) -> float:
        """For how long the oldest item that is awaited has been; 0 when none is."""
        oldest = self.oldest_awaited
        return 0.0 if oldest is None else now - oldest[0]

    def marker(self) -> tuple[int, object]:
        """What changes whenever a call of user code ends: for whoever looks for hung ones, from another thread."""
        runner = self.runner
        return self.count, None if runner is None else runner.marker


class Watch:
    """Finds out for how long the same call has been in work. Used from a thread of its own.

    Args:
        working: What it looks at.
    """

    def __init__(self, working: Working) -> None:
        self._working = working
        self._seen: tuple[int, object] = (0, None)
        self._since = time.monotonic()

    def oldest_s(self) -> float:
        """Seconds since the call in work, or the oldest awaited one, began, as far as was seen; 0 for neither."""
        now = time.monotonic()
        return max(self._in_work_s(now), self._working.awaited_s(now))

    def _in_work_s(self, now: float) -> float:
        marker = self._working.marker()
        if marker != self._seen or self._working.runner is None:
            self._seen, self._since = marker, now
            return 0.0
        return now - self._since


def runs_of(frame: Frame) -> list[Run]:
    """The origins of a frame's items as runs of neighbours."""
    origins: Any = frame.origins
    if origins is None:
        return [(frame.roots[0], 0, len(frame.items))]
    if len(frame.roots) == 1 and type(origins) is range:
        return [(frame.roots[0], origins.start, len(origins))]
    try:
        codes = sorted(set(origins))  # what came of one item is told once
    except TypeError:  # some were made of several items
        return joined_runs(frame.origin_pairs(origins))
    if not codes or type(codes[0]) is tuple or len(frame.roots) > 1:
        return joined_runs(frame.origin_pairs(codes))
    return runs_of_codes(frame.roots[0], codes)


def joined_runs(origins: Iterable[Origin]) -> list[Run]:
    """Join origins that are neighbours.

    >>> joined_runs([(7, 0), (7, 1), (7, 5)])
    [(7, 0, 2), (7, 5, 1)]
    """
    runs: list[Run] = []
    for root, index in origins:
        if runs and runs[-1][0] == root and runs[-1][1] + runs[-1][2] == index:
            runs[-1] = (root, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((root, index, 1))
    return runs
