"""Where tasks and processes are put."""

from __future__ import annotations

from collections import Counter

from consecution_coordinator.placing import Room, acker_room, best_room, seats_for, share_out, spread
from hypothesis import given
from hypothesis import strategies as st

from consecution.wire.cluster.from_client import FeedFacts, PlanFacts, StageFacts


def chain(*widths, feeds=((0,),)):
    stages, first = [], 0
    for number, width in enumerate(widths):
        after = (number + 1,) if number + 1 < len(widths) else ()
        stages.append(StageFacts(number, (f"n{number}",), width, first, after))
        first += width
    return PlanFacts(
        tuple(stages),
        tuple(FeedFacts(place, f"f{place}", "file", "re-readable", False, at) for place, at in enumerate(feeds)),
    )


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 10))
def test_each_task_and_producer_is_given_once_and_loads_differ_by_what_a_stage_must(widths, executors):
    plan = chain(*widths)
    shares = share_out(plan, executors)
    assert len(shares) == executors
    assert sorted(task for share in shares for task in share.tasks) == list(range(sum(widths)))
    assert [feed for share in shares for feed in share.feeds] == [0]
    for stage in plan.stages:
        tasks = range(stage.first, stage.first + stage.parallelism)
        counts = [sum(task in tasks for task in share.tasks) for share in shares]
        assert max(counts) - min(counts) <= 1, "the copies of a stage are spread evenly"


def test_a_chain_over_as_many_executors_gives_each_one_task():
    assert [share.tasks for share in share_out(chain(1, 1, 1), 3)] == [(0,), (1,), (2,)]


def test_what_talks_to_each_other_shares_an_executor_when_there_are_few():
    # n0 -> n1 and n2 -> n3, on two executors: the pairs stay together
    stages = (
        StageFacts(0, ("a",), 1, 0, (2,)),
        StageFacts(1, ("b",), 1, 1, (3,)),
        StageFacts(2, ("c",), 1, 2),
        StageFacts(3, ("d",), 1, 3),
    )
    assert [share.tasks for share in share_out(PlanFacts(stages, ()), 2)] == [(0, 2), (1, 3)]


def test_executors_take_slots_evenly_and_neighbours_share_a_worker():
    rooms = [Room("a", 4, 0), Room("b", 4, 0)]
    assert seats_for(rooms, 4) == ["a", "a", "b", "b"]


def test_the_worker_with_most_free_slots_comes_first():
    assert spread([Room("a", 4, 3), Room("b", 4, 0)], 3) == {"a": 0, "b": 3}


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=6).map(
        lambda pairs: [Room(f"w{n}", slots, used) for n, (slots, used) in enumerate(pairs)]
    ),
    st.integers(1, 20),
)
def test_no_slot_is_used_twice_while_others_are_free(rooms, executors):
    counts = Counter(seats_for(rooms, executors))
    assert sum(counts.values()) == executors
    free = {room.name: room.free for room in rooms}
    if executors <= sum(free.values()):
        assert all(counts[name] <= free[name] for name in free)


def test_without_workers_there_are_no_seats():
    assert seats_for([], 3) == []
    assert best_room([], {}) is None
    assert acker_room([], {}) is None


def test_one_more_goes_to_a_free_slot_first_and_near_its_topology_next():
    rooms = [Room("a", 2, 2), Room("b", 2, 1), Room("c", 2, 1)]
    assert best_room(rooms, {"a": 2, "c": 1}) == "c"
    assert best_room(rooms[:1], {}) == "a", "availability goes before slots"


def test_ackers_are_spread():
    rooms = [Room("a", 2, 0), Room("b", 2, 2)]
    assert acker_room(rooms, {"a": 1}) == "b"
