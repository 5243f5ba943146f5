"""Submitting, waiting for slots, starting, pausing."""

from __future__ import annotations

import dataclasses

import pytest

from consecution.wire.cluster.from_client import Drain, Kill, Pause, Resume
from consecution.wire.cluster.from_worker import ChildPhase
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.cluster.to_client import Accepted, NeedBundle, State
from consecution.wire.placement import Phase, Role


def test_a_submitted_flow_is_placed_started_and_runs(world, build):
    worker = world.worker("a")
    answer = world.ask(build.submit("flow", build.plan(1, 2)))
    assert answer == Accepted("flow", 1, State.STARTING)
    assert worker.runs() == ["acker-0", "executor-0", "executor-1", "executor-2"]
    world.run(1.0)
    assert world.state_of() is State.RUNNING
    assert [placement.phase for placement in world.news] == [Phase.STARTING, Phase.RUNNING]
    assert [placement.number for placement in world.news] == [1, 2]


def test_the_first_placement_lists_all_processes_at_once(world, build):
    """1. Two workers get orders. 2. One says that its children are born. 3. Nothing is published until all are."""
    a = world.worker("a", slots=1)
    b = world.worker("b", slots=1)
    b.phase = ChildPhase.STARTING
    world.ask(build.submit("flow", build.plan(1, 1)))
    world.run(2.0)
    assert world.news == []
    b.bear()
    world.run(1.0)
    assert {member.birth for member in world.news[0].members} == {1}
    assert len(world.news[0].members) == len(a.children) + len(b.children)


def test_every_task_and_producer_has_one_owner(world, build):
    world.worker("a", slots=2)
    world.worker("b", slots=1)
    world.start("flow", build.plan(2, 3, feeds=(build.feed(0), build.feed(1, stages=(1,)))))
    members = world.placement().members
    assert sorted(task for member in members for task in member.tasks) == [0, 1, 2, 3, 4]
    assert sorted(feed for member in members for feed in member.feeds) == [0, 1]


def test_producers_run_where_their_entry_stage_runs(world, build):
    world.worker("a", slots=4)
    world.start("flow", build.plan(1, 1, feeds=(build.feed(0, stages=(1,)),)))
    owner = next(member for member in world.placement().members if member.feeds)
    assert owner.tasks == (1,)


def test_without_slots_it_is_pending_with_the_reason_and_starts_when_a_worker_joins(world, build):
    answer = world.ask(build.submit("flow", build.plan(1, 1), slots=2))
    assert answer.state is State.PENDING
    assert answer.reason == "waits for 2 slots: there is no worker"
    world.worker("a", slots=1)
    assert world.status().summary.reason == "waits for 2 slots: 1 of the cluster's 1 slot is free"
    assert world.workers
    world.worker("b", slots=1)
    world.run(1.0)
    assert world.state_of() is State.RUNNING
    assert {member.worker for member in world.placement().members if member.role is Role.EXECUTOR} == {"a", "b"}


def test_a_pending_flow_starts_when_another_one_gives_its_slots_back(world, build):
    worker = world.worker("a", slots=1)
    world.start("one", build.plan(1))
    world.ask(build.submit("two", build.plan(1)))
    assert world.state_of("two") is State.PENDING
    world.ask(Kill("one"))
    world.run(1.0)
    assert world.state_of("two") is State.RUNNING
    assert worker.runs() == ["acker-0", "executor-0"]


def test_a_flow_without_slots_asked_for_takes_one_for_each_task_and_no_more_than_are_free(world, build):
    world.worker("a", slots=3)
    world.start("flow", build.plan(4, 4))
    assert world.status().summary.executors == 3


def test_the_same_submission_twice_is_done_once(world, build):
    world.worker("a")
    one = build.submit()
    first = world.ask(one)
    second = world.ask(one)
    assert (first.name, first.run) == (second.name, second.run) == ("flow", 1)
    world.run(1.0)
    assert world.ask(one).state is State.RUNNING


def test_another_submission_of_a_running_name_is_refused_with_the_ways_out(world, build):
    world.worker("a")
    world.start()
    answer = world.ask(build.submit())
    assert isinstance(answer, Refused)
    assert "consecution drain flow" in answer.reason


def test_a_name_may_be_used_again_once_it_is_over(world, build):
    world.worker("a")
    world.start()
    number = world.placement().number
    world.ask(Kill("flow"))
    world.run(2.0)
    assert world.start().run == 2
    assert world.state_of() is State.RUNNING
    assert world.placement().number > number


def test_nothing_is_kept_before_all_of_the_bundle_is_there(world, build):
    assert world.ask(build.submit(), have=40) == NeedBundle("a" * 64, 40)
    assert not world.topologies
    assert world.state.courses == {}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"name": "../etc"}, "can't name"),
        ({"name": ""}, "can't name"),
        ({"slots": 9}, "9 slots for 2 tasks"),
        ({"slots": -1}, "expected 0 to"),
        ({"ackers": 10**6}, "expected 0 to"),
        ({"python": "3.14"}, "Python 3.14"),
    ],
)
def test_what_can_not_run_is_refused_with_the_reason(world, build, changes, part):
    world.worker("a")
    answer = world.ask(build.submit(**changes))
    assert isinstance(answer, Refused)
    assert part in answer.reason
    assert not world.topologies


def test_a_plan_that_lies_is_refused(world, build):
    good = build.plan(2, 2)
    for bad in (
        dataclasses.replace(good, stages=(good.stages[0], dataclasses.replace(good.stages[1], first=1))),
        dataclasses.replace(good, stages=(good.stages[0], dataclasses.replace(good.stages[1], number=7))),
        dataclasses.replace(good, stages=(dataclasses.replace(good.stages[0], feeds_stages=(9,)), good.stages[1])),
        dataclasses.replace(good, feeds=(build.feed(3),)),
        dataclasses.replace(good, feeds=(build.feed(0, stages=(5,)),)),
        dataclasses.replace(good, feeds=()),
        build.plan(5000),
    ):
        assert isinstance(world.ask(build.submit("flow", bad)), Refused)


def test_pause_is_numbered_and_resume_ends_it(world, build):
    world.worker("a")
    world.start()
    assert isinstance(world.ask(Pause("flow")), Done)
    assert (world.news[-1].phase, world.news[-1].pause) == (Phase.PAUSED, 1)
    assert world.state_of() is State.PAUSED
    number = world.placement().number
    assert "already" in world.ask(Pause("flow")).note
    assert world.placement().number == number
    world.ask(Resume("flow"))
    assert world.news[-1].phase is Phase.RUNNING
    world.ask(Pause("flow"))
    assert world.news[-1].pause == 2


def test_a_pause_before_the_start_holds_from_the_first_item_on(world, build):
    world.ask(build.submit())
    world.ask(Pause("flow"))
    world.worker("a")
    world.run(1.0)
    assert Phase.RUNNING not in {placement.phase for placement in world.news}
    assert world.state_of() is State.PAUSED


@pytest.mark.parametrize("command", [Pause, Resume, Drain, Kill])
def test_commands_name_what_is_there_when_the_name_is_unknown_and_refuse_what_is_over(world, build, command):
    answer = world.ask(command("nothing"))
    assert answer.kind == "unknown"
    world.ask(build.submit())
    world.ask(Kill("flow"))
    world.run(1.0)
    assert "killed" in world.ask(command("flow")).reason


def test_at_robustness_none_there_are_no_ackers(world, build):
    worker = world.worker("a")
    world.start(level="NONE")
    assert worker.runs() == ["executor-0", "executor-1"]
    assert world.state_of() is State.RUNNING
