"""Doors: a frame at a blocking output is open until the next consecutor has journalled it (R21)."""

from __future__ import annotations

import pytest

from consecution import Consecutor, Map, Node
from consecution.executor.booking import Outcome
from consecution.executor.core import DOOR_ITEMS_MAX, ExecutorCore
from consecution.executor.door import DoorRunner, doors_in
from consecution.executor.events import Arrived, Credit, Journalled, Kind, Ran, TaskEnded, Tell
from consecution.executor.frames import EndMark, Frame
from consecution.executor.own import OwnValues
from consecution.guarantee.levels import Robustness
from consecution.guarantee.window import Window
from consecution.local.working import Working
from consecution.plan.stages import plan_of
from consecution.producers.handover import Handover
from consecution.values import snapshot

DOOR, PRODUCER, ME = 0, 12, 11


class DoorOfItsOwn:
    """A core with one door, fed by hand."""

    def __init__(self, *, is_async: bool = False) -> None:
        plan = plan_of(Consecutor(Map(abs), "door", journal=None).dag, [(0,)])
        self.core = ExecutorCore(plan, Robustness.REPLAY, lambda task: ME)
        self.handover = Handover("a.x")
        self.journalled: list[int] = []
        runner = DoorRunner(DOOR, self.handover, is_async=is_async, journalled=lambda: self.journalled.append(1))
        window = Window(
            producer=ME, level=Robustness.REPLAY, replays_max=0, pending_max=10, new_root=lambda: 1, snapshot=snapshot,
            exposed=lambda node: frozenset(),
        )  # fmt: skip
        self.core.add_task(DOOR, OwnValues(DOOR, ME, window, lambda: 1), [], {}, is_door=True)
        self.working = Working({DOOR: runner}, None)
        self.told = []

    def arrive(self, items: list[int], edge: int) -> None:
        frame = Frame(DOOR, items, (7,), (edge,), (PRODUCER,))
        self.carry(self.core.handle(Arrived(DOOR, -1, frame), 0.0))

    def end(self) -> None:
        self.carry(self.core.handle(Arrived(DOOR, -1, EndMark(-1)), 0.0))

    def work(self) -> bool:
        work = self.core.next_work(0.0)
        self.carry(self.core.instructions())
        if work is None:
            return False
        self.carry(self.core.handle(self.working.run(work), 0.0))
        return True

    def take(self) -> None:
        """The next consecutor reads and journals all that is offered."""
        read = self.handover.read(100_000, 0.0).items
        self.handover.acknowledge(0, len(read))
        for _ in self.journalled:
            self.carry(self.core.handle(Journalled(DOOR), 0.0))
        self.journalled.clear()

    def carry(self, instructions) -> None:
        self.told += instructions
        self.core.check_invariants()

    @property
    def words(self) -> list[int]:
        return [one.word for told in self.told if isinstance(told, Tell) for one in told.sums]


def test_a_frame_closes_when_the_next_consecutor_has_journalled_it_and_not_before():
    door = DoorOfItsOwn()
    door.arrive([1, 2], edge=0xA)
    door.arrive([3], edge=0xB)
    while door.work():
        pass
    assert door.words == []
    assert door.core.roots() == {7}, "the audit is told that the frames are here"
    door.take()
    assert door.words == [0xA, 0xB]
    assert door.core.roots() == set()


def test_an_async_door_closes_its_frame_at_once_and_drops_what_finds_no_room():
    door = DoorOfItsOwn(is_async=True)
    door.arrive(list(range(10_001)), edge=0xA)
    assert door.work()
    assert door.words == [0xA]
    assert door.handover.dropped == 1


def test_a_door_that_waits_for_much_takes_no_further_frame():
    door = DoorOfItsOwn()
    door.arrive(list(range(DOOR_ITEMS_MAX)), edge=0xA)
    door.arrive([1], edge=0xB)
    assert door.work()
    assert not door.work()
    assert sum(isinstance(told, Credit) for told in door.told) == 1
    door.take()
    assert door.work()


def test_a_door_ends_when_all_that_it_took_is_journalled():
    door = DoorOfItsOwn()
    door.arrive([1], edge=0xA)
    door.end()
    while door.work():
        pass
    assert not any(isinstance(told, TaskEnded) for told in door.told)
    door.take()
    assert not door.work()
    assert any(isinstance(told, TaskEnded) for told in door.told)


def test_a_frame_without_items_closes_at_once():
    door = DoorOfItsOwn()
    door.arrive([], edge=0xA)
    door.work()
    assert door.words == [0xA]


def test_a_door_that_ended_with_a_frame_open_is_found_out():
    door = DoorOfItsOwn()
    door.arrive([1], edge=0xA)
    work = door.core.next_work(0.0)
    assert work is not None
    assert work.kind is Kind.RUN
    door.core.handle(Ran(work, Outcome()), 0.0)
    door.core._tasks[DOOR].is_ended = True
    with pytest.raises(AssertionError, match="E6"):
        door.core.check_invariants()


def test_each_door_has_a_stage_of_its_own_behind_all_others():
    class Split(Node):
        def __init__(self) -> None:
            self.add_output("x")

        def process(self, item: int) -> None:
            self.push(item)

    first = Consecutor([1] | Split(), "first", journal=None)
    second = Consecutor(Map(abs), "second", journal=None)
    third = Consecutor(Map(abs), "third", journal=None)
    first.output["x"] | second
    first | third
    plan = plan_of(first.run_dag)
    handovers = [link.handover for link in first.links]
    assert [stage.nodes for stage in plan.stages] == [(0,), (1,), (2,)]
    assert doors_in(first.run_dag, plan, handovers) == {1: (handovers[0], False), 2: (handovers[1], False)}
