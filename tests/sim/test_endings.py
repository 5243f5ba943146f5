"""Topologies that are drained and killed in the midst of faults, with timers, sums and async nodes."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from consecution_coordinator import deaths
from consecution_coordinator.course import Course

from consecution import Consecutor, GeneratorProducer, Map, Robustness
from consecution.executor.own import OwnValues
from consecution.local.intake import Intake
from consecution.process import child
from consecution.testing.sim import Family, Fault, FlowWorld, Kind, Promise, SimWorld, Violation, scenario_of
from consecution.testing.sim.flows import CRASH, PASS, ItemPlan, NodePlan
from consecution.testing.sim.process import SimProcess
from consecution.testing.sim.ticks import Ticks
from consecution.wire.cluster.to_client import State
from tests.sim.seeds import run_seed
from tests.sim.test_schedules import outcomes, world

SEEDS = 45
SEEDS_MAX = 200


@pytest.mark.parametrize("part", range(3))
def test_whoever_ends_a_topology_and_whenever_no_item_is_lost_or_done_twice(part):
    ticks, runs = 0, 0
    for seed in range(part, SEEDS, 3):
        one = run_seed(seed, Family.ENDINGS)
        ticks += len(one.oracle.ticks)
        runs += one.control._submissions
    assert ticks > 100
    assert runs > 20, "topologies were ended, and submitted again"


def found(what, *, has_sums=False):
    """Whether some seed finds this broken."""
    for seed in range(SEEDS_MAX):
        scenario = scenario_of(seed, Family.ENDINGS)
        if has_sums and not any(node.sums for node in scenario.flow.nodes):
            continue
        try:
            SimWorld(scenario).run()
        except Violation as violation:
            if what in str(violation) and violation.promise is Promise.ONE_OUTCOME:
                return True
        except AssertionError:
            continue  # a core has found itself broken
    return False


def test_a_drain_that_leaves_something_unfinished_is_found(monkeypatch):
    real = child.counts_of
    monkeypatch.setattr(Intake, "is_idle", True)
    monkeypatch.setattr(child, "counts_of", lambda intake: [replace(one, is_idle=True) for one in real(intake)])
    assert found("has no outcome after a drain")


def test_what_a_timer_pushed_and_nobody_sent_is_found(monkeypatch):
    real = OwnValues.add
    pushed = []

    def add(own, values):
        values = list(values)
        pushed.extend(values)
        real(own, values if len(pushed) % 5 else values[:-1])

    monkeypatch.setattr(OwnValues, "add", add)
    assert found("never came to")


def test_a_sum_that_lacks_what_was_in_the_memory_of_a_dead_process_is_found(monkeypatch):
    """Neither does the run start over, nor does anybody say that something is lost."""
    monkeypatch.setattr(Course, "starts_over", False)
    monkeypatch.setattr(deaths, "lose_sums", lambda course, seat: None)
    assert found("the sums of", has_sums=True)


def test_a_process_that_outlives_its_topology_is_found(monkeypatch):
    monkeypatch.setattr(child.Executor, "is_over", False)
    kill = SimProcess.kill
    monkeypatch.setattr(SimProcess, "kill", lambda process, code=-9: None if process.executor else kill(process, code))
    one = world(count=20, has_cluster=True, faults=[Fault(Kind.KILL_RUN, 1.0, points=1)])
    with pytest.raises(Violation, match="still run"):
        one.run()


# ---- schedules that the family found ---------------------------------------------------------------------------------


def test_a_topology_that_is_killed_when_all_was_done_goes_on_where_it_stood():
    """1. All items are done; end marks are under way. 2. A user kills it. 3. It is submitted again: nothing is left."""
    one = world(count=20, has_cluster=True, n_hosts=2)
    struck = []

    def look():
        peers = [process.executor.peer for process in one.processes if process.executor is not None]
        if any(peer.has_sent_end for peer in peers):
            struck.append(one.timeline.now)
            one.control.strike(Fault(Kind.KILL_RUN, one.timeline.now))
        else:
            one.timeline.after(0.0005, look)

    look()
    one.run()
    assert struck
    assert one.control._submissions == 2
    assert outcomes(one) == {"completed": 20}


def test_a_pass_that_starts_over_behind_a_dead_letter_of_a_crash_reads_each_item_under_its_own_number():
    """1. The first item crashes until it is a dead letter, which stays. 2. A process dies. 3. It is read anew."""
    nodes = (NodePlan("n0", PASS, ("p0",)), NodePlan("n1", PASS, ("n0",), grouping="shuffle", sums=True))
    one = world(
        nodes,
        count=20,
        bad=[ItemPlan(0, "p0", CRASH, "n0", times=2)],
        faults=[Fault(Kind.KILL, 4.0, pick=0), Fault(Kind.KILL, 5.0, pick=1), Fault(Kind.KILL, 6.0, pick=2)],
        has_cluster=True,
        n_hosts=1,
        replays_max=1,
        spread_s=8.0,
        storm_s=9.0,
    )
    one.run()
    assert outcomes(one) == {"completed": 19, "dead": 1}
    assert one.oracle.finished["p0", 0] == "dead"
    assert "starts over: [('p0', 0, ((0, 1),))]" in "\n".join(one.history), "the schedule was played"


@pytest.mark.parametrize("level", [Robustness.NONE, Robustness.REPLAY])
def test_a_drain_waits_for_what_is_under_way_though_nobody_counts_it(level):
    """1. A slow sink has a queue. 2. The topology is drained: at NONE no item is unfinished for its producer."""
    done = []

    def trickle(position):
        for number in range(position, 100_000):
            time.sleep(0.01)
            yield number

    def slowly(number):
        time.sleep(0.03)
        done.append(number)

    def flow():
        dag = GeneratorProducer(trickle) | Map(abs, grouping="shuffle") | Map(slowly, grouping="shuffle")
        return Consecutor(dag, "flow", journal=None, robustness=level)

    one = FlowWorld(flow)
    one.run_until(lambda: len(done) > 50, 60.0)
    one.drain()
    report = one.run()
    assert one.status.summary.state is State.DRAINED
    assert report.introduced == report.completed == len(done) > 100


def test_a_tick_is_owed_on_the_way_that_it_takes():
    flow = scenario_of(0, Family.ENDINGS).flow
    node = next(node for node in flow.nodes if flow.followers(node.name))
    ticks = Ticks(flow, attempts_max=2)
    for number in range(3):
        assert ticks.starts(7, node.name) == number
    ticks.fails([1])
    ticks.fails([1])
    ticks.ends(7, is_good=True)
    ticks.starts(8, node.name)
    ticks.ends(8, is_good=False)
    way = ticks._way(0)
    assert way
    for name in way:
        ticks.comes(0, name)
    with pytest.raises(Violation, match=r"tick 2 of .* never came to"):
        ticks.check()
    for name in way:
        ticks.comes(2, name)
    ticks.check()
