"""A given flow on the virtual cluster: its own items, with and without faults, to a Report."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from itertools import pairwise

import pytest

from consecution import Chunk, Collect, Consecutor, GeneratorProducer, IntervalProducer, Map, Node, Robustness
from consecution.errors import GraphError
from consecution.testing.sim import FlowWorld
from consecution.testing.sim.network import Weather
from consecution.testing.sim.scenario import Fault, Kind
from consecution.wire.cluster.to_client import State

ITEMS = 200


def trickle(position):
    for number in range(position, ITEMS):
        time.sleep(0.02)
        yield number


def odd_sevens_fail(number):
    if number % 7 == 0 and number % 2:
        message = f"no {number}"
        raise ValueError(message)
    return number


def spread(kept=None, **options):
    def flow():
        last = Collect("out") if kept is None else Map(kept.append, name="keeps", grouping="shuffle")
        options.setdefault("journal", None)
        return Consecutor(GeneratorProducer(trickle) | Map(odd_sevens_fail, grouping="shuffle") | last, **options)

    return flow


FAILING = [number for number in range(ITEMS) if number % 7 == 0 and number % 2]


@pytest.mark.parametrize("seed", range(6))
def test_faults_cost_a_given_flow_no_item(seed):
    kept = []
    faults = [Fault(Kind.KILL, 0.7 * n, pick=n + seed) for n in range(1, 6)]
    faults += [Fault(Kind.CUT, 2.0, pick=seed, other=seed + 1, seconds=1.0), Fault(Kind.CRASH_WORKER, 3.0, pick=seed)]
    weather = Weather(delay_s=0.01, jitter_s=0.05, loss=0.02)
    world = FlowWorld(spread(kept), seed=seed, executors=3, faults=faults, storm=weather, storm_s=5.0)
    report = world.run()
    assert (report.introduced, report.completed, report.failed) == (ITEMS, ITEMS - len(FAILING), len(FAILING))
    assert sorted(failure.item for failure in report.failures) == FAILING
    assert set(kept) == set(range(ITEMS)) - set(FAILING)
    assert len(kept) > ITEMS - len(FAILING), "something was under way when a process was killed, and came again"
    assert report.is_finished


def test_without_a_fault_nothing_is_repeated_and_time_is_the_flows_own():
    world = FlowWorld(spread())
    report = world.run()
    assert report.collected["out"] == [number for number in range(ITEMS) if number not in FAILING]
    assert report.replayed == 3 * len(FAILING)
    assert 4.0 < report.elapsed_s < 12.0


def test_a_seed_gives_a_given_flow_the_same_run_twice():
    def trace(seed):
        world = FlowWorld(spread(), seed=seed, faults=[Fault(Kind.KILL, 1.0, pick=1)], storm_s=2.0)
        world.run()
        return world.trace

    assert trace(1) == trace(1) != trace(2)


def test_below_replay_nothing_is_replayed():
    report = FlowWorld(spread(robustness=Robustness.TRACK)).run()
    assert (report.completed, report.failed, report.replayed) == (ITEMS - len(FAILING), len(FAILING), 0)


class Asks(Node):
    async def process(self, item):
        await asyncio.sleep(2)
        self.push(item)


def test_what_all_processes_wait_for_passes_at_once():
    def flow():
        due = IntervalProducer(wait=timedelta(seconds=5))
        rest = Asks(grouping="shuffle") | Chunk(100, within=timedelta(seconds=18))
        return Consecutor(due | Map(lambda at: at.second) | rest | Collect("out"), journal=None)

    world = FlowWorld(flow)
    world.run_until(lambda: world.timeline.now > 54.0, 60.0)
    world.drain()
    report = world.run()
    assert report.introduced == report.completed == 10
    assert world.status.summary.state is State.DRAINED
    first = report.collected["out"][0]
    assert len(first) == 4
    assert [(later - earlier) % 60 for earlier, later in pairwise(first)] == [5, 5, 5]


def test_joined_consecutors_are_refused():
    def flow():
        first = Consecutor([1] | Map(abs), "first", journal=None)
        return first | Consecutor(Collect("out"), "second", journal=None)

    with pytest.raises(GraphError, match="linked to other consecutors"):
        FlowWorld(flow)
