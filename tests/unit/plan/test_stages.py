"""How a graph is cut into stages, and what restarts and windows are told of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Broadcast, Chunk, Collect, Consecutor, FlatMap, Map, Node, merge
from consecution.plan.exposure import (
    PENDING_MIN,
    PENDING_MIN_OVER_PROCESSES,
    exposure,
    items_held,
    pending_default,
)
from consecution.plan.stages import ALL, GLOBAL, KEY, LOCAL, PARTIAL_KEY, SHUFFLE, Plan, plan_of

if TYPE_CHECKING:
    from consecution.graph import Dag


def dag_of(graph: Any) -> Dag:
    return Consecutor(graph, "plan", journal=None).dag


def stages_of(graph: Any) -> tuple[Plan, list[list[str]]]:
    dag = dag_of(graph)
    plan = plan_of(dag)
    return plan, [[dag.names[place] for place in stage.nodes] for stage in plan.stages]


def step(name: str, **options: Any) -> Map:
    return Map(abs, name=name, **options)


def test_nodes_in_a_row_are_one_stage() -> None:
    _, stages = stages_of([1] | step("a") | step("b") | step("c"))
    assert stages == [["a", "b", "c"]]


@pytest.mark.parametrize("grouping", ["shuffle", "all", "global", "local"])
def test_a_grouping_that_the_user_names_parts_stages(grouping: str) -> None:
    plan, stages = stages_of([1] | step("a") | step("b", grouping=grouping) | step("c"))
    assert stages == [["a"], ["b", "c"]]
    assert plan.channels[-1].grouping == grouping


def test_a_key_parts_stages() -> None:
    plan, stages = stages_of([1] | step("a") | step("b", key=str))
    assert stages == [["a"], ["b"]]
    assert plan.channels[-1].grouping == KEY
    plan, _ = stages_of([1] | step("a") | step("b", key=str, grouping="partial_key"))
    assert plan.channels[-1].grouping == PARTIAL_KEY


def test_another_parallelism_parts_stages() -> None:
    plan, stages = stages_of([1] | step("a", parallelism=2) | step("b", parallelism=3) | step("c", parallelism=3))
    assert stages == [["a"], ["b", "c"]]
    assert [list(stage.tasks) for stage in plan.stages] == [[0, 1], [2, 3, 4]]
    assert plan.channels[-1].grouping == SHUFFLE


def test_branches_that_meet_inside_a_stage_stay_in_it() -> None:
    _, stages = stages_of([1] | step("a") | [step("b"), step("c")] | step("d"))
    assert stages == [["a", "b", "c", "d"]]


def test_a_join_of_two_stages_is_a_stage_of_its_own() -> None:
    plan, stages = stages_of(merge([1] | step("a"), [2] | step("b")) | step("c"))
    assert stages == [["a"], ["b"], ["c"]]
    assert plan.upstream_tasks(2) == (frozenset({0, 1}), frozenset())
    assert {channel.grouping for channel in plan.channels if channel.stage == 2} == {LOCAL}


def test_marks_come_from_producers_too() -> None:
    plan, _ = stages_of([1] | step("a", parallelism=2) | step("b", grouping="global"))
    assert plan.upstream_tasks(0) == (frozenset(), frozenset({0}))
    assert plan.downstream_of_producer(0) == (0, 1)
    assert plan.downstream_tasks(plan.stages[0]) == (2,)
    with pytest.raises(IndexError, match="task 9"):
        plan.stage_of_task(9)


@pytest.mark.parametrize("seed", range(40))
def test_the_rules_of_a_plan_hold_for_any_graph(seed: int) -> None:
    chance = random.Random(seed)
    ends: list[Any] = [[1] | step("n0")]
    for number in range(1, 15):
        options = {
            "parallelism": chance.choice((1, 1, 2)), "grouping": chance.choice((None, None, SHUFFLE, ALL, GLOBAL)),
        }  # fmt: skip
        node = step(f"n{number}", **options)
        chosen = chance.sample(ends, chance.randint(1, min(2, len(ends))))
        ends.append((chosen[0] if len(chosen) == 1 else merge(*chosen)) | node)
    dag = dag_of(ends[-1])
    plan = plan_of(dag)
    assert plan == plan_of(dag)
    for stage in plan.stages:
        assert {dag.nodes[place].options.parallelism for place in stage.nodes} == {stage.parallelism}  # P2
        for place in stage.nodes:
            homes = {plan.stage_of[edge.source] for edge in dag.inputs(place)}
            assert place == stage.head or homes == {stage.number}  # P1
            assert place == stage.head or dag.nodes[place].options.grouping is None  # P3
            assert all(home <= stage.number for home in homes)
    tasks = [task for stage in plan.stages for task in stage.tasks]
    assert tasks == list(range(plan.n_tasks))  # P4


class Sums(Node):
    def process(self, item: Any) -> None:
        return None

    def finish(self) -> None:
        return None


def test_a_failure_above_a_sum_exposes_it_only_when_values_may_have_reached_it() -> None:
    dag = dag_of([1] | step("parse") | step("check") | Sums("sums"))
    assert exposure(dag)("parse") == frozenset()
    assert exposure(dag)("check") == frozenset()
    assert exposure(dag)("sums") == {"sums"}
    assert exposure(dag)("a producer") == {"sums"}


def test_a_node_that_multiplies_exposes_every_sum_behind_it() -> None:
    dag = dag_of([1] | FlatMap(str, name="split") | step("check") | Sums("sums"))
    assert exposure(dag)("split") == frozenset()
    assert exposure(dag)("check") == {"sums"}


def test_a_branch_beside_the_failure_is_exposed() -> None:
    dag = dag_of([1] | step("a") | [step("b") | Sums("left"), step("c") | Sums("right")])
    assert exposure(dag)("b") == {"right"}
    assert exposure(dag)("a") == frozenset()


def test_what_comes_to_all_tasks_of_a_node_was_passed_on_by_the_others_when_it_fails_in_one() -> None:
    dag = dag_of([1] | Map(abs, name="a", grouping="all", parallelism=3) | step("b") | Sums("sums"))
    assert exposure(dag)("a") == exposure(dag)("b") == {"sums"}


def test_the_window_is_a_multiple_of_what_chunks_can_hold() -> None:
    assert pending_default(dag_of([1] | step("a") | Broadcast() | Collect("out"))) == PENDING_MIN
    assert pending_default(dag_of([1] | step("a") | Collect("out")), over_processes=True) == PENDING_MIN_OVER_PROCESSES
    dag = dag_of([1] | Chunk(500, parallelism=2) | Chunk(20) | Collect("out"))
    assert items_held(dag) == 2 * 500 + 500 * 20
    assert pending_default(dag) == 4 * 11_000
