"""Given flows under the random faults of seeds: nodes that sum until `finish`, and async nodes.

The oracle of random flows follows neither; here the answer is known beforehand. A finite run that sums starts over when
a process dies (R17): its sums are right, each is told once, and no state is called lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pytest
from consecution_coordinator.course import Course

from consecution import Collect, Consecutor, GeneratorProducer, Map, Node
from consecution.testing.sim import FlowWorld, Violation, scenario_of

ITEMS = 120
BEGINS_S = 1.0  # a run that fails before it has begun is told so, and not mended
SEEDS = [seed for seed in range(36) if seed % 3 == 2]  # those of a cluster
BAD = {number for number in range(ITEMS) if number % 40 == 17}


def trickle(position):
    for number in range(position, ITEMS):
        time.sleep(0.04)
        yield number


class Sums(Node):
    def setup(self):
        self.totals = Counter()

    def process(self, number):
        self.totals[number % 5] += number

    def finish(self):
        for key in sorted(self.totals):
            self.push((key, self.totals[key]))


def key_of(number):
    return number % 5


def sums():
    dag = GeneratorProducer(trickle) | Map(abs, grouping="shuffle", parallelism=2)
    return Consecutor(dag | Sums(parallelism=2, key=key_of) | Collect("out"), "flow", journal=None, timeout_s=3.0)


def deadly(number):
    if number in BAD:
        os._exit(3)
    return number


def deadly_sums():
    dag = GeneratorProducer(trickle) | Map(deadly, grouping="shuffle", parallelism=2)
    return Consecutor(dag | Sums(parallelism=2, key=key_of) | Collect("out"), "flow", journal=None, timeout_s=3.0)


class Asks(Node):
    """The later it comes within ten, the sooner it has its answer; some get none."""

    async def process(self, number):
        await asyncio.sleep(0.01 * (10 - number % 10))
        if number in BAD:
            message = f"no answer to {number}"
            raise ValueError(message)
        self.push(number)


class Told(Node):
    """A sink outside of the cluster: what was written is not unwritten."""

    written: ClassVar[list[int]] = []

    def process(self, number):
        self.written.append(number)


def asks():
    dag = GeneratorProducer(trickle) | Asks(grouping="shuffle", concurrency=4) | Told(grouping="shuffle")
    return Consecutor(dag, "flow", journal=None, timeout_s=3.0, replays_max=1)


def world_of(seed, flow):
    """A flow under all that happens to a seed's own."""
    scenario = scenario_of(seed)
    faults = [replace(fault, at=BEGINS_S + fault.at * 6.0 / scenario.storm_s) for fault in scenario.faults]
    return FlowWorld(
        flow,
        seed=seed,
        executors=scenario.n_executors,
        ackers=scenario.n_ackers,
        hosts=scenario.n_hosts,
        faults=faults,
        storm=scenario.storm,
        storm_s=BEGINS_S + 7.0,
    )


def run(world):
    try:
        return world.run()
    except Violation as error:
        newest = "\n".join(list(world.history)[-40:])
        pytest.fail(f"{error}\n{newest}")


@pytest.mark.parametrize("seed", SEEDS)
def test_sums_are_right_whoever_dies(seed):
    report = run(world_of(seed, sums))
    right = {(key, sum(range(key, ITEMS, 5))) for key in range(5)}
    assert set(report.collected["out"]) == right
    assert len(report.collected["out"]) == len(right)
    assert (report.introduced, report.completed, report.failed) == (ITEMS, ITEMS, 0)
    assert not report.state_lost
    assert report


@pytest.mark.parametrize("seed", SEEDS[::2])
def test_sums_are_those_of_all_items_but_the_ones_that_kill_their_process(seed):
    report = run(world_of(seed, deadly_sums))
    right = {(key, sum(set(range(key, ITEMS, 5)) - BAD)) for key in range(5)}
    assert set(report.collected["out"]) == right
    assert (report.introduced, report.completed, report.failed) == (ITEMS, ITEMS - len(BAD), len(BAD))
    assert {failure.item for failure in report.failures} == BAD
    assert {failure.attempts for failure in report.failures} == {4}
    assert not report.state_lost


def test_a_run_that_sums_and_goes_on_after_a_death_is_found(monkeypatch):
    monkeypatch.setattr(Course, "starts_over", False)
    reports = [run(world_of(seed, sums)) for seed in SEEDS[:7]]
    assert not all(reports)
    for report in reports:  # and what it says of itself is true: a sum that lacks something is called lost
        assert report.state_lost or sum(total for _, total in report.collected["out"]) >= sum(range(ITEMS))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_awaited_is_completed_or_fails_by_its_own_fault(seed, monkeypatch):
    monkeypatch.setattr(Told, "written", [])
    report = run(world_of(seed, asks))
    assert (report.introduced, report.completed, report.failed) == (ITEMS, ITEMS - len(BAD), len(BAD))
    assert {failure.item for failure in report.failures} == BAD
    assert {failure.attempts for failure in report.failures} == {2}
    assert set(Told.written) == set(range(ITEMS)) - BAD
    assert report.is_finished
