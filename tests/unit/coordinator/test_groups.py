"""Joined topologies: what one of them means for the others."""

from __future__ import annotations

import dataclasses

import pytest
from consecution_coordinator.events import ClientAsked, Tell

from consecution.wire.cluster.from_client import (
    Drain,
    Kill,
    LinkFacts,
    ListAll,
    Pause,
    Push,
    Rebalance,
    Resume,
    StageFacts,
    SubmitGroup,
)
from consecution.wire.cluster.parcel import Done, Refused
from consecution.wire.cluster.to_client import Accepted, NeedBundle, State
from consecution.wire.cluster.to_worker import ForChild, KeptJournal
from consecution.wire.control import StuckLink
from consecution.wire.placement import Outlet, Phase

NAMES = ("g.a", "g.b", "g.c")


def members(build, *names, facts=None, **changes):
    """A chain: each hands over to the next."""
    made = []
    for place, name in enumerate(names):
        source = "re-readable" if place == 0 else "handed over"
        plan = (facts or {}).get(name) or build.plan(1, feeds=(build.feed(0, source),))
        links = (LinkFacts("on", names[place + 1], 0),) if place + 1 < len(names) else ()
        one = build.submit(name, plan, group="g", links=links, place=place, submission="s", **changes)
        made.append(one)
    return tuple(made)


def group(build, *names, **options):
    submission = options.pop("submission", "first")
    made = members(build, *(names or NAMES), **options)
    return SubmitGroup("g", tuple(dataclasses.replace(one, submission=submission) for one in made))


def start(world, build, *names, **options):
    answer = world.ask(group(build, *names, **options))
    assert isinstance(answer, Accepted), answer
    world.run(1.0)
    return answer


def executor(world, name):
    """The worker and the id of the executor of a topology."""
    return next(
        (worker, id_)
        for worker in world.workers.values()
        for id_ in worker.children
        if id_.topology == name and id_.role == "executor"
    )


def tell(world, name, **told):
    worker, id_ = executor(world, name)
    child = worker.children[id_]
    child.told = dataclasses.replace(child.told, **told)
    worker.beat()


def finish(world, name):
    """Its producers and tasks have ended."""
    worker, id_ = executor(world, name)
    feeds = tuple(dataclasses.replace(one, is_at_end=True, is_idle=True) for one in worker.children[id_].told.feeds)
    tasks = tuple(world.course(name).tasks())
    tell(world, name, feeds=feeds, tasks_ended=tasks)
    world.run(1.0)


def states(world, *names):
    return [world.state_of(name) for name in names or NAMES]


def test_a_group_is_kept_as_a_whole_and_each_member_is_a_topology(world, build):
    world.worker("a", slots=8)
    answer = start(world, build)
    assert answer == Accepted("g", 1, State.STARTING, "", NAMES)
    assert states(world) == [State.RUNNING] * 3
    listed = world.ask(ListAll()).topologies
    assert [(one.name, one.group, one.place) for one in listed] == [(name, "g", n) for n, name in enumerate(NAMES)]


def test_a_group_of_which_one_cant_be_taken_is_refused_as_a_whole(world, build):
    world.worker("a")
    world.start("g.b")
    answer = world.ask(group(build))
    assert isinstance(answer, Refused)
    assert "'g.b' is running already" in answer.reason
    assert set(world.state.courses) == {"g.b"}


def test_a_group_that_is_submitted_twice_is_one(world, build):
    world.worker("a")
    first = start(world, build)
    again = world.ask(group(build))
    assert (again.name, again.run, again.members) == (first.name, first.run, NAMES)
    assert isinstance(world.ask(group(build, submission="second")), Refused)


def test_a_group_needs_its_bundle_first(world, build):
    assert world.ask(group(build), have=40) == NeedBundle("a" * 64, 40)


def test_a_group_and_a_topology_dont_share_a_name(world, build):
    world.worker("a", slots=8)
    start(world, build)
    refused = world.ask(build.submit("g"))
    assert "is a group of topologies (g.a, g.b, g.c)" in refused.reason
    fresh = type(world)()
    fresh.start("g")
    assert "a topology is named 'g'" in fresh.ask(group(build)).reason


@pytest.mark.parametrize(
    "change",
    [
        {"submission": "other"},
        {"group": "h"},
        {"place": 5},
        {"links": (LinkFacts("on", "g.a", 0),)},
        {"links": (LinkFacts("on", "g.c", 7),)},
        {"links": (LinkFacts("on", "g.c", 0), LinkFacts("on", "g.c", 0))},
        {"links": (LinkFacts("on", "elsewhere", 0),)},
        {"name": "g.a"},
        {"plan": "nothing"},
    ],
)
def test_a_group_of_another_shape_is_refused(world, build, change):
    if change == {"plan": "nothing"}:
        change = {"plan": build.plan(1, feeds=())}
    good = group(build)
    bad = dataclasses.replace(good.members[1], **change)
    answer = world.ask(SubmitGroup("g", (good.members[0], bad, good.members[2])))
    assert isinstance(answer, Refused)
    assert not world.state.courses


def test_a_member_alone_is_refused(world, build):
    assert isinstance(world.ask(members(build, *NAMES)[0]), Refused)
    assert isinstance(world.ask(SubmitGroup("g", members(build, "g.a"))), Refused)


def test_members_that_wait_for_slots_leave_the_others_their_own(world, build):
    """With two slots a flow of three tasks would take both, and the one that it hands over to would wait for ever."""
    wide = {"g.a": build.plan(3)}
    worker = world.worker("a", slots=1)
    answer = world.ask(group(build, "g.a", "g.b", facts=wide))
    assert answer.state is State.PENDING
    assert answer.reason == "waits for 2 slots for group g: 1 of the cluster's 1 slot is free"
    world.worker("b", slots=1)
    world.run(1.0)
    assert states(world, "g.a", "g.b") == [State.RUNNING] * 2
    assert sorted(id_.topology for id_ in worker.children if id_.role == "executor") == ["g.a"]


def test_a_door_goes_to_who_pushes_to_it_and_takes_no_slot(world, build):
    world.worker("a", slots=8)
    stages = (
        StageFacts(0, ("n0",), 2, 0, (1,)),
        StageFacts(1, ("n1",), 1, 2, (2,)),
        StageFacts(2, ("on → g.b.n0",), 1, 3, is_door=True),
    )
    facts = dataclasses.replace(build.plan(1), stages=stages)
    start(world, build, "g.a", "g.b", facts={"g.a": facts})
    tasks = {member.tasks for member in world.placement("g.a").members if member.tasks}
    assert tasks == {(0,), (1,), (2, 3)}


def test_an_output_leads_to_the_process_of_the_next_member_and_to_the_one_in_its_place(world, build):
    world.worker("a", slots=8)
    start(world, build)
    (taker,) = (one for one in world.placement("g.b").members if one.feeds)
    assert world.placement("g.a").outlets == (Outlet(0, 0, taker.incarnation, f"bridge:{taker.incarnation}"),)
    assert [one.place for one in world.placement("g.b").inlets] == [0]
    worker, id_ = executor(world, "g.b")
    worker.end(id_, code=-9)
    worker.beat()
    assert world.placement("g.a").outlets == ()
    world.run(2.0)
    (again,) = (one for one in world.placement("g.b").members if one.feeds)
    assert again.incarnation != taker.incarnation
    assert [one.incarnation for one in world.placement("g.a").outlets] == [again.incarnation]
    assert world.news[-1].topology in ("g.a", "g.b")


def test_keys_of_who_hands_over_are_in_the_placement_of_who_takes(world, build):
    world.worker("a", slots=8)
    start(world, build)
    course = world.course("g.a")
    course.kept.members = tuple(dataclasses.replace(one, key=b"k" * 40) for one in course.kept.members)
    world.run(0.25)
    assert world.placement("g.b").inlets[0].keys == (b"k" * 40,)


def test_each_ends_when_all_before_it_are_over_and_journals_of_who_hands_over_are_kept(world, build):
    world.worker("a", slots=8)
    start(world, build)
    finish(world, "g.a")
    assert states(world) == [State.FINISHED, State.RUNNING, State.RUNNING]
    assert world.placement("g.a").keeps_journal
    assert not world.placement("g.c").keeps_journal
    assert world.placement("g.b").inlets[0].is_over
    assert not world.placement("g.c").inlets[0].is_over
    finish(world, "g.b")
    finish(world, "g.c")
    assert states(world) == [State.FINISHED] * 3


def test_whoever_is_behind_one_that_was_killed_is_drained_once_that_is_over(world, build):
    worker = world.worker("a", slots=8)
    start(world, build)
    worker.confirms = False
    world.ask(Kill("g.a"))
    world.run(1.0)
    assert states(world)[0] is State.KILLED
    assert states(world)[1] in (State.DRAINING, State.STOPPING, State.DRAINED)
    world.run(2.0)
    assert states(world) == [State.KILLED, State.DRAINED, State.DRAINED]


@pytest.mark.parametrize("victim", ["g.b", "g.c"])
def test_whoever_hands_over_to_one_that_was_killed_ends_and_says_why(world, build, victim):
    world.worker("a", slots=8)
    start(world, build)
    world.ask(Kill(victim))
    world.run(2.0)
    assert states(world)[: NAMES.index(victim) + 1] == [State.KILLED] * (NAMES.index(victim) + 1)
    assert f"{NAMES[NAMES.index(victim)]}, which takes" in world.status(NAMES[NAMES.index(victim) - 1]).summary.reason


def test_one_that_cant_run_ends_those_before_it(world, build):
    world.worker("a", slots=8)
    world.ask(group(build))
    worker, id_ = executor(world, "g.c")
    worker.end(id_, code=1, broke="flow", message="no such module")
    worker.beat()
    world.run(2.0)
    assert states(world) == [State.KILLED, State.KILLED, State.FAILED]


def test_a_drain_goes_from_the_front_to_the_end(world, build):
    world.worker("a", slots=8)
    start(world, build)
    worker, id_ = executor(world, "g.a")
    open_feeds = tuple(dataclasses.replace(one, is_idle=False) for one in worker.children[id_].told.feeds)
    tell(world, "g.a", feeds=open_feeds)
    world.ask(Pause("g.b"))
    answer = world.ask(Drain("g", 60.0))
    assert isinstance(answer, Done)
    assert answer.note.startswith("g.a drains, then g.b, g.c")
    world.run(2.0)
    assert states(world) == [State.DRAINING, State.RUNNING, State.RUNNING], "g.b must take what g.a has left"
    tell(world, "g.a", feeds=tuple(dataclasses.replace(one, is_idle=True) for one in open_feeds))
    world.run(3.0)
    assert states(world) == [State.DRAINED] * 3


def test_the_drain_of_one_drains_those_before_it_first(world, build):
    world.worker("a", slots=8)
    start(world, build)
    answer = world.ask(Drain("g.b"))
    assert answer.note.startswith("g.a drains, then g.b")
    world.run(4.0)
    assert states(world) == [State.DRAINED] * 3


def test_a_drain_outlives_a_restart_of_the_coordinator(world, build):
    world.worker("a", slots=8)
    start(world, build)
    worker, id_ = executor(world, "g.a")
    tell(world, "g.a", feeds=tuple(dataclasses.replace(one, is_idle=False) for one in worker.children[id_].told.feeds))
    world.ask(Drain("g"))
    world.restart()
    world.run(1.0)
    assert states(world)[0] is State.DRAINING
    assert len(world.placement("g.a").outlets) == 1
    tell(world, "g.a", feeds=tuple(dataclasses.replace(one, is_idle=True) for one in worker.children[id_].told.feeds))
    world.run(4.0)
    assert states(world) == [State.DRAINED] * 3


def test_all_are_paused_resumed_and_killed_by_the_name_of_the_group(world, build):
    world.worker("a", slots=8)
    start(world, build)
    world.ask(Pause("g"))
    assert states(world) == [State.PAUSED] * 3
    world.ask(Resume("g"))
    assert states(world) == [State.RUNNING] * 3
    assert "rebalance one of g.a, g.b, g.c" in world.ask(Rebalance("g")).reason
    world.ask(Kill("g"))
    world.run(2.0)
    assert states(world) == [State.KILLED] * 3
    assert "nothing to kill" in world.ask(Kill("g")).reason


def test_what_is_asked_of_one_names_the_members_of_a_group(world, build):
    world.worker("a", slots=8)
    start(world, build)
    assert "name one of g.a, g.b, g.c" in world.ask(Push("g", b"", ())).reason


def test_a_group_goes_on_with_all_of_its_journals_until_all_have_finished(world, build):
    world.worker("a", slots=8)
    start(world, build)
    finish(world, "g.a")
    world.ask(Kill("g.b"))
    world.run(3.0)
    assert states(world) == [State.FINISHED, State.KILLED, State.DRAINED]
    start(world, build, submission="second")
    assert [world.course(name).kept.lineage for name in NAMES] == [1, 1, 1]
    for name in NAMES:
        finish(world, name)
    assert states(world) == [State.FINISHED] * 3
    start(world, build, submission="third")
    assert [world.course(name).kept.lineage for name in NAMES] == [3, 3, 3]


def test_members_of_an_earlier_submission_are_no_members(world, build):
    world.worker("a", slots=8)
    start(world, build)
    world.ask(Kill("g"))
    world.run(2.0)
    start(world, build, "g.a", "g.c", submission="second")
    listed = {one.name: one.group for one in world.ask(ListAll()).topologies}
    assert listed == {"g.a": "g", "g.b": "", "g.c": "g"}
    world.ask(Kill("g"))
    world.run(2.0)
    assert states(world, "g.a", "g.c") == [State.KILLED] * 2


def test_sums_behind_a_run_that_began_anew_arent_certain_once_something_came_twice(world, build):
    """The schedule.

    1. g.a sums, and its executor dies: it begins anew. 2. g.b took items of both passes. 3. So sums of g.b and g.c
    may be too high.
    """
    world.worker("a", slots=8)
    sums = {
        "g.a": build.plan(1, accumulating=True),
        "g.c": build.plan(1, feeds=(build.feed(0, "handed over"),), accumulating=True),
    }
    start(world, build, facts=sums)
    assert not world.placement("g.a").starts_again
    worker, id_ = executor(world, "g.a")
    worker.end(id_, code=-9)
    worker.beat()
    world.run(2.0)
    assert world.placement("g.a").starts_again
    assert world.placement("g.a").pass_number == 2
    assert not world.status("g.c").summary.state_lost
    tell(world, "g.b", is_doubled=True)
    world.run(0.5)
    assert world.status("g.c").summary.state_lost == {"n0"}
    assert not world.status("g.b").summary.state_lost, "it sums nothing"


def test_a_member_that_is_paused_still_has_its_outlets(world, build):
    world.worker("a", slots=8)
    start(world, build)
    world.ask(Pause("g.a"))
    placement = world.placement("g.a")
    assert placement.phase is Phase.PAUSED
    assert len(placement.outlets) == 1


def test_what_async_outputs_dropped_is_counted_over_deaths(world, build):
    world.worker("a", slots=8)
    start(world, build)
    tell(world, "g.a", outputs_dropped=3)
    worker, id_ = executor(world, "g.a")
    worker.end(id_, code=-9)
    worker.beat()
    world.run(2.0)
    tell(world, "g.a", outputs_dropped=2)
    assert world.status("g.a").summary.outputs_dropped == 5


def test_journals_of_who_hands_over_are_removed_when_all_have_finished(world, build):
    worker = world.worker("a", slots=8)
    start(world, build)
    finish(world, "g.a")
    finish(world, "g.b")
    assert worker.wanted.releases == ()
    finish(world, "g.c")
    told = [KeptJournal("g.a", "g.a.1.g0.t1"), KeptJournal("g.b", "g.b.1.g0.t1")]
    assert worker.released == told
    world.run(1.0)
    assert worker.wanted.releases == (), "it is told until it follows, and no longer"
    world.restart()
    world.run(1.0)
    assert worker.released == told


def test_a_worker_that_is_away_removes_journals_when_it_is_back(world, build):
    worker = world.worker("a", slots=8)
    start(world, build)
    for name in NAMES[:2]:
        finish(world, name)
    worker.loses = lambda: world.course("g.c").is_over
    finish(world, "g.c")
    assert world.state_of("g.c") is State.FINISHED
    assert worker.released == []
    worker.loses = lambda: False
    world.run(1.0)
    assert len(worker.released) == 2


def test_outputs_lead_where_they_led_while_a_restarted_coordinator_waits_for_its_workers(world, build):
    worker = world.worker("a", slots=8)
    start(world, build)
    before = world.placement("g.a").outlets
    worker.is_silent = True
    world.restart()
    news = len(world.news)
    world.run(1.0)
    assert world.placement("g.a").outlets == before
    assert world.news[news:] == []


def test_items_are_pushed_into_the_member_that_has_a_pusher_by_the_name_of_the_group(world, build):
    world.worker("a", slots=8)
    pusher = dataclasses.replace(build.feed(0, "handed over"), kind="manual", name="push")
    start(world, build, facts={"g.a": build.plan(1, feeds=(pusher,))})
    instructions = world.send(ClientAsked(b"client", "r", Push("g", b"", ("k",))))
    (told,) = (one.message for one in instructions if isinstance(one, Tell))
    assert isinstance(told, ForChild)
    assert told.id.topology == "g.a"


def test_who_doesnt_reach_the_next_topology_is_shown_and_nothing_moves(world, build):
    """A and C hear the coordinator; a's executor gets no answer of b's, which runs on the other worker."""
    world.worker("a", slots=2)
    world.worker("b", slots=2)
    start(world, build, "g.a", "g.b")
    ((_, taker),) = [(one.worker, one) for one in world.placement("g.b").members if one.feeds]
    pusher = next(one for one in world.placement("g.a").members if one.feeds)
    assert pusher.worker != taker.worker
    for step in range(20):
        tell(world, "g.a", stuck=(StuckLink(taker.incarnation, 3.0 + 0.5 * step, 12),))
        world.run(0.5)
    status = world.status("g.a")
    (stuck,) = status.stuck
    assert (stuck.process, stuck.worker, stuck.to, stuck.to_worker, stuck.waiting) == (
        f"executor-{pusher.index}",
        pusher.worker,
        f"g.b's executor-{taker.index}",
        taker.worker,
        12,
    )
    assert "waits for the network between" in status.summary.reason
    assert [one.incarnation for one in world.placement("g.b").members if one.feeds] == [taker.incarnation]
    assert pusher in world.placement("g.a").members
    tell(world, "g.a", stuck=())
    world.run(4.0)
    assert world.status("g.a").summary.reason == ""
