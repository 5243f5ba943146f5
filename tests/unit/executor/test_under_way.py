"""What async nodes have in work over several frames: which frame is closed when, and what waits for it (E7, S4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Chunk, Collect, FlatMap, Map, Node
from consecution.executor import event_loop, under_way
from tests.unit.executor.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT, OTHER_ROOT, THIRD_ROOT = 1 << 40, 1 << 41, 1 << 42


class Door(Node):
    """Lets an item through when the test says so, by a dict that all copies share."""

    def __init__(self, doors: dict[Any, asyncio.Event], **options: Any) -> None:
        super().__init__(**options)
        self.doors = Shared(doors)
        self.began: Shared = Shared([])

    async def process(self, item: Any) -> None:
        self.began.value.append(item)
        await self.doors.value.setdefault(item, asyncio.Event()).wait()
        if item == "bad":
            message = "no"
            raise ValueError(message)
        self.push(item)


class Shared:
    """A value that copies of a node share with the test."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: object) -> Shared:
        return self


@pytest.fixture
def harness() -> Iterator[Callable[..., Harness]]:
    made: list[Harness] = []

    def make(dag: object, **options: Any) -> Harness:
        made.append(Harness(dag, **options))
        return made[-1]

    yield make
    for one in made:
        for runner in one.runners.values():
            runner.teardown()


def work(one: Harness, steps: int = 5) -> None:
    """Work for some steps, in which nothing is waited for."""
    for _ in range(steps):
        one.now += 0.05
        for ran in one.working.resumed():
            one.carry(one.core.handle(ran, one.now))
        if (piece := one.core.next_work(one.now)) is not None:
            one.carry(one.core.instructions())
            one.carry(one.core.handle(one.working.run(piece), one.now))
        one.core.check_invariants()


def test_a_frame_is_closed_with_the_last_of_its_items_whatever_other_frames_do(harness: Any) -> None:
    doors: dict[Any, asyncio.Event] = {}
    door = Door(doors, ordered=False)
    one = harness(door | Collect("out"))
    one.feed(["a", "b"], root=ROOT)
    one.feed(["c"], root=OTHER_ROOT)
    work(one)
    assert door.began.value == ["a", "b", "c"]
    assert one.verdicts == []
    doors["c"].set()
    work(one)
    assert [verdict.root for verdict in one.verdicts] == [OTHER_ROOT]
    doors["a"].set()
    work(one)
    assert one.verdict(ROOT) is None, "b is still awaited"
    assert one.runners[0].held_roots() == {ROOT}, "the audit hears of it (R13)"
    doors["b"].set()
    work(one)
    assert one.verdict(ROOT) is not None
    assert one.runners[0].collected() == {"out": ["c", "a", "b"]}


def test_in_order_a_later_frame_waits_for_an_earlier_one(harness: Any) -> None:
    doors: dict[Any, asyncio.Event] = {}
    one = harness(Door(doors) | Collect("out"))
    one.feed(["a"], root=ROOT)
    one.feed(["b"], root=OTHER_ROOT)
    work(one)
    doors["b"].set()
    work(one)
    assert one.verdicts == []
    doors["a"].set()
    work(one)
    assert [verdict.root for verdict in one.verdicts] == [ROOT, OTHER_ROOT]
    assert one.runners[0].collected() == {"out": ["a", "b"]}


def test_no_more_than_concurrency_is_awaited_and_no_frame_is_taken_beyond_it(harness: Any) -> None:
    doors: dict[Any, asyncio.Event] = {}
    door = Door(doors, concurrency=2)
    one = harness(door | Collect("out"))
    for number in range(4):
        one.feed([number], root=ROOT + number)
    work(one, 10)
    assert door.began.value == [0, 1]
    assert one.core.queued_items == 2
    doors[0].set()
    work(one)
    assert door.began.value == [0, 1, 2]
    assert one.core.queued_items == 1


def test_a_solo_frame_is_alone_under_way(harness: Any) -> None:
    """What a crash leaves in the slot is then the one item that is to blame (R15).

    1. An item is awaited; a solo frame comes, and then another frame.
    2. The solo frame waits for the first, and the last one for the solo frame.
    """
    doors: dict[Any, asyncio.Event] = {}
    door = Door(doors)
    one = harness(door | Collect("out"))
    one.feed(["a"], root=ROOT)
    work(one)
    one.feed(["s"], root=OTHER_ROOT, solo=True)
    one.feed(["z"], root=THIRD_ROOT)
    work(one)
    assert door.began.value == ["a"]
    doors["a"].set()
    work(one)
    assert door.began.value == ["a", "s"]
    doors["s"].set()
    work(one)
    assert door.began.value == ["a", "s", "z"]


def test_holders_pass_a_solo_item_on_by_itself_when_it_has_been_awaited(harness: Any) -> None:
    doors: dict[Any, asyncio.Event] = {}
    one = harness(Door(doors) | Chunk(10) | Collect("out"))
    one.feed(["a", "b"], root=ROOT)
    for item in "abs":
        doors[item] = asyncio.Event()
        doors[item].set()
    work(one)
    assert one.runners[0].collected() == {"out": []}
    one.feed(["s"], root=OTHER_ROOT, solo=True)
    work(one)
    assert one.runners[0].collected() == {"out": [["a", "b"], ["s"]]}
    assert {verdict.root for verdict in one.verdicts} == {ROOT, OTHER_ROOT}


def test_what_fails_fails_in_its_own_frame(harness: Any) -> None:
    doors: dict[Any, asyncio.Event] = {}
    one = harness(Door(doors, ordered=False) | Collect("out"))
    one.feed(["a", "bad"], root=ROOT)
    one.feed(["b"], root=OTHER_ROOT)
    work(one)
    for event in doors.values():
        event.set()
    work(one)
    verdict = one.verdict(ROOT)
    assert verdict is not None
    assert [fail.indexes for fail in verdict.failed] == [(1,)]
    other = one.verdict(OTHER_ROOT)
    assert other is not None
    assert not other.failed


def test_a_task_ends_and_confirms_a_pause_only_when_nothing_is_under_way(harness: Any) -> None:
    doors: dict[Any, asyncio.Event] = {}
    one = harness(Door(doors) | Collect("out"))
    one.feed(["a"], root=ROOT)
    one.end()
    work(one)
    assert not one.core.is_ended
    assert not one.core.is_quiet
    assert one.runners[0].has_open_tokens
    doors["a"].set()
    work(one)
    assert one.core.is_ended
    assert one.core.is_quiet


def test_one_item_that_becomes_very_many_is_awaited_in_parts(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way is bounded, however much is pushed for one item; nothing of it is booked on another item."""
    monkeypatch.setattr(under_way, "UNDER_WAY_MAX", 100)
    doors: dict[Any, asyncio.Event] = {number: asyncio.Event() for number in range(3000)}
    for event in doors.values():
        event.set()
    one = harness(FlatMap(range) | Door(doors) | Map(lambda number: number) | Collect("out"))
    one.feed([3000, 5], root=ROOT)
    one.feed([7], root=OTHER_ROOT)
    one.run()
    assert one.runners[0].collected() == {"out": [*range(3000), *range(5), *range(7)]}
    assert {verdict.root for verdict in one.verdicts} == {ROOT, OTHER_ROOT}
    assert all(not verdict.failed for verdict in one.verdicts)


def test_items_that_come_just_as_the_last_ones_have_ended_are_awaited_too(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop stops after each turn, also where a worker has ended and nobody has heard of it yet.

    1. A frame's items are awaited; its workers end in the loop's last turn of a step.
    2. The next frame comes before the loop has called who waits for their end.
    """
    monkeypatch.setattr(event_loop, "STEP_S", 0.0)

    async def ready(number: int) -> int:
        await asyncio.sleep(0)
        return number

    one = harness(Map(ready) | Collect("out"))
    for number in range(40):
        one.feed(list(range(16 * number, 16 * number + 16)), root=ROOT + number)  # as many as are awaited at a time
        work(one, 1 + number % 4)
    one.run()
    assert one.runners[0].collected() == {"out": list(range(640))}
    assert len(one.verdicts) == 40


def test_what_is_under_way_is_cancelled_at_teardown_before_the_node_is_torn_down(harness: Any) -> None:
    told: list[str] = []
    shared = Shared(told)

    class Waits(Node):
        told = shared

        async def process(self, item: int) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                self.told.value.append("cancelled")

        def teardown(self) -> None:
            self.told.value.append("torn down")

    one = harness(Waits() | Collect("out"))
    one.feed([1], root=ROOT)
    work(one)
    one.runners[0].teardown()
    assert told == ["cancelled", "torn down"]
    assert one.verdicts == []
