"""Planned moves (R6): rebalance, and workers that leave."""

from __future__ import annotations

import pytest

from consecution.wire.cluster.from_client import Kill, Pause, Rebalance, Resume
from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.cluster.to_client import State
from consecution.wire.control import FeedCounts
from consecution.wire.placement import Phase, Role


def owners(world, name="flow"):
    return {m.index: m.worker for m in world.placement(name).members if m.role is Role.EXECUTOR}


@pytest.fixture
def lopsided(world, build):
    """Four executors on worker a; worker b has joined since."""
    a = world.worker("a", slots=4)
    world.start("flow", build.plan(4))
    b = world.worker("b", slots=4)
    world.news.clear()
    return a, b


def test_a_worker_that_joins_gets_work_at_the_next_rebalance_and_not_before(world, lopsided):
    world.run(3.0)
    assert set(owners(world).values()) == {"a"}
    assert isinstance(world.ask(Rebalance("flow")), Done)
    world.run(2.0)
    assert sorted(owners(world).values()) == ["a", "a", "b", "b"]
    assert world.state_of() is State.RUNNING


def test_a_move_pauses_waits_for_that_pause_and_resumes_with_the_new_placement(world, lopsided):
    world.ask(Rebalance("flow"))
    world.run(2.0)
    assert [placement.phase for placement in world.news] == [Phase.PAUSED, Phase.RUNNING]
    paused, resumed = world.news
    assert paused.pause == 1
    assert {m.worker for m in paused.members if m.role is Role.EXECUTOR} == {"a"}
    assert {m.worker for m in resumed.members if m.role is Role.EXECUTOR} == {"a", "b"}


@pytest.mark.parametrize("wish", [Pause, Resume])
def test_what_a_user_wishes_while_a_move_waits_for_new_processes_holds_when_it_is_given_up(world, lopsided, wish):
    """1. A move waits for processes that never come. 2. A user pauses, or resumes. 3. The move is given up."""
    _, b = lopsided
    b.follow = lambda wanted: None
    if wish is Resume:
        world.ask(Pause("flow"))
    world.ask(Rebalance("flow"))
    world.run(2.0)
    world.ask(wish("flow"))
    world.run(120.0, 1.0)
    assert any("given up" in text for _, text in world.status().events)
    expected = (Phase.PAUSED, State.PAUSED) if wish is Pause else (Phase.RUNNING, State.RUNNING)
    assert (world.news[-1].phase, world.state_of()) == expected


def test_only_tasks_that_must_move_are_moved(world, lopsided):
    a, _ = lopsided
    before = {m.index: m for m in world.placement().members if m.role is Role.EXECUTOR}
    world.ask(Rebalance("flow"))
    world.run(2.0)
    after = {m.index: m for m in world.placement().members if m.role is Role.EXECUTOR}
    stayed = [index for index, member in after.items() if member.worker == "a"]
    assert [before[index].incarnation for index in stayed] == [after[index].incarnation for index in stayed]
    assert len(stayed) == 2
    assert {index: m.tasks for index, m in before.items()} == {index: m.tasks for index, m in after.items()}
    assert len([id_ for id_ in a.children if id_.role == "executor"]) == 2


def test_producers_are_paused_only_when_the_new_processes_are_born(world, lopsided):
    _, b = lopsided
    b.phase = ChildPhase.STARTING
    world.ask(Rebalance("flow"))
    world.run(5.0)
    assert world.news == []
    b.bear()
    world.run(1.0)
    assert [placement.phase for placement in world.news] == [Phase.PAUSED, Phase.RUNNING]


def test_a_move_is_given_up_when_the_new_processes_are_not_born_and_what_runs_goes_on(world, lopsided):
    a, b = lopsided
    b.phase = ChildPhase.STARTING
    running = dict(a.children)
    world.ask(Rebalance("flow"))
    world.run(62.0)
    assert "given up" in world.status().events[-1][1]
    assert a.children == running
    assert b.children == {}
    assert world.news == []


def test_when_a_pause_is_not_confirmed_for_ten_seconds_what_moves_is_killed(world, lopsided):
    a, _ = lopsided
    for child in a.children.values():
        child.confirms = False
    world.ask(Rebalance("flow"))
    world.run(9.0)
    assert world.placement().phase is Phase.PAUSED
    assert a.killed == []
    world.run(3.0)
    assert len(a.killed) == 2
    assert world.placement().phase is Phase.RUNNING
    assert sorted(owners(world).values()) == ["a", "a", "b", "b"]


def test_a_confirmation_of_an_earlier_pause_does_not_count(world, lopsided, build):
    a, _ = lopsided
    world.ask(Pause("flow"))
    world.run(1.0)
    from consecution.wire.cluster.from_client import Resume

    world.ask(Resume("flow"))
    world.run(1.0)
    for child in a.children.values():
        child.confirms = False
    world.ask(Rebalance("flow"))
    world.run(5.0)
    assert world.placement().pause == 2
    assert world.placement().phase is Phase.PAUSED


def test_a_death_in_the_middle_gives_the_move_up_and_is_handled_as_a_death(world, lopsided):
    a, b = lopsided
    for child in a.children.values():
        child.confirms = False
    world.ask(Rebalance("flow"))
    world.run(2.0)
    assert world.placement().phase is Phase.PAUSED
    a.crash(3)
    world.run(1.0)
    assert world.placement().phase is Phase.RUNNING
    assert set(owners(world).values()) == {"a"}
    assert [id_ for id_ in b.children if id_.role == "executor"] == []


def test_a_producer_that_moves_begins_at_its_new_owner_where_the_old_one_was_after_the_pause(world, build):
    a = world.worker("a", slots=1)
    world.start("one", build.plan(1))
    world.start("flow", build.plan(1))  # no room
    b = world.worker("b", slots=1)
    world.run(1.0)
    assert owners(world) == {0: "b"}
    counts = FeedCounts(0, "feed0", introduced=9, completed=9, mark=9, is_idle=True)
    b.tell(0, feeds=(counts,))
    world.ask(Kill("one"))
    world.run(1.0)
    world.news.clear()
    b.is_leaving = True
    world.run(3.0)
    assert owners(world) == {0: "a"}
    order = a.children[a.child(0)].order
    assert order.starts[0].counts == counts
    assert order.journal == "flow.1.g0.t2"
    assert [placement.phase for placement in world.news if placement.topology == "flow"] == [
        Phase.PAUSED,
        Phase.RUNNING,
    ]


def test_a_worker_that_leaves_hands_its_work_over_first_and_is_gone_when_it_runs_nothing(world, build):
    a = world.worker("a", slots=2)
    b = world.worker("b", slots=2)
    world.start("flow", build.plan(4))
    killed_before = len(a.killed)
    a.is_leaving = True
    world.run(4.0)
    assert a.children == {}
    assert len(a.killed) == killed_before
    assert set(owners(world).values()) == {"b"}
    assert world.state_of() is State.RUNNING
    assert "acker-0" in b.runs()
    from consecution.wire.cluster.from_client import ListAll

    a.is_silent = True
    world.run(0.5)
    assert [w.state for w in world.ask(ListAll()).workers if w.name == "a"] == ["gone"]
    assert "worker=a has left" in world.log
    assert not [text for text in world.log if "is dead" in text]


def test_the_last_worker_that_leaves_keeps_its_work_until_it_ends(world, build):
    a = world.worker("a")
    world.start("flow", build.plan(1))
    a.is_leaving = True
    world.run(3.0)
    assert "executor-0" in a.runs()


def test_what_was_handed_over_does_not_move(world, build):
    a = world.worker("a", slots=4)
    world.start("flow", build.plan(4, feeds=(build.feed(0, "handed over"),)))
    holder = next(m.index for m in world.placement().members if m.feeds)
    world.worker("b", slots=12)
    world.ask(Rebalance("flow"))
    world.run(3.0)
    assert owners(world)[holder] == "a"
    assert "executor-0" in a.runs()


def test_a_topology_that_is_paused_moves_and_stays_paused(world, lopsided):
    world.ask(Pause("flow"))
    world.run(1.0)
    world.ask(Rebalance("flow"))
    world.run(2.0)
    assert sorted(owners(world).values()) == ["a", "a", "b", "b"]
    assert world.state_of() is State.PAUSED
    assert {placement.phase for placement in world.news} == {Phase.PAUSED}


@pytest.mark.parametrize("level", ["NONE", "REPLAY"])
def test_all_executors_confirm_the_pause_for_tasks_have_values_of_their_own(world, build, level):
    a = world.worker("a", slots=2)
    world.start("flow", build.plan(2), level=level)
    world.worker("b", slots=2)
    for child in a.children.values():
        child.confirms = child.told.feeds != ()
    world.ask(Rebalance("flow"))
    world.run(2.0)
    assert world.placement().phase is Phase.PAUSED
    for child in a.children.values():
        child.confirms, child.paused = True, world.placement().pause
    world.run(1.5)
    assert world.placement().phase is Phase.RUNNING


def test_nothing_moves_when_all_is_even(world, build):
    world.worker("a", slots=2)
    world.worker("b", slots=2)
    world.start("flow", build.plan(4))
    number = world.placement().number
    assert "nothing moves" in world.ask(Rebalance("flow")).note
    world.run(1.0)
    assert world.placement().number == number


def test_an_unknown_node_is_refused_with_those_that_there_are(world, lopsided):
    answer = world.ask(Rebalance("flow", {"nope": 2}))
    assert isinstance(answer, Refused)
    assert "it has n0" in answer.reason


def test_a_finite_run_that_accumulates_is_not_moved(world, build):
    world.worker("a", slots=2)
    world.start("flow", build.plan(1, 1, accumulating=True))
    world.worker("b", slots=2)
    assert "accumulates" in world.ask(Rebalance("flow")).reason


def test_what_does_not_run_is_not_rebalanced(world, build):
    world.ask(build.submit())
    assert "pending" in world.ask(Rebalance("flow")).reason


def test_sums_in_the_memory_of_what_moves_are_named_as_lost(world, build):
    """The run is endless, so it isn't begun anew (R17)."""
    world.worker("a", slots=2)
    world.start("flow", build.plan(1, 1, feeds=(build.feed(0, endless=True),), accumulating=True))
    assert world.status().summary.state_lost == frozenset()
    world.worker("b", slots=2)
    world.ask(Rebalance("flow"))
    world.run(3.0)
    assert len(set(owners(world).values())) == 2
    moved_sums = [m for m in world.placement().members if m.worker == "b" and 1 in m.tasks]
    assert world.status().summary.state_lost == (frozenset({"n1"}) if moved_sums else frozenset())
    assert moved_sums, "the executor without a producer moves"


def test_sums_in_the_memory_of_a_process_that_dies_are_named_as_lost(world, build):
    a = world.worker("a", slots=2)
    world.start("flow", build.plan(1, 1, feeds=(build.feed(0, endless=True),), accumulating=True))
    a.crash(next(m.index for m in world.placement().members if m.role is Role.EXECUTOR and 0 in m.tasks))
    world.run(2.0)
    assert world.status().summary.state_lost == frozenset()
    a.crash(next(m.index for m in world.placement().members if m.role is Role.EXECUTOR and 1 in m.tasks))
    world.run(2.0)
    assert world.status().summary.state_lost == {"n1"}
