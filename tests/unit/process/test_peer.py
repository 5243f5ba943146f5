"""A peer among others, over links in memory."""

from __future__ import annotations

from consecution import Consecutor, Map
from consecution.executor.events import Arrived
from consecution.executor.frames import EndMark
from consecution.guarantee.ids import id_maker
from consecution.guarantee.levels import Robustness
from consecution.local.opening import Settings
from consecution.plan.stages import plan_of
from consecution.process.peer import Peer
from consecution.transport.memory import MemoryNetwork
from consecution.wire.placement import Member, Phase, Placement, Role

SETTINGS = Settings("flow", Robustness.REPLAY, 3, 30.0, 100, None)


class Cluster:
    """Two executors, one task each, placed by hand."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.peers: dict[int, Peer] = {}
        self.births: dict[int, int] = {}
        self.number = 0

    def start(self, incarnation: int) -> Peer:
        dag = Consecutor(Map(abs) | Map(abs, grouping="shuffle"), "flow", journal=None).dag
        self.peers[incarnation] = Peer(
            dag,
            plan_of(dag, [dag.entries]),
            SETTINGS,
            self.network.open(incarnation),
            new_id=id_maker(b"%d" % incarnation),
            n_ackers=1,
            now=lambda: self.network.now,
        )
        return self.peers[incarnation]

    def place(self, *executors: int) -> None:
        """List these executors; the first one has task 0, the second one task 1."""
        self.number += 1
        for one in executors:
            self.births.setdefault(one, self.number)
        members = tuple(
            Member(
                one, self.births[one], Role.EXECUTOR, task, self.peers[one]._transport.address, tasks=(task,)
            )
            for task, one in enumerate(executors)
        )  # fmt: skip
        for one in executors:
            self.peers[one].place(Placement("flow", self.number, Phase.RUNNING, members))

    def run(self) -> None:
        while sum(peer.turn() for peer in self.peers.values()):
            pass


def test_schedule_24_a_task_that_nobody_ran_for_a_while_hears_again_that_its_upstream_has_ended() -> None:
    """The end mark is a state: who takes a dead task up is told of it, however many placements lie between (R19).

    1. Task 0 has ended and told so to task 1, whose process dies.
    2. A placement lists nobody for task 1; the next one lists its new process.
    3. Were that no change of owners, the new process would wait for ever.
    """
    cluster = Cluster()
    one, two = cluster.start(1), cluster.start(2)
    cluster.place(1, 2)
    one.core.handle(Arrived(0, -1, EndMark(-1)), cluster.network.now)
    cluster.run()
    assert (one.tasks_ended, two.tasks_ended) == ({0}, {1})
    cluster.network.kill(two._transport.address)
    del cluster.peers[2]
    cluster.place(1)
    cluster.run()
    three = cluster.start(3)
    cluster.place(1, 3)
    cluster.run()
    assert three.tasks_ended == {1}
