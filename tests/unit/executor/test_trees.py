"""What runs mean for the ledger: the schedules of protocol.md section 9 that an executor alone can break."""

from __future__ import annotations

import random

import pytest

from consecution import Chunk, Collect, Filter, FlatMap, Map, Node
from consecution.executor.events import Arrived
from consecution.executor.frames import EndMark, FlushMark, Frame
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Sum
from tests.unit.executor.harness import EXECUTOR, PRODUCER, Harness


def fail_on_two(item: int) -> int:
    if item == 2:
        raise ValueError("two")
    return item


class Sink(Node):
    def process(self, item: object) -> None:
        return None


def test_schedule_1_a_fail_rides_in_the_sum_that_closes_its_frame() -> None:
    """No sum closes a tree before its fails are told (R10).

    1. An item of a frame fails.
    2. The frame is closed by a sum; were the fail sent apart and lost, the item would count as completed.
    """
    harness = Harness(Map(fail_on_two) | Sink())
    harness.feed([1, 2, 3], root=5)
    harness.run()
    [_, closing] = harness.told
    assert isinstance(closing, Sum)
    assert [fail.indexes for fail in closing.fails] == [(1,)]
    verdict = harness.verdict(5)
    assert verdict is not None
    assert [(fail.indexes, fail.cause and fail.cause.message) for fail in verdict.failed] == [((1,), "two")]


def test_schedule_2_two_frames_of_one_root_that_meet_in_one_chunk_count_its_output_once() -> None:
    """An output frame enters the word once, however many inputs it was made of (R9).

    1. A batch is dealt to two tasks; their frames F1 and F2 of one root meet in one Chunk, which pushes G.
    2. With a sum for each input, F1^G and F2^G would cancel G: done while G is unprocessed.
    """
    harness = Harness(Map(abs, parallelism=2) | Chunk(4, grouping="global") | Sink(grouping="shuffle"))
    one, two = harness.new_id(), harness.new_id()
    from consecution.guarantee.messages import Init

    harness.tell([Init(5, PRODUCER, one ^ two, frozenset((EXECUTOR,)))])
    harness.carry(harness.core.handle(Arrived(0, -1, Frame(0, [1, 2], (5,), (one,), (PRODUCER,), [0, 1])), 0.0))
    harness.carry(harness.core.handle(Arrived(1, -1, Frame(1, [3, 4], (5,), (two,), (PRODUCER,), [2, 3])), 0.0))
    sink = harness.plan.n_tasks - 1
    while not any(send.task == sink for send in harness.sent):
        assert harness.step()
    assert harness.verdict(5) is None
    [chunk] = [send.message for send in harness.sent if send.task == sink]
    assert isinstance(chunk, Frame)
    assert sorted(chunk.items[0]) == [1, 2, 3, 4]
    assert sorted(chunk.origin_pairs(chunk.origins or ())) == [(5, 0), (5, 1), (5, 2), (5, 3)]
    harness.run()
    verdict = harness.verdict(5)
    assert verdict is not None
    assert not verdict.failed


def test_schedule_3_an_input_stays_open_while_a_chunk_holds_any_of_it() -> None:
    """An input closes only when all that was pushed for it is in the word, and nobody holds any of it (R9).

    1. Three items reach Chunk(2): two go on and are done, the third is held.
    2. Its frame, and so its root, stay open until a flush.
    """
    harness = Harness(Chunk(2) | Sink(grouping="shuffle"))
    harness.feed([1, 2, 3], root=5)
    harness.feed([4], root=6)
    harness.feed([5], root=7)
    while harness.core.queued_items or harness.step():
        harness.step()
    assert {verdict.root for verdict in harness.verdicts} == {5, 6}
    harness.carry(harness.core.handle(Arrived(0, -1, FlushMark(PRODUCER, 1)), 0.0))
    harness.run()
    assert {verdict.root for verdict in harness.verdicts} == {5, 6, 7}


def test_schedule_17_finish_waits_for_every_frame_and_holders_behind_it_are_flushed_again() -> None:
    """An end mark stays behind the frames of its link, at every level, and finish pushes are flushed too (R18, R19).

    1. A node pushes in finish, into a Chunk that was flushed when its own upstream ended.
    2. The values that finish pushed leave the Chunk by a flush of their own.
    """
    for level in Robustness:
        harness = Harness(Sums() | Chunk(10, grouping="shuffle") | Collect("out", grouping="shuffle"), level=level)
        frame = Frame(0, [1, 2, 3], solo=False)
        if level is Robustness.NONE:
            harness.carry(harness.core.handle(Arrived(0, -1, frame), 0.0))
        else:
            harness.feed([1, 2, 3], root=5)
        harness.end()
        harness.run()
        assert harness.runners[harness.plan.n_tasks - 1].collected() == {"out": [[6]]}
        assert harness.core.is_ended


class Sums(Node):
    def setup(self) -> None:
        self.total = 0

    def process(self, item: int) -> None:
        self.total += item

    def finish(self) -> None:
        self.push(self.total)


def test_schedule_16_a_run_without_credit_goes_on_downstream() -> None:
    """Credit belongs to a target task: what is furthest downstream runs first, and nobody waits in push (R3).

    1. Four stages in a row share one executor; each may have four items under way to the next.
    2. Far more than that is fed: everything goes through.
    """
    dag = Map(abs) | Map(abs, grouping="shuffle") | Map(abs, grouping="shuffle") | Sink(grouping="shuffle")
    harness = Harness(dag, credit_items=4)
    for root in range(1, 51):
        harness.feed([1, 2, 3], root=root)
    harness.run()
    assert {verdict.root for verdict in harness.verdicts} == set(range(1, 51))


def test_schedule_24_a_flush_mark_is_forwarded_once_by_each_task() -> None:
    """Marks don't multiply through parallel tasks (R18).

    1. A producer's flush mark enters 4 parallel tasks, behind which come 5 layers of 4 tasks each.
    2. Each task forwards the mark once, whoever it came from first: 4 x 4 marks for each layer, not 4 to the fifth.
    """
    dag = Map(abs, parallelism=4)
    for _ in range(5):
        dag = dag | Map(abs, parallelism=4, grouping="shuffle")  # type: ignore[assignment]
    harness = Harness(dag)
    for task in range(4):
        harness.carry(harness.core.handle(Arrived(task, -1, FlushMark(PRODUCER, 1)), 0.0))
    harness.run()
    marks = [send for send in harness.sent if isinstance(send.message, FlushMark)]
    assert len(marks) == 5 * 4 * 4


def test_a_task_ends_after_all_its_upstream_and_says_so_once() -> None:
    harness = Harness(Map(abs, parallelism=3) | Sink(grouping="global"))
    harness.end(0)
    harness.run()
    assert not harness.core.is_ended
    harness.end(1)
    harness.end(1)
    harness.run()
    harness.end(2)
    harness.run()
    assert harness.core.is_ended
    assert [send.sender for send in harness.sent if isinstance(send.message, EndMark)] == [0, 1, 2]


def split(item: int) -> list[int]:
    return [item] * (item % 4)


@pytest.mark.parametrize("seed", range(30))
def test_every_root_is_judged_once_and_right_whatever_the_graph(seed: int) -> None:
    """Random stages with holders, drops, failures and joins: all is judged, once, and memory is empty."""
    chance = random.Random(seed)
    dag: object = Map(abs, parallelism=chance.choice((1, 1, 2)))
    for _ in range(chance.randrange(1, 6)):
        grouping = chance.choice((None, "shuffle", "global", "all", "key"))
        options = {"grouping": grouping, "parallelism": chance.choice((1, 2, 3))}
        if grouping == "key":
            options["key"] = str  # type: ignore[assignment]
        step = chance.choice(("map", "filter", "flat", "chunk", "branch"))
        if step == "map":
            dag = dag | Map(as_it_is, **options)  # type: ignore[operator]
        elif step == "filter":
            dag = dag | Filter(is_small, **options)  # type: ignore[operator]
        elif step == "flat":
            dag = dag | FlatMap(as_many, **options)  # type: ignore[operator]
        elif step == "chunk":
            dag = dag | Chunk(chance.choice((2, 3, 50)), **options) | FlatMap(as_list)  # type: ignore[operator]
        else:
            dag = dag | [Map(as_it_is, **options), Chunk(3) | FlatMap(as_list)] | Map(as_it_is)  # type: ignore[operator]
    dag = dag | Map(fails_on_thirteen, grouping="shuffle")  # type: ignore[operator]
    harness = Harness(dag, credit_items=chance.choice((1, 8, 4096)))
    n_heads = harness.plan.stages[0].parallelism
    roots = range(1, 40)
    for root in roots:
        items = [chance.randrange(40) for _ in range(chance.randrange(1, 6))]
        harness.feed(items, root=root, task=chance.randrange(n_heads), solo=chance.random() < 0.1)
        for _ in range(chance.randrange(4)):
            harness.step()
    harness.end(*range(n_heads))
    harness.run()
    assert {verdict.root for verdict in harness.verdicts} == set(roots)
    assert len(harness.verdicts) == len(roots)
    assert not any(verdict.lost for verdict in harness.verdicts)
    assert len(harness.ledger) == 0
    assert harness.core.is_ended
    assert harness.core.roots() == set()
    assert not any(runner.held_roots() for runner in harness.runners.values())


def as_it_is(item: int) -> int:
    return item


def is_small(item: int) -> bool:
    return item < 30


def as_many(item: int) -> list[int]:
    return [item] * (item % 3)


def as_list(items: list[int]) -> list[int]:
    return items


def fails_on_thirteen(item: int) -> int:
    if item == 13:
        raise ValueError("thirteen")
    return item
