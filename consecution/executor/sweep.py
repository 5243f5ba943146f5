"""The sweep: nodes at work on what waits before them; what is awaited goes on in under_way.py.

Rules of this module: a frame goes through the stage column by column: each node (or row of function nodes, see
segments.py) works on all values that wait for it, then the next one in topological order. What a node pushes is
appended to the columns of those who follow it, so a push never calls another node: a chain of 5,000 nodes needs no
stack, and no node sees another one's exception. A node that pushes very much for one item has what it pushed so far
worked on in between (`_spill`).

A failing item fails alone: what its neighbours in the column push is kept (S3 of runner.py).
"""

from __future__ import annotations

import logging
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

from consecution.errors import user_errors
from consecution.executor.awaiting import returned_message
from consecution.executor.batching import run_batch
from consecution.executor.columns import compose
from consecution.executor.runtime import Context
from consecution.executor.segments import (
    ASYNC,
    BATCH,
    CALL,
    NOWHERE,
    PUSH,
    ROUTE,
    SPILL_ITEMS,
    Segment,
    Shape,
    UnexpectedResultError,
    is_awaitable,
    is_expanding,
    shapes_of,
)
from consecution.graph import FlatMap, Route
from consecution.graph.kinds import is_accumulating, is_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consecution.executor.booking import Booking
    from consecution.executor.columns import Place
    from consecution.executor.hooks import Hooks
    from consecution.executor.runtime import Runtime
    from consecution.executor.wiring import Wiring
    from consecution.graph import Node

log = logging.getLogger(__name__)


class Sweep:
    """The columns of one task, and what works on them.

    Args:
        nodes: The task's copies of its stage's nodes, by place, in topological order.
        names: The names of all nodes.
        runtimes: The way of each node to here.
        wiring: The columns.
        books: What values come to.
        hooks: Calls nodes whose work is awaited.
        begin: ``begin(node, items, places, given)``: let an async node begin with these; ``given`` is what it has
            returned for the first of them already, or None.

    Attributes:
        is_inlined: All that runs is expressions without calls: no bytearray comes of values without one.
    """

    def __init__(
        self,
        nodes: Mapping[int, Node],
        names: Sequence[str],
        runtimes: Mapping[int, Runtime],
        wiring: Wiring,
        books: Booking,
        hooks: Hooks,
        begin: Callable[[int, Sequence[Any], Sequence[Place] | None, object], None],
    ) -> None:
        self._nodes = nodes
        self._names = names
        self._runtimes = runtimes
        self._wiring = wiring
        self._books = books
        self._hooks = hooks
        self._begin = begin
        self._accumulating = {place: names[place] for place, node in nodes.items() if is_accumulating(node)}
        self._expands: set[int] = set()
        self._awaits: set[int] = set()
        self._segments: dict[int, Segment] = {}
        self._shapes: dict[int, Shape] = {}
        self._order: list[int] = []
        self._started: dict[int, object] = {}
        self._base: Any = None  # the iterator over the column in work
        self.is_inlined = False
        self._cut()

    @property
    def marker(self) -> object:
        """What changes with each call, and with each item of a column; cheap, and readable from another thread."""
        return self._base, None if self._base is None else self._base.__length_hint__()

    def _cut(self) -> None:
        """Cut the stage into segments, and compile those that are new."""
        shapes = shapes_of(
            self._nodes,
            lambda place: self._wiring.followers[place],
            lambda place: self._wiring.in_degree[place],
            self._expands,
            self._awaits,
        )
        for first, shape in shapes.items():
            if self._shapes.get(first) != shape:
                self._shapes[first] = shape
                if shape.kind not in (BATCH, ASYNC):
                    self._segments[first] = self._compiled(shape)
        self._order = sorted(shapes)
        # Expressions without calls make no bytearray of values without one.
        self.is_inlined = all(
            shape.kind == PUSH and self._segments[first].inlined.keys() == set(shape.chain)
            for first, shape in shapes.items()
        )

    def _compiled(self, shape: Shape) -> Segment:
        node = self._nodes[shape.last]
        segment: Segment
        if is_function(node) and isinstance(node, FlatMap):
            returned = lambda result, position: self._expand_flat_map(segment, result, position)  # noqa: E731
        elif is_function(node):
            returned = lambda result, position: self._expand_map(segment, result, position)  # noqa: E731
        elif isinstance(node, Route):
            returned = lambda result, position: self._books.drop()  # noqa: E731
        else:
            returned = lambda result, position: self._expand_class(segment, result, position)  # noqa: E731
        segment = Segment(
            shape,
            self._nodes,
            has_outputs=self._wiring.has_targets(shape.last),
            n_branches=self._wiring.n_branches(shape.last),
            other_push=lambda position, item, output, of: self._runtimes[shape.last].push(item, output, of),
            returned=returned,
            spill=lambda: self._spill(segment),
        )
        if shape.kind == CALL and segment.push is not None:
            node._push = segment.push
        return segment

    def run(self, after: int = -1) -> None:
        """Work on all columns behind a node, in topological order."""
        columns = self._wiring.columns
        turn = 0
        while turn < len(self._order):
            place = self._order[turn]
            if place > after and columns[place].items:
                self._run_column(place)
            turn += 1

    def _run_column(self, first: int) -> None:
        shape = self._shapes[first]
        items, places = self._wiring.columns[first].take()
        if shape.last in self._accumulating and not shape.chain:
            self._books.reach(self._accumulating[shape.last])
        if shape.kind == BATCH:
            self._run_batch(shape.last, items, places)
        elif shape.kind == ASYNC:
            self._run_async(shape.last, items, places)
        else:
            self._run_segment(self._segments[first], items, places)

    def _run_segment(
        self,
        segment: Segment,
        items: Sequence[Any],
        places: Sequence[Place] | None,
        start: int = 0,
        given: object = None,
    ) -> None:
        """Run a column through a compiled row.

        Args:
            segment: The row.
            items: The column.
            places: Its places.
            start: Position at which to begin.
            given: What the row's last node has already given for the item before ``start``; None for nothing.
        """
        runtime = self._runtimes[segment.shape.last]
        outer = runtime.context
        runtime.context = Context(
            self._emit_mark(segment), work=self._books.work, places=places, position=segment.position
        )
        segment.left_at = NOWHERE
        base: Any = iter(items)
        self._base = base
        base.__setstate__(start)
        numbered: Iterator[Any] = enumerate(base, start) if segment.numbers else base
        failed: list[int] = []
        missed = 0  # items that failed before they came to the row's last node
        while True:
            try:
                if given is not None:
                    result, given = given, None
                    segment.returned(result, start - 1)
                segment.run(numbered, len(items))
                break
            except UnexpectedResultError as unexpected:
                position = len(items) - base.__length_hint__() - 1
                segment.leave()
                segment.settle_marks(position)
                self._deliver(segment, position, places, failed)
                runtime.context = outer
                self._recut(segment, unexpected, position, items, places)
                return
            except user_errors() as error:
                position = len(items) - base.__length_hint__() - 1
                segment.leave()
                segment.settle_marks(position)
                failed.append(position)
                where = position if places is None else places[position]
                missed += self._fail_in_loop(segment, error, where, went_on=segment.has_given(position))
        runtime.context = outer
        if segment.shape.last in self._accumulating and missed < len(items):
            self._books.reach(self._accumulating[segment.shape.last])
        self._deliver(segment, len(items), places, failed)

    def _deliver(self, segment: Segment, count: int, places: Sequence[Place] | None, failed: Sequence[int]) -> None:
        """Hand what a segment gave to those who follow it."""
        shape = segment.shape
        is_route = shape.kind == ROUTE
        for branch, (out, marks) in enumerate(zip(segment.out, segment.marks, strict=True)):
            if not out:
                continue
            items = out.copy()
            out.clear()
            if segment.is_marked:
                composed: Sequence[Place] | None = compose(marks, places)
                marks.clear()
            elif failed:
                bad = set(failed)
                kept = [position for position in range(count) if position not in bad]
                composed = compose(kept, places)
            else:
                composed = places
            key = (shape.last, "default", branch if is_route else None)
            self._wiring.deliver(key, items, composed, self.fail_copy(shape.last, composed))

    def _spill(self, segment: Segment) -> None:
        """Work on what a node has pushed so far, in the middle of its item."""
        self._wiring.check_room()
        if segment.shape.kind == CALL:
            segment.left_at = segment.position()
        context = self._runtimes[segment.shape.last].context
        self._deliver(segment, 0, None if context is None else context.places, ())
        self.run(segment.shape.last)

    def _recut(
        self,
        segment: Segment,
        unexpected: UnexpectedResultError,
        position: int,
        items: Sequence[Any],
        places: Sequence[Place] | None,
    ) -> None:
        """A plain function gave a generator or an awaitable: cut the stage anew there, and go on behind this item."""
        first = segment.shape.first
        node = segment.shape.nodes[unexpected.link]
        if not is_awaitable(unexpected.value):
            self._expands.add(node)
            self._cut()
            self._run_segment(self._segments[first], items, places, position + 1, unexpected.value)
            return
        self._awaits.add(node)
        self._cut()
        where = [position if places is None else places[position]]
        if node == first:
            rest = compose(range(position + 1, len(items)), places)
            self._run_async(node, items[position:], [*where, *rest], unexpected.value)
            return
        self._wiring.columns[node].add([items[position]], where)
        self._started[node] = unexpected.value
        self._run_segment(self._segments[first], items, places, position + 1)

    def _run_async(
        self, place: int, items: Sequence[Any], places: Sequence[Place] | None, started: object = None
    ) -> None:
        first = self._started.pop(place, None) if started is None else started
        self._begin(place, items, places, first)

    def _run_batch(self, place: int, items: Sequence[Any], places: Sequence[Place] | None) -> None:
        """Give a batch node its column; when it raises, give it each value alone, so that the culprit is found."""
        self._base = iter(items)  # another call, for `marker`
        try:
            given = run_batch(
                self._nodes[place],
                self._names[place],
                self._runtimes[place],
                self._hooks,
                items,
                places,
                work=self._books.work,
                fail_at=lambda where, error, item: self._books.fail(place, where, error, item),
            )
        except user_errors() as error:
            if len(items) == 1:
                self._books.fail(place, 0 if places is None else places[0], error, items[0])
                return
            log.debug("batch raised, trying each alone node=%s error=%r", self._names[place], error)
            for position, item in enumerate(items):
                where = position if places is None else places[position]
                self._run_batch(place, [item], [where])
            return
        for output, values, marks in given:
            self._wiring.deliver((place, output, None), values, marks, self.fail_copy(place, marks))

    # ---- what nodes give -----------------------------------------------------------------------------------------

    def _expand(self, segment: Segment, values: Iterator[Any], position: int) -> None:
        """Push each value, working on them in between when there are very many."""
        out, marks = segment.out[0], segment.marks[0]
        while True:
            before = len(out)
            out.extend(islice(values, SPILL_ITEMS))
            added = len(out) - before
            if segment.is_marked:
                marks.extend(repeat(position, added))
            elif not segment.has_outputs:
                out.clear()
            if added < SPILL_ITEMS:
                return
            segment.left_at = position
            self._spill(segment)

    def _expand_flat_map(self, segment: Segment, result: Any, position: int) -> None:
        if is_awaitable(result):
            raise UnexpectedResultError(len(segment.shape.chain), result)
        try:
            values = iter(result)
        except TypeError as error:
            name = self._names[segment.shape.last]
            message = (
                f"FlatMap {name!r} returned a {type(result).__name__}, which can't be iterated; return a list, or yield"
            )
            raise TypeError(message) from error
        self._expand(segment, values, position)

    def _expand_map(self, segment: Segment, result: object, position: int) -> None:
        if not is_expanding(result):
            self._expand(segment, iter((result,)), position)
        elif is_awaitable(result):
            raise UnexpectedResultError(len(segment.shape.chain), result)
        else:
            self._expand(segment, result, position)  # type: ignore[arg-type]  # a generator

    def _expand_class(self, segment: Segment, result: object, position: int) -> None:
        if not is_expanding(result):
            raise TypeError(returned_message(self._names[segment.shape.last], result))
        self._expand_map(segment, result, position)

    # ---- booking -------------------------------------------------------------------------------------------------

    def emit(self, place: int) -> Callable[[Any, Place, str], None]:
        """Book single pushes of a node straight on the columns behind it."""

        def emit(value: object, where: Place, output: str) -> None:
            self._wiring.deliver((place, output, None), [value], [where], self.fail_copy(place, [where]))

        return emit

    def _emit_mark(self, segment: Segment) -> Callable[[Any, Place, str], None]:
        """Book pushes of a node in a compiled row beside those of the row, so that their order is kept."""
        others = self.emit(segment.shape.last)
        out, marks = segment.out[0], segment.marks[0]

        def emit(value: object, where: Place, output: str) -> None:
            if output != "default":
                segment.left_at = segment.position()
                others(value, where, output)
            elif segment.has_outputs:
                out.append(value)
                marks.append(where)

        return emit

    def fail_copy(self, place: int, places: Sequence[Place] | None) -> Callable[[int, BaseException], None]:
        """Fail single values of a column of a node, by their position, that can't be copied for one of several."""

        def fail(position: int, error: BaseException) -> None:
            where = position if places is None else places[position]
            self._books.fail(place, where, error, None, went_on=True)  # one of the columns has it

        return fail

    def _fail_in_loop(self, segment: Segment, error: BaseException, where: Place, *, went_on: bool) -> bool:
        """Book a failure of the compiled loop: the line says which node, the loop's ``x`` what was in work.

        Args:
            segment: The row.
            error: What was raised.
            where: Place of the item.
            went_on: The row had given something for it.

        Returns:
            Whether a node before the last one of the row failed.
        """
        traceback = error.__traceback__
        node, value = segment.shape.last, None
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == segment.filename:
                node = segment.node_at(traceback)
                value = traceback.tb_frame.f_locals.get("x")
                break
            traceback = traceback.tb_next
        if node in segment.inlined:
            error = self._shown(node, error, value)
        self._books.fail(node, where, error, value, went_on=went_on)
        return node != segment.shape.last

    def _shown(self, place: int, error: BaseException, value: object) -> BaseException:
        """The failure of an inlined expression again, in the lines of the user's function."""
        node = self._nodes[place]
        assert is_function(node)
        try:
            node.func(value)
        except user_errors() as shown:
            last: BaseException | None = shown
            while last is not None and last.__context__ is not error:
                last = last.__context__
            if last is not None:
                last.__context__ = None  # it is the same failure, not one that followed from it
            return shown
        return error
