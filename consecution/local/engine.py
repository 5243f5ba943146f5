"""The engine: runs one consecutor on this machine.

Rules of this module: a thin shell round the cores: the windows (in `Feed`), the ledger, the executor cores (in
`Host`). One thread runs the loop; in mode "single" it works the only host too. Outcomes are told after the commit
that holds them (R17).

The order of shutdown: producers are closed first, so that nothing new enters; what is unfinished ends or is given up;
end marks let each task finish after those above it; then hosts stop, nodes are torn down in reverse order, and the
journal closes last.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from consecution.errors import ConsecutionError
from consecution.executor.events import (
    Arrived,
    Credit,
    Instruction,
    Judged,
    Lost,
    NodeFailed,
    Send,
    Taken,
    TaskEnded,
    Tell,
)
from consecution.guarantee.ledger import AuditFired
from consecution.guarantee.messages import Audit, Init, Placed, Sum, Tick, Verdict
from consecution.local.calls import CallWatch
from consecution.local.host import Named, RollCall
from consecution.local.stall import StallWatch, warning
from consecution.producers.bell import Bell
from consecution.report import Progress, Report
from consecution.waiting import wait_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consecution.clock import Clock
    from consecution.guarantee.ledger import Ledger
    from consecution.guarantee.levels import Robustness
    from consecution.local.host import Host
    from consecution.local.intake import Intake
    from consecution.local.receipts import Receipts

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.1
WAIT_MAX_S = 1.0
QUIT_S = 2.0
STALL_S = 30.0


class Phase(enum.Enum):
    """Where a run stands; it only goes forward."""

    RUNNING = 1
    DRAINING = 2
    ENDING = 3
    STOPPED = 4


class Engine:
    """Runs feeds through hosts until the feeds end. `drain`, `stop` and `wake` are thread-safe; the rest isn't.

    Args:
        intake: The producers at work.
        host_of: The host of each task.
        ledger: The XOR book.
        level: The consecutor's robustness.
        receipts: Of pushed items.
        clock: Monotonic time.
        in_threads: Each host has a thread of its own.
        progress: Called with a `Progress` at most ten times a second.
        stall_s: Seconds after which a full window without an outcome is warned of, and a call that hasn't come back.
    """

    def __init__(
        self,
        intake: Intake,
        host_of: Callable[[int], Host],
        ledger: Ledger,
        level: Robustness,
        *,
        receipts: Receipts,
        clock: Clock,
        in_threads: bool,
        progress: Callable[[Progress], None] | None,
        stall_s: float = STALL_S,
    ) -> None:
        self._intake = intake
        self._hosts: list[Host] = []
        self._host_of = host_of
        self._ledger = ledger
        self._level = level
        self._receipts = receipts
        self._clock = clock
        self._in_threads = in_threads
        self._progress = progress
        self._stall = StallWatch(stall_s)
        self._stall_s = stall_s
        self._calls: CallWatch | None = None
        self._feed_of = {feed.window.producer: feed for feed in intake.feeds}
        self._own_task_of: dict[int, int] = {}
        self._inbox: deque[Instruction | Named] = deque()
        self._phase = Phase.RUNNING
        self._wants: Phase | None = None
        self._drained = False
        self._tasks_ended = 0
        self._n_tasks = 0
        self.error: BaseException | None = None
        self._is_complete = False
        self._started_at = clock.monotonic()
        self._told_at = self._started_at
        self._is_waiting = False
        self._bell = Bell()
        self._bell.open()
        self._bell_lock = threading.RLock()  # a signal's handler may ring while its own thread rings
        self.is_over = threading.Event()

    def take_hosts(self, hosts: Sequence[Host]) -> None:
        """Take the hosts, which need the engine to be made."""
        self._hosts = list(hosts)
        self._n_tasks = sum(len(host.runners) for host in hosts)
        self._timed = [host for host in hosts if any(runner.timers for runner in host.runners.values())]

    def owns(self, producer: int, task: int) -> None:
        """Say which task's own values have this incarnation as their producer."""
        self._own_task_of[producer] = task

    # ---- from other threads --------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Read nothing more, finish what entered, then end without ``finish``."""
        self._want(Phase.DRAINING)

    def stop(self) -> None:
        """End after the work in hand; what is unfinished stays in the journal."""
        self._want(Phase.STOPPED)

    def _want(self, phase: Phase) -> None:
        if self._wants is None or self._wants.value < phase.value:
            self._wants = phase
        self.wake()

    def wake(self) -> None:
        """Let the loop look again."""
        if not self._is_waiting:
            return
        with self._bell_lock:
            self._bell.ring()

    def route(self, instruction: Instruction | Named) -> None:
        """Carry what a host's instruction means for others; called from the host's thread."""
        if isinstance(instruction, Send):
            arrived = Arrived(instruction.task, instruction.sender, instruction.message)
            self._host_of(instruction.task).deliver(arrived)
        elif isinstance(instruction, Credit) and instruction.sender >= 0:
            taken = Taken(instruction.target, instruction.sender, instruction.items)
            self._host_of(instruction.sender).deliver(taken)
        else:
            self._inbox.append(instruction)
            if self._in_threads:
                self.wake()

    def _host_failed(self, error: BaseException) -> None:
        self.error = error
        self._want(Phase.STOPPED)

    # ---- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run to the end.

        Returns:
            The report.

        Raises:
            UserCodeError: A setup raised, or a producer's code; what had entered was finished first.
            SourceError: A source can't be read; what had entered was finished first.
            JournalError: The journal can't be used.
        """
        patience_s: float | None = None
        try:
            self.begin()
            while self.is_running:
                if not self.turn():
                    wait_for_any([self])
        except KeyboardInterrupt:
            patience_s = QUIT_S
            raise
        except BaseException as error:
            self.error = self.error or error
            raise
        finally:
            self.shut(patience_s)
        if self.error is not None:
            raise self.error
        return self.report()

    def begin(self) -> None:
        """Set all nodes up, and let the hosts' threads work.

        Raises:
            UserCodeError: A setup raised.
        """
        self._started_at = self._clock.monotonic()
        incarnations = frozenset(host.incarnation for host in self._hosts)
        producers = frozenset(self._feed_of) | frozenset(self._own_task_of)
        self._ledger.handle(Placed(1, incarnations | producers), self._started_at)
        for host in self._hosts:
            host.setup(self._host_failed if self._in_threads else None)
        mine = threading.get_ident()
        self._calls = CallWatch({host.thread_id or mine: host.working for host in self._hosts}, self._stall_s)
        self._calls.start()
        self._rest_timers()
        for host in self._hosts:
            host.start()

    def shut(self, patience_s: float | None) -> None:
        """Stop and tear down all that was set up; ``patience_s`` for a thread that hangs, None waits for its end."""
        self._intake.close()
        if self._calls is not None:
            self._calls.stop()
        for host in self._hosts:
            if not host.stop(patience_s):
                log.warning("a node is still at work after %s s; it is left behind, without its teardown", patience_s)
        for host in reversed(self._hosts):
            for cause in host.teardown(patience_s):
                self._intake.node_failed(NodeFailed(cause))
        why = f"ended with an error: {self.error}" if self.error is not None else "was stopped before its outcome"
        self._receipts.abandon(ConsecutionError(f"the run {why}; what the journal holds goes on at the next start"))
        with self._bell_lock:
            self.is_over.set()
            self._bell.close()

    @property
    def is_running(self) -> bool:
        """Whether it takes another turn: it isn't stopped, and not all is done."""
        return self._phase is not Phase.STOPPED and not self._is_complete

    def turn(self) -> bool:
        """Do what is there to do, once round; False when there was nothing.

        Raises:
            JournalError: The journal can't be used.
        """
        intake = self._intake
        did = False
        if not self._in_threads:
            did = self._hosts[0].work()
        now = self._clock.monotonic()
        did = self._hear(now) or did
        self._step_phase()
        did = intake.commit(now, is_ending=self._phase is not Phase.RUNNING) or did
        if self._phase in (Phase.RUNNING, Phase.DRAINING):
            reads = self._phase is Phase.RUNNING
            was_at_end = intake.is_at_end
            told = intake.feed(now, reads=reads, draining=not reads, resumes=not reads)
            did = did or intake.is_at_end is not was_at_end
            if intake.error is not None and self.error is None:
                self.error = intake.error
                self._want(Phase.DRAINING)
            self._judge(told, now)
            did = did or bool(told)
        self._rest_timers()
        did = self._send() or did
        self._tell_progress(now)
        if self._is_done():
            intake.commit(now, force=True)
            self._is_complete = intake.is_committed
            self.error = self.error or intake.error  # a producer's code may raise when it hears of the last ones
        return did

    def _rest_timers(self) -> None:
        """Let no timer push anything beside a suspect: what is alone in work at a crash is guilty of it (R15)."""
        if self._timed:
            is_careful = self._intake.has_suspects
            for host in self._timed:
                host.rest_timers(is_careful)

    def _step_phase(self) -> None:
        if self._wants is not None and self._wants.value > self._phase.value and self._phase is not Phase.ENDING:
            self._phase = self._wants
        elif self._wants is Phase.STOPPED:
            self._phase = Phase.STOPPED
        if self._phase is Phase.DRAINING and self._intake.is_idle:
            for host in self._hosts:
                host.core.skip_finish()
            self._end()
        elif self._phase is Phase.RUNNING and self._intake.is_at_end and self._intake.is_idle:
            self._end()

    def _end(self) -> None:
        """All is done above: let the tasks finish, one after the other (R19)."""
        self._drained = self._phase is Phase.DRAINING
        self._phase = Phase.ENDING
        for feed in self._intake.feeds:
            feed.end()

    def _is_done(self) -> bool:
        return self._phase is Phase.ENDING and self._tasks_ended == self._n_tasks

    # ---- hearing -------------------------------------------------------------------------------------------------

    def _hear(self, now: float) -> bool:
        did = False
        while self._inbox:
            did = True
            instruction = self._inbox.popleft()
            if isinstance(instruction, Tell):
                self._judge(instruction.inits, now)
                self._judge(instruction.sums, now)
            elif isinstance(instruction, Credit):
                self._intake.feeds[-1 - instruction.sender].sending.taken(instruction.target, instruction.items)
            elif isinstance(instruction, TaskEnded):
                self._tasks_ended += 1
            elif isinstance(instruction, NodeFailed):
                self._intake.node_failed(instruction)
            elif isinstance(instruction, Lost):
                self._intake.tally.state_lost |= instruction.nodes
            elif isinstance(instruction, Named):
                self._named(instruction, now)
        return did

    def _judge(self, messages: Iterable[Init | Sum], now: float) -> None:
        for message in messages:
            for verdict in self._ledger.handle(message, now):
                if isinstance(verdict, Verdict):
                    self._settle(verdict, now)

    # ---- audit (R13) ---------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        """Let the ledger look at trees that are silent, and pass on its roll call."""
        for instruction in self._ledger.handle(Tick(), now):
            if isinstance(instruction, AuditFired):
                log.warning(
                    "a frame was lost in this process root=%x quiet_s=%.0f: its items are sent again; please report it",
                    instruction.root, instruction.quiet_s,
                )  # fmt: skip
            elif isinstance(instruction, Verdict):
                self._settle(instruction, now)
            else:
                for feed in self._intake.feeds:
                    audit = Audit(feed.window.producer, feed.sending.roots_queued(), instruction.number)
                    self._ledger.handle(audit, now)
                for host in self._hosts:
                    host.deliver(RollCall(instruction.number))

    def _named(self, named: Named, now: float) -> None:
        """Tell the ledger what a host still has; it answers for the own values of its tasks too."""
        mine = [own for own, task in self._own_task_of.items() if self._host_of(task).incarnation == named.incarnation]
        for incarnation in (named.incarnation, *mine):
            self._ledger.handle(Audit(incarnation, named.roots, named.number), now)

    @property
    def losses_found(self) -> int:
        """Trees that the audit found lost; 0 unless there is a bug."""
        return self._ledger.counts.audit_fired

    def _settle(self, verdict: Verdict, now: float) -> None:
        feed = self._feed_of.get(verdict.producer)
        if feed is not None:
            feed.settle(verdict, now)
            return
        task = self._own_task_of[verdict.producer]
        self._host_of(task).deliver(Judged(task, verdict))

    def _send(self) -> bool:
        did = False
        for feed, task, message in self._intake.due():
            self._host_of(task).deliver(Arrived(task, -1 - feed.place, message))
            did = True
        return did

    # ---- waiting and telling -------------------------------------------------------------------------------------

    def may_wait(self) -> bool:
        """Let others ring from now on; gives whether nothing has come so far."""
        self._is_waiting = True
        is_wanted = self._wants is not None and self._wants.value > self._phase.value
        return not (self._inbox or is_wanted or (not self._in_threads and self._hosts[0].has_news))

    def waits_for(self, at_most_s: float = WAIT_MAX_S) -> tuple[list[float], list[int]]:
        """Say what to wait for: seconds until something is due, and files that are readable when something came.

        Args:
            at_most_s: The longest of the waits, so that the audit looks now and then.
        """
        now = self._clock.monotonic()
        until, files = self._intake.wait_for(
            now, reads=self._phase is Phase.RUNNING, resumes=self._phase is Phase.DRAINING
        )
        until.append(now + at_most_s)
        if (ringing := self._bell.fileno()) is not None:
            files.append(ringing)
        if self._progress is not None:
            until.append(now + PROGRESS_EVERY_S)
        if not self._in_threads:
            times, awaited = self._hosts[0].waits_for(now)
            until += times
            files += awaited
        return [max(0.0, at - now) for at in until], files

    def has_waited(self) -> None:
        """The wait is over: no more rings, and those that came are forgotten."""
        with self._bell_lock:
            self._bell.hush()
        self._is_waiting = False

    def _tell_progress(self, now: float) -> None:
        if now - self._told_at < PROGRESS_EVERY_S:
            return
        self._told_at = now
        self._tick(now)
        progress = self.progress()
        if (stalled_s := self._stall.look(progress, now)) is not None:
            log.warning("%s", warning(stalled_s, progress.in_flight, self.places()))
        if self._progress is not None:
            self._progress(progress)

    def progress(self) -> Progress:
        """Where the run stands."""
        tally = self._intake.tally
        return Progress(
            introduced=self._intake.introduced,
            completed=self._intake.completed,
            failed=tally.failed + tally.node_failures,
            replayed=tally.replayed,
            in_flight=self._intake.in_flight,
            elapsed_s=self._clock.monotonic() - self._started_at,
            waiting_for=self._intake.waiting_for(),
        )

    def places(self) -> list[str]:
        """Where its items are, for people."""
        return [place for host in self._hosts for place in host.places() if place is not None]

    def report(self) -> Report:
        """What it came to."""
        tally = self._intake.tally
        collected: dict[str, list[Any]] = {}
        for host in self._hosts:
            for runner in host.runners.values():
                for name, items in runner.collected().items():
                    collected.setdefault(name, []).extend(items)
        return Report(
            introduced=self._intake.introduced,
            completed=self._intake.completed,
            failed=tally.failed + tally.node_failures,
            replayed=tally.replayed,
            dropped=tally.dropped,
            elapsed_s=self._clock.monotonic() - self._started_at,
            failures=tuple(tally.failures),
            collected=collected,
            state_lost=tally.state_lost,
            is_finished=self._phase is Phase.ENDING and not self._drained and self._tasks_ended == self._n_tasks,
            audits_fired=self.losses_found,
        )


def wait_for_any(engines: Sequence[Engine], at_most_s: float | None = None) -> None:
    """Wait until one of these engines, which the calling thread runs, has something to do.

    Args:
        engines: At least one, none of them over.
        at_most_s: No longer than so many seconds.
    """
    try:
        if not all(engine.may_wait() for engine in engines):
            return
        waits_s: list[float] = [] if at_most_s is None else [at_most_s]
        files: set[int] = set()
        for engine in engines:
            times, ready = engine.waits_for()
            waits_s += times
            files.update(ready)
        wait_readable(sorted(files), min(waits_s))
    finally:
        for engine in engines:
            engine.has_waited()
