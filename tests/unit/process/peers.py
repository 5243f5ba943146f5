"""Peers of one topology and an acker on a network of lists: the executor's side of placements, driven by hand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from consecution import Consecutor, Robustness
from consecution.guarantee.ids import id_maker
from consecution.local.opening import Identity, Settings, open_intake
from consecution.plan.stages import plan_of
from consecution.process.acker import AckerProcess
from consecution.process.peer import Peer
from consecution.transport.memory import MemoryNetwork
from consecution.wire.placement import Member, Phase, Placement, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.plan.partitions import StageTasks
    from consecution.wire.control import PausedAt

ACKER = 1


class Peers:
    """Executors by name, each with some tasks; the first has the producer.

    Args:
        graph: With a producer.
        tasks: Tasks of each executor at first.
        level: Robustness.
    """

    def __init__(self, graph: Any, *tasks: Sequence[int], level: Robustness = Robustness.REPLAY) -> None:
        consecutor = Consecutor(graph, "peers", journal=None, robustness=level)
        self.dag, self.feeds = consecutor.dag, consecutor.feeds
        self.plan = plan_of(self.dag, [entries for _, entries in self.feeds])
        self.level = level
        self.network = MemoryNetwork()
        self.new_id = id_maker(bytes(32))
        self.acker = AckerProcess(self.network.open(ACKER), timeout_s=30.0)
        self.acker_address = "memory://1"
        self.peers: dict[int, Peer] = {}
        self.addresses: dict[int, str] = {}
        self.births: dict[int, int] = {ACKER: 1}
        self.tasks: dict[int, tuple[int, ...]] = {}
        self.paused: dict[int, PausedAt] = {}
        self.number = self.pause = 0
        self.phase = Phase.STARTING
        self.is_moving = False
        self.scaled: tuple[StageTasks, ...] = ()
        self.has_acker = True
        self.ackers = 0  # that died
        for own in tasks:
            self.add(*own)
        self.first = min(self.peers)
        self.place()
        settings = Settings("peers", level, 3, 30.0, 500, None)
        peer = self.peers[self.first]
        self.opened = open_intake(
            self.dag, self.plan, self.feeds, settings,
            identity=Identity(self.new_id, lambda: self.first, peer.roots_of), incarnation_of=peer.owner, link=peer,
        )  # fmt: skip
        self.opened.begin()
        peer.take_intake(self.opened.intake)

    def add(self, *tasks: int) -> int:
        """Start an executor with these tasks; listed by the next placement. Gives its incarnation."""
        incarnation = 10 + len(self.births)
        transport = self.network.open(incarnation)
        self.addresses[incarnation] = transport.address
        settings = Settings("peers", self.level, 3, 30.0, 500, None)
        self.peers[incarnation] = Peer(self.dag, self.plan, settings, transport, new_id=self.new_id, n_ackers=1)
        self.births[incarnation] = 0
        self.tasks[incarnation] = tasks
        return incarnation

    def remove(self, incarnation: int) -> None:
        """An executor dies."""
        self.network.kill(self.addresses[incarnation])
        del self.peers[incarnation], self.tasks[incarnation]

    def replace_acker(self) -> None:
        """Start another acker in the place of one that is dead; listed by the next placement."""
        self.ackers += 1
        transport = self.network.open(ACKER + self.ackers)
        self.acker, self.acker_address = AckerProcess(transport, timeout_s=30.0), transport.address

    def place(self, **changes: Any) -> None:
        """Publish the next placement: what is given is changed, such as `phase`; the rest is as last time."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.number += 1
        acker = ACKER + self.ackers
        self.births.setdefault(acker, self.number)
        members = [Member(acker, self.births[acker], Role.ACKER, 0, self.acker_address)] if self.has_acker else []
        for incarnation in self.peers:
            self.births[incarnation] = self.births[incarnation] or self.number
            members.append(
                Member(
                    incarnation, self.births[incarnation], Role.EXECUTOR, incarnation, self.addresses[incarnation],
                    tasks=self.tasks[incarnation], feeds=(0,) if incarnation == min(self.peers) else (),
                )
            )  # fmt: skip
        placement = Placement(
            "peers", self.number, self.phase, tuple(members), pause=self.pause, scaled=self.scaled,
            is_moving=self.is_moving,
        )  # fmt: skip
        self.acker.place(placement)
        for peer in self.peers.values():
            peer.place(placement)

    def turn(self) -> None:
        """Each process does what there is to do, once."""
        for incarnation, peer in list(self.peers.items()):
            peer.turn()
            if (paused := peer.advance()) is not None:
                self.paused[incarnation] = paused
        self.acker.turn(0.0)

    def run_until(self, condition: Any, turns_max: int = 20_000) -> None:
        """Turn until a condition is true."""
        for _ in range(turns_max):
            if condition():
                return
            self.turn()
        message = f"not within {turns_max} turns; {self.introduced} introduced, {self.collected()} collected"
        raise AssertionError(message)

    def pause_for_a_move(self) -> None:
        """Pause, and wait until all have confirmed."""
        self.paused.clear()
        self.place(phase=Phase.PAUSED, pause=self.pause + 1, is_moving=True)
        self.run_until(lambda: len(self.paused) == len(self.peers))

    def rescale(self, scaled: tuple[StageTasks, ...], tasks: dict[int, tuple[int, ...]]) -> None:
        """Give other tasks while paused, then go on."""
        self.pause_for_a_move()
        self.tasks.update(tasks)
        self.place(scaled=scaled)
        self.place(phase=Phase.RUNNING, is_moving=False)

    @property
    def introduced(self) -> int:
        """Items that entered."""
        return self.opened.intake.introduced

    @property
    def is_over(self) -> bool:
        """Whether all tasks have ended and every item has its outcome."""
        intake = self.opened.intake
        ended = {task for peer in self.peers.values() for task in peer.tasks_ended}
        wanted = {task for own in self.tasks.values() for task in own}
        return intake.is_idle and intake.is_at_end and wanted <= ended

    def collected(self) -> dict[int, list[Any]]:
        """What Collect nodes hold, by task."""
        return {
            task: items
            for peer in self.peers.values()
            for task, runner in peer.runners.items()
            for items in runner.collected().values()
        }

    def close(self) -> None:
        """Tear all down."""
        for peer in self.peers.values():
            peer.teardown()
        self.opened.close(is_finished=True)

    def told(self) -> Any:
        """The counts of the producers' journal."""
        return dataclasses.replace(self.opened.intake.tally)
