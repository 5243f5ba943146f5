"""The processes of an agent: started, heard, killed and reaped; with their logs and the folders of their crash slots.

Rules of this module: a child is started by exec, in a session of its own; when it is reaped, whatever its user code has
left running in that session is killed too. Used from one thread: the kernel kills the children when that thread ends.
A few processes that have loaded the library wait for their first word, so that a dead one is replaced at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from typing import TYPE_CHECKING

from consecution.errors import CapacityError, JournalError, ProtocolError
from consecution.journal.slots import read_slots
from consecution.local.restart import FOLDER, leave_cause, slot_name
from consecution.process.spawn import ChildProcess, Spare, spawn
from consecution.wire.control import Begin, Placed
from consecution.wire.placement import Role
from consecution_worker.events import AgentEvent, ChildExited, ChildMute, ChildNotStarted, ChildSaid, ChildStarted
from consecution_worker.task_log import TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from consecution.guarantee.messages import Cause
    from consecution.wire.cluster.from_worker import ChildId
    from consecution.wire.cluster.to_worker import ChildOrder
    from consecution.wire.control import Down
    from consecution.wire.placement import Placement
    from consecution_worker.config import Limits
    from consecution_worker.data_dir import DataDir
    from consecution_worker.events import Run

CLOSED_S = 5.0
SPARE_AFTER_S = 1.0  # the processes that were just started need the cores more
SPARE_NEXT_S = 0.5
SPARE_EVERY_S = 10.0  # one that ends by itself is no reason to start them again and again


@dataclasses.dataclass(slots=True)
class _Running:
    process: ChildProcess
    log: TaskLog
    in_work: Path
    watched: list[int]
    closed_at: float | None = None
    is_forgiven: bool = False
    asked_at_size: int | None = None  # of the log, when it was asked for its stack


class Children:
    """All children of an agent.

    Args:
        data_dir: The worker's folder.
        bind: Address pattern for their sockets, such as ``tcp://10.0.0.5:*``.
        limits: Bounds of logs.
        watch: Called with the file descriptor of a channel that is to be watched.
        unwatch: Called before it is closed.
        spares: How many processes wait for work.
        is_insecure: They may bind off loopback without keys.
        env: Environment of the children; None for the agent's own.
    """

    def __init__(
        self,
        data_dir: DataDir,
        bind: str,
        limits: Limits,
        *,
        watch: Callable[[int], None],
        unwatch: Callable[[int], None],
        spares: int = 0,
        is_insecure: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._bind = bind
        self._limits = limits
        self._watch = watch
        self._unwatch = unwatch
        self._is_insecure = is_insecure
        self._env = env
        self._running: dict[ChildId, _Running] = {}
        self._n_spares = spares
        self._spares: list[Spare] = []
        self._spares_at = 0.0

    def keep_spares(self) -> None:
        """Have as many spare processes as there should be, some time after the last start; called now and then."""
        now = time.monotonic()
        if now < self._spares_at or len(self._spares) >= self._n_spares:
            return
        self._spares_at = now + SPARE_NEXT_S
        with contextlib.suppress(OSError):  # then a child is started when it is needed, and says what is wrong
            self._spares.append(Spare(env=self._env))

    def _spawn(self, begin: Begin, log: TaskLog) -> ChildProcess:
        """Make a spare process this child, or start one."""
        now = time.monotonic()
        begin = dataclasses.replace(begin, output=str(log.path.resolve()))
        self._spares_at = max(self._spares_at, now + SPARE_AFTER_S)
        while self._spares:
            spare = self._spares.pop(0)
            if spare.is_alive:
                return spare.begin(begin)
            spare.close()
            self._spares_at = now + SPARE_EVERY_S
        output = log.open()
        try:
            return spawn(begin, log=output, env=self._env)
        finally:
            os.close(output)

    def start(self, order: ChildOrder) -> AgentEvent:
        """Start a child: `ChildStarted`, or `ChildNotStarted` with the reason."""
        child_id = order.id
        task = f"{child_id.role}-{child_id.index}"
        try:
            log = TaskLog(self._data_dir.log(child_id.topology, task), self._limits.log_bytes_max)
            log.write(f"start {child_id.attempt} of {child_id.topology}/{task}, submission {child_id.run}")
            in_work = self._in_work(order)
            process = self._spawn(self._begin(order, in_work), log)
        except OSError as error:
            return ChildNotStarted(child_id, f"{task} can't be started: {error}; look at the worker's disk and limits")
        watched = [process.channel.fileno()]
        if hasattr(os, "pidfd_open"):  # without it an end is seen at the next look, a quarter of a second later
            with contextlib.suppress(OSError):
                watched.append(os.pidfd_open(process.pid))
        self._running[child_id] = _Running(process, log, in_work, watched)
        for descriptor in watched:
            self._watch(descriptor)
        return ChildStarted(child_id, process.pid)

    def _in_work(self, order: ChildOrder) -> Path:
        """Where the crash slot goes: beside the journal of who has one, for the next start on it."""
        child_id = order.id
        if order.journal:
            return self._data_dir.journal(child_id.topology, order.journal) / FOLDER
        return self._data_dir.in_work(
            child_id.topology, f"{child_id.role}-{child_id.index}.{child_id.run}", child_id.attempt
        )

    def leave_word(self, order: ChildOrder, cause: Cause) -> None:
        """Leave word on how a child died, for the next start on its journal."""
        with contextlib.suppress(OSError):  # a disk that takes no word: then it reads "the process died"
            leave_cause(self._in_work(order), cause)

    def _begin(self, order: ChildOrder, in_work: Path) -> Begin:
        flow = order.flow
        if flow is not None:
            flow = dataclasses.replace(flow, folder=str(self._data_dir.bundle(order.bundle)))
        journal = str(self._data_dir.journal(order.id.topology, order.journal)) if order.journal else None
        return Begin(
            topology=order.id.topology,
            role=Role(order.id.role),
            index=order.id.index,
            bind=self._bind,
            n_ackers=order.n_ackers,
            settings=order.settings,
            fingerprint=order.fingerprint,
            flow=flow,
            journal=journal,
            in_work=str(in_work),
            is_fresh=order.is_fresh,
            is_encrypted=order.is_encrypted,
            is_insecure=self._is_insecure,
            starts=tuple(start.counts for start in order.starts),
            is_joined=order.is_joined,
        )

    def hear(self) -> list[AgentEvent]:
        """Give what the children have said since the last call, then the ends of those that have ended."""
        events: list[AgentEvent] = []
        for child_id, child in list(self._running.items()):
            code = child.process.poll()  # before its last words are read: then there are no later ones
            events += self._words(child_id, child)
            events += [self._reap(child_id, child, code)] if code is not None else self._overdue(child_id, child)
        return events

    def _words(self, child_id: ChildId, child: _Running) -> list[AgentEvent]:
        channel = child.process.channel
        events: list[AgentEvent] = []
        if channel.is_closed:
            return events
        try:
            channel.flush()
            events += [ChildSaid(child_id, message) for message in channel.receive()]
        except ProtocolError as error:
            events.append(ChildMute(child_id, f"it said what is no message: {error}"))
            channel.is_closed = True
        if channel.is_closed and child.closed_at is None:
            child.closed_at = time.monotonic()
            self._unwatch(child.watched.pop(0))  # at its end it would always be ready
        return events

    def _overdue(self, child_id: ChildId, child: _Running) -> list[AgentEvent]:
        """A process that has closed its channel is on its way out; one that stays has lost its tongue."""
        if child.closed_at is None or time.monotonic() - child.closed_at < CLOSED_S:
            return []
        return [ChildMute(child_id, f"its channel is closed for {CLOSED_S:g} s, and it still runs")]

    def relay(self, child_id: ChildId, placement: Placement) -> AgentEvent | None:
        """Give a placement to a child; `ChildMute` when it takes nothing."""
        return self.carry(child_id, Placed(placement))

    def carry(self, child_id: ChildId, message: Down) -> AgentEvent | None:
        """Give a word to a child; `ChildMute` when it takes nothing."""
        child = self._running.get(child_id)
        if child is None or child.process.channel.is_closed:
            return None
        try:
            child.process.channel.send(message)
        except CapacityError as error:
            return ChildMute(child_id, str(error))
        return None

    def dump_stack(self, child_id: ChildId) -> None:
        """Let a child write the Python stack of its threads to its log."""
        child = self._running.get(child_id)
        if child is not None:
            child.asked_at_size = child.log.size()
            child.process.dump_stack()

    def kill(self, child_id: ChildId, *, is_blamed: bool = False) -> None:
        """Kill a child with all that it has started; without blame, what it had in work is forgotten."""
        child = self._running.get(child_id)
        if child is not None:
            child.is_forgiven = not is_blamed
            child.process.kill()
            _kill_session(child.process.pid)

    def pids(self) -> dict[ChildId, int]:
        """Process ids of all that run."""
        return {child_id: child.process.pid for child_id, child in self._running.items()}

    def rotate_logs(self) -> None:
        """Rotate the logs that have become too large."""
        for child in self._running.values():
            child.log.rotate()

    def _reap(self, child_id: ChildId, child: _Running, code: int) -> ChildExited:
        del self._running[child_id]
        for descriptor in child.watched:
            self._unwatch(descriptor)
        if child.closed_at is None:
            child.watched.pop(0)  # the channel's own
        for descriptor in child.watched:
            os.close(descriptor)
        pid = child.process.pid
        child.process.close()
        _kill_session(pid)
        slot = child.in_work / slot_name(child_id.index, pid)
        runs, is_cut = _in_work(slot)
        has_journal = child.process.begin.journal is not None
        if child.is_forgiven or not has_journal:
            slot.unlink(missing_ok=True)
        stack = "" if child.asked_at_size is None else child.log.tail(1 << 16, child.asked_at_size)
        tail = child.log.tail(self._limits.log_tail_bytes)
        with contextlib.suppress(OSError):  # a full disk takes no last line; the exit is told to the coordinator
            child.log.write(f"start {child_id.attempt} ended with {code}")
        if not has_journal:
            self._data_dir.remove_work(child.in_work)
        return ChildExited(child_id, code, runs, is_cut, tail, stack)

    def close(self) -> None:
        """Kill and reap all that still runs."""
        while self._spares:
            self._spares.pop().close()
        for child_id in self._running:
            self.kill(child_id)
        for child_id, child in list(self._running.items()):
            self._reap(child_id, child, child.process.process.wait())


def _in_work(slot: Path) -> tuple[tuple[Run, ...], bool]:
    """What the crash slot of a dead child held; a file that is none names nothing."""
    try:
        slots = read_slots(slot)
    except JournalError:
        return (), False
    return tuple(run for one in slots for run in one.runs), any(one.is_cut for one in slots)


def _kill_session(pid: int) -> None:
    """Kill what a child's user code has started in its session; mostly there is nothing."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
