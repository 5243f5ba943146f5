"""Mode "processes": the calling process in the coordinator's place.

Rules of this module: it starts executors and ackers, publishes placements, and puts new processes in the place of dead
ones. Producers that only this process can read run in it (`caller`); others in the first executor.

The walk of a death: the child's exit is seen at once; its crash slot is read; a placement without it is published, so
that its trees fail and are replayed (R12); a new process of the same index is started, and listed when it was born.
While a finite run has accumulating nodes, a death starts the whole pass over (R17).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.errors import ClusterError
from consecution.executor.door import doors_in
from consecution.graph.kinds import is_accumulating
from consecution.guarantee.ids import SEED_BYTES, id_maker
from consecution.guarantee.levels import Robustness
from consecution.local.opening import names_of
from consecution.local.replays import with_replays
from consecution.local.restart import FOLDER
from consecution.local.stall import StallWatch, place_in_words, warning
from consecution.options import options
from consecution.plan.stages import plan_of
from consecution.process.caller import Caller
from consecution.process.crew import LOOK_S, Crew
from consecution.process.deaths import Deaths
from consecution.process.settings import Neighbours, can_be_placed
from consecution.process.tally import RunTally
from consecution.process.words import error_of
from consecution.wire.control import Begin, Collected, FlowPlace, RunSettings, Told
from consecution.wire.placement import Phase, Placement, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.graph import Dag
    from consecution.local.intake import Intake
    from consecution.local.opening import Settings
    from consecution.local.receipts import Receipts
    from consecution.process.crew import Child
    from consecution.process.settings import ProcessesSettings
    from consecution.producers.base import Producer
    from consecution.report import Progress, Report
    from consecution.wire.control import Up

log = logging.getLogger(__name__)

BIRTH_MAX_S = 60.0
END_MAX_S = 10.0
QUIT_S = 2.0
PROGRESS_EVERY_S = 0.1
SPARE_AFTER_S = 2.0  # a shorter run is not worth the third of a second that a spare takes to load
SPARE_EVERY_S = 5.0
SOCKET_PATH_MAX = 107  # what the kernel's sockaddr_un has room for
SOCKET_NAME_MAX = len("/e9999-999999")


class StartOver(Exception):  # no error: a finite run with accumulating nodes begins again
    """A process died while nodes were summing in memory."""


class ProcessesRun:
    """One run in processes. `drain`, `stop` and `progress` are thread-safe.

    Args:
        dag: The graph.
        producers: Each with the places of the nodes that it feeds.
        settings: The consecutor's.
        processes: How many, and where the flow is.
        progress: Told where the run stands.
        neighbours: What joins it to other consecutors; None when nothing does.

    Raises:
        JournalError: There is a journal that can't be read.
    """

    def __init__(
        self,
        dag: Dag,
        producers: Sequence[tuple[Producer, tuple[int, ...]]],
        settings: Settings,
        processes: ProcessesSettings,
        *,
        progress: Callable[[Progress], None] | None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._neighbours = neighbours or Neighbours()
        self._dag = dag
        self._processes = processes
        self._progress = progress
        self._fresh = processes.fresh
        self._producers = list(producers)
        if not self._fresh:
            names = names_of([producer for producer, _ in producers])
            entries = {name: nodes for name, (_, nodes) in zip(names, producers, strict=True)}
            self._producers = with_replays(producers, entries, settings.journal)
        self._plan = plan_of(dag, [entries for _, entries in self._producers])
        self._doors = doors_in(dag, self._plan, self._neighbours.handovers)
        n_tasks = self._plan.n_tasks - len(self._doors)
        self._n_executors = max(1, min(processes.workers, n_tasks))
        if processes.says_workers and processes.workers > n_tasks:
            log.warning(
                "%d workers, %d task%s: set parallelism=… or grouping=… on the slow nodes",
                processes.workers, n_tasks, "s" if n_tasks > 1 else "",
            )  # fmt: skip
        self._in_caller = not processes.can_place or any(not can_be_placed(one) for one, _ in self._producers)
        if self._doors or self._neighbours.audience:
            self._in_caller = True  # what joins consecutors is in this process
        self._patience_s = float("inf")
        self._folder = Path(tempfile.mkdtemp(prefix="consecution-"))
        self._sockets = folder_for_sockets(self._folder)
        self._settings = self._with_journal(settings)
        self._caller: Caller | None = None
        if self._in_caller:
            self._caller = Caller(
                dag,
                self._plan,
                self._producers,
                self._settings,
                folder=self._sockets,
                doors=self._doors,
                neighbours=self._neighbours,
                new_id=id_maker(os.urandom(SEED_BYTES)),
            )
        self._crew = Crew(processes.call_timeout_s)
        self._stall = StallWatch(settings.timeout_s)
        self._tally = RunTally(settings.level)
        self._number = 0
        self._phase = Phase.STARTING
        self._deaths = Deaths(may_care=self._settings.journal is not None and self._settings.level is Robustness.REPLAY)
        self._births = 0
        self._wants: Phase | None = None
        self._started_at = time.monotonic()
        self._progress_at = 0.0
        self._spare_at = 0.0
        self._look_at = 0.0
        self._is_finished = False

    def _with_journal(self, settings: Settings) -> Settings:
        """Keep marks and attempts in a folder of the run's own, when nothing is to stay.

        A pass may start over, and an item that kills its process must be found all the same. What only the caller has
        isn't written twice for that.
        """
        is_kept = settings.journal is not None or settings.level is not Robustness.REPLAY
        if is_kept or (self._in_caller and not all(one.source.value == "re-readable" for one, _ in self._producers)):
            return settings
        return dataclasses.replace(settings, journal=self._folder / "journal")

    @property
    def engine(self) -> ProcessesRun:
        """Itself: what is run, drained and stopped."""
        return self

    @property
    def receipts(self) -> Receipts | None:
        """Of items that were pushed."""
        return None if self._caller is None else self._caller.receipts

    @property
    def processes(self) -> list[tuple[str, int, int]]:
        """Those that have a part in the run: (role, index, process id)."""
        return [(child.role.value, child.index, child.process.pid) for child in self._crew.members if child.birth]

    @property
    def _intake(self) -> Intake | None:
        return None if self._caller is None else self._caller.intake

    # ---- from other threads --------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Read nothing more, finish what entered, then end without ``finish``."""
        if self._wants is not Phase.ENDED:
            self._wants = Phase.DRAINING
        self._wake()

    def stop(self, *, patience_s: float | None = None) -> None:
        """End after the work in hand; what is unfinished stays in the journal.

        Args:
            patience_s: How long to wait for the work in hand at most; None: as long as one call may take.
        """
        if patience_s is not None:
            self._patience_s = patience_s
        self._wants = Phase.ENDED
        self._wake()

    def _wake(self) -> None:
        if self._caller is not None:
            self._caller.wake()

    def knew_items_of(self, producer: str) -> bool:
        """Whether its journal knew items of a producer when it began."""
        return self._caller is not None and self._caller.knew_items_of(producer)

    @property
    def accumulating(self) -> frozenset[str]:
        """Names of the nodes that sum in memory."""
        return frozenset(
            name for name, node in zip(self._dag.names, self._dag.nodes, strict=True) if is_accumulating(node)
        )

    # ---- running -------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run to the end.

        Returns:
            The report.

        Raises:
            GraphError: A child found no flow, or another graph.
            UserCodeError: A setup raised, or a producer's code.
            SourceError: A source can't be read; what had entered was finished first.
            JournalError: The journal can't be used.
            ClusterError: Executors die at once, again and again.
        """
        try:
            while True:
                try:
                    self._pass()
                except StartOver as reason:
                    log.warning("%s: nodes sum in memory, the run starts over", reason)
                    self._crew.kill()
                    self._close_caller(is_finished=False, keeps_slots=True)
                    self._tally.start_over()
                    if self._neighbours.starts_over is not None:
                        self._neighbours.starts_over()
                    self._fresh = False
                else:
                    report = self._report()
                    if self._neighbours.has_ended is not None:
                        self._is_finished = self._neighbours.has_ended(report) and self._is_finished
                    return report
        except BaseException:
            self._quit(QUIT_S)
            raise
        finally:
            self._crew.kill()
            self._close_caller(is_finished=self._is_finished)
            if self._settings.journal is not None:
                for folder in (self._settings.journal / FOLDER, self._settings.journal):
                    with contextlib.suppress(OSError):  # something is kept there
                        folder.rmdir()
            for folder in {self._folder, self._sockets}:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self, *, is_finished: bool) -> None:
        """Nothing is left to close after `run`; here for whoever closes a run of any mode."""

    def _pass(self) -> None:
        self._phase = Phase.STARTING
        if self._caller is not None:
            self._caller.begin(
                self._number + 1, is_fresh=self._fresh, is_careful=self._deaths.is_careful, deaths=self._deaths.told
            )
        here = [task for task in range(self._plan.n_tasks) if task not in self._doors]
        for index in range(self._n_executors):
            tasks = tuple(here[index :: self._n_executors])
            feeds = tuple(range(len(self._producers))) if index == 0 and not self._in_caller else ()
            self._start(Role.EXECUTOR, index, tasks, feeds)
        self._start(Role.ACKER, 0)
        deadline = time.monotonic() + BIRTH_MAX_S
        while not all(child.born for child in self._crew.members):
            self._look(LOOK_S)
            if self._wants is Phase.ENDED:
                return
            if time.monotonic() > deadline:
                message = f"not all processes were born within {BIRTH_MAX_S:.0f} s; see their output above"
                raise ClusterError(message)
        self._publish()
        while not all(child.birth and child.ready >= child.birth for child in self._crew.members):
            self._look(LOOK_S)
            if self._wants is Phase.ENDED:
                self._quit(self._processes.call_timeout_s)
                return
        self._fresh = False  # what is read from here on is kept when a process dies
        self._phase = Phase.RUNNING
        self._publish()
        self._spare_at = time.monotonic() + SPARE_AFTER_S
        self._supervise()

    def _supervise(self) -> None:
        while True:
            if self._wants is Phase.ENDED:
                self._quit(self._processes.call_timeout_s)
                return
            intake = self._intake
            if self._tally.source_error is not None or (intake is not None and intake.error is not None):
                self._wants = Phase.DRAINING  # what had entered is finished
            if self._wants is Phase.DRAINING and self._phase is Phase.RUNNING:
                self._phase = Phase.DRAINING
                self._publish()
            if self._caller is not None:
                self._caller.turn(LOOK_S)
                now = time.monotonic()
                if now < self._look_at:
                    continue  # looking after processes costs more than a frame
                self._look_at = now + LOOK_S
            self._look(LOOK_S if self._caller is None else 0.0)
            self._start_spare()
            self._tell_progress()
            if self._is_done():
                self._finish()
                return

    def _is_done(self) -> bool:
        ended = {task for child in self._crew.children for task in child.told.tasks_ended}
        if self._caller is not None:
            ended |= self._caller.tasks_ended
        if len(ended) < self._plan.n_tasks:
            return False
        intake = self._intake
        if intake is not None:
            intake.commit(time.monotonic(), force=True)
            return intake.is_idle and intake.is_committed
        return all(feed.is_idle for child in self._crew.children for feed in child.told.feeds)

    # ---- ending --------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """All is done: children tear down, say what they collected, and exit."""
        was_drained = self._phase is Phase.DRAINING
        self._phase = Phase.ENDED
        self._publish()
        self._await_ends(max(END_MAX_S, self._processes.call_timeout_s))
        for child in self._crew.children:
            if child.is_alive:
                child.killed_for = "killed, as it didn't end in time"
                child.process.kill()
                child.process.process.wait()
            if child.broke is not None:
                raise error_of(child.broke)
            if child.role is Role.EXECUTOR and child.process.poll() != 0:
                self._died_at_the_end(child)
        self._is_finished = not was_drained

    def _died_at_the_end(self, child: Child) -> None:
        """Nothing was lost but what its teardown should have written, and what it had collected."""
        log.warning("%s died while its nodes were torn down: %s", child.name, child.how_it_ended)
        nodes = {node for task in child.tasks for node in self._plan.stage_of_task(task).nodes}
        self._tally.state_lost |= {self._dag.names[node] for node in nodes}

    def _quit(self, patience_s: float) -> None:
        """End before all is done: children give up after the work in hand; no journal is released."""
        if self._phase is Phase.ENDED or not self._number:
            return
        for phase in (Phase.DRAINING, Phase.ENDED):  # who ends after a drain releases no journal
            self._phase = phase
            self._publish()
        self._await_ends(patience_s)

    def _await_ends(self, patience_s: float) -> None:
        """Hear all that children say until they have exited, or for so long."""
        self._crew.drop_spare()
        began = time.monotonic()
        while any(child.is_alive for child in self._crew.children):
            if time.monotonic() - began > min(patience_s, self._patience_s):
                break
            self._hear(LOOK_S)
        self._hear(0.0)

    def _close_caller(self, *, is_finished: bool, keeps_slots: bool = False) -> None:
        if self._caller is not None:
            self._caller.close(is_finished=is_finished, keeps_slots=keeps_slots)

    # ---- processes -----------------------------------------------------------------------------------------------

    def _start_spare(self) -> None:
        """Have a process ready, once the run is no short one: a death is made good at once, not after an import."""
        if self._n_executors > 1 and self._crew.spare is None and time.monotonic() > self._spare_at:
            self._spare_at = time.monotonic() + SPARE_EVERY_S
            self._start(Role.EXECUTOR, self._n_executors + self._births, is_spare=True)

    def _start(
        self,
        role: Role,
        index: int,
        tasks: tuple[int, ...] = (),
        feeds: tuple[int, ...] = (),
        *,
        is_spare: bool = False,
    ) -> None:
        self._births += 1
        has_journal = bool(feeds) or (is_spare and not self._in_caller)
        one = self._settings
        cwd = str(Path.cwd())
        paths = tuple(dict.fromkeys(path or cwd for path in sys.path))
        is_executor = role is Role.EXECUTOR
        begin = Begin(
            topology=one.name,
            role=role,
            index=index,
            bind=f"ipc://{self._sockets}/{role.value[0]}{index}-{self._births}",
            n_ackers=1,
            settings=RunSettings(
                one.name, one.level.name, one.replays_max, one.timeout_s, self._processes.call_timeout_s,
                one.pending_max or 0, one.resume,
            ),
            fingerprint=self._dag.fingerprint if is_executor else "",
            spec=self._dag.spec() if is_executor else None,
            feeds=tuple(tuple(entries) for _, entries in self._producers),
            flow=FlowPlace(
                str(self._processes.flow), cwd, dict(options), tuple(sys.argv), one.name, paths=paths
            ),
            journal=str(one.journal.resolve()) if has_journal and one.journal is not None else None,
            in_work=str((one.journal / FOLDER).resolve()) if one.journal is not None else str(self._folder),
            is_fresh=self._fresh,
        )  # fmt: skip
        self._crew.start(begin, tasks, feeds, is_spare=is_spare)

    def _publish(self) -> None:
        """Publish a placement: the next number, who lives, who owns what."""
        self._number += 1
        members = []
        if (caller := self._caller.member() if self._caller is not None else None) is not None:
            members.append(caller)
        for child in self._crew.members:
            if child.born is None:
                continue
            child.birth = child.birth or self._number
            members.append(child.member())
        placement = Placement(
            self._settings.name,
            self._number,
            self._phase,
            tuple(members),
            deaths=self._deaths.told,
            is_careful=self._deaths.is_careful,
        )
        self._crew.send(placement)
        if self._caller is not None:
            self._caller.place(placement)

    # ---- looking after them --------------------------------------------------------------------------------------

    def _look(self, wait_s: float) -> None:
        """Hear the children, and look whether all of them live."""
        self._hear(wait_s)
        dead = self._crew.dead()
        for child in dead:
            self._died(child)
        is_new = any(child.born is not None and not child.birth for child in self._crew.members)
        in_batches = self._deaths.look()
        if (dead or is_new or in_batches) and self._number:
            self._publish()

    def _hear(self, wait_s: float) -> None:
        for child, message in self._crew.hear(wait_s):
            self._heard(child, message)

    def _heard(self, child: Child, message: Up) -> None:
        if isinstance(message, Told):
            self._tally.told(message, self._intake, has_feeds=bool(child.feeds))
            if child.role is Role.ACKER:
                self._tally.audited(child.process.pid, message.audits_fired)
        elif isinstance(message, Collected):
            self._tally.collect(message)

    def _died(self, child: Child) -> None:
        """Put a new process in the place of a dead one."""
        for one, word in self._crew.hear_one(child):
            self._heard(one, word)
        how = child.how_it_ended
        self._crew.remove(child)
        if child.is_spare:
            log.info("the spare %s died: %s", child.name, how)
            return
        if child.broke is not None:
            raise error_of(child.broke)
        log.warning("%s died: %s", child.name, how)
        death = None
        if child.role is Role.EXECUTOR and child.born is not None:
            death = self._crew.death_of(child, self._number + 1)
        self._deaths.died(child, death)
        if child.role is Role.EXECUTOR:
            if self._starts_over():
                message = f"{child.name} died ({how})"
                raise StartOver(message)
            if child.feeds and self._settings.journal is None and self._phase is not Phase.STARTING:
                message = f"the executor that reads the producers died ({how}), and there is no journal to go on from"
                raise ClusterError(message)
        if child.role is Role.EXECUTOR and self._crew.replace(child):
            self._spare_at = time.monotonic() + SPARE_AFTER_S
        else:
            self._start(child.role, child.index, child.tasks, child.feeds)

    def _starts_over(self) -> bool:
        """Whether the death of an executor starts the run over: sums in memory are gone, and it is finite (R17)."""
        names = self.accumulating
        if not names or self._phase is Phase.STARTING:
            return False
        if self._settings.resume == "start" and not any(producer.endless for producer, _ in self._producers):
            # Without a journal only sources that can be read again give their items a second time.
            again = all(producer.source.value == "re-readable" for producer, _ in self._producers)
            if self._settings.journal is not None or (again and self._settings.level is not Robustness.REPLAY):
                return True
        self._tally.state_lost |= names
        return False

    # ---- telling -------------------------------------------------------------------------------------------------

    def _tell_progress(self) -> None:
        now = time.monotonic()
        if now - self._progress_at < PROGRESS_EVERY_S:
            return
        self._progress_at = now
        progress = self.progress()
        if (stalled_s := self._stall.look(progress, now)) is not None:
            log.warning("%s", warning(stalled_s, progress.in_flight, map(self._place_of, self._crew.members)))
        if self._progress is not None:
            self._progress(progress)

    def _place_of(self, child: Child) -> str | None:
        """Where the items of an executor are, for people."""
        nodes = [self._dag.names[node] for task in child.tasks for node in self._plan.stage_of_task(task).nodes]
        place = place_in_words(nodes, is_in_work=child.told.oldest_s > 0, queued=child.told.queued)
        return None if place is None else f"{child.name} (process {child.process.pid}): {place}"

    def progress(self) -> Progress:
        """Where the run stands."""
        return self._tally.progress(time.monotonic() - self._started_at, self._intake)

    def _report(self) -> Report:
        elapsed_s = time.monotonic() - self._started_at
        return self._tally.report(self._dag, elapsed_s, self._intake, is_finished=self._is_finished)


def folder_for_sockets(folder: Path) -> Path:
    """Where a run's sockets may lie: in its folder, or in a new one below /tmp when that path is too long for them."""
    if len(os.fsencode(folder)) + SOCKET_NAME_MAX <= SOCKET_PATH_MAX:
        return folder
    return Path(tempfile.mkdtemp(prefix="consecution-", dir="/tmp"))
