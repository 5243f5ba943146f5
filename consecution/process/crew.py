"""The child processes of a run: started, heard, looked after and ended.

Rules of this module: it knows processes, no placements and no items. What a child says, and that it died, is given to
whoever asks; nothing is decided here but that a child which hangs or is stopped for too long is killed (R13).
"""

from __future__ import annotations

import dataclasses
import logging
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from consecution.guarantee.messages import Cause
from consecution.journal.slots import read_slots
from consecution.local.restart import slot_name
from consecution.process.spawn import ChildProcess, how_it_ended, spawn
from consecution.waiting import wait_readable
from consecution.wire.control import Begin, Born, Broke, Placed, Ready, Told
from consecution.wire.placement import Death, Member, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.wire.control import Up
    from consecution.wire.placement import Placement

log = logging.getLogger(__name__)

LOOK_S = 0.02
SILENT_S = 1.0
STOPPED_MAX_S = 5.0
STACK_WAIT_S = 0.1


@dataclasses.dataclass(slots=True)
class Child:
    """A child process as the run sees it.

    Attributes:
        role: What it is.
        index: Its number; a process in its place keeps it.
        process: The process.
        started_at: Monotonic seconds.
        tasks: Its tasks.
        feeds: Its producers, by place.
        born: What it said when it had bound its socket.
        birth: Number of the first placement that lists it; 0 before that.
        ready: Newest placement for which its nodes are set up.
        told: How it stood when it told last.
        told_at: When that was.
        broke: Why it can't go on.
        killed_for: Why it was killed.
        stopped_since: Since when it has been found stopped.
        is_spare: It has loaded the flow and waits for the place of an executor that dies.
    """

    role: Role
    index: int
    process: ChildProcess
    started_at: float
    tasks: tuple[int, ...] = ()
    feeds: tuple[int, ...] = ()
    born: Born | None = None
    birth: int = 0
    ready: int = 0
    told: Told = dataclasses.field(default_factory=lambda: Told(0))
    told_at: float = 0.0
    broke: Broke | None = None
    killed_for: str | None = None
    stopped_since: float | None = None
    is_spare: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.role.value} {self.index}"

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process.poll() is None

    @property
    def how_it_ended(self) -> str:
        """How a dead one ended, in words."""
        code = self.process.poll()
        assert code is not None, "it lives"
        return self.killed_for or how_it_ended(code)

    def member(self) -> Member:
        """As a placement lists it."""
        born = self.born
        assert born is not None, "listed before it was born"
        return Member(
            born.incarnation, self.birth, self.role, self.index, born.address, tasks=self.tasks, feeds=self.feeds
        )

    def slot(self) -> Path | None:
        """Where it writes what it has in work; None when it never came so far."""
        folder = self.process.begin.in_work
        return None if folder is None else Path(folder) / slot_name(self.process.begin.index, self.process.pid)


class Crew:
    """All children of a run. Not thread-safe: one owner.

    Args:
        call_timeout_s: Of one call of user code.

    Attributes:
        children: Those that weren't removed.
    """

    def __init__(self, call_timeout_s: float) -> None:
        self.children: list[Child] = []
        self._call_timeout_s = call_timeout_s

    def start(
        self, begin: Begin, tasks: tuple[int, ...] = (), feeds: tuple[int, ...] = (), *, is_spare: bool = False
    ) -> None:
        """Start a process.

        Raises:
            OSError: It can't be started.
        """
        child = Child(
            begin.role,
            begin.index,
            spawn(begin, is_awaited=not is_spare),
            time.monotonic(),
            tasks,
            feeds,
            is_spare=is_spare,
        )
        self.children.append(child)

    @property
    def members(self) -> list[Child]:
        """All that have a part in the run: not the spare one."""
        return [child for child in self.children if not child.is_spare]

    @property
    def spare(self) -> Child | None:
        """The process that waits for the place of a dead one."""
        return next((child for child in self.children if child.is_spare), None)

    def replace(self, dead: Child) -> bool:
        """Let the spare process take the place of a dead executor; False when there is none that was born."""
        spare = self.spare
        if spare is None or spare.born is None or not spare.is_alive:
            return False
        spare.is_spare, spare.index, spare.tasks, spare.feeds = False, dead.index, dead.tasks, dead.feeds
        return True

    def send(self, placement: Placement) -> None:
        """Tell all that were born of a placement; the spare one isn't concerned."""
        for child in self.members:
            if child.born is not None:
                child.process.channel.send(Placed(placement))

    def drop_spare(self) -> None:
        """End the spare process; it has done nothing."""
        spare = self.spare
        if spare is not None:
            self.children.remove(spare)
            self._kill(spare)

    def hear(self, wait_s: float) -> Iterator[tuple[Child, Up]]:
        """Give what children say, waiting at most so long for the first word, or the end of a process."""
        channels = {child.process.channel: child for child in self.children if not child.process.channel.is_closed}
        if channels:
            for channel in wait_readable(channels, wait_s):
                yield from self.hear_one(channels[channel])
        for child in self.children:
            child.process.channel.flush()

    def hear_one(self, child: Child) -> Iterator[tuple[Child, Up]]:
        """Give what one child has said."""
        for message in child.process.channel.receive():
            if isinstance(message, Told):
                child.told, child.told_at = message, time.monotonic()
            elif isinstance(message, Born):
                child.born, child.told_at = message, time.monotonic()
            elif isinstance(message, Ready):
                child.ready = message.number
            elif isinstance(message, Broke):
                child.broke = message
            yield child, message

    def dead(self) -> list[Child]:
        """Look after all children; give those that have died."""
        found = []
        for child in self.children:
            self._look_for_hung(child)
            if not child.is_alive:
                found.append(child)
        return found

    def _look_for_hung(self, child: Child) -> None:
        """Kill what hangs in a call for too long, or was stopped (R13)."""
        limit = self._call_timeout_s
        if child.born is None or child.killed_for is not None or child.role is not Role.EXECUTOR:
            return
        now = time.monotonic()
        silent_s = now - child.told_at
        if silent_s >= SILENT_S and self._is_stopped_for_long(child, now):
            child.killed_for = f"stopped for more than {STOPPED_MAX_S:.0f} s, and killed"
            child.process.kill()
        elif child.told.oldest_s > limit or (silent_s > limit + STOPPED_MAX_S and child.stopped_since is None):
            child.process.dump_stack()
            child.killed_for = (
                f"killed, as a call took longer than call_timeout_s={limit:g}; its Python stack is in its output"
            )
            time.sleep(STACK_WAIT_S)  # the stack is written by the child's signal handler
            child.process.kill()

    def _is_stopped_for_long(self, child: Child, now: float) -> bool:
        try:
            is_stopped = psutil.Process(child.process.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False
        if not is_stopped:
            child.stopped_since = None
            return False
        if child.stopped_since is None:
            child.stopped_since = now
        return now - child.stopped_since > STOPPED_MAX_S

    def death_of(self, child: Child, number: int) -> Death:
        """What a dead executor had in work (R15); the slot of one with producers stays, its journal reads it, too.

        Args:
            child: It was born.
            number: The placement that will drop it first.
        """
        assert child.born is not None
        path = child.slot()
        slots = [] if path is None else read_slots(path)
        if path is not None and not child.feeds:
            path.unlink(missing_ok=True)
        runs = tuple(run for slot in slots for run in slot.runs)
        cause = Cause(
            node="",
            exception="ProcessDied",
            message=f"executor {child.index} had this item in work when it ended: {child.how_it_ended}",
            host=platform.node(),
            process=child.born.process,
        )
        return Death(child.born.incarnation, runs, any(slot.is_cut for slot in slots), cause, number)

    def remove(self, child: Child) -> None:
        """Reap a child."""
        self.children.remove(child)
        child.process.close()

    def kill(self) -> None:
        """Kill all that live. What they had in work is nobody's fault, so their slots go."""
        for child in self.children:
            self._kill(child)
        self.children.clear()

    def _kill(self, child: Child) -> None:
        was_alive = child.is_alive
        child.process.close()
        if was_alive and (slot := child.slot()) is not None:
            slot.unlink(missing_ok=True)
