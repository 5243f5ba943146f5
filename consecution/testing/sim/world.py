"""A run in virtual time: real cores, a virtual network, disk and cluster, faults, then healing, and the checks.

Rules of this module: nothing in it depends on anything but the scenario, so a run is repeated by its seed; `SimWorld`
raises `Violation` when a promise is broken. Two phases: until `storm_s` faults strike; then all is healed, and every
item must have its outcome within `HEAL_S` of virtual time.

>>> world = SimWorld(1)
>>> world.run()
>>> world.oracle.finished != {}
True
"""

from __future__ import annotations

import zlib
from collections import deque
from random import Random
from typing import TYPE_CHECKING
from unittest import mock

from consecution.executor import causes
from consecution.guarantee.levels import Robustness
from consecution.local.collector import rarely_collected
from consecution.plan.stages import plan_of
from consecution.testing.sim.carried import Carried
from consecution.testing.sim.cluster import SimCluster
from consecution.testing.sim.coordinator import HOST as COORDINATOR_HOST
from consecution.testing.sim.disk import SimDisk
from consecution.testing.sim.flows import Deeds, Sender, build
from consecution.testing.sim.network import CALM, SimNetwork
from consecution.testing.sim.oracle import Oracle
from consecution.testing.sim.parent import SimParent
from consecution.testing.sim.process import SimHost, SimProcess
from consecution.testing.sim.promises import Promise, Violation
from consecution.testing.sim.scenario import Fault, Kind, Scenario, scenario_of
from consecution.testing.sim.timeline import Timeline
from consecution.transport.link import LinkLimits
from consecution.wire.control import RunSettings, Told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from consecution.consecutor import Consecutor
    from consecution.journal.base import Restored, Round
    from consecution.process.acker import AckerProcess
    from consecution.wire.control import Begin, Up

HEAL_S = 240.0
STEPS_MAX = 400_000
HISTORY_MAX = 400
CHECK_SHARE = 0.1


class SimWorld:
    """One run.

    Args:
        scenario: What happens; a seed stands for its scenario.

    Attributes:
        timeline: Virtual time.
        oracle: What really happened.
        trace: Checksum of all that happened, in order: two runs of one scenario have the same.
        history: The newest things that happened, for people.
        processes: All that live.
        audits_fired: Most trees that an acker has found lost by audit.
    """

    def __init__(self, scenario: Scenario | int) -> None:
        if isinstance(scenario, int):
            scenario = scenario_of(scenario)
        self.scenario = scenario
        self.timeline = Timeline()
        self.trace = 0
        self.history: deque[str] = deque(maxlen=HISTORY_MAX)
        self.processes: list[SimProcess] = []
        self.audits_fired = 0
        self._has_lost_ackers = False
        self._random = Random(f"world/{scenario.seed}")
        self._pids = 0
        flow = scenario.flow
        self.oracle = Oracle(flow.entries(), 1 + scenario.replays_max)
        for name, kind in flow.producers:
            if kind == "list":
                for seq, item in enumerate(flow.of(name)):
                    self.oracle.reads(name, seq, item.number)
        self._senders = {
            name: Sender([item.number for item in flow.of(name)], flow.spread_s, lambda: self.timeline.now)
            for name, _ in flow.producers
        }
        self._carried = Carried(self.oracle.carries)
        self._deeds = Deeds(flow, self._body)
        self._running: SimProcess | None = None
        self.network = SimNetwork(self.timeline, f"network/{scenario.seed}", self._packet)
        self.network.weather = scenario.storm
        self.hosts = [
            SimHost(name, SimDisk(self, lambda: 1e9 + self.timeline.now), 1000.0 * place)
            for place, name in enumerate("abcdefgh"[: scenario.n_hosts])
        ]
        self._limits = LinkLimits(
            window_items=scenario.window_items,
            window_bytes=1 << 16,
            unconfirmed_messages_max=max(4, scenario.window_items),
            unread_bytes_max=4096,
        )
        settings = RunSettings(
            "sim", Robustness.REPLAY.name, scenario.replays_max, scenario.timeout_s, 300.0, scenario.pending_max
        )
        random = Random(f"parent/{scenario.seed}")
        self.control: SimParent | SimCluster
        if scenario.has_cluster:
            self.control = SimCluster(self, settings, random)
        else:
            self.control = SimParent(self, settings, plan_of(self.load().dag).n_tasks, random)

    # ---- running -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run to the end.

        Raises:
            Violation: A promise was broken.
        """
        with rarely_collected(), mock.patch.object(causes, "where_we_are", return_value=("sim", 1)):
            self._run()

    def _run(self) -> None:
        self.control.start()
        for fault in self.scenario.faults:
            self.timeline.at(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        self.timeline.at(self.scenario.storm_s, self._heal)
        storm_s = self.scenario.storm_s
        self._until(lambda: self.timeline.now >= storm_s and self.control.is_done, storm_s + HEAL_S)
        self.oracle.check_all_ended()
        if not self.scenario.has_cluster:  # whose coordinator lets no time pass at the end
            rest = self.timeline.now + 4 * self.scenario.timeout_s
            self._until(lambda: self.timeline.now >= rest, rest + 1.0)
            self._until(self._is_settled, rest + 10.0)
            self._check_books()
        self.control.end()
        self._until(lambda: self.control.is_over, self.timeline.now + HEAL_S)

    def _until(self, is_met: Any, end: float) -> None:
        timeline, oracle, control = self.timeline, self.oracle, self.control
        while not is_met():
            if oracle.broken is not None:
                raise oracle.broken
            if control.problem:
                raise Violation(Promise.ONE_OUTCOME, control.problem)
            if timeline.now > end or timeline.steps > STEPS_MAX or not timeline.step():
                raise Violation(Promise.BOOKS_EMPTY, f"stands still at {self.timeline.now:.1f} s: {self.stand()}")

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
        how = f"{len(self.oracle.finished)} of {len(self.oracle.items)} outcomes; {self.control.stand()}; "
        return how + "; ".join(parts)

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
            watch=self._carried,
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
        scenario = self.scenario
        return build(
            scenario.flow,
            self.oracle,
            self._deeds,
            self._senders,
            replays_max=scenario.replays_max,
            timeout_s=scenario.timeout_s,
            pending_max=scenario.pending_max,
            journal=None,
        )

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

    def _said(self, process: SimProcess, message: Up) -> None:
        if isinstance(message, Told):
            self.audits_fired = max(self.audits_fired, message.audits_fired)
        if self.audits_fired and not self.oracle.is_planted:
            raise Violation(Promise.NO_AUDIT, f"{process.name} found {self.audits_fired} lost trees by audit")
        self.timeline.after(0.0005, lambda: self.control.heard(process, message))

    def _ended(self, process: SimProcess, code: int) -> None:
        self.note(f"end {process.name} with {code}")
        self.processes.remove(process)
        if process.acker is not None:
            self._check_book(process, process.acker)
        self._carried.forget(process.incarnation)
        if code:
            self.oracle.died(process.incarnation, [run for slot in process.slots for run in slot.runs])
        if process.begin.journal is not None:
            self.oracle.forget_life(process.begin.journal)
        self.control.died(process, code)

    # ---- what disks keep: see JournalWatch -----------------------------------------------------------------------

    def begun(self, folder: str, producers: Iterable[str]) -> None:
        """See `JournalWatch.begun`."""
        self.note(f"journal {folder}")
        self.oracle.begun(folder, producers)

    def adopted(self, folder: str, producer: str, restored: Restored) -> None:
        """See `JournalWatch.adopted`."""
        self.note(f"journal {folder} adopts {producer} from {restored.mark} {restored.ranges}")
        self.oracle.adopted(folder, producer, restored)

    def appended(self, folder: str, producer: str, first_seq: int, items: list[Any]) -> Any:
        """See `JournalWatch.appended`."""
        self.note(f"append {producer} {first_seq} {len(items)}")
        return self.oracle.appended(folder, producer, first_seq, items)

    def committed(self, folder: str, round_: Round) -> Any:
        """See `JournalWatch.committed`."""
        for part in round_.producers:
            changes = part.changes
            dead = [letter.seq for letter in changes.dead]
            charged = [(one.seq, one.attempts) for one in changes.attempts]
            self.note(f"commit {part.producer} mark {part.mark} done {changes.completed} dead {dead} charged {charged}")
        return self.oracle.committed(folder, round_)

    def rooted(self, folder: str, producer: str, root: int, seqs: Sequence[int]) -> None:
        """See `JournalWatch.rooted`."""
        self.note(f"root {root:x} of {producer}: {list(seqs)}")
        self.oracle.rooted(folder, producer, root, seqs)

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

    def _is_settled(self) -> bool:
        """Whether no link has anything under way; the last audits may still be."""
        return all(process.transport is None or process.transport.is_settled for process in self.processes)

    def _check_books(self) -> None:
        """Everything has its outcome, and time has passed: nothing may be left anywhere (d)."""
        for process in self.processes:
            check_cores(process)
            left: dict[str, object] = {}
            if process.acker is not None:
                left = {"open roots": process.acker.told().open_roots}
                self._check_orphans(process, process.acker)
            elif process.executor is not None:
                peer = process.executor.peer
                left = {"queued items": peer.core.queued_items, "roots": peer.core.roots()}
                if peer.intake is not None:
                    left["unfinished"] = sum(feed.window.unfinished for feed in peer.intake.feeds)
            found = {what: value for what, value in left.items() if value}
            if found:
                raise Violation(Promise.BOOKS_EMPTY, f"{process.name} ends with {found}")

    def _check_book(self, process: SimProcess, acker: AckerProcess) -> None:
        """An acker that ends with its run has no tree open; one that ends earlier leaves sums without an init (R11)."""
        if not acker.has_ended:
            self._has_lost_ackers = True
            return
        if acker.open_trees:
            raise Violation(Promise.BOOKS_EMPTY, f"{process.name} ends with {acker.open_trees} open trees")
        self._check_orphans(process, acker)

    def _check_orphans(self, process: SimProcess, acker: AckerProcess) -> None:
        """Sums without an init are of a dead acker's roots, or of lost ones, forgotten before a holder let go."""
        if acker.orphans and not self._has_lost_ackers and not acker.lost:
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


def run_seed(seed: int) -> SimWorld:
    """Run a seed to its end; raises `Violation` when a promise is broken."""
    world = SimWorld(seed)
    world.run()
    return world
