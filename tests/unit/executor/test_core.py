"""The executor core: what it takes into work, and what it says when tasks and ackers come and go."""

from __future__ import annotations

from datetime import timedelta

from consecution import Chunk, Filter, Map, Node
from consecution.executor.events import Arrived, Kind, Lost, NodeFailed
from consecution.executor.frames import EndMark, Frame
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Sum
from consecution.plan.partitions import StageTasks, dealt
from tests.unit.executor.harness import EXECUTOR, PRODUCER, Harness


class Sink(Node):
    def process(self, item: object) -> None:
        return None


class Fails(Node):
    def process(self, item: object) -> None:
        raise ValueError(str(item))


class Total(Node):
    def setup(self) -> None:
        self.total = 0

    def process(self, item: int) -> None:
        self.total += item

    def finish(self) -> None:
        self.push(self.total)


def test_a_task_whose_output_lacks_credit_takes_no_new_frame() -> None:
    """Schedule 16: what is taken without credit for what it becomes piles up, or waits for ever (R3)."""
    credit = {1: False}
    harness = Harness(Map(abs) | Sink(grouping="shuffle"), remote_credit=credit.__getitem__)
    harness.give_up(1)
    harness.feed([1, 2], root=5)
    assert harness.core.next_work(0.0) is None
    assert harness.core.queued_items == 2
    assert harness.core.roots() == {5}
    credit[1] = True
    harness.run()
    assert [send.task for send in harness.sent] == [1]
    assert harness.core.queued_items == 0


def test_a_frame_for_a_task_that_nobody_runs_fails_its_tree_at_once() -> None:
    """Between a death and the placement that names a new owner there is nobody to send to (R12)."""
    harness = Harness(Map(abs) | Sink(grouping="shuffle"), remote_credit=lambda task: True)
    harness.give_up(1)
    harness.elsewhere = None
    harness.feed([1, 2], root=5)
    harness.run()
    assert harness.sent == []
    assert [message.refused for message in harness.told if isinstance(message, Sum)] == [True]
    verdict = harness.verdict(5)
    assert verdict is not None
    assert verdict.lost


def test_who_has_ended_says_so_again_to_the_new_owner_of_a_task() -> None:
    """Schedule 24: a task dies after its upstream has sent the end mark; everyone would wait for ever (R19)."""
    harness = Harness(Map(abs) | Sink(grouping="shuffle"), remote_credit=lambda task: True)
    harness.give_up(1)
    harness.end()
    harness.run()
    assert [(send.task, send.message) for send in harness.sent] == [(1, EndMark(0))]
    harness.carry(harness.core.reowned(frozenset((1,))))
    harness.carry(harness.core.reowned(frozenset((7,))))
    assert [(send.task, send.message) for send in harness.sent] == [(1, EndMark(0))] * 2


def test_a_frame_that_comes_after_the_end_is_worked_on_and_the_task_ends_again() -> None:
    """A producer's host is gone, with what it had told nobody: the new one does it again, before tasks that have ended.

    Found by seed 3401 of the simulator: the frame waited before its task for ever (R19).
    """
    harness = Harness(Map(abs) | Chunk(2) | Sink(grouping="shuffle"), remote_credit=lambda task: True)
    harness.give_up(1)
    harness.end()
    harness.run()
    assert harness.core.ended == {0}
    harness.sent.clear()
    harness.feed([1, 2, 3], root=5)
    assert harness.core.ended == set()
    harness.run()
    assert harness.core.ended == {0}
    frames = [send.message for send in harness.sent if isinstance(send.message, Frame)]
    assert [item for frame in frames for item in frame.items] == [[1, 2], [3]]
    assert harness.sent[-1].message == EndMark(0)


def test_an_ackers_death_sends_the_finish_pushes_that_it_held_again() -> None:
    """The task is the producer of what its finish pushes, so it replays it under a fresh root (R12, R19)."""
    harness = Harness(Total() | Sink(grouping="shuffle"), remote_credit=lambda task: True)
    harness.give_up(1)
    harness.feed([1, 2, 3], root=5)
    harness.end()
    while not harness.sent:
        assert harness.step()
    assert isinstance(harness.sent[0].message, Frame)
    first = harness.sent[0].message.roots
    harness.carry(harness.core.ackers_died(lambda root: True, harness.now))
    while len(harness.sent) < 2:
        assert harness.step()
    again = harness.sent[1].message
    assert isinstance(again, Frame)
    assert again.items == harness.sent[0].message.items == [6]
    assert again.roots != first
    assert not harness.core.is_ended


def test_a_failure_behind_a_chunk_fails_the_items_of_all_roots_that_it_was_made_of() -> None:
    """An item made of many has the union of their origins (R8), also when it fails."""
    harness = Harness(Chunk(4) | Fails(grouping="shuffle"))
    harness.feed([1, 2], root=5)
    harness.feed([3, 4], root=6)
    harness.run()
    for root in (5, 6):
        verdict = harness.verdict(root)
        assert verdict is not None
        assert [fail.indexes for fail in verdict.failed] == [(0, 1)]


def test_a_failure_names_places_in_the_batch_however_often_it_was_dealt() -> None:
    """Origins are places in the batch, not in the frame that came last (R8)."""

    class FailsOnThree(Node):
        def process(self, item: int) -> None:
            if item == 3:
                raise ValueError("three")

    not_one = Filter(lambda item: item != 1, parallelism=2, grouping="shuffle")
    harness = Harness(Map(abs) | not_one | FailsOnThree(grouping="global"))
    harness.feed([0, 2, 4, 1, 3, 5], root=5)
    harness.run()
    verdict = harness.verdict(5)
    assert verdict is not None
    assert [fail.indexes for fail in verdict.failed] == [(4,)]


def test_a_frame_that_came_in_parts_of_a_batch_fails_by_its_origins() -> None:
    harness = Harness(Map(abs) | Fails(grouping="shuffle"))
    from consecution.guarantee.messages import Init

    edge = harness.new_id()
    harness.tell([Init(5, PRODUCER, edge, frozenset((EXECUTOR,)))])
    frame = Frame(0, [7, 8], (5,), (edge,), (PRODUCER,), [3, 9])
    harness.carry(harness.core.handle(Arrived(0, -1, frame), 0.0))
    harness.run()
    verdict = harness.verdict(5)
    assert verdict is not None
    assert sorted(index for fail in verdict.failed for index in fail.indexes) == [3, 9]


class Timed(Node):
    def process(self, item: int) -> None:
        self.push(item)

    def on_timer(self) -> None:
        self.push(-1)


def test_a_timer_is_due_after_its_time_and_its_values_are_the_tasks_own() -> None:
    harness = Harness(Timed(every=timedelta(seconds=1)) | Sink(grouping="shuffle"))
    assert harness.core.next_work(0.0) is None
    assert harness.core.next_time(0.0) == 1.0
    work = harness.core.next_work(1.0)
    assert work is not None
    assert work.kind is Kind.TIMER
    harness.now = 1.0
    harness.carry(harness.core.handle(harness.working.run(work), 1.0))
    assert not harness.core.is_quiet
    for _ in range(10):
        harness.step()
    assert harness.core.is_quiet


def test_a_timer_that_is_faster_than_its_values_lets_its_task_end() -> None:
    """R19: the end of a task waits for its own values, so its timer may not bring new ones again and again."""
    harness = Harness(Timed(every=timedelta(seconds=1)) | Sink(grouping="shuffle"))
    harness.feed([1, 2], root=5)
    harness.end()
    for _ in range(30):
        harness.now += 1.0
        harness.step()
    assert harness.core.is_ended


def test_no_timer_fires_while_items_go_one_by_one() -> None:
    """R15: a crash with a timer's value in work beside an item would tell nobody whose fault it is."""
    harness = Harness(Timed(every=timedelta(seconds=1)) | Sink(grouping="shuffle"))
    assert harness.core.next_work(0.0) is None
    harness.core.is_careful = True
    assert harness.core.next_time(0.0) is None
    assert harness.core.next_work(5.0) is None
    harness.core.is_careful = False
    work = harness.core.next_work(5.0)
    assert work is not None
    assert work.kind is Kind.TIMER


def test_what_moves_is_still_no_timer_and_no_more_of_finish() -> None:
    """R6: a task's own values would be under way while it is given to somebody else."""
    harness = Harness(Total() | Sink(grouping="shuffle"))
    harness.feed([1, 2], root=5)
    harness.core.is_still = True
    harness.end()
    for _ in range(20):
        harness.step()
    assert not harness.core.is_ended
    assert harness.core.is_quiet
    harness.core.is_still = False
    harness.run()
    assert harness.core.is_ended


def test_a_drained_run_calls_no_finish() -> None:
    harness = Harness(Total() | Sink(grouping="shuffle"))
    harness.feed([1, 2], root=5)
    harness.core.skip_finish()
    harness.end()
    harness.run()
    assert harness.core.is_ended
    assert [send for send in harness.sent if isinstance(send.message, Frame)] == []


def test_a_finish_whose_value_fails_for_good_is_told_as_the_nodes_failure() -> None:
    harness = Harness(Total() | Fails(grouping="shuffle"))
    harness.feed([1, 2], root=5)
    harness.end()
    told: list[object] = []
    carry = harness.carry

    def note(instructions: object) -> None:
        told.extend(one for one in instructions if isinstance(one, (NodeFailed, Lost)))  # type: ignore[attr-defined]
        carry(instructions)  # type: ignore[arg-type]

    harness.carry = note  # type: ignore[method-assign]
    harness.run()
    failed = [one for one in told if isinstance(one, NodeFailed)]
    assert [one.letter is not None for one in failed] == [True]
    assert harness.core.is_ended


def test_at_level_none_a_failed_item_is_told_as_the_nodes_failure() -> None:
    harness = Harness(Map(abs) | Fails(grouping="shuffle"), level=Robustness.NONE)
    told: list[object] = []
    carry = harness.carry

    def note(instructions: object) -> None:
        told.extend(one for one in instructions if isinstance(one, NodeFailed))  # type: ignore[attr-defined]
        carry(instructions)  # type: ignore[arg-type]

    harness.carry = note  # type: ignore[method-assign]
    harness.carry(harness.core.handle(Arrived(0, -1, Frame(0, [1, 2], (), (), ())), 0.0))
    harness.run()
    assert len(told) == 2
    assert (harness.core.made, harness.core.done) == (1, 2)


def test_a_plan_with_more_tasks_gives_neighbours_and_one_with_fewer_takes_them() -> None:
    """An end of somebody who isn't upstream is no end of anybody's (R19)."""
    harness = Harness(Map(abs, name="a") | Sink(key=str))
    more = harness.plan.with_tasks((StageTasks(0, (0, 2), dealt((0, 2))),))
    harness.core.handle(Arrived(1, 2, EndMark(2)), 0.0)
    harness.core.replan(more)
    harness.core.handle(Arrived(1, 0, EndMark(0)), 0.0)
    assert harness.core.next_work(0.0) is None, "task 2 hasn't ended"
    harness.core.handle(Arrived(1, 2, EndMark(2)), 0.0)
    assert harness.core.next_work(0.0) is not None
    harness.core.replan(harness.plan)
    harness.core.check_invariants()


def test_what_waits_for_a_task_that_is_no_more_is_dropped() -> None:
    credit = {1: True, 2: False}
    harness = Harness(Map(abs, name="a") | Sink(key=str), remote_credit=credit.__getitem__)
    harness.give_up(1)
    harness.core.replan(harness.plan.with_tasks((StageTasks(1, (1, 2), dealt((1, 2))),)))
    assert harness.core.next_work(0.0) is None
    harness.feed([1], root=5)
    assert harness.core.next_work(0.0) is None, "task 2 gives no credit"
    harness.core.replan(harness.plan)
    assert harness.core.next_work(0.0) is not None
