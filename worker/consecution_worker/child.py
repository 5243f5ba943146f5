"""One child as the agent sees it: how far it is, how it was heard last, and when it must be killed, and why.

Rules of this module: pure. A child is killed once, for one reason; the first one stays. What is the fault of the work
in hand (a hung call, too much memory) is told with what the crash slot held, so that the guilty item is charged (R15);
what isn't (a stopped process, an order) is told without.

1. Killed at most once. 2. Never hung before it is ready, while it is stopped, or when nothing is in its hand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_worker import ChildPhase, ChildState
from consecution.wire.control import PausedAt

if TYPE_CHECKING:
    from consecution.wire.cluster.to_worker import ChildOrder
    from consecution.wire.control import Born, Broke, Told
    from consecution_worker.config import Limits
    from consecution_worker.events import ChildFigures

MIB = 1 << 20


class Child:
    """A child that is wanted or runs.

    Args:
        order: What the coordinator wants.
        memory_bytes_max: Above this it is killed; 0 for no limit.
        limits: Of the agent.
        now: Monotonic seconds.

    Attributes:
        order: What the coordinator wants.
        phase: How far it is.
        process: Operating system's id; 0 before its start.
        incarnation: From its Born; 0 before.
        was_listed: A placement has listed it.
        broke: Its last word when it can't go on.
        killed_for: Why the agent killed it, for people; None when it didn't.
        is_blamed: That was the fault of the work in hand.
        is_wanted: It must run.
    """

    def __init__(self, order: ChildOrder, memory_bytes_max: int, limits: Limits, now: float) -> None:
        self.order = order
        self.phase = ChildPhase.FETCHING
        self.process = 0
        self.incarnation = 0
        self.was_listed = False
        self.is_released = False
        self.broke: Broke | None = None
        self.killed_for: str | None = None
        self.is_blamed = False
        self.is_wanted = True
        self.note = ""
        self._address = ""
        self._key: bytes | None = None
        self._bridge = ""
        self._ready = 0
        self._paused = PausedAt(0)
        self._told: Told | None = None
        self._limits = limits
        self._memory_bytes_max = memory_bytes_max
        self._memory_bytes = 0
        self._cpu = 0.0
        self._began_at = now
        self._told_at = now
        self._stopped_since: float | None = None
        self._end_at: float | None = None
        self._stack_at: float | None = None

    # ---- what it says ------------------------------------------------------------------------------------------------

    def starting(self, now: float) -> None:
        """Its process is being started."""
        self.phase = ChildPhase.STARTING
        self._began_at = self._told_at = now

    def started(self, process: int, now: float) -> None:
        """Its process runs."""
        self.process = process
        self._began_at = self._told_at = now

    def born(self, born: Born, now: float) -> None:
        """It has bound its socket."""
        self.incarnation, self._address, self._key = born.incarnation, born.address, born.key
        self._bridge = born.bridge
        self.phase = ChildPhase.BORN if self.phase is ChildPhase.STARTING else self.phase
        self._told_at = now

    def ready(self, number: int, now: float) -> None:
        """It has set up what a placement gives it."""
        self._ready = max(self._ready, number)
        self._told_at = now

    def paused(self, paused: PausedAt) -> None:
        """It confirms a pause."""
        self._paused = max(self._paused, paused, key=lambda one: one.pause)

    def told(self, told: Told, now: float) -> bool:
        """It says how it stands; whether that is news that can't wait."""
        before, self._told = self._told, replace(told, letters=())
        self._told_at = now
        self._stack_at = None if told.oldest_s <= self._call_timeout_s else self._stack_at
        return before is None or _marks(before) != _marks(told)

    # ---- what becomes of it ------------------------------------------------------------------------------------------

    @property
    def runs(self) -> bool:
        """Whether it has a process."""
        return self.process != 0

    @property
    def _call_timeout_s(self) -> float:
        return self.order.settings.call_timeout_s

    def looked(self, figures: ChildFigures, now: float) -> None:
        """The shell has looked at its process."""
        self._memory_bytes, self._cpu = figures.memory_bytes, figures.cpu
        if not figures.is_stopped:
            if self._stopped_since is not None:
                self._told_at = now  # it begins to be heard again now
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now

    def slept(self, gap_s: float) -> None:
        """The agent itself didn't run for so long: its deadlines begin again."""
        self._told_at += gap_s
        if self._stopped_since is not None:
            self._stopped_since += gap_s
        if self._end_at is not None:
            self._end_at += gap_s

    def end_by(self, when: float) -> None:
        """It isn't wanted any more: it may exit by itself until then."""
        self.is_wanted = False
        self.phase = ChildPhase.STOPPING
        self._end_at = when if self._end_at is None else min(self._end_at, when)

    def kill(self, reason: str, *, is_blamed: bool = False) -> bool:
        """Note why it is killed; whether it is to be killed now (rule 1)."""
        if self.killed_for is not None:
            return False
        self.killed_for, self.is_blamed, self.phase = reason, is_blamed, ChildPhase.STOPPING
        return self.runs

    def wants_stack(self, now: float) -> bool:
        """Whether it must be asked for its Python stack now; once, before it is killed for a hung call."""
        if self._stack_at is None and self._is_hung(now):
            self._stack_at = now
            return True
        return False

    def condemned(self, now: float) -> tuple[str, bool] | None:
        """Why it must be killed now, and whether the work in hand is to blame; None when it may live."""
        if self.killed_for is not None or not self.runs:
            return None
        if self._memory_bytes_max and self._memory_bytes > self._memory_bytes_max:
            used, limit = self._memory_bytes / MIB, self._memory_bytes_max / MIB
            return f"over its memory limit: it had {used:,.0f} MiB of {limit:,.0f} MiB; raise --memory-limit-mib", True
        if self._stopped_since is not None and now - self._stopped_since > self._limits.stopped_s:
            return f"stopped (SIGSTOP) for more than {self._limits.stopped_s:g} s", False
        if self._stack_at is not None and now - self._stack_at >= self._limits.stack_s and self._is_hung(now):
            return f"a call was not done after call_timeout_s ({self._call_timeout_s:g} s)", True
        if self.incarnation == 0 and now - self._began_at > self._limits.born_s and self._stopped_since is None:
            return f"it said nothing within {self._limits.born_s:g} s of its start", False
        if self._end_at is not None and now >= self._end_at:
            return "not wanted any more, and it didn't exit by itself", False
        return None

    def _is_hung(self, now: float) -> bool:
        """Rule 2. A call that holds the interpreter's lock lets it say nothing: then its silence counts."""
        if not self._ready or self._stopped_since is not None or self._told is None:
            return False
        silent_s = now - self._told_at
        in_hand_s = self._told.oldest_s + silent_s if self._told.oldest_s > 0 else silent_s
        return in_hand_s > self._call_timeout_s

    def due(self) -> float:
        """When the next of its deadlines comes; infinity for none."""
        candidates = [self._end_at] if self._end_at is not None and self.killed_for is None else []
        if self._stack_at is not None and self.killed_for is None:
            candidates.append(self._stack_at + self._limits.stack_s)
        return min(candidates, default=float("inf"))

    def state(self, now: float) -> ChildState:
        """How it stands, for a heartbeat."""
        return ChildState(
            id=self.order.id,
            phase=self.phase,
            process=self.process,
            incarnation=self.incarnation,
            address=self._address,
            key=self._key,
            bridge=self._bridge,
            ready=self._ready,
            paused=self._paused.pause,
            made=self._paused.made,
            done=self._paused.done,
            told=self._told,
            age_s=max(0.0, now - self._began_at),
            told_age_s=max(0.0, now - self._told_at),
            memory_bytes=self._memory_bytes,
            cpu=self._cpu,
            note=self.killed_for or self.note,
        )

    def age_s(self, now: float) -> float:
        """Seconds since its start."""
        return max(0.0, now - self._began_at)

    def check_invariants(self) -> None:
        """Raise AssertionError when it is in no possible state."""
        assert self.phase is not ChildPhase.BORN or self.incarnation, "born without an incarnation"
        assert self.is_wanted or self.phase is ChildPhase.STOPPING, "not wanted, and not stopping"
        assert self.phase is not ChildPhase.FETCHING or not self.runs, "fetching while it runs"


def _marks(told: Told) -> tuple[object, ...]:
    """What of a Told the coordinator waits for."""
    feeds = tuple((feed.place, feed.is_at_end, feed.is_idle) for feed in told.feeds)
    return told.number, told.tasks_ended, told.state_lost, told.node_failures, feeds
