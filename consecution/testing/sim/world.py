"""A random run in virtual time: real cores, a virtual network, disk and cluster, faults, then healing, and the checks.

Rules of this module: nothing in it depends on anything but the scenario, so a run is repeated by its seed; `SimWorld`
raises `Violation` when a promise is broken. Two phases: until `storm_s` faults strike; then all is healed, and every
item must have its outcome within `HEAL_S` of virtual time.

>>> world = SimWorld(1)
>>> world.run()
>>> world.oracle.finished != {}
True
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from consecution.guarantee.levels import Robustness
from consecution.plan.stages import plan_of
from consecution.testing.sim.building import Sender, build
from consecution.testing.sim.carried import Carried
from consecution.testing.sim.claims import Claims
from consecution.testing.sim.cluster import SimCluster
from consecution.testing.sim.oracle import Oracle
from consecution.testing.sim.parent import SimParent
from consecution.testing.sim.probes import Deeds
from consecution.testing.sim.promises import Promise, Violation
from consecution.testing.sim.scenario import Scenario, scenario_of
from consecution.testing.sim.sums import Summed
from consecution.testing.sim.ticks import Ticks
from consecution.testing.sim.virtual import VirtualWorld, check_cores
from consecution.transport.link import LinkLimits
from consecution.wire.cluster.to_client import State
from consecution.wire.control import RunSettings, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from consecution.consecutor import Consecutor
    from consecution.guarantee.messages import Incarnation
    from consecution.journal.base import Restored, Round
    from consecution.testing.sim.process import SimProcess
    from consecution.wire.control import Up

HEAL_S = 240.0


class SimWorld(VirtualWorld):
    """One run of a random flow.

    Args:
        scenario: What happens; a seed stands for its scenario.

    Attributes:
        oracle: What really happened.
    """

    def __init__(self, scenario: Scenario | int) -> None:
        if isinstance(scenario, int):
            scenario = scenario_of(scenario)
        flow = scenario.flow
        attempts_max = 1 + scenario.replays_max
        self.oracle = Oracle(flow.entries(), attempts_max, Ticks(flow, attempts_max), Summed(flow.widths()))
        self._carried = Carried(self.oracle.carries)
        limits = LinkLimits(
            window_items=scenario.window_items,
            window_bytes=1 << 16,
            unconfirmed_messages_max=max(4, scenario.window_items),
            unread_bytes_max=4096,
        )
        super().__init__(scenario, self._carried, limits)
        for name, kind in flow.producers:
            if kind == "list":
                for seq, item in enumerate(flow.of(name)):
                    self.oracle.reads(name, seq, item.number)
        self._senders = {
            name: Sender([item.number for item in flow.of(name)], flow.spread_s, lambda: self.timeline.now)
            for name, _ in flow.producers
        }
        self._deeds = Deeds(flow, self._body)
        self._level = Robustness[scenario.level]
        self._claims = Claims(self._level, self.oracle, flow.widths())
        self._has_deaths = False
        settings = RunSettings(
            "sim", scenario.level, scenario.replays_max, scenario.timeout_s, 300.0, scenario.pending_max
        )
        random = Random(f"parent/{scenario.seed}")
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
        with self._surroundings():
            self._run()

    def _run(self) -> None:
        self._begin()
        storm_s = self.scenario.storm_s
        self._until(lambda: self.timeline.now >= storm_s and self.control.is_done, storm_s + HEAL_S)
        if self._level is Robustness.REPLAY:
            self.oracle.check_all_ended()
        if not self.scenario.has_cluster:  # whose coordinator lets no time pass at the end
            self._rest()
            if any(process.acker is not None and process.acker.told().open_roots for process in self.processes):
                self._rest()  # a sum without an init has only now come: the next audit ends it (R11)
            self._check_books()
        self.control.end()
        self._until(lambda: self.control.is_over, self.timeline.now + HEAL_S)
        if self._level is not Robustness.REPLAY:
            self._check_claims()
        self.oracle.ticks.check()
        if isinstance(self.control, SimCluster) and any(node.sums for node in self.scenario.flow.nodes):
            status = self.control.look()
            assert status is not None, "it is over"
            self.oracle.sums.check(self.oracle, status.summary.state_lost)

    def _check_claims(self) -> None:
        """Below REPLAY no journal says what was done: what was told is compared with what happened."""
        has_deaths = self._has_deaths
        if isinstance(self.control, SimCluster):
            status = self.control.look()
            assert status is not None, "it is over"
            has_deaths |= any("must be placed again" in text for _, text in status.events)
            told = status.summary.introduced, status.summary.completed, status.summary.failed
            if self._level.is_tracked and told != self._claims.counts:
                found = f"the coordinator counts {told}, its executors {self._claims.counts}"
                raise Violation(Promise.ONE_OUTCOME, found)
        self._claims.check(is_exact=self.scenario.is_gentle and not has_deaths)

    def _said(self, process: SimProcess, message: Up) -> None:
        if isinstance(message, Told):
            self._claims.told(message)
        super()._said(process, message)

    def _check(self) -> None:
        if self.oracle.broken is not None:
            raise self.oracle.broken

    def stand(self) -> str:
        """How it stands, for people."""
        return f"{len(self.oracle.finished)} of {len(self.oracle.items)} outcomes; {super().stand()}"

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
            robustness=self._level,
        )

    def _may_audit(self) -> bool:
        return self.oracle.is_planted

    def _forget(self, process: SimProcess, code: int) -> None:
        self._carried.forget(process.incarnation)
        self._claims.lives += process.executor is not None and process.executor.peer.intake is not None
        if code:
            self._has_deaths = True
            is_listed = process.incarnation not in self.oracle.dead
            if is_listed and process.executor is not None and process.executor.peer.core.is_ended:
                self.oracle.sums.dies(self.oracle.copies_of(process.incarnation))
            self.oracle.died(process.incarnation, [run for slot in process.slots for run in slot.runs])
        if process.begin.journal is not None:
            left_out = process.executor is None or process.executor.peer.is_left_out
            if self.final is State.DRAINED and not code and not left_out:
                self.oracle.check_life(process.begin.journal)
            self.oracle.forget_life(process.begin.journal)

    # ---- what the oracle is told ---------------------------------------------------------------------------------

    def published(self, before: Iterable[Incarnation], now: Iterable[Incarnation]) -> None:
        """See `Oracle.published`."""
        self.oracle.published(before, now)

    def ends(self, final: State) -> None:
        """See `VirtualWorld.ends`."""
        super().ends(final)
        if final is State.FINISHED:
            self.oracle.sums.end(self.oracle.living_copies())
        else:
            self.oracle.left_out(is_good=final is State.DRAINED)

    def scaled(self) -> None:
        """See `Oracle.forget_keys`."""
        self.oracle.forget_keys()

    def begun(self, folder: str, producers: Iterable[str]) -> None:
        """See `JournalWatch.begun`."""
        super().begun(folder, producers)
        self.oracle.begun(folder, producers)

    def adopted(self, folder: str, producer: str, restored: Restored) -> None:
        """See `JournalWatch.adopted`."""
        super().adopted(folder, producer, restored)
        self.oracle.adopted(folder, producer, restored)

    def appended(self, folder: str, producer: str, first_seq: int, items: list[Any]) -> Callable[[], None]:
        """See `JournalWatch.appended`."""
        super().appended(folder, producer, first_seq, items)
        return self.oracle.appended(folder, producer, first_seq, items)

    def committed(self, folder: str, round_: Round) -> Callable[[], None]:
        """See `JournalWatch.committed`."""
        super().committed(folder, round_)
        return self.oracle.committed(folder, round_)

    def voided(self, folder: str, restored: Mapping[str, Restored]) -> None:
        """See `JournalWatch.voided`."""
        super().voided(folder, restored)
        self.oracle.voided(folder, restored)

    def rooted(self, folder: str, producer: str, root: int, seqs: Sequence[int]) -> None:
        """See `JournalWatch.rooted`."""
        super().rooted(folder, producer, root, seqs)
        self.oracle.rooted(folder, producer, root, seqs)

    # ---- the end -------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Let audits pass, and all that is under way arrive."""
        rest = self.timeline.now + 4 * self.scenario.timeout_s
        self._until(lambda: self.timeline.now >= rest, rest + 1.0)
        self._until(self._is_settled, rest + 10.0)

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


def run_seed(seed: int) -> SimWorld:
    """Run a seed to its end; raises `Violation` when a promise is broken."""
    world = SimWorld(seed)
    world.run()
    return world
