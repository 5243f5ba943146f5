"""When a topology has come to its end, and how it gets there (R19)."""

from __future__ import annotations

import dataclasses

import pytest

from consecution.wire.cluster.from_client import Drain, Kill
from consecution.wire.cluster.parcel import Done
from consecution.wire.cluster.to_client import State
from consecution.wire.control import FeedCounts
from consecution.wire.placement import Phase


def finish(worker, index=0, tasks=(), **counts):
    """An executor tells that its producers and tasks have ended."""
    child = worker.children[worker.child(index)]
    feeds = tuple(dataclasses.replace(one, is_at_end=True, is_idle=True, **counts) for one in child.told.feeds)
    worker.tell(index, feeds=feeds, tasks_ended=tasks)


def test_it_is_finished_when_all_producers_and_tasks_have_ended(world, build):
    worker = world.worker("a", slots=2)
    world.start("flow", build.plan(1, 1))
    finish(worker, 0, tasks=(0,), introduced=5, completed=5)
    world.run(0.5)
    assert world.state_of() is State.RUNNING
    finish(worker, 1, tasks=(1,))
    world.run(1.0)
    summary = world.status().summary
    assert (summary.state, summary.introduced, summary.completed) == (State.FINISHED, 5, 5)
    assert summary.is_all_done
    assert worker.children == {}
    assert world.news[-1].phase is Phase.ENDED
    assert world.news[-1].members, "who ended in good order is still listed, so that journals are released"


def test_it_is_not_finished_while_an_item_has_no_outcome(world, build):
    worker = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    worker.tell(0, feeds=(FeedCounts(0, "feed0", is_at_end=True, is_idle=False),), tasks_ended=(0,))
    world.run(2.0)
    assert world.state_of() is State.RUNNING


def test_a_source_that_can_not_be_read_on_fails_the_run_after_all_that_entered_is_finished(world, build):
    worker = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    worker.tell(0, feeds=(FeedCounts(0, "feed0", is_idle=False),), source_error="file.csv was cut")
    world.run(0.5)
    assert world.state_of() is State.DRAINING
    finish(worker, 0, tasks=(0,))
    world.run(1.0)
    assert world.state_of() is State.FAILED
    assert world.status().summary.reason == "file.csv was cut"


def test_drain_ends_when_nothing_is_in_flight(world, build):
    worker = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    worker.tell(0, feeds=(FeedCounts(0, "feed0", introduced=3, in_flight=2, is_idle=False),))
    world.ask(Drain("flow", 60))
    world.run(2.0)
    assert world.state_of() is State.DRAINING
    worker.tell(0, feeds=(FeedCounts(0, "feed0", introduced=3, completed=3, is_idle=True),))
    world.run(1.0)
    assert world.state_of() is State.DRAINED


def test_a_drain_waits_for_tasks_that_have_not_ended_though_no_item_is_unfinished(world, build):
    """At level NONE nobody counts what is under way, and what timers push is no item: only its task knows of it."""
    workers = [world.worker("a", slots=1), world.worker("b", slots=1)]
    world.start("flow", build.plan(1, 1))
    world.ask(Drain("flow", 60))
    workers[1].tell(1, tasks_ended=())
    world.run(2.0)
    assert world.state_of() is State.DRAINING
    workers[1].tell(1, tasks_ended=(1,))
    world.run(1.0)
    assert world.state_of() is State.DRAINED


def test_an_idle_word_from_before_the_drain_does_not_end_it(world, build):
    worker = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    worker.place = lambda placement: None  # it hasn't heard of the drain yet
    worker.tell(0, feeds=(FeedCounts(0, "feed0", is_idle=True),))
    world.ask(Drain("flow", 60))
    world.run(2.0)
    assert world.state_of() is State.DRAINING


def test_a_drain_that_passes_its_deadline_is_cut_and_says_what_was_left(world, build):
    worker = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    worker.tell(0, feeds=(FeedCounts(0, "feed0", introduced=3, in_flight=2, is_idle=False),))
    world.ask(Drain("flow", 5))
    world.run(7.0)
    summary = world.status().summary
    assert summary.state is State.KILLED
    assert "2 items in flight" in summary.reason


def test_kill_leaves_all_out_at_once_and_is_over_when_all_are_gone(world, build):
    worker = world.worker("a")
    world.start()
    world.ask(Kill("flow"))
    assert (world.news[-1].phase, world.news[-1].members) == (Phase.ENDED, ())
    world.run(1.0)
    assert worker.children == {}
    assert world.state_of() is State.KILLED


def test_what_has_finished_stays_finished_when_it_is_killed_while_it_ends(world, build):
    """Its journals are being released: as a killed one it would go on with nothing, and do all of it again.

    1. All is done, and all processes are told to end. 2. Before they have, a user kills it. 3. It is submitted again.
    """
    worker = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    worker.follow = lambda wanted: None
    worker.place = lambda placement: None
    finish(worker, 0, tasks=(0,), introduced=5, completed=5)
    world.run(1.0)
    assert world.state_of() is State.STOPPING
    assert isinstance(world.ask(Kill("flow")), Done)
    world.run(15.0)
    assert world.state_of() is State.FINISHED
    run = world.course().kept.run
    world.ask(build.submit())
    assert world.course().kept.lineage == world.course().kept.run == run + 1


def test_kill_is_over_in_time_although_a_child_does_not_end(world, build):
    worker = world.worker("a")
    world.start()
    worker.follow = lambda wanted: None
    world.ask(Kill("flow"))
    world.run(5.0)
    assert world.state_of() is State.STOPPING
    world.run(9.0)
    assert world.state_of() is State.KILLED


@pytest.mark.parametrize("command", [Kill, Drain])
def test_what_is_pending_ends_at_once(world, build, command):
    world.ask(build.submit())
    assert isinstance(world.ask(command("flow")), Done)
    assert world.state_of().is_over
