"""What every virtual run is made of: time, network, hosts with disks, processes, whoever places them, and faults.

Rules of this module: nothing in it depends on anything but the scenario, so a run is repeated by its seed. It knows no
items and no promises but those that hold for any run: the cores keep their invariants, no audit fires, no tree stays
open. What is run, and what it must come to, is for those who derive from it.
"""

from __future__ import annotations

import zlib
from collections import deque
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING
from unittest import mock

from consecution.executor import causes
from consecution.local.collector import rarely_collected
from consecution.testing.sim.coordinator import HOST as COORDINATOR_HOST
from consecution.testing.sim.disk import SimDisk
from consecution.testing.sim.network import CALM, SimNetwork
from consecution.testing.sim.process import SimHost, SimProcess
from consecution.testing.sim.promises import Promise, Violation
from consecution.testing.sim.scenario import Fault, Kind
from consecution.testing.sim.timeline import Timeline
from consecution.wire.cluster.to_client import State
from consecution.wire.control import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from consecution.consecutor import Consecutor
    from consecution.guarantee.messages import Incarnation
    from consecution.journal.base import Restored, Round
    from consecution.process.acker import AckerProcess
    from consecution.testing.sim.cluster import SimCluster
    from consecution.testing.sim.network import TransportWatch
    from consecution.testing.sim.parent import SimParent
    from consecution.testing.sim.scenario import Scenario
    from consecution.transport.link import LinkLimits
    from consecution.wire.control import Begin, Up

STEPS_MAX = 400_000
HISTORY_MAX = 400
CHECK_SHARE = 0.1


class VirtualWorld:
    """A run's surroundings. Whoever derives from it sets `control`, and has `load`.

    Args:
        scenario: What happens.
        watch: Looks at what links carry.
        limits: Of links.

    Attributes:
        timeline: Virtual time.
        trace: Checksum of all that happened, in order: two runs of one scenario have the same.
        history: The newest things that happened, for people.
        processes: All that live.
        audits_fired: Most trees that an acker has found lost by audit.
        control: Who starts processes and publishes placements.
        final: In which state the topology will be, once all have ended; None while it is to go on.
    """

    control: SimParent | SimCluster

    def __init__(self, scenario: Scenario, watch: TransportWatch, limits: LinkLimits) -> None:
        self.scenario = scenario
        self.timeline = Timeline()
        self.trace = 0
        self.history: deque[str] = deque(maxlen=HISTORY_MAX)
        self.processes: list[SimProcess] = []
        self.audits_fired = 0
        self.final: State | None = None
        self._was_killed = False
        self._watch = watch
        self._has_lost_ackers = False
        self._random = Random(f"world/{scenario.seed}")
        self._pids = 0
        self._running: SimProcess | None = None
        self.network = SimNetwork(self.timeline, f"network/{scenario.seed}", self._packet)
        self.network.weather = scenario.storm
        self.hosts = [
            SimHost(name, SimDisk(self, lambda: 1e9 + self.timeline.now), 1000.0 * place)
            for place, name in enumerate("abcdefgh"[: scenario.n_hosts])
        ]
        self._limits = limits

    # ---- running -------------------------------------------------------------------------------------------------

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """What holds while virtual processes run."""
        with rarely_collected(), mock.patch.object(causes, "where_we_are", return_value=("sim", 1)):
            try:
                yield
            except BaseException:  # nobody goes on with it
                for process in self.processes:
                    process.abandon()
                raise

    def _begin(self) -> None:
        """Start everything, and plan the faults and their end."""
        self.control.start()
        for fault in self.scenario.faults:
            self.timeline.at(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        self.timeline.at(self.scenario.storm_s, self._heal)

    def _until(self, is_met: Callable[[], bool], end: float) -> None:
        timeline, control = self.timeline, self.control
        while not is_met():
            self._check()
            if control.problem:
                raise Violation(Promise.ONE_OUTCOME, control.problem)
            if timeline.now > end or timeline.steps > self.steps_max or not timeline.step():
                raise Violation(Promise.BOOKS_EMPTY, f"stands still at {self.timeline.now:.1f} s: {self.stand()}")

    @property
    def steps_max(self) -> int:
        """Things that may happen; a run that needs more stands still."""
        return STEPS_MAX

    def _check(self) -> None:
        """Raise what was found broken since the last step."""

    @property
    def is_stormy(self) -> bool:
        """Whether faults may strike, or have struck so lately that somebody may still tell of one."""
        return self.timeline.now < self.scenario.storm_s + 1.0

    def is_stormy_still(self, grace_s: float) -> bool:
        """Whether the storm was over less than so long ago."""
        return self.timeline.now < self.scenario.storm_s + grace_s

    def stand(self) -> str:
        """How it stands, for people."""
        parts = []
        for process in self.processes:
            if process.acker is not None:
                parts.append(f"{process.name} {process.acker.told()}")
            elif process.executor is not None:
                peer = process.executor.peer
                feeds = [] if peer.intake is None else peer.intake.feeds
                windows = [
                    f"{feed.name}: {feed.window.unfinished} unfinished from {feed.window.mark}" for feed in feeds
                ]
                ended = sorted(peer.tasks_ended)
                parts.append(f"{process.name} queued {peer.core.queued_items}, ended {ended}, {windows}")
        return "; ".join([self.control.stand(), *parts])

    def note(self, text: str) -> None:
        """Something happened."""
        self.trace = zlib.crc32(f"{self.timeline.now:.9f} {text}".encode(), self.trace)
        self.history.append(f"{self.timeline.now:10.4f} {text}")

    def _packet(self, where: str, crc: int) -> None:
        self.trace = zlib.crc32(f"{self.timeline.now:.9f} {where} {crc}".encode(), self.trace)

    # ---- processes -----------------------------------------------------------------------------------------------

    def start(self, name: str, host: SimHost, begin: Begin) -> SimProcess:
        """Start a process; it is born some time later."""
        self._pids += 1
        process = SimProcess(
            name,
            host,
            begin,
            self._pids,
            f"{self.scenario.seed}/{name}/{self._pids}",
            timeline=self.timeline,
            network=self.network,
            limits=self._limits,
            load=self.load,
            watch=self._watch,
            say=self._said,
            around=self._around,
            on_death=self._ended,
        )
        self.processes.append(process)
        self.note(f"start {name} on {host.name}")
        self.timeline.after(self._random.uniform(0.01, 0.2), process.bear)
        return process

    def load(self) -> Consecutor:
        """Make the flow, as an import does."""
        raise NotImplementedError

    def _body(self) -> SimProcess:
        assert self._running is not None, "user code runs in a process"
        return self._running

    def _around(self, process: SimProcess | None) -> None:
        """A process begins a turn; None: it has ended it."""
        before, self._running = self._running, process
        if process is None and before is not None and self._random.random() < CHECK_SHARE:
            if not before.is_checked:
                check_cores(before)
            before.is_checked = True

    def _may_audit(self) -> bool:
        """Whether an audit may find something lost: never, unless a fault outside of the model was planted."""
        return False

    def _said(self, process: SimProcess, message: Up) -> None:
        if isinstance(message, Told):
            self.audits_fired = max(self.audits_fired, message.audits_fired)
        if self.audits_fired and not self._may_audit():
            raise Violation(Promise.NO_AUDIT, f"{process.name} found {self.audits_fired} lost trees by audit")
        self.timeline.after(0.0005, lambda: self.control.heard(process, message))

    def _ended(self, process: SimProcess, code: int) -> None:
        self.note(f"end {process.name} with {code}")
        self.processes.remove(process)
        if process.acker is not None:
            self._check_book(process, process.acker)
        self._forget(process, code)
        self.control.died(process, code)

    def _forget(self, process: SimProcess, code: int) -> None:
        """A process has ended, with this exit code."""

    # ---- what placements say -------------------------------------------------------------------------------------

    def published(self, before: Iterable[Incarnation], now: Iterable[Incarnation]) -> None:
        """A placement lists these processes, and the one before listed those."""

    def ends(self, final: State) -> None:
        """All are to end; called when the coordinator has decided it, before it tells anybody."""
        self.final = final
        self._was_killed |= final is State.KILLED

    def scaled(self) -> None:
        """The parallelism of a node was changed."""

    # ---- what disks keep: see JournalWatch -----------------------------------------------------------------------

    def begun(self, folder: str, producers: Iterable[str]) -> None:
        """See `JournalWatch.begun`."""
        self.note(f"journal {folder}")

    def adopted(self, folder: str, producer: str, restored: Restored) -> None:
        """See `JournalWatch.adopted`."""
        self.note(f"journal {folder} adopts {producer} from {restored.mark} {restored.ranges}")

    def appended(self, folder: str, producer: str, first_seq: int, items: list[Any]) -> Callable[[], None]:
        """See `JournalWatch.appended`."""
        self.note(f"append {producer} {first_seq} {len(items)}")
        return _nothing

    def committed(self, folder: str, round_: Round) -> Callable[[], None]:
        """See `JournalWatch.committed`."""
        for part in round_.producers:
            changes = part.changes
            dead = [letter.seq for letter in changes.dead]
            charged = [(one.seq, one.attempts) for one in changes.attempts]
            self.note(f"commit {part.producer} mark {part.mark} done {changes.completed} dead {dead} charged {charged}")
        return _nothing

    def voided(self, folder: str, restored: Mapping[str, Restored]) -> None:
        """See `JournalWatch.voided`."""
        self.note(f"journal {folder} starts over: {[(name, one.mark, one.ranges) for name, one in restored.items()]}")

    def rooted(self, folder: str, producer: str, root: int, seqs: Sequence[int]) -> None:
        """See `JournalWatch.rooted`."""
        self.note(f"root {root:x} of {producer}: {list(seqs)}")

    # ---- faults --------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        self.note(f"fault {fault}")
        if self.control.strike(fault):
            return
        living = [one for one in self.processes if one.transport is not None]
        hosts = [host.name for host in self.hosts] + ([COORDINATOR_HOST] if self.scenario.has_cluster else [])
        one, other = hosts[fault.pick % len(hosts)], hosts[fault.other % len(hosts)]
        host = self.hosts[fault.pick % len(self.hosts)]
        if fault.kind in (Kind.KILL, Kind.KILL_AT, Kind.PAUSE):
            if living:
                self._hit(living[fault.pick % len(living)], fault)
        elif fault.kind == Kind.RESET:
            self.network.reset(one, other, self._random)
        elif fault.kind == Kind.CUT:
            self.network.cut(one, other)
            self.timeline.after(fault.seconds, lambda: self.network.heal(one, other))
        elif fault.kind == Kind.CLOG:
            self.network.clog(one, other, fault.seconds)
        elif fault.kind == Kind.FULL:
            host.disk.is_full = True
            self.timeline.after(fault.seconds, lambda: setattr(host.disk, "is_full", False))
        elif fault.kind == Kind.POWER:
            self._cut_power(host)
        elif fault.kind == Kind.JUMP:
            host.clock_s += fault.seconds

    def _hit(self, process: SimProcess, fault: Fault) -> None:
        if fault.kind == Kind.KILL:
            process.kill()
        elif fault.kind == Kind.KILL_AT:
            process.dies_after(fault.points)
        else:
            process.pause(self.timeline.now + fault.seconds)

    def _cut_power(self, host: SimHost) -> None:
        for process in [one for one in self.processes if one.host is host]:
            for slot in process.slots:
                slot.write(())  # nobody is to blame
            process.kill()
        self.control.power_is_cut(host)
        host.disk.cut_power(self._random)

    def _heal(self) -> None:
        self.note("heal")
        self.network.weather = CALM
        for one in self.hosts:
            one.disk.is_full = False
        self.network.heal_all()
        for process in self.processes:
            process.resume()
        self.control.heal()

    # ---- the end -------------------------------------------------------------------------------------------------

    def _check_book(self, process: SimProcess, acker: AckerProcess) -> None:
        """An acker that ends with its run has no tree open; one that ends earlier leaves sums without an init (R11)."""
        if not acker.has_ended:
            self._has_lost_ackers = True
            return
        if self.final is State.KILLED or (self.final is None and self._was_killed):
            return  # its trees are gone with it; the journals keep what is unfinished
        if acker.open_trees:
            raise Violation(Promise.BOOKS_EMPTY, f"{process.name} ends with {acker.open_trees} open trees")
        self._check_orphans(process, acker)

    def _check_orphans(self, process: SimProcess, acker: AckerProcess) -> None:
        """Sums without an init are of a dead acker's roots, or of lost ones, forgotten before a holder let go."""
        is_successor = not process.name.endswith(".1")  # the one before may be cut off, and not know that it is dead
        if acker.orphans and not (self._has_lost_ackers or is_successor) and not acker.lost:
            what = f"{process.name} has {acker.orphans} orphans, though no acker has died and no tree was lost"
            raise Violation(Promise.BOOKS_EMPTY, what)


def check_cores(process: SimProcess) -> None:
    """Check the invariants of all cores of a process."""
    if process.transport is not None:
        process.transport.check_invariants()
    if process.executor is not None:
        peer = process.executor.peer
        peer.core.check_invariants()
        for feed in [] if peer.intake is None else peer.intake.feeds:
            feed.window.check_invariants()
    if process.acker is not None:
        process.acker.check_invariants()


def _nothing() -> None:
    return
