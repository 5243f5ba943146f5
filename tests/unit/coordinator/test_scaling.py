"""Another parallelism while a topology runs (R6): what is refused, who gets what, and what is undone."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from consecution.plan.partitions import dealt
from consecution.wire.cluster.from_client import Drain, Pause, Rebalance
from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.cluster.to_client import State
from consecution.wire.control import FeedCounts
from consecution.wire.placement import Phase, Role


def executors(world, name="flow"):
    return {m.index: m for m in world.placement(name).members if m.role is Role.EXECUTOR}


def tasks(world, name="flow"):
    """Where each task is."""
    return {task: m.worker for m in executors(world, name).values() for task in m.tasks}


def with_grouping(facts, *groupings):
    """The same plan, with these groupings of its stages."""
    pairs = zip(facts.stages, groupings, strict=True)
    return dataclasses.replace(facts, stages=tuple(dataclasses.replace(s, grouping=g) for s, g in pairs))


@pytest.fixture
def keyed(world, build):
    """A stage of one task and a keyed stage of two, on a worker with three slots; another worker has joined."""
    a = world.worker("a", slots=3)
    world.start("flow", with_grouping(build.plan(1, 2), "", "key"))
    b = world.worker("b", slots=2)
    world.news.clear()
    return a, b


def test_a_stage_grows_by_tasks_with_new_numbers_on_new_executors_of_the_worker_that_joined(world, keyed):
    before = executors(world)
    answer = world.ask(Rebalance("flow", {"n1": 4}))
    assert answer == Done("n1: 2 to 4 tasks, 32 of 64 partitions of its keys move")
    world.run(3.0)
    assert tasks(world) == {0: "a", 1: "a", 2: "a", 3: "b", 4: "b"}
    after = executors(world)
    assert {index: after[index] for index in before} == before, "whoever was there isn't touched"
    (scaled,) = world.placement().scaled
    assert (scaled.stage, scaled.tasks, set(Counter(scaled.owners).values())) == (1, (1, 2, 3, 4), {16})
    kept = [was for was, now in zip(dealt((1, 2)), scaled.owners, strict=True) if was == now]
    assert Counter(kept) == {1: 16, 2: 16}, "half of the partitions of each stay"
    assert world.state_of() is State.RUNNING


def test_producers_read_again_only_when_all_have_the_new_tasks_and_are_ready(world, keyed):
    """The walk: born, paused and confirmed, given while paused, ready, running."""
    _, b = keyed
    world.ask(Rebalance("flow", {"n1": 4}))
    world.run(3.0)
    paused, given, running = world.news
    assert [one.phase for one in world.news] == [Phase.PAUSED, Phase.PAUSED, Phase.RUNNING]
    assert [one.is_moving for one in world.news] == [True, True, False]
    assert (paused.scaled, given.scaled) == ((), running.scaled)
    assert all(child.ready >= given.number for child in b.children.values())


def test_it_waits_for_a_task_whose_setup_takes_time(world, keyed):
    a, b = keyed
    world.ask(Rebalance("flow", {"n1": 3}))
    world.run(0.25)
    b.place = lambda placement: None  # it has got the placement, and is setting its nodes up
    world.run(5.0)
    assert world.placement().phase is Phase.PAUSED
    assert world.placement().scaled
    del b.place
    b.place(world.placement())
    world.run(0.5)
    assert world.placement().phase is Phase.RUNNING
    assert a.killed == b.killed == []


def test_a_stage_shrinks_and_executors_that_are_left_without_a_task_end(world, keyed):
    a, _ = keyed
    before = executors(world)
    home = next(index for index, member in before.items() if member.tasks == (2,))
    world.ask(Rebalance("flow", {"n1": 1}))
    world.run(3.0)
    assert tasks(world) == {0: "a", 1: "a"}
    assert home not in executors(world)
    assert f"executor-{home}" not in a.runs()
    assert a.killed == []
    assert set(world.placement().scaled[0].owners) == {1}
    after = executors(world)
    assert all(after[index] == before[index] for index in after)


def test_numbers_of_tasks_and_executors_are_never_given_twice(world, keyed):
    ids = set()
    for width, expected in ((4, {0, 1, 2, 3, 4}), (1, {0, 1}), (3, {0, 1, 5, 6}), (1, {0, 1}), (2, {0, 1, 7})):
        world.ask(Rebalance("flow", {"n1": width}))
        world.run(4.0)
        assert set(tasks(world)) == expected
        ids |= {(m.index, m.incarnation) for m in executors(world).values()}
    assert max(Counter(index for index, _ in ids).values()) == 1


def test_without_free_slots_new_tasks_go_to_the_executors_that_there_are(world, build):
    world.worker("a", slots=2)
    world.start("flow", build.plan(2))
    world.ask(Rebalance("flow", {"n0": 5}))
    world.run(3.0)
    assert sorted(len(m.tasks) for m in executors(world).values()) == [2, 3]
    assert sorted(tasks(world)) == [0, 1, 2, 3, 4]


def test_a_number_of_slots_that_the_user_named_stays_the_limit(world, build):
    world.worker("a", slots=8)
    world.start("flow", build.plan(2), slots=2)
    world.ask(Rebalance("flow", {"n0": 5}))
    world.run(3.0)
    assert len(executors(world)) == 2


def test_fused_nodes_change_together(world, build):
    facts = build.plan(2)
    fused = dataclasses.replace(facts, stages=(dataclasses.replace(facts.stages[0], nodes=("read", "clean")),))
    world.worker("a", slots=2)
    world.start("flow", fused)
    assert "'clean' and 'read' are one stage" in world.ask(Rebalance("flow", {"read": 3, "clean": 4})).reason
    assert world.ask(Rebalance("flow", {"clean": 3, "read": 3})).note == "read, clean: 2 to 3 tasks"
    world.run(3.0)
    status = world.status()
    assert status.parallelism == {"read": 3, "clean": 3}
    assert status.changed == ("read", "clean")


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"nope": 2}, "has no node 'nope'; it has n0, n1"),
        ({"n1": 0}, "expected 1 or more"),
        ({"n1": -3}, "expected 1 or more"),
        ({"n1": 65}, "at most 64"),
        ({"n0": 2}, "all items go to one task"),
        ({"n1": 64, "n0": 1_000_000}, "all items go to one task"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason_and_changes_nothing(world, build, wanted, reason):
    world.worker("a")
    world.start("flow", with_grouping(build.plan(1, 2), "global", "key"))
    number = world.placement().number
    answer = world.ask(Rebalance("flow", wanted))
    assert isinstance(answer, Refused)
    assert reason in answer.reason
    world.run(1.0)
    assert world.placement().number == number


def test_more_tasks_than_a_topology_may_have_are_refused(world, build):
    world.worker("a")
    world.start("flow", build.plan(1))
    assert "at most 4096" in world.ask(Rebalance("flow", {"n0": 1_000_000})).reason


def test_sixty_four_tasks_of_a_keyed_stage_have_a_partition_each(world, keyed):
    world.ask(Rebalance("flow", {"n1": 64}))
    world.run(3.0)
    assert set(Counter(world.placement().scaled[0].owners).values()) == {1}


def test_a_finite_run_that_accumulates_is_refused(world, build):
    world.worker("a")
    world.start("flow", build.plan(1, 1, accumulating=True))
    assert "accumulates in memory (n1)" in world.ask(Rebalance("flow", {"n0": 2})).reason


def test_an_endless_run_whose_sums_lose_keys_says_so(world, build):
    feeds = (build.feed(0, endless=True),)
    world.worker("a")
    world.start("flow", with_grouping(build.plan(1, 2, feeds=feeds, accumulating=True), "", "key"))
    world.ask(Rebalance("flow", {"n0": 2}))
    world.run(3.0)
    assert world.status().summary.state_lost == frozenset()
    world.ask(Rebalance("flow", {"n1": 3}))
    world.run(3.0)
    assert world.status().summary.state_lost == {"n1"}


def test_the_same_parallelism_changes_nothing(world, keyed):
    assert "nothing changes" in world.ask(Rebalance("flow", {"n1": 2})).note
    world.run(1.0)
    assert world.news == []


def test_one_at_a_time(world, keyed):
    world.ask(Rebalance("flow", {"n1": 3}))
    assert "moved already" in world.ask(Rebalance("flow", {"n1": 4})).reason


def test_a_paused_topology_changes_and_stays_paused(world, keyed):
    world.ask(Pause("flow"))
    world.run(1.0)
    world.ask(Rebalance("flow", {"n1": 3}))
    world.run(3.0)
    assert world.state_of() is State.PAUSED
    assert len(world.placement().scaled[0].tasks) == 3
    assert {one.phase for one in world.news} == {Phase.PAUSED}
    assert world.news[-1].is_moving is False


# ---- restarts --------------------------------------------------------------------------------------------------------


def test_the_new_parallelism_outlives_the_coordinator(world, keyed):
    world.ask(Rebalance("flow", {"n1": 4}))
    world.run(3.0)
    before = world.placement()
    world.restart()
    world.run(8.0)
    assert world.placement().scaled == before.scaled
    assert world.placement().members == before.members
    assert world.status().parallelism == {"n0": 1, "n1": 4}
    world.ask(Rebalance("flow", {"n1": 5}))
    world.run(3.0)
    assert sorted(tasks(world)) == [0, 1, 2, 3, 4, 5]


def test_the_new_parallelism_outlives_the_workers(world, keyed):
    world.ask(Rebalance("flow", {"n1": 4}))
    world.run(3.0)
    scaled = world.placement().scaled
    for worker in keyed:
        worker.die()
    world.run(5.0)
    world.worker("c", slots=4)
    world.run(5.0)
    assert world.placement().scaled == scaled
    assert tasks(world) == dict.fromkeys(range(5), "c")


@pytest.mark.parametrize("after_s", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_coordinator_that_is_killed_meanwhile_has_the_old_parallelism_or_the_new_one(world, keyed, after_s):
    world.ask(Rebalance("flow", {"n1": 4}))
    world.run(after_s)
    world.restart()
    world.run(8.0)
    assert world.state_of() is State.RUNNING
    assert sorted(tasks(world)) in ([0, 1, 2], [0, 1, 2, 3, 4])
    assert {task for m in executors(world).values() for task in m.tasks} == set(world.course().tasks())
    assert all(m.tasks or m.feeds for m in executors(world).values())
    world.ask(Rebalance("flow", {"n1": 6}))
    world.run(4.0)
    assert len(tasks(world)) == 7


# ---- what goes wrong meanwhile ---------------------------------------------------------------------------------------


def test_new_processes_that_are_never_born_give_it_up(world, keyed):
    _, b = keyed
    b.phase = ChildPhase.STARTING
    world.ask(Rebalance("flow", {"n1": 4}))
    world.run(70.0)
    assert sorted(tasks(world)) == [0, 1, 2]
    assert b.children == {}
    assert world.state_of() is State.RUNNING
    assert any("given up" in text for _, text in world.status().events)
    assert Phase.PAUSED not in {one.phase for one in world.news}


def test_a_setup_that_fails_undoes_it(world, keyed):
    """1. The new executor is given its task, still paused. 2. The setup raises, it ends. 3. All is as it was."""
    _, b = keyed
    before = executors(world)
    world.ask(Rebalance("flow", {"n1": 3}))
    world.run(0.25)
    b.place = lambda placement: None
    world.run(1.0)
    assert world.placement().scaled
    b.end(next(iter(b.children)), code=1, broke="setup", message="setup of node 'n1' raised OSError: in use")
    del b.place
    world.run(2.0)
    assert world.placement().scaled == ()
    assert executors(world) == before
    assert world.state_of() is State.RUNNING
    assert world.status().parallelism == {"n0": 1, "n1": 2}


def test_a_worker_that_dies_while_tasks_are_given_undoes_it(world, keyed):
    a, b = keyed
    world.ask(Rebalance("flow", {"n1": 1}))
    world.run(0.25)
    a.place = lambda placement: None
    b.place = lambda placement: None
    world.run(0.25)
    del a.place, b.place
    a.die()
    world.run(8.0)
    assert sorted(tasks(world)) == [0, 1, 2]
    assert set(tasks(world).values()) == {"b"}
    assert world.state_of() is State.RUNNING


def test_an_unconfirmed_pause_kills_whoever_loses_keys_and_nobody_else(world, keyed):
    a, _ = keyed
    for child in a.children.values():
        child.confirms = False
    before = executors(world)
    world.ask(Rebalance("flow", {"n1": 3}))
    world.run(16.0)
    assert {id_.index for id_ in a.killed} == {index for index, m in before.items() if {1, 2} & set(m.tasks)}
    assert sorted(tasks(world)) == [0, 1, 2, 3]
    assert world.state_of() is State.RUNNING


def test_an_unconfirmed_pause_of_a_stage_that_only_grows_kills_nobody(world, build):
    a = world.worker("a", slots=2)
    world.start("flow", build.plan(1, 1))
    for child in a.children.values():
        child.confirms = False
    world.ask(Rebalance("flow", {"n1": 2}))
    world.run(16.0)
    assert a.killed == []
    assert sorted(tasks(world)) == [0, 1, 2]
    assert world.state_of() is State.RUNNING


def test_producers_that_have_ended_give_it_up(world, keyed):
    a, _ = keyed
    holder = next(m.index for m in executors(world).values() if m.feeds)
    a.tell(holder, feeds=(FeedCounts(0, "feed0", introduced=5, completed=5, mark=5, is_at_end=True, is_idle=True),))
    world.ask(Rebalance("flow", {"n1": 4}))
    world.run(3.0)
    assert sorted(tasks(world)) == [0, 1, 2]
    assert any("have ended" in text for _, text in world.status().events)


def test_a_drain_meanwhile_gives_it_up(world, keyed):
    a, _ = keyed
    for child in a.children.values():
        child.confirms = False
    world.ask(Rebalance("flow", {"n1": 4}))
    world.run(1.0)
    world.ask(Drain("flow"))
    world.run(1.0)
    draining = next(one for one in world.news if one.phase is Phase.DRAINING)
    assert (draining.scaled, draining.is_moving) == ((), False)
    assert world.state_of() is State.DRAINED


# ---- level NONE ------------------------------------------------------------------------------------------------------


def counted(worker, **frames):
    for child in worker.children.values():
        child.made, child.done = frames["made"], frames["done"]


def test_at_level_none_frames_made_and_worked_on_must_agree_twice(world, build):
    a = world.worker("a", slots=2)
    world.start("flow", build.plan(1, 1), level="NONE")
    counted(a, made=10, done=9)
    world.ask(Rebalance("flow", {"n1": 2}))
    world.run(3.0)
    assert world.placement().phase is Phase.PAUSED
    assert world.placement().scaled == ()
    counted(a, made=10, done=10)
    world.run(2.0)
    assert world.placement().phase is Phase.RUNNING
    assert world.placement().scaled
    agreed = [one.pause for one in world.news if one.phase is Phase.PAUSED]
    assert len(set(agreed)) >= 3, "another pause after the one at which they agreed first"


def test_at_level_none_processes_that_agree_are_asked_once_more(world, build):
    """What each said at the first pause it said at a time of its own: a frame may have passed between two of them."""
    a = world.worker("a", slots=2)
    world.start("flow", build.plan(1, 1), level="NONE")
    counted(a, made=10, done=10)
    world.ask(Rebalance("flow", {"n1": 2}))
    world.run(3.0)
    asked = {one.pause for one in world.news if one.phase is Phase.PAUSED and not one.scaled}
    assert asked == {1, 2}
    assert world.placement().scaled
