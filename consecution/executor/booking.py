"""Booking: what the run of a frame comes to, as it is found out.

Rules of this module: no user code; one for each task. It knows which frame is in work, which held items were let go of,
and what failed; `Booking.finish` says which frames may be closed (R9).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consecution.errors import OutputClosed
from consecution.executor.causes import cause_of
from consecution.executor.columns import parts_of
from consecution.executor.outputs import frame_of
from consecution.guarantee.messages import Fail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.executor.columns import InWork, Part, Place, Token
    from consecution.executor.frames import Frame
    from consecution.executor.wiring import Wiring


@dataclass(slots=True)
class Outcome:
    """What a run gave.

    Attributes:
        frames: What leaves the task, in send order, with their ids.
        fails: (fail, producer of its root); at level NONE under root 0.
        closed: Frames of which nothing is left to do in this task.
        dropped: (root, producer, values that a Route dropped).
        reached: (root, producer, accumulating nodes that values of the root reached).
        own: (place in `Wiring.injects`, value): pushed by a timer for no item, so introduced by the task itself.
        under_way: Items that async nodes of the task have in work now; their frames are open.
        has_room: Async nodes may be given another frame.
    """

    frames: list[Frame] = field(default_factory=list)
    fails: list[tuple[Fail, int]] = field(default_factory=list)
    closed: list[Frame] = field(default_factory=list)
    dropped: list[tuple[int, int, int]] = field(default_factory=list)
    reached: list[tuple[int, int, frozenset[str]]] = field(default_factory=list)
    own: list[tuple[int, Any]] = field(default_factory=list)
    under_way: int = 0
    has_room: bool = True


class Booking:
    """The books of one task.

    Args:
        names: Names of all nodes, by place.
        new_id: Gives fresh edge ids.

    Attributes:
        work: The frame in work; None for flush, timers and finish.
        outcome: Of the run so far.
        released: Tokens that were closed in this run; their frames are let go of at its end.
    """

    def __init__(self, names: Sequence[str], new_id: Callable[[], int]) -> None:
        self.work: InWork | None = None
        self.outcome = Outcome()
        self.released: list[Token] = []
        self._names = names
        self._new_id = new_id
        self._drops = 0
        self._reached: set[str] = set()
        self._freed: dict[int, InWork] = {}

    def let_go(self, parts: Sequence[Part]) -> None:
        """An item that an async node had in work keeps its frames open no longer."""
        for held in {id(work): work for work, _ in parts}.values():
            held.held -= 1
            self._freed[id(held)] = held

    def fail(self, place: int, where: Place, error: BaseException, value: object, *, went_on: bool = False) -> None:
        """Book a failure on all items that a value at ``where`` was made of.

        Args:
            place: The node that failed.
            where: Place of the value in work there.
            error: What it raised.
            value: That value.
            went_on: It may have given something for that value before.

        Raises:
            OutputClosed: That is what the error is: no fault of the item.
        """
        if isinstance(error, OutputClosed):  # no fault of the item: the run stops, and the item stays unfinished
            raise error
        cause = cause_of(self._names[place], error, value)
        by_root: dict[int, list[int]] = {}
        producers: dict[int, int] = {}
        for part_work, code in parts_of(where, self.work):
            frame = part_work.frame
            producers.update(zip(frame.roots, frame.producers, strict=True))
            for root, index in frame.origin_pairs((code,)):
                by_root.setdefault(root, []).append(index)
        if not by_root:
            self.outcome.fails.append((Fail(0, (0,), cause), 0))
        for root, indexes in by_root.items():
            fail = Fail(root, tuple(sorted(set(indexes))), cause, went_on)
            self.outcome.fails.append((fail, producers[root]))

    def fail_node(self, place: int, error: BaseException) -> None:
        """Book a failure that belongs to no item."""
        self.outcome.fails.append((Fail(0, (0,), cause_of(self._names[place], error, None)), 0))

    def drop(self) -> None:
        """Book a value that a Route dropped."""
        self._drops += 1

    def reach(self, name: str) -> None:
        """Book that values came to an accumulating node (R17)."""
        self._reached.add(name)

    def leave(self, wiring: Wiring) -> None:
        """Make frames of what waits to leave."""
        for number, column in wiring.leaving.items():
            if not column.items:
                continue
            items, places = column.take()
            outlet = wiring.outlets[number]
            node = outlet.node_place
            for task, values, where in outlet.share(items, places, self._fail_key(node, items, places)):
                self.outcome.frames.append(frame_of(task, values, where, self.work, self._new_id))
        self._book_frame()

    def _fail_key(
        self, node: int, items: Sequence[Any], places: Sequence[Place] | None
    ) -> Callable[[int, BaseException], None]:
        def fail(position: int, error: BaseException) -> None:
            self.fail(node, position if places is None else places[position], error, items[position])

        return fail

    def _book_frame(self) -> None:
        frame = None if self.work is None else self.work.frame
        booked = frame
        if booked is None and self.released:  # a flush: what it pushed was made of what it released
            booked = self.released[0].parts[0][0].frame
        root, producer = (booked.roots[0], booked.producers[0]) if booked is not None and booked.roots else (0, 0)
        if self._drops:
            self.outcome.dropped.append((root, producer, self._drops))
            self._drops = 0
        if self._reached:
            names = frozenset(self._reached)
            self._reached.clear()
            seen = {root: producer}
            if frame is not None:
                seen.update(zip(frame.roots, frame.producers, strict=True))
            for token in self.released:
                for work, _ in token.parts:
                    seen.update(zip(work.frame.roots, work.frame.producers, strict=True))
            self.outcome.reached.extend((root, producer, names) for root, producer in seen.items() if root)

    def finish(self) -> Outcome:
        """Close what may be closed (R9) and give the outcome."""
        work, self.work = self.work, None
        freed, self._freed = self._freed, {}
        for token in self.released:
            for held in {id(one): one for one, _ in token.parts}.values():
                held.held -= 1
                freed[id(held)] = held
        self.released.clear()
        if work is not None:
            freed[id(work)] = work
        outcome, self.outcome = self.outcome, Outcome()
        outcome.closed.extend(one.frame for one in freed.values() if one.may_close)
        return outcome
