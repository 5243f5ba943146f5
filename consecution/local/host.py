"""A host of tasks on this machine: an executor core with its runners, worked by one thread.

Rules of this module: a thin shell. In mode "single" the engine's thread calls `work`; in mode "threads" each host has
a thread of its own. Messages between hosts go through deques, whose appends and pops are atomic; nothing else is
shared.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from consecution.executor.events import Arrived, Credit, Event, Instruction, Send, Taken
from consecution.local.stall import place_in_words
from consecution.local.working import Working
from consecution.producers.bell import Bell
from consecution.value import value
from consecution.waiting import wait_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.clock import Clock
    from consecution.executor.core import ExecutorCore
    from consecution.executor.door import TaskRunner
    from consecution.guarantee.messages import Cause, Incarnation
    from consecution.journal.slots import Slots

log = logging.getLogger(__name__)

WORKS_A_TURN = 64


@value
class RollCall:
    """The ledger asks who still has what (R13); answered in its turn, behind all that arrived before it."""

    number: int


@value
class Named:
    """A host's answer: the roots that it has."""

    incarnation: Incarnation
    number: int
    roots: frozenset[int]


class Host:
    """Tasks that one thread works on.

    Args:
        incarnation: Of this host.
        core: Its tasks' core.
        runners: By task, in the order in which they are set up.
        clock: For timers.
        route: ``route(instruction)`` carries what isn't for this host's own tasks.
        slot: Where the origins of the frame in work are written; None without a journal on disk.
    """

    def __init__(
        self,
        incarnation: Incarnation,
        core: ExecutorCore,
        runners: dict[int, TaskRunner],
        clock: Clock,
        route: Callable[[Instruction | Named], None],
        slot: Slots | None,
    ) -> None:
        self.incarnation = incarnation
        self.core = core
        self.runners = runners
        self._clock = clock
        self._route: Callable[[Instruction | Named], None] = route
        self.working = Working(runners, slot)
        self._inbox: deque[Event | RollCall] = deque()
        self._wake = threading.Event()
        self._bell = Bell()  # rings once something is awaited, and the thread waits for files
        self._bell_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._steps = {step: threading.Event() for step in ("set up", "go", "stopped", "tear down", "torn down")}
        self._causes: list[Cause] = []
        self.error: BaseException | None = None

    # ---- from other threads --------------------------------------------------------------------------------------

    def deliver(self, event: Event | RollCall) -> None:
        """Give it an event; thread-safe."""
        self._inbox.append(event)
        if self._thread is not None:
            self._ring()

    def _ring(self) -> None:
        self._wake.set()
        with self._bell_lock:
            self._bell.ring()

    def rest_timers(self, is_careful: bool) -> None:
        """Call no timer while an item must be alone in work, or call them again; thread-safe."""
        if self.core.is_careful is not is_careful:
            self.core.is_careful = is_careful
            self._ring()

    @property
    def has_news(self) -> bool:
        """Whether something has arrived that it hasn't looked at."""
        return bool(self._inbox)

    @property
    def thread_id(self) -> int | None:
        """Its own thread; None when the caller's thread works."""
        return None if self._thread is None else self._thread.ident

    # ---- life ----------------------------------------------------------------------------------------------------

    def setup(self, on_error: Callable[[BaseException], None] | None = None) -> None:
        """Set up the nodes of all its tasks.

        Args:
            on_error: Given, a thread of its own sets up, works from `start` on, and tears down, so that nodes meet one
                thread alone; called from there when the runtime itself fails.

        Raises:
            UserCodeError: A setup raised; `teardown` tears down those that were set up before it.
        """
        if on_error is None:
            self._set_up()
            return
        self._thread = threading.Thread(target=self._live, args=(on_error,), name="consecution-host", daemon=True)
        self._thread.start()
        self._steps["set up"].wait()
        if self.error is not None:
            raise self.error

    def start(self) -> None:
        """Let its thread work; every node of every host is set up by now."""
        self._steps["go"].set()

    def stop(self, timeout_s: float | None = None) -> bool:
        """End its work after what it has in hand; False when that takes longer than ``timeout_s``."""
        self._is_stopped = True
        self._ring()
        self._steps["go"].set()
        return self._thread is None or self._steps["stopped"].wait(timeout_s)

    def teardown(self, timeout_s: float | None = None) -> list[Cause]:
        """Tear all nodes down that were set up, in reverse order, once it has stopped; gives what raised."""
        if self._thread is None:
            return self._tear_down()
        self._steps["tear down"].set()
        if self._steps["torn down"].wait(timeout_s):
            self._thread.join()
        return self._causes

    def _set_up(self) -> None:
        for runner in self.runners.values():
            runner.setup()

    def _tear_down(self) -> list[Cause]:
        return [cause for runner in reversed(self.runners.values()) for cause in runner.teardown()]

    def _live(self, on_error: Callable[[BaseException], None]) -> None:
        steps = self._steps
        try:
            self._set_up()
        except BaseException as error:  # raised again where the engine waits
            self.error = error
        steps["set up"].set()
        steps["go"].wait()
        if self.error is None:
            self._loop(on_error)
        steps["stopped"].set()
        steps["tear down"].wait()
        self._causes = self._tear_down()
        with self._bell_lock:
            self._bell.close()
        steps["torn down"].set()

    def _loop(self, on_error: Callable[[BaseException], None]) -> None:
        try:
            while not self._is_stopped:
                if self.work():
                    continue
                self._wake.clear()
                if self._inbox or self._is_stopped:
                    continue
                self._wait()
        except BaseException as error:  # told to the engine, which raises it where the user waits
            self.error = error
            on_error(error)

    def _wait(self) -> None:
        """Wait in its own thread until something is delivered, is due, or has come for what is awaited."""
        now = self._clock.monotonic()
        times, files = self.waits_for(now)
        wait_s = max(0.0, min(times) - now) if times else None
        if not files:
            self._wake.wait(wait_s)
            return
        with self._bell_lock:
            self._bell.open()
        if not self._wake.is_set():  # who delivers sets it before it rings
            ringing = self._bell.fileno()
            assert ringing is not None
            wait_readable((ringing, *files), wait_s)
        with self._bell_lock:
            self._bell.hush()

    # ---- work ----------------------------------------------------------------------------------------------------

    def work(self) -> bool:
        """Take in what arrived and run some work; False when there was none."""
        did = False
        for _ in range(WORKS_A_TURN):
            now = self._clock.monotonic()
            while self._inbox:
                event = self._inbox.popleft()
                did = True
                if isinstance(event, RollCall):
                    self._route(Named(self.incarnation, event.number, frozenset(self._roots())))
                    continue
                self._carry(self.core.handle(event, now))
            for ran in self.working.resumed():
                did = True
                self._carry(self.core.handle(ran, now))
            work = self.core.next_work(now)
            self._carry(self.core.instructions())
            if work is None:
                if not self._inbox:
                    break
                continue
            did = True
            self._carry(self.core.handle(self.working.run(work), self._clock.monotonic()))
        return did

    def waits_for(self, now: float) -> tuple[list[float], list[int]]:
        """Say what it waits for: times at which something is due, and files that are readable then."""
        times = [] if (at := self.core.next_time(now)) is None else [at]
        due_s, files = self.working.waits_for()
        if due_s is not None:
            times.append(now + due_s)
        return times, files

    def places(self) -> list[str | None]:
        """Say where its items are, for people; may be asked from another thread, so nothing is looked through."""
        in_work = self.working.runner
        return [
            place_in_words(
                runner.names, is_in_work=runner is in_work, queued=self.core.queued_frames(task), held=runner.held_items
            )
            for task, runner in list(self.runners.items())
        ]

    def _roots(self) -> set[int]:
        """Roots that are queued, unsent or held here; asked between two frames, so none is in work (R13)."""
        return self.core.roots().union(*(runner.held_roots() for runner in self.runners.values()))

    def _carry(self, instructions: Sequence[Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, Send) and instruction.task in self.runners:
                self._inbox.append(Arrived(instruction.task, instruction.sender, instruction.message))
            elif isinstance(instruction, Credit) and instruction.sender in self.runners:
                self._inbox.append(Taken(instruction.target, instruction.sender, instruction.items))
            else:
                self._route(instruction)
