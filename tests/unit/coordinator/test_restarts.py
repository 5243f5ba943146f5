"""A coordinator that is killed and started again takes the running cluster back without touching it."""

from __future__ import annotations

import pytest

from consecution.wire.cluster.from_client import Kill, ListAll, Pause, Rebalance, Resume
from consecution.wire.cluster.to_client import State
from consecution.wire.control import FeedCounts
from consecution.wire.placement import Phase


def test_running_children_are_taken_back_without_a_start_a_kill_or_a_placement(world, build):
    a, b = world.worker("a", slots=2), world.worker("b", slots=2)
    world.start("flow", build.plan(4))
    before = (dict(a.children), dict(b.children), world.placement())
    world.is_down = True
    world.run(20.0)
    world.news.clear()
    world.restart()
    world.run(10.0)
    assert (a.children, b.children, world.placement()) == before
    assert world.news == []
    assert world.state_of() is State.RUNNING
    assert a.again == b.again == 1


def test_until_they_are_back_its_workers_are_expected_and_nothing_is_placed_anew(world, build):
    a = world.worker("a")
    world.start("flow", build.plan(1))
    newcomer = world.worker("b")
    world.restart()
    a.is_silent = True
    newcomer.beat()
    world.run(5.0)
    states = {w.name: w.state for w in world.ask(ListAll()).workers}
    assert states == {"a": "expected", "b": "alive"}
    assert newcomer.children == {}
    world.run(3.0)
    assert newcomer.runs() == ["acker-0", "executor-0"]


def test_a_child_that_died_meanwhile_is_found_by_its_exit_with_its_suspects(world, build):
    a = world.worker("a")
    world.start("flow", build.plan(1, 1))
    world.is_down = True
    a.crash(1, runs=((5, 0, 1),))
    assert a.exits
    world.restart()
    world.run(2.0)
    deaths = [death for placement in world.news for death in placement.deaths]
    assert deaths[0].runs == ((5, 0, 1),)
    assert len(world.placement().members) == 3
    assert a.exits == []


def test_a_worker_that_was_restarted_meanwhile_gets_its_children_and_journal_again(world, build):
    a = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    journal = a.children[a.child(0)].order.journal
    a.die()
    world.restart()
    again = world.worker("a", slots=1)
    world.run(2.0)
    assert again.children[again.child(0)].order.journal == journal
    assert world.state_of() is State.RUNNING


def test_everything_killed_at_once_and_started_again_with_its_disks_goes_on(world, build):
    workers = [world.worker(name, slots=1) for name in "ab"]
    world.start("flow", build.plan(1, 1))
    number = world.placement().number
    for worker in workers:
        worker.die()
    world.restart()
    for name in "ab":
        world.worker(name, slots=1)
    world.run(3.0)
    assert world.state_of() is State.RUNNING
    assert world.placement().number > number


def test_attempts_and_numbers_never_go_back(world, build):
    a = world.worker("a")
    world.start("flow", build.plan(1))
    for _ in range(3):
        world.run(3.0)
        a.crash(0)
        world.run(1.0)
    number, attempt = world.placement().number, a.child(0).attempt
    world.restart()
    world.run(2.0)
    a.crash(0)
    world.run(2.0)
    assert a.child(0).attempt == attempt + 1
    assert world.placement().number > number


def test_a_move_under_way_is_forgotten_and_its_pause_ends(world, build):
    a = world.worker("a", slots=4)
    world.start("flow", build.plan(4))
    b = world.worker("b", slots=4)
    for child in a.children.values():
        child.confirms = False
    world.ask(Rebalance("flow"))
    world.run(2.0)
    assert world.placement().phase is Phase.PAUSED
    world.restart()
    world.run(3.0)
    assert world.placement().phase is Phase.RUNNING
    assert b.children == {}
    assert {m.worker for m in world.placement().members} == {"a"}


def moving(world, build):
    """A topology whose producers are paused for a move that they don't confirm."""
    a = world.worker("a", slots=4)
    world.start("flow", build.plan(4))
    world.worker("b", slots=4)
    for child in a.children.values():
        child.confirms = False


def test_a_resume_during_a_move_holds_over_a_restart(world, build):
    """1. A paused topology is moved. 2. It is resumed, which waits for the move. 3. The coordinator is killed."""
    moving(world, build)
    world.ask(Pause("flow"))
    world.ask(Rebalance("flow"))
    world.run(2.0)
    world.ask(Resume("flow"))
    assert world.placement().phase is Phase.PAUSED
    world.restart()
    world.run(3.0)
    assert (world.placement().phase, world.state_of()) == (Phase.RUNNING, State.RUNNING)


def test_a_pause_during_a_move_holds_over_a_restart(world, build):
    moving(world, build)
    world.ask(Rebalance("flow"))
    world.run(2.0)
    world.ask(Pause("flow"))
    world.restart()
    world.run(3.0)
    assert (world.placement().phase, world.state_of()) == (Phase.PAUSED, State.PAUSED)


def test_a_pause_by_a_user_holds_over_a_restart(world, build):
    world.worker("a")
    world.start()
    world.ask(Pause("flow"))
    world.restart()
    world.run(3.0)
    assert world.state_of() is State.PAUSED
    assert world.placement().phase is Phase.PAUSED


def test_a_topology_that_was_stopping_ends(world, build):
    a = world.worker("a")
    world.start()
    a.follow = lambda wanted: None
    world.ask(Kill("flow"))
    world.restart()
    del a.follow
    world.run(2.0)
    assert a.children == {}
    world.run(15.0)
    assert world.state_of() is State.KILLED


def test_children_of_what_is_unknown_are_ended(world, build):
    """The store was lost: nothing of an unknown topology may go on."""
    a = world.worker("a")
    world.start()
    world.topologies.clear()
    world.restart()
    world.run(2.0)
    assert a.children == {}


def test_counts_are_kept(world, build):
    a = world.worker("a")
    world.start("flow", build.plan(1))
    a.tell(0, feeds=(FeedCounts(0, "feed0", introduced=9, completed=5, mark=5, is_idle=False),))
    world.run(2.0)
    a.is_silent = True
    world.restart()
    assert world.status().summary.completed == 5


def test_a_pending_topology_still_waits_and_starts(world, build):
    world.ask(build.submit())
    world.restart()
    assert world.state_of() is State.PENDING
    world.worker("a")
    world.run(1.0)
    assert world.state_of() is State.RUNNING


@pytest.mark.parametrize("end", ["kill", "finish"])
def test_a_new_submission_goes_on_with_the_journal_that_an_unfinished_run_left(world, build, end):
    a = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    a.tell(0, feeds=(FeedCounts(0, "feed0", introduced=9, completed=5, mark=5, is_idle=False),))
    if end == "kill":
        world.ask(Kill("flow"))
    else:
        a.tell(0, feeds=(FeedCounts(0, "feed0", 9, 9, mark=9, is_at_end=True),), tasks_ended=(0,))
    world.run(2.0)
    world.start("flow", build.plan(1))
    journal = a.children[a.child(0)].order.journal
    if end == "kill":
        assert journal == "flow.1.g0.t1"
        assert world.status().summary.completed == 5
        world.ask(Kill("flow"))
        world.run(2.0)
        world.start("flow", build.plan(1), is_fresh=True)
        assert a.children[a.child(0)].order.journal == "flow.3.g0.t1"
        assert world.status().summary.completed == 0
    else:
        assert journal == "flow.2.g0.t1"
        assert world.status().summary.completed == 0
