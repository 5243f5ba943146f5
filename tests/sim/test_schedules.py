"""Schedules of protocol.md section 9, played in virtual time; those that a core alone can break are its unit tests."""

from __future__ import annotations

from collections import Counter

import pytest

from consecution.testing.sim import SimWorld
from consecution.testing.sim.flows import CHUNK, CRASH, PASS, POISON, SLOW, FlowPlan, ItemPlan, NodePlan
from consecution.testing.sim.network import CALM
from consecution.testing.sim.parent import SimParent
from consecution.testing.sim.scenario import Fault, Kind, Scenario
from consecution.wire.placement import Role

A_TO_B = (
    NodePlan("n0", PASS, ("p0",)),
    NodePlan("n1", PASS, ("n0",), grouping="shuffle"),
)
"""Two stages: the first one beside the producer, on host a; the second one on host b. The acker is on the last host."""


def world(nodes=A_TO_B, *, count=40, bad=(), faults=(), spread_s=2.0, kind="list", **changes):
    """A run of ``count`` items, of which those in ``bad`` take the place of good ones."""
    items = [ItemPlan(number, "p0") for number in range(count)]
    for item in bad:
        items[item.number] = item
    plain = {
        "seed": 1,
        "flow": FlowPlan(tuple(nodes), (("p0", kind),), tuple(items), spread_s),
        "n_executors": 2,
        "n_ackers": 1,
        "n_hosts": 3,
        "timeout_s": 2.0,
        "replays_max": 3,
        "pending_max": 100,
        "window_items": 16,
        "storm": CALM,
        "storm_s": 3.0,
        "faults": tuple(sorted(faults, key=lambda fault: fault.at)),
    }
    return SimWorld(Scenario(**{**plain, **changes}))


def outcomes(one):
    return Counter(one.oracle.finished.values())


def executor(one, index):
    return next(p for p in one.processes if p.begin.role is Role.EXECUTOR and p.begin.index == index)


def ackers(one):
    return [process.acker for process in one.processes if process.acker is not None]


def test_schedule_4_connections_that_break_with_a_full_window_stop_nothing():
    """1. The window is full, all of it is unconfirmed. 2. The connection is reset. 3. Nobody is told of a new one."""
    faults = [Fault(Kind.RESET, 0.3 + 0.02 * n, pick=0, other=n % 3) for n in range(60)]
    one = world(count=200, window_items=4, faults=faults, spread_s=1.0)
    one.run()
    assert outcomes(one) == {"completed": 200}
    assert one.timeline.now < 20.0


def test_schedule_6_sums_that_overtake_their_init_wait_for_it():
    """1. The producer's way to the acker is clogged. 2. The sums of the other host come first. 3. Then the init."""
    one = world(faults=[Fault(Kind.CLOG, 0.5, pick=0, other=2, seconds=1.5)])
    waiting = []
    for tenth in range(40):
        one.timeline.at(tenth / 10, lambda: waiting.extend(acker._ledger.waiting for acker in ackers(one)))
    one.run()
    assert max(waiting) > 0, "the schedule was played"
    assert outcomes(one) == {"completed": 40}


def test_schedule_7_a_verdict_that_is_lost_with_a_connection_is_said_again():
    """1. The acker tells a verdict and forgets the root. 2. The connection is reset, the verdict with it."""
    faults = [Fault(Kind.RESET, 0.3 + 0.01 * n, pick=2, other=0) for n in range(200)]
    one = world(faults=faults)
    one.run()
    assert outcomes(one) == {"completed": 40}


def test_schedule_11_a_worker_that_is_cut_off_with_its_producer_and_returns_resumes_nothing():
    """1. A worker is cut off. 2. Its producer goes on elsewhere, from the coordinator's copy. 3. The worker returns.

    One of the two hosts has the producer; for both, each item has one outcome in the journal that decides.
    """
    journals = []
    for host in (0, 1):
        cut = Fault(Kind.CUT, 1.0, pick=host, other=2, seconds=8.0)
        one = world(count=120, n_hosts=2, has_cluster=True, faults=[cut], spread_s=12.0, storm_s=14.0)
        one.run()
        assert outcomes(one) == {"completed": 120}
        journals.append(len(one.oracle.outcomes))
    assert sorted(journals) == [1, 2]


def test_schedule_12_one_item_that_kills_its_process_is_the_only_dead_letter_of_many_in_flight():
    """1. A hundred items are in flight. 2. One of them takes the process down, again and again."""
    one = world(count=100, bad=[ItemPlan(50, "p0", CRASH, "n1")], spread_s=0.0)
    one.run()
    assert outcomes(one) == {"completed": 99, "dead": 1}
    assert one.oracle.finished["p0", 50] == "dead"


def test_schedule_13_who_does_not_move_refuses_nothing_though_numbers_differ():
    """1. A placement lists a new process. 2. One of those that stay hears of it before the other."""
    nodes = (*A_TO_B, NodePlan("n2", PASS, ("n1",), grouping="shuffle"))
    drops = [Fault(Kind.DROP, 0.5 + 0.3 * n, pick=2) for n in range(6)]
    one = world(nodes, n_executors=3, faults=drops)
    refused = []
    one.timeline.at(
        2.9, lambda: refused.extend(executor(one, index).executor.peer.refused for index in (0, 1))
    )  # fmt: skip
    one.run()
    assert refused == [0, 0]
    assert outcomes(one) == {"completed": 40}


def test_schedule_14_a_death_that_is_known_before_the_sum_that_names_the_dead_fails_the_tree():
    """1. Sums to the acker are clogged. 2. Who is named in them dies, and its address is used again. 3. They come."""
    faults = [
        Fault(Kind.CLOG, 0.6, pick=0, other=2, seconds=2.0),
        Fault(Kind.KILL, 0.8, pick=1),
        Fault(Kind.KILL, 1.4, pick=1),
    ]
    one = world(faults=faults)
    one.run()
    assert outcomes(one) == {"completed": 40}
    assert one.audits_fired == 0


def test_schedule_18_an_item_that_is_dead_already_gets_no_second_outcome_by_a_death():
    """1. A batch is lost while its poison item goes on alone. 2. It is buried. 3. The first root is judged late."""
    faults = [Fault(Kind.KILL, 0.4 + 0.2 * n, pick=1 + n % 2) for n in range(8)]
    one = world(bad=[ItemPlan(n, "p0", POISON, "n1") for n in (3, 17, 30)], replays_max=0, faults=faults, spread_s=1.5)
    one.run()
    assert [seq for (_, seq), what in sorted(one.oracle.finished.items()) if what == "dead"] == [3, 17, 30]


def late(monkeypatch, index, role, seconds):
    """Let one process hear of each placement so much later than the others."""
    real = SimParent._give

    def give(self, process):
        if process.begin.role is role and process.begin.index == index and self._number > 2:
            self._world.timeline.after(seconds, lambda: real(self, process))
        else:
            real(self, process)

    monkeypatch.setattr(SimParent, "_give", give)


def test_schedule_19_a_frame_under_a_placement_that_its_reader_does_not_know_waits(monkeypatch):
    """1. E1 dies; k+1 lists another. 2. Upstream knows k+1 and sends. 3. E2 still is at k: it must not refuse."""
    late(monkeypatch, 1, Role.EXECUTOR, 1.5)
    nodes = (*A_TO_B, NodePlan("n2", PASS, ("n1",), grouping="shuffle"))
    one = world(nodes, n_executors=3, faults=[Fault(Kind.DROP, 0.8, pick=2)])
    one.run()
    assert outcomes(one) == {"completed": 40}


def test_schedule_20_an_acker_that_skips_placements_knows_who_was_born_and_died_between_them(monkeypatch):
    """1. The acker is at 3. 2. An executor is born in 4, dead in 5, and named in sums. 3. The acker hears of 6."""
    late(monkeypatch, 0, Role.ACKER, 1.0)
    drops = [Fault(Kind.DROP, 0.6 + 0.35 * n, pick=1) for n in range(5)]
    one = world(faults=drops)
    one.run()
    assert outcomes(one) == {"completed": 40}
    assert one.audits_fired == 0


@pytest.mark.parametrize("kind", [Kind.REBALANCE, Kind.SCALE, Kind.LEAVE])
def test_schedule_21_what_moves_leaves_no_frame_behind(kind):
    """1. Values are under way to a task. 2. It moves: by a rebalance, another parallelism, a worker that leaves."""
    nodes = (
        NodePlan("n0", PASS, ("p0",)),
        NodePlan("n1", PASS, ("n0",), grouping="key", parallelism=2),
    )
    faults = [Fault(kind, 1.0 + n, pick=n, other=1, points=n + 1) for n in range(6)]
    one = world(nodes, count=120, n_hosts=2, has_cluster=True, faults=faults, spread_s=9.0, storm_s=10.0)
    one.run()
    assert outcomes(one) == {"completed": 120}


def test_schedule_22_an_item_that_crashes_behind_a_chunk_is_found_though_it_came_in_an_earlier_frame():
    """1. The guilty item comes in one frame. 2. Another frame fills the chunk. 3. The node behind it crashes."""
    nodes = (NodePlan("n0", PASS, ("p0",)), NodePlan("n1", CHUNK, ("n0",), size=5, grouping="shuffle"))
    one = world(nodes, bad=[ItemPlan(7, "p0", CRASH, "n1")], spread_s=1.0)
    one.run()
    assert outcomes(one) == {"completed": 39, "dead": 1}
    assert one.oracle.finished["p0", 7] == "dead"


def test_schedule_25_a_process_that_answers_nothing_for_40_s_makes_no_audit_fire():
    """1. A call holds its process for 40 s. 2. It answers no audit, of which many are due."""
    one = world(bad=[ItemPlan(5, "p0", SLOW, "n1", 1, 40.0)], timeout_s=1.0)
    one.run()
    assert outcomes(one) == {"completed": 40}
    assert one.audits_fired == 0
    assert one.timeline.now > 40.0


def test_schedule_25_a_coordinator_that_is_down_for_60_s_makes_no_audit_fire():
    """1. The coordinator dies. 2. An executor dies too, and nobody places its tasks. 3. A minute later it is back."""
    faults = [
        Fault(Kind.CRASH_COORDINATOR, 1.0, seconds=60.0),
        *(Fault(Kind.KILL, 2.0, pick=pick) for pick in range(3)),
    ]
    one = world(count=60, n_hosts=2, has_cluster=True, faults=faults, timeout_s=1.0, spread_s=5.0, storm_s=62.0)
    one.run()
    assert outcomes(one) == {"completed": 60}
    assert one.audits_fired == 0
    assert one.timeline.now > 60.0
