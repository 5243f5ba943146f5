"""The runner of a door: hands whole frames over to the next consecutor (protocol.md R21).

The walk of one item over a blocking output:

1. The task that pushes it makes a frame for the door, books the frame's id, and closes its own input: the tree is open
   as long as the door's frame is.
2. The door takes the frame into work; here it is offered to the next consecutor's `Handover`, and stays open.
3. The next consecutor's engine reads it, journals it (fsync), and acknowledges; the `Handover` then calls ``taken``.
4. The shell gives the core `Journalled`, which closes the frame: its id goes to the acker, and the tree may be done.

A death before 4 leaves the item unfinished upstream, and it is replayed: it may be journalled twice downstream, and is
never lost. An async door closes its frame at once and drops what finds no room.

Rules of this module: it looks like a stage runner to whoever works tasks, and runs no user code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from consecution.executor.booking import Outcome
from consecution.graph.door import is_door

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consecution.executor.frames import Frame
    from consecution.executor.runner import StageRunner
    from consecution.graph import Dag
    from consecution.guarantee.messages import Cause
    from consecution.plan.stages import Plan
    from consecution.producers.handover import Taker

TaskRunner: TypeAlias = "StageRunner | DoorRunner"


class DoorRunner:
    """Runs the task of one door.

    Args:
        task: Its number.
        handover: Where it hands over.
        is_async: Of the output.
        journalled: Called, from any thread, for each frame that the next consecutor has journalled, in order.
    """

    def __init__(self, task: int, handover: Taker, *, is_async: bool, journalled: Callable[[], None]) -> None:
        self.task = task
        self.finishing: list[int] = []
        self.timers: dict[int, float] = {}
        self.marker: object = None
        self.names = (f"output {handover.name}",)
        self.has_open_tokens = False
        self._handover = handover
        self._is_async = is_async
        self._journalled = journalled

    @property
    def held_items(self) -> int:
        """Items that the next consecutor hasn't journalled yet."""
        return 0 if self._is_async else self._handover.waiting_items

    def setup(self) -> None:
        """Nothing has to be set up."""

    def replan(self, plan: Plan) -> None:
        """Nothing leaves a door for other tasks, so it is the same in every plan."""

    def run(self, frame: Frame) -> Outcome:
        """Offer a frame's items; it is left open unless the output is async, or there is nothing in it."""
        if not frame.items:
            return Outcome(closed=[frame])
        items = frame.items if isinstance(frame.items, list) else list(frame.items)
        if self._is_async:
            self._handover.offer_async(items)
            return Outcome(closed=[frame])
        self._handover.offer(items, self._journalled)
        return Outcome()

    def flush(self) -> Outcome:
        """Nothing is held here that a flush could hurry."""
        return Outcome()

    def timer(self, place: int) -> Outcome:
        """Doors have no timers."""
        raise NotImplementedError

    def finish(self, place: int) -> Iterator[tuple[int, Any]]:
        """Doors push nothing of their own."""
        raise NotImplementedError

    def collected(self) -> dict[str, list[Any]]:
        """Doors collect nothing."""
        return {}

    def held_roots(self) -> set[int]:
        """What waits for the next consecutor is named by the core."""
        return set()

    def teardown(self) -> list[Cause]:
        """Nothing has to be torn down."""
        return []


def doors_in(dag: Dag, plan: Plan, handovers: Sequence[Taker]) -> dict[int, tuple[Taker, bool]]:
    """Give the tasks of a plan that are doors, with where they lead and whether they are async.

    Args:
        dag: With its doors.
        plan: Its plan.
        handovers: Where the Dag's doors lead, in their order.
    """
    found: dict[int, tuple[Taker, bool]] = {}
    places = [place for place, node in enumerate(dag.nodes) if is_door(node)]
    for number, place in enumerate(places):
        node = dag.nodes[place]
        assert is_door(node)
        found[plan.stages[plan.stage_of[place]].first] = (handovers[number], node.is_async)
    return found
