"""Branches, routes, groupings, and items that travel far or multiply."""

from __future__ import annotations

import gc
import resource
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from consecution import UserCodeError
from tests.conformance.flows import paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution import Consecutor
    from tests.conformance.conftest import Runner


@pytest.mark.parametrize("flow", [paths.branches_with_edits, paths.entries_with_edits])
def test_branches_never_see_each_others_edits(run: Runner, flow: Callable[[], Consecutor]) -> None:
    report = run(flow)
    assert [row["tags"] for row in report.collected["left"]] == [["spoiled"]] * 3
    assert [row["tags"] for row in report.collected["right"]] == [[]] * 3
    assert report


@pytest.mark.parametrize("flow", [paths.pristine_replay, paths.pristine_replay_of_objects])
def test_a_replay_gets_the_item_as_it_was_introduced(run: Runner, flow: Callable[[], Consecutor]) -> None:
    if run.is_far and flow is paths.pristine_replay_of_objects:
        pytest.skip("objects of a user's class can't travel between processes")
    report = run(flow)
    tags = [row["tags"] if isinstance(row, dict) else row for row in report.collected["out"]]
    assert tags == [["seen"]] * 3
    assert (report.completed, report.replayed) == (3, 1)
    assert report


@pytest.mark.every_mode
def test_an_item_that_can_not_be_copied_for_a_branch_fails_alone(run: Runner) -> None:
    report = run(paths.uncopyable_in_branches)
    if run.mode == "processes":  # neither item can travel from the caller; a cluster's producer is where its task is
        assert (report.completed, report.failed) == (0, 2)
        assert all(one.cause is not None and "can't travel" in one.cause.message for one in report.failures)
        return
    assert (report.completed, report.failed) == (1, 1)
    assert 1 in report.collected["left"]
    assert report.collected["right"] == [1]
    assert report.failures[0].cause is not None
    assert "can't be copied" in report.failures[0].cause.message


def test_an_item_that_can_not_be_copied_for_all_tasks_fails_alone(run: Runner) -> None:
    report = run(paths.uncopyable_to_all)
    if run.is_far:  # neither item can travel
        assert (report.completed, report.failed) == (0, 2)
        return
    assert (report.completed, report.failed) == (1, 1)
    assert report.collected["out"].count(1) == 2


@pytest.mark.every_mode
def test_a_diamond_gives_each_item_by_each_branch(run: Runner) -> None:
    report = run(paths.diamond)
    assert sorted(report.collected["out"]) == sorted([*range(5), *(-n for n in range(5))])
    assert (report.introduced, report.completed) == (5, 5)


def test_several_producers_are_merged(run: Runner) -> None:
    report = run(paths.merged)
    assert sorted(report.collected["out"]) == [-40, -30, 1, 2]
    assert (report.introduced, report.completed) == (4, 4)


@pytest.mark.every_mode
def test_route_answers(run: Runner) -> None:
    report = run(paths.routes)
    assert report.collected == {"even": [0], "odd": [1]}
    assert (report.introduced, report.completed, report.dropped, report.failed) == (6, 3, 1, 3)
    said = sorted(failure.cause.message for failure in report.failures if failure.cause)
    assert [failure.item for failure in report.failures] == [3, 4, 5]
    assert all("expected one of 'even', 'odd'" in message for message in said)


def test_route_answers_by_key(run: Runner) -> None:
    report = run(paths.routes_by_key)
    assert report.collected == {"germany": [0], "america": [1]}
    assert (report.completed, report.dropped, report.failed) == (3, 1, 2)


def test_a_route_without_a_function_deals_in_turn(run: Runner) -> None:
    assert run(paths.round_robin).collected == {"a": [0, 3], "b": [1, 4], "c": [2, 5]}


def test_what_a_route_drops_is_counted_behind_a_chunk_too(run: Runner) -> None:
    report = run(paths.route_drops_behind_a_chunk)
    assert (report.completed, report.dropped) == (10, 3)


def copies_of(out: list[tuple[Any, int]]) -> dict[Any, set[int]]:
    found: dict[Any, set[int]] = {}
    for item, copy in out:
        found.setdefault(item if isinstance(item, str) else item["k"], set()).add(copy)
    return found


@pytest.mark.parametrize("flow", [pytest.param(paths.by_key, marks=pytest.mark.every_mode), paths.by_field])
def test_items_of_one_key_reach_one_task(run: Runner, flow: Callable[[], Consecutor]) -> None:
    report = run(flow)
    found = copies_of(report.collected["out"])
    assert all(len(copies) == 1 for copies in found.values())
    assert len(set.union(*found.values())) > 1
    assert len(found) == 6
    assert report


def test_partial_keys_use_two_tasks_at_most(run: Runner) -> None:
    found = copies_of(run(paths.by_partial_key).collected["out"])
    assert all(len(copies) <= 2 for copies in found.values())
    assert len(set.union(*found.values())) > 1


@pytest.mark.every_mode
def test_all_gives_each_item_to_each_task(run: Runner) -> None:
    report = run(paths.to_all)
    assert len(report.collected["out"]) == 900
    assert Counter(copy for _, copy in report.collected["out"]) == {0: 300, 1: 300, 2: 300}
    assert (report.introduced, report.completed) == (300, 300)


@pytest.mark.every_mode
def test_global_gives_all_items_to_one_task(run: Runner) -> None:
    report = run(paths.to_one)
    assert len({copy for _, copy in report.collected["out"]}) == 1
    assert report.completed == 300


def test_shuffle_uses_all_tasks(run: Runner) -> None:
    report = run(paths.shuffled)
    assert len({copy for _, copy in report.collected["out"]}) == 3
    assert (len(report.collected["out"]), report.completed) == (300, 300)


def test_an_item_without_its_key_fails_alone(run: Runner) -> None:
    report = run(paths.without_key)
    assert (report.completed, report.failed) == (1, 2)
    assert all(failure.cause and "key" in failure.cause.message for failure in report.failures)


def test_items_of_one_key_keep_their_order(run: Runner) -> None:
    out = run(paths.in_order_by_key).collected["out"]
    for key in "abc":
        assert [n for one, n in out if one == key] == list(range(2000))


@pytest.mark.not_in("sim", "its size takes seconds, and shows nothing of a cluster")
def test_a_chain_of_5000_nodes_runs(run: Runner) -> None:
    report = run(paths.chain)
    assert report.collected["out"] == [5000, 5001, 5002]


@pytest.mark.not_in("sim", "its size takes seconds, and shows nothing of a cluster")
def test_a_chain_of_1000_classes_runs(run: Runner) -> None:
    assert run(paths.chain_of_classes).collected["out"] == [1001]


@pytest.mark.not_in("sim", "its size takes seconds, and shows nothing of a cluster")
@pytest.mark.parametrize("flow", [paths.explosion, paths.explosion_of_a_class])
def test_one_item_that_becomes_a_million_values_keeps_memory_flat(run: Runner, flow: Callable[[], Consecutor]) -> None:
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = run(flow)
    assert report.collected["out"] == [1_000_000]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB; a million ints take 36,000


@pytest.mark.not_in("sim", "its size takes seconds, and shows nothing of a cluster")
def test_an_item_that_pushes_too_much_to_another_task_fails_alone(run: Runner) -> None:
    report = run(paths.too_many_for_a_link)
    assert (report.completed, report.failed) == (1, 1)
    assert report.failures[0].cause is not None
    assert report.failures[0].cause.exception.endswith("CapacityError")


def test_a_push_after_the_item_was_finished_raises(run: Runner) -> None:
    report = run(paths.pushes_from_a_thread)
    assert report.collected["out"] == []
    assert len(run.lines("late")) == 2
    assert all("outside of an item" in line for line in run.lines("late"))


def test_a_push_in_setup_raises_before_anything_runs(run: Runner) -> None:
    with pytest.raises(UserCodeError, match=r"setup of node 'pushes_in_setup'.*outside of an item"):
        run(paths.pushes_in_setup)


def test_an_undeclared_output_fails_the_item(run: Runner) -> None:
    report = run(paths.undeclared_output)
    assert report.failures[0].cause is not None
    assert "add_output('errors')" in report.failures[0].cause.message


def test_an_output_that_nobody_reads_takes_everything(run: Runner) -> None:
    report = run(paths.output_that_nobody_reads)
    assert report.collected["out"] == [1]
    assert report


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(paths.poison_alone, marks=pytest.mark.every_mode),
        paths.poison_in_a_chunk,
        paths.poison_in_a_batch,
        paths.poison_across_tasks,
    ],
)
def test_schedule_15_one_poison_item_among_10000_is_the_only_dead_letter(
    run: Runner, flow: Callable[[], Consecutor]
) -> None:
    """The poison fails alone, whatever it travels with (R14).

    1. One item of a Chunk(500), or of a batch of ``process_batch``, makes the node raise.
    2. The 499 others fail once with it; all are replayed, each alone.
    3. Only the poison fails again, and is a dead letter after 1 + replays_max attempts.
    """
    report = run(flow)
    assert (report.introduced, report.completed, report.failed) == (10_000, 9_999, 1)
    [failure] = report.failures
    assert failure.attempts == 4
    assert failure.item == (4_999 if flow is paths.poison_alone else 5_000)
    assert failure.cause is not None
    assert failure.cause.message == "poison"
    assert 'raise ValueError("poison")' in failure.cause.traceback
    assert "5000" in failure.cause.value or "5000" in repr(failure.item)
    out = report.collected["out"]
    flat = [n for one in out for n in one] if isinstance(out[0], list) else out
    assert sorted(flat) == [n for n in range(1, 10_001) if n != 5_000]
