"""Who is in the cluster, and when a worker is dead (R5)."""

from __future__ import annotations

from consecution_coordinator.events import Tell, Tick, WorkerSaid

from consecution.wire.cluster.from_client import ListAll
from consecution.wire.cluster.from_worker import AskPlacement, Heartbeat
from consecution.wire.cluster.to_client import State
from consecution.wire.cluster.to_worker import PlacementIs, RegisterAgain


def test_a_worker_that_joins_is_listed_with_its_slots(world):
    world.worker("a", slots=3)
    listing = world.ask(ListAll())
    assert [(w.name, w.state, w.used, w.slots) for w in listing.workers] == [("a", "alive", 0, 3)]


def test_a_worker_is_dead_after_three_seconds_of_silence_and_not_before(world):
    worker = world.worker("a")
    worker.is_silent = True
    world.run(2.75)
    assert world.ask(ListAll()).workers[0].state == "silent"
    world.run(0.5)
    assert world.ask(ListAll()).workers[0].state == "gone"


def test_a_coordinator_that_slept_begins_all_deadlines_anew(world):
    """1. The coordinator is stopped for a minute. 2. It wakes: no heartbeat came meanwhile. 3. Nobody is dead."""
    world.worker("a")
    world.start()
    number = world.placement().number
    world.now += 60
    world.send(Tick())
    world.run(2.0)
    assert world.ask(ListAll()).workers[0].state == "alive"
    assert world.placement().number == number


def test_a_dead_worker_that_comes_back_registers_again_and_its_children_are_ended(world):
    """Its incarnations were left out of a placement, so they never come back (R5)."""
    a = world.worker("a")
    world.worker("b")
    world.start()
    before = dict(a.children)
    assert before
    a.is_silent = True
    world.run(4.0)
    a.is_silent = False
    a.beat()
    world.run(1.0)
    assert a.again == 1
    assert not set(a.children) & set(before)
    assert world.state_of() is State.RUNNING


def test_two_workers_of_one_name_the_second_is_refused_and_the_first_undisturbed(world):
    first = world.worker("a", identity="one")
    world.start()
    running = dict(first.children)
    second = world.worker("a", identity="two")
    assert second.refusal is not None
    assert second.refusal.kind == "name"
    assert "--name" in second.refusal.reason
    world.run(2.0)
    assert first.children == running


def test_a_copy_of_a_worker_with_its_folder_is_kept_out_and_the_first_undisturbed(world):
    first = world.worker("a")
    world.start()
    running = dict(first.children)
    copy = world.worker("a")
    world.run(5.0)
    assert not copy.is_registered
    assert "copied" in copy.refusal.reason
    assert first.children == running


def test_a_name_is_free_again_when_its_worker_is_dead(world):
    world.worker("a", identity="one").die()
    world.run(4.0)
    assert world.worker("a", identity="two").is_registered


def test_a_worker_that_was_restarted_takes_its_name_over_soon_and_its_work_is_started_again(world):
    first = world.worker("a")
    world.start()
    first.die()
    second = world.worker("a")
    world.run(2.0)
    assert second.is_registered
    world.run(0.5)
    assert second.runs() == ["acker-0", "executor-0", "executor-1"]
    assert world.state_of() is State.RUNNING


def test_another_library_or_python_version_is_refused_with_both_versions(world):
    world.worker("a")
    other = world.worker("b", python="3.12")
    assert "3.12" in other.refusal.reason
    assert "3.11" in other.refusal.reason
    world.state.library = "2.0"
    world.state.workers._library = "2.0"
    assert "2.0" in world.worker("c").refusal.reason


def test_a_heartbeat_of_an_unknown_session_is_told_to_register_again(world):
    instructions = world.send(WorkerSaid(b"x", "", Heartbeat("a", "nobody", 1, 0)))
    assert instructions == [Tell(b"x", RegisterAgain())]


def test_an_older_heartbeat_changes_nothing(world):
    worker = world.worker("a")
    world.start()
    children = dict(world.state.workers.get("a").children)
    world.send(WorkerSaid(worker.peer, "", Heartbeat("a", worker.session, 1, 0)))
    assert world.state.workers.get("a").children == children


def test_a_worker_that_lags_is_told_the_placement_and_may_ask_for_it(world):
    worker = world.worker("a")
    world.start()
    newest = world.placement()
    worker.placements.clear()
    world.send(WorkerSaid(worker.peer, "q", AskPlacement("flow")))
    assert worker.placements["flow"] == newest
    worker.number += 1
    behind = Heartbeat(
        "a",
        worker.session,
        worker.number,
        worker.wanted.number,
        worker.states(),
        placements={"flow": newest.number - 1},
    )
    assert Tell(worker.peer, PlacementIs("flow", newest)) in world.send(WorkerSaid(worker.peer, "", behind))


def test_there_is_no_placement_of_what_is_unknown(world):
    instructions = world.send(WorkerSaid(b"x", "q", AskPlacement("nothing")))
    assert instructions == [Tell(b"x", PlacementIs("nothing", None), "q")]


def test_a_worker_with_a_strange_name_is_refused(world):
    assert "can't name a worker" in world.worker("a/../b").refusal.reason
    assert "can't name a worker" in world.worker("a\x1b[2J").refusal.reason


def test_a_worker_that_is_long_gone_is_forgotten_unless_something_waits_for_its_disk(world, build):
    world.worker("a", slots=1)
    world.start("flow", build.plan(1, feeds=(build.feed(0, "handed over"),)))
    world.worker("b", slots=1)
    world.run(1.0)
    for worker in world.workers.values():
        worker.die()
    world.run(5.0)
    world.run(3700.0, 1.0)
    assert [w.name for w in world.ask(ListAll()).workers] == ["a"]


def test_children_make_keys_for_their_links_in_a_cluster_with_keys(encrypted_world, world, build):
    for one, expected in ((encrypted_world, {True}), (world, {False})):
        worker = one.worker("a", slots=2)
        one.start("flow", build.plan(2))
        assert {order.is_encrypted for order in worker.wanted.children} == expected
