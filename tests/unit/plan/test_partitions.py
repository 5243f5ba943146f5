"""Which task owns which keys, and what moves when a stage has more tasks or fewer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consecution import Consecutor, Map
from consecution.executor.outputs import Outlet, partition_of
from consecution.plan.partitions import PARTITIONS, StageTasks, dealt, moved
from consecution.plan.stages import GLOBAL, KEY, LOCAL, PARTIAL_KEY, SHUFFLE, plan_of

tasks = st.lists(st.integers(0, 200), min_size=1, max_size=PARTITIONS, unique=True)


@given(tasks, tasks, tasks)
def test_partitions_stay_even_and_only_those_that_must_move(
    first: list[int], second: list[int], third: list[int]
) -> None:
    """A partition moves only when its owner is gone, or has more than its share."""
    owners = dealt(first)
    for now in (second, third):
        after = moved(owners, now)
        counts = Counter(after)
        assert set(after) == set(now)
        assert max(counts.values()) - min(counts.values()) <= 1
        had = Counter(owners)
        each, more = divmod(PARTITIONS, len(now))
        shares = sorted((had[task] for task in now), reverse=True)
        may_stay = sum(min(has, each + (place < more)) for place, has in enumerate(shares))
        assert sum(was == is_ for was, is_ in zip(owners, after, strict=True)) == may_stay
        owners = after


def test_as_many_tasks_as_before_move_nothing() -> None:
    assert moved(dealt((3, 4, 5)), (3, 4, 5)) == dealt((3, 4, 5))


@pytest.mark.parametrize(
    "wrong", [((), dealt((1,))), ((1,), dealt((2,))), ((1, 2), (1,) * 63)], ids=["no task", "a stranger", "63"]
)
def test_a_stage_whose_keys_nobody_owns_can_not_be_said(wrong: Any) -> None:
    with pytest.raises(ValueError, match="stage 4"):
        StageTasks(4, *wrong)


def test_a_key_goes_to_the_owner_of_its_partition() -> None:
    owners = moved(dealt((1, 2)), (1, 2, 9))
    outlet = Outlet(KEY, (1, 2), copy=0, key=lambda item: item, node="n", node_place=0)
    outlet.share(list(range(100)), None, lambda *_: None)
    outlet.retask(KEY, (1, 2, 9), copy=0, owners=owners)
    shares = outlet.share(list(range(100)), None, lambda *_: None)
    assert {item: task for task, items, _ in shares for item in items} == {
        item: owners[partition_of(item)] for item in range(100)
    }


def test_a_partial_key_has_two_owners_by_its_partitions() -> None:
    outlet = Outlet(PARTIAL_KEY, (1, 2), copy=0, key=lambda item: item, node="n", node_place=0)
    outlet.retask(PARTIAL_KEY, (1, 2, 9), copy=0, owners=moved(dealt((1, 2)), (1, 2, 9)))
    shares = outlet.share(["same"] * 90, None, lambda *_: None)
    assert len(shares) <= 2
    assert sum(len(items) for _, items, _ in shares) == 90


def test_a_shuffled_stage_deals_to_the_tasks_that_there_are() -> None:
    outlet = Outlet(SHUFFLE, (1,), copy=0, key=None, node="n", node_place=0)
    outlet.retask(SHUFFLE, (1, 5, 6), copy=0)
    assert sorted(task for task, _, _ in outlet.share(list(range(9)), None, lambda *_: None)) == [1, 5, 6]
    outlet.retask(SHUFFLE, (6,), copy=0)
    assert [task for task, _, _ in outlet.share(list(range(9)), None, lambda *_: None)] == [6]


def planned(graph: Any) -> Any:
    return plan_of(Consecutor(graph, "plan", journal=None).dag)


def test_a_plan_with_other_tasks_keeps_the_numbers_of_those_that_stay() -> None:
    plan = planned([1] | Map(abs, name="a") | Map(abs, name="b", key=str, parallelism=2) | Map(abs, name="c", key=str))
    more = plan.with_tasks((StageTasks(1, (1, 2, 4), dealt((1, 2, 4))),))
    assert [list(stage.tasks) for stage in more.stages] == [[0], [1, 2, 4], [3]]
    assert more.stages[1].parallelism == 3
    assert more.n_tasks == 5
    assert more.stage_of_task(4).number == 1
    assert more.upstream_tasks(3) == (frozenset({1, 2, 4}), frozenset())
    assert more.downstream_tasks(more.stages[0]) == (1, 2, 4)
    assert plan.with_tasks(()) == plan
    with pytest.raises(IndexError, match="task 2"):
        plan.with_tasks((StageTasks(1, (1,), dealt((1,))),)).stage_of_task(2)
    with pytest.raises(IndexError, match="stage 7"):
        plan.with_tasks((StageTasks(7, (1,), dealt((1,))),))


def test_stages_that_paired_their_tasks_deal_in_turn_once_they_are_not_as_many() -> None:
    """Else a task that was added would get nothing: copy 0 of two sends to copy 0 of four."""
    plan = planned(
        [1]
        | Map(abs, name="a", parallelism=2, grouping="shuffle")
        | Map(abs, name="b", parallelism=2, grouping="local")
    )
    last = plan.channels[-1]
    assert last.grouping == LOCAL
    first, second = plan.stages
    grown = plan.with_tasks((StageTasks(second.number, (2, 3, 4), dealt((2, 3, 4))),))
    assert grown.channels[-1].grouping == SHUFFLE
    both = plan.with_tasks(
        (
            StageTasks(first.number, (0, 1, 5), dealt((0, 1, 5))),
            StageTasks(second.number, (2, 3, 4), dealt((2, 3, 4))),
        )
    )
    assert both.channels[-1].grouping == LOCAL


def test_groupings_that_the_user_named_stay() -> None:
    plan = planned([1] | Map(abs, name="a") | Map(abs, name="b", grouping="global"))
    assert plan.with_tasks((StageTasks(0, (0, 2), dealt((0, 2))),)).channels[-1].grouping == GLOBAL
