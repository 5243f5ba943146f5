"""The stage runner: runs frames through the nodes of one task. The only place of the runtime where nodes are called.

Rules of this module: one runner is one task and is used from one thread. It knows no links, no credit and no clock;
it is given a frame and gives back what the frame became. The same runner serves every mode.

A frame goes through the stage column by column: each node (or row of function nodes, see segments.py) works on all
values that wait for it, then the next one in topological order. What a node pushes is appended to the columns of
those who follow it, so a push never calls another node: a chain of 5,000 nodes needs no stack, and no node sees
another one's exception. A node that pushes very much for one item has what it pushed so far worked on in between
(`_spill`). What an async node is given is awaited between the runs of frames, and goes on when it is done
(under_way.py).

Invariants, cited by number:
 S1. A value's place is known from the moment when it is pushed; a push outside of any item raises.
 S2. What `hold` keeps is closed by ``push(of=…)`` or ``release``; after ``flush`` nothing of the node's is open.
 S3. A failing item fails alone: what its neighbours in the column push is kept.
 S4. A solo frame is alone in work, under way too; holders pass it on by itself (R14). The core sees to the first.
"""

from __future__ import annotations

import logging
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

from consecution.errors import OutputClosed, UserCodeError
from consecution.executor.awaiting import returned_message
from consecution.executor.batching import run_batch
from consecution.executor.booking import Booking
from consecution.executor.causes import cause_of, user_errors
from consecution.executor.columns import Held, InWork, compose
from consecution.executor.hooks import Hooks
from consecution.executor.runtime import Context, Runtime
from consecution.executor.segments import (
    ASYNC,
    BATCH,
    CALL,
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
from consecution.executor.under_way import UnderWay
from consecution.executor.wiring import Wiring
from consecution.graph import FlatMap, Node, Route, instantiate
from consecution.graph.kinds import has_timer, is_accumulating, is_collect, is_function, is_holder, overrides

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from consecution.executor.booking import Outcome
    from consecution.executor.columns import Place
    from consecution.executor.event_loop import VirtualTime
    from consecution.executor.frames import Frame
    from consecution.graph import Dag
    from consecution.guarantee.messages import Cause, Origin
    from consecution.plan.stages import Plan

log = logging.getLogger(__name__)

FINISH_VALUES = 256


class StageRunner:
    """Runs one task's copy of a stage.

    Args:
        dag: The whole graph; its nodes are templates and are never run.
        plan: Its plan.
        task: Number of this task.
        new_id: Gives fresh edge ids.
        now: Monotonic seconds, for nodes that look at the time.
        on_push_of: Called with the origins of a value that a holder pushes, before anything works on it (R15).
        on_await: Called with the origins of all that is awaited, before another item of it begins (R15); given with
            ``on_push_of``.
        new_loop: Makes the event loop for what is awaited, and a run then waits for it; None: asyncio's own.
        virtual: The time that asyncio's own goes by; None: the real one.
    """

    def __init__(
        self,
        dag: Dag,
        plan: Plan,
        task: int,
        *,
        new_id: Callable[[], int],
        now: Callable[[], float],
        on_push_of: Callable[[Sequence[Origin]], None] | None = None,
        on_await: Callable[[Sequence[Origin]], None] | None = None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
        virtual: VirtualTime | None = None,
    ) -> None:
        self.task = task
        self.stage = plan.stage_of_task(task)
        self._names = dag.names
        self._nodes: dict[int, Node] = {place: instantiate(dag.nodes[place]) for place in self.stage.nodes}
        self._wiring = Wiring(dag, plan, task)
        self._books = Booking(dag.names, new_id)
        self._hooks = Hooks(self._nodes, dag.names, new_loop, virtual)
        self._runtimes = {
            place: Runtime(
                place,
                self._names[place],
                outputs=("default", *node._slot.declared),
                is_holder=is_holder(node),
                now=now,
                on_push_of=on_push_of,
                released=self._books.released,
            )
            for place, node in self._nodes.items()
        }
        for place, node in self._nodes.items():
            node._slot.runtime = self._runtimes[place]
            node._push = self._runtimes[place].push
        self._holders = [place for place, node in self._nodes.items() if is_holder(node)]
        self._accumulating = {place: self._names[place] for place, node in self._nodes.items() if is_accumulating(node)}
        self.finishing = [place for place, node in self._nodes.items() if overrides(node, "finish")]
        self._expands: set[int] = set()
        self._awaits: set[int] = set()
        self._segments: dict[int, Segment] = {}
        self._shapes: dict[int, Shape] = {}
        self._order: list[int] = []
        self._started: dict[int, object] = {}
        self._is_stepped = new_loop is None
        self._is_isolating = False  # a solo frame is under way: holders pass it on when it has come to them
        self._under_way = UnderWay(
            self._nodes, self._names, self._runtimes, self._hooks, self._books, self._wiring,
            emit=self._emit, fail_copy=self._fail_copy, sweep=self._sweep, now=now, note=on_await,
            note_pushed=None if on_await is None else on_push_of,
        )  # fmt: skip
        self._cut()
        self._base: Any = None  # the iterator over the column in work
        self._is_set_up: list[int] = []
        self.timers = {
            place: every.total_seconds()
            for place, node in self._nodes.items()
            if has_timer(node) and (every := node.options.every) is not None
        }

    # ---- life ----------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Call ``setup`` of each node, in topological order.

        Raises:
            UserCodeError: One raised; those that were set up are torn down.
        """
        for place in self._nodes:
            try:
                self._hooks.give_nothing("setup", place)
            except user_errors() as error:
                self.teardown()
                name = self._names[place]
                message = f"setup of node {name!r} raised {type(error).__name__}: {error}; nothing was processed"
                raise UserCodeError(message, node=name) from error
            self._is_set_up.append(place)

    def replan(self, plan: Plan) -> None:
        """Take a plan in which stages have more tasks or fewer; not while a frame is in work."""
        self.stage = plan.stage_of_task(self.task)
        self._wiring.replan(plan, self.task)

    def abandon(self) -> None:
        """Cancel what is awaited, and close the event loop; no hook of a node is called."""
        self._hooks.close()

    def teardown(self) -> list[Cause]:
        """Call ``teardown`` of each node that was set up, in reverse order; errors are collected and never stop it.

        What is under way is cancelled first, and stays unfinished.
        """
        causes = []
        self._under_way.cancel()
        while self._is_set_up:
            place = self._is_set_up.pop()
            try:
                self._hooks.give_nothing("teardown", place)
            except user_errors() as error:
                log.exception("teardown failed node=%s", self._names[place])
                causes.append(cause_of(self._names[place], error, None))
        self._hooks.close()
        return causes

    def collected(self) -> dict[str, list[Any]]:
        """What the Collect nodes of this task collected, by name."""
        return {self._names[place]: list(node.items) for place, node in self._nodes.items() if is_collect(node)}

    @property
    def marker(self) -> object:
        """What changes with each call, and with each item of a column; cheap, and readable from another thread."""
        return self._base, None if self._base is None else self._base.__length_hint__()

    def held_roots(self) -> set[int]:
        """Roots of the items that holders keep open, or that are awaited, for the audit (R13)."""
        return self._under_way.roots() | {
            root
            for place in self._holders
            for token in self._runtimes[place].tokens
            for work, _ in token.parts
            for root in work.frame.roots
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its nodes, in topological order."""
        return tuple(self._names[place] for place in self._nodes)

    @property
    def held_items(self) -> int:
        """How many items its holders keep, or are awaited; safe to ask from another thread."""
        return self._under_way.count + sum(len(self._runtimes[place].tokens) for place in self._holders)

    @property
    def has_open_tokens(self) -> bool:
        """Whether a holder keeps anything, or anything is awaited."""
        return self._under_way.count > 0 or any(self._runtimes[place].tokens for place in self._holders)

    @property
    def under_way(self) -> UnderWay:
        """What its async nodes have in work."""
        return self._under_way

    # ---- work ----------------------------------------------------------------------------------------------------

    def run(self, frame: Frame) -> Outcome:
        """Run a frame through the stage.

        Args:
            frame: Taken over; its items may be changed by user code.

        Returns:
            What it became. The frame itself is among ``closed`` now, or in a later outcome when a holder keeps it or an
            async node has some of it in work.
        """
        isolate = frame.solo and bool(self._holders)
        if isolate:
            self._flush_holders()
            self._books.leave(self._wiring)
            self._under_way.run_out()
        work = self._books.work = InWork(frame)
        if frame.inject is None:
            self._wiring.columns[self.stage.head].add(frame.items, None)
        else:
            place, output = self._wiring.injects[frame.inject]
            self._wiring.deliver((place, output, None), frame.items, None, self._fail_copy(place, None))
        self._sweep()
        self._is_isolating = isolate and self._under_way.count > 0
        if isolate and not self._is_isolating:
            self._flush_holders()
        self._books.leave(self._wiring)
        work.is_run = True
        outcome = self._finish()
        if frame.is_buffer_free and self._is_inlined:
            for made in outcome.frames:
                made.is_buffer_free = True
        return outcome

    def flush(self) -> Outcome:
        """Let the holders push all they hold (R18)."""
        self._flush_holders()
        self._books.leave(self._wiring)
        return self._finish()

    def resume(self) -> Outcome | None:
        """Let the event loop take a step, and let go on what is done; None when nothing is.

        Only while the last outcome has something under way.
        """
        did = self._under_way.step()
        if self._is_isolating and not self._under_way.count:
            self._pass_on_solo()
            did = True
        return self._finish() if did else None

    def _pass_on_solo(self) -> None:
        self._is_isolating = False
        self._flush_holders()
        self._books.leave(self._wiring)

    def _finish(self) -> Outcome:
        """Close what may be closed, and say what is under way."""
        under_way = self._under_way
        if under_way.count:
            if self._is_stepped:
                under_way.touch()
            else:
                under_way.run_out()
                if self._is_isolating:
                    self._pass_on_solo()
                    under_way.run_out()
        outcome = self._books.finish()
        outcome.under_way = under_way.count
        outcome.has_room = under_way.has_room
        return outcome

    def timer(self, place: int) -> Outcome:
        """Call ``on_timer`` of a node."""
        self._in_node(place, "on_timer", self._own(place, self._books.outcome.own))
        self._sweep()
        self._books.leave(self._wiring)
        return self._finish()

    def finish(self, place: int) -> Iterator[tuple[int, Any]]:
        """Call ``finish`` of a node.

        Args:
            place: One of `finishing`.

        Yields:
            (place in `Wiring.injects`, value) of each push, lazily when finish is a generator.

        Raises:
            UserCodeError: It raised; what it pushed before was given.
        """
        runtime = self._runtimes[place]
        pushed: list[tuple[int, Any]] = []
        context = runtime.context = Context(self._emit(place), own=self._own(place, pushed))
        error: BaseException | None = None
        try:
            values = self._hooks.values("finish", place)
            while True:
                runtime.context = context
                more = False
                for value in islice(values, FINISH_VALUES):
                    runtime.push(value)
                    more = True
                runtime.context = None
                yield from pushed
                pushed.clear()
                if not more:
                    return
        except OutputClosed:
            raise
        except user_errors() as raised:
            error = raised
        finally:
            runtime.context = None
        yield from pushed
        name = self._names[place]
        message = f"finish of node {name!r} raised {type(error).__name__}: {error}"
        raise UserCodeError(message, node=name) from error

    # ---- columns -------------------------------------------------------------------------------------------------

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
        self._is_inlined = all(
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

    def _sweep(self, after: int = -1) -> None:
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
        items: list[Any],
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
                missed += self._fail_in_loop(segment, error, position if places is None else places[position])
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
            self._wiring.deliver(key, items, composed, self._fail_copy(shape.last, composed))

    def _spill(self, segment: Segment) -> None:
        """Work on what a node has pushed so far, in the middle of its item."""
        self._wiring.check_room()
        context = self._runtimes[segment.shape.last].context
        self._deliver(segment, 0, None if context is None else context.places, ())
        self._sweep(segment.shape.last)

    def _recut(
        self,
        segment: Segment,
        unexpected: UnexpectedResultError,
        position: int,
        items: list[Any],
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

    def _run_async(self, place: int, items: list[Any], places: Sequence[Place] | None, started: object = None) -> None:
        first = self._started.pop(place, None) if started is None else started
        self._under_way.add(place, items, places, first)

    def _run_batch(self, place: int, items: list[Any], places: Sequence[Place] | None) -> None:
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
            self._wiring.deliver((place, output, None), values, marks, self._fail_copy(place, marks))

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

    def _in_node(self, place: int, hook: str, own: Callable[[Any, str], None] | None) -> None:
        """Call a hook of a node that has no item in work; what it raises fails what the node holds."""
        runtime = self._runtimes[place]
        emit = self._emit(place)
        runtime.context = Context(emit, own=own)
        try:
            for value in self._hooks.values(hook, place):
                runtime.push(value)
        except user_errors() as error:
            if isinstance(error, OutputClosed):
                raise
            if runtime.tokens:
                self._fail_held(place, error)
            else:
                self._books.fail_node(place, error)
        finally:
            runtime.context = None

    def _flush_holders(self) -> None:
        for place in self._holders:
            self._in_node(place, "flush", None)
            if self._runtimes[place].tokens:
                name = self._names[place]
                message = (
                    f"flush of node {name!r} left {len(self._runtimes[place].tokens)} items open; push or release all"
                )
                self._fail_held(place, RuntimeError(message))
            self._sweep(place)

    # ---- booking -------------------------------------------------------------------------------------------------

    def _own(self, place: int, pushed: list[tuple[int, Any]]) -> Callable[[Any, str], None]:
        """Book pushes of a node for no item; what goes to an output that nobody reads ends here."""

        def own(value: object, output: str) -> None:
            if (place, output) in self._wiring.injects:
                pushed.append((self._wiring.injects.index((place, output)), value))

        return own

    def _emit(self, place: int) -> Callable[[Any, Place, str], None]:
        """Book single pushes of a node straight on the columns behind it."""

        def emit(value: object, where: Place, output: str) -> None:
            self._wiring.deliver((place, output, None), [value], [where], self._fail_copy(place, [where]))

        return emit

    def _emit_mark(self, segment: Segment) -> Callable[[Any, Place, str], None]:
        """Book pushes of a node in a compiled row beside those of the row, so that their order is kept."""
        others = self._emit(segment.shape.last)
        out, marks = segment.out[0], segment.marks[0]

        def emit(value: object, where: Place, output: str) -> None:
            if output != "default":
                others(value, where, output)
            elif segment.has_outputs:
                out.append(value)
                marks.append(where)

        return emit

    def _fail_copy(self, place: int, places: Sequence[Place] | None) -> Callable[[int, Exception], None]:
        def fail(position: int, error: Exception) -> None:
            self._books.fail(place, position if places is None else places[position], error, None)

        return fail

    def _fail_in_loop(self, segment: Segment, error: BaseException, where: Place) -> bool:
        """Book a failure of the compiled loop: the line says which node, the loop's ``x`` what was in work.

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
        self._books.fail(node, where, error, value)
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

    def _fail_held(self, place: int, error: BaseException) -> None:
        """Fail all that a holder keeps open, and close it."""
        runtime = self._runtimes[place]
        for token in list(runtime.tokens):
            self._books.fail(place, Held(token.parts), error, None)
        runtime.release(list(runtime.tokens))
