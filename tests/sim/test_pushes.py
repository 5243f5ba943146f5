"""Items from outside on the virtual cluster: pushed, awaited and asked for in virtual time."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from consecution import Chunk, Collect, Consecutor, Map, Pusher
from consecution.client import NotDone
from consecution.testing.sim import Fault, FlowWorld, Kind
from consecution.wire.cluster.to_client import State

TAKES_S = 2.0
LATE_S = 1.5
"""A receipt asks again at growing intervals, of a second at most."""


def slowly(item):
    if item == "bad":
        message = "no good"
        raise ValueError(message)
    time.sleep(TAKES_S)
    return item


def slow_flow(done=None):
    def flow():
        last = Collect("out") if done is None else Map(done.append, name="done", grouping="shuffle")
        return Consecutor(Pusher() | Map(slowly, grouping="shuffle") | last, "flow", replays_max=1)

    return flow


def running(flow, **options):
    world = FlowWorld(flow, **options)

    def is_running():
        status = world.look()
        return status is not None and status.summary.state is State.RUNNING

    world.run_until(is_running, 10.0)
    return world


def test_a_receipt_that_is_awaited_tells_the_outcome_at_the_virtual_time_of_its_tree():
    world = running(slow_flow())
    began = world.timeline.now
    first = world.push("a")
    assert (first.producer, first.seq, first.outcome) == ("manual", 0, "open")
    assert world.timeline.now - began < 0.5, "it is journalled, and not yet processed"
    with pytest.raises(TimeoutError, match="still open"):
        first.wait(1.0)
    assert first.wait() == "completed"
    assert TAKES_S <= world.timeline.now - began <= TAKES_S + LATE_S
    bad = world.push("bad")
    assert bad.wait() == "failed"
    assert bad.attempts == 2
    assert "no good" in str(bad.error)
    world.drain()
    report = world.run()
    assert (report.introduced, report.completed, report.failed) == (2, 1, 1)
    assert report.collected["out"] == ["a"]


def test_the_receipt_of_an_item_that_a_chunk_holds_is_open_until_the_chunk_leaves():
    def flow():
        return Consecutor(Pusher() | Chunk(10, within=timedelta(seconds=20)) | Collect("out"), "flow")

    world = running(flow)
    receipts = [world.push(number) for number in range(3)]
    began = world.timeline.now
    assert not world.client.wait_all(receipts, 18.0)
    assert world.client.wait_all(receipts)
    assert 18.0 <= world.timeline.now - began <= 1.25 * 20.0 + LATE_S  # its timer looks four times in `within`
    world.drain()
    assert world.run().collected["out"] == [[0, 1, 2]]


def test_a_key_that_is_known_is_the_item_that_is_there():
    world = running(slow_flow())
    receipt = world.push("a", key="one")
    again = world.push("a", key="one")
    assert again.seq == receipt.seq
    assert receipt.wait() == again.wait() == "completed"
    world.drain()
    assert world.run().introduced == 1


@pytest.mark.parametrize("kind", [Kind.POWER, Kind.CRASH_WORKER])
def test_what_was_pushed_before_a_kill_is_replayed_after_it(kind):
    """1. An item is pushed, and its pusher told so. 2. It is in work. 3. Everything dies, with what wasn't synced."""
    done = []
    fault = Fault(kind, at=9.0, seconds=1.0)
    world = running(slow_flow(done), hosts=1, faults=[fault], storm_s=10.0)
    world.run_until(lambda: world.timeline.now > 8.0, 60.0)
    receipt = world.push("a")
    world.run_until(lambda: world.timeline.now > 9.0, 60.0)
    assert done == []
    assert receipt.wait() == "completed"
    assert done == ["a"]
    assert world.timeline.now > 9.0 + TAKES_S
    world.drain()
    report = world.run()
    assert (report.introduced, report.completed, report.failed) == (1, 1, 0)


def test_a_push_waits_for_a_coordinator_that_is_being_started():
    world = running(slow_flow())
    world.restart_coordinator(down_s=3.0, points=1)
    began = world.timeline.now
    receipt = world.push("a")
    assert world.timeline.now - began >= 2.5
    assert receipt.wait() == "completed"
    world.drain()
    assert world.run().completed == 1


def test_what_is_paused_or_over_takes_nothing_and_says_so():
    world = running(slow_flow())
    world.pause()
    with pytest.raises(NotDone, match="is paused"):
        world.push("a")
    world.resume()
    assert world.push("b").wait() == "completed"
    world.drain()
    world.run()
    with pytest.raises(NotDone, match="is over"):
        world.push("c")


def test_a_seed_gives_pushes_the_same_run_twice():
    def trace(seed):
        world = running(slow_flow(), seed=seed, faults=[Fault(Kind.KILL, 4.0, pick=1)], storm_s=5.0)
        assert world.client.wait_all(world.client.push_all("sim", range(5), keys=list("abcde")))
        world.drain()
        world.run()
        return world.trace

    assert trace(1) == trace(1) != trace(2)
