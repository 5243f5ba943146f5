"""The stage runner: one task's copy of a stage, from its setup to its teardown, and the frames that it is given.

Rules of this module: one runner is one task and is used from one thread. It knows no links, no credit and no clock;
it is given a frame and gives back what the frame became. The same runner serves every mode.

What a frame meets on its way is the sweep's (sweep.py). What an async node is given is awaited between the runs of
frames, and goes on when it is done (under_way.py).

Invariants, cited by number:
 S1. A value's place is known from the moment when it is pushed; a push outside of any item raises.
 S2. What `hold` keeps is closed by ``push(of=…)`` or ``release``; after ``flush`` nothing of the node's is open.
 S3. A failing item fails alone: what its neighbours in the column push is kept.
 S4. A solo frame is alone in work, under way too; holders pass it on by itself (R14). The core sees to the first.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

from consecution.errors import OutputClosed, UserCodeError, user_errors
from consecution.executor.booking import Booking
from consecution.executor.causes import cause_of
from consecution.executor.columns import Held, InWork
from consecution.executor.hooks import Hooks
from consecution.executor.runtime import Context, Runtime
from consecution.executor.sweep import Sweep
from consecution.executor.under_way import UnderWay
from consecution.executor.wiring import Wiring
from consecution.graph import Node, instantiate
from consecution.graph.kinds import has_timer, is_collect, is_holder, overrides

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from consecution.executor.booking import Outcome
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
        self.finishing = [place for place, node in self._nodes.items() if overrides(node, "finish")]
        self._is_stepped = new_loop is None
        self._is_isolating = False  # a solo frame is under way: holders pass it on when it has come to them
        self._sweep = Sweep(
            self._nodes, self._names, self._runtimes, self._wiring, self._books, self._hooks,
            begin=lambda place, items, places, given: self._under_way.add(place, items, places, given),
        )  # fmt: skip
        self._under_way = UnderWay(
            self._nodes, self._names, self._runtimes, self._hooks, self._books, self._wiring,
            emit=self._sweep.emit, fail_copy=self._sweep.fail_copy, sweep=self._sweep.run, now=now, note=on_await,
            note_pushed=None if on_await is None else on_push_of,
        )  # fmt: skip
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
                cause = cause_of(self._names[place], error, None)
                log.warning("teardown failed node=%s: %s: %s", cause.node, cause.exception, cause.message)
                log.info("where it failed:", exc_info=error)
                causes.append(cause)
        self._hooks.close()
        return causes

    def collected(self) -> dict[str, list[Any]]:
        """What the Collect nodes of this task collected, by name."""
        return {self._names[place]: list(node.items) for place, node in self._nodes.items() if is_collect(node)}

    @property
    def marker(self) -> object:
        """What changes with each call, and with each item of a column; cheap, and readable from another thread."""
        return self._sweep.marker

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
            self._wiring.deliver((place, output, None), frame.items, None, self._sweep.fail_copy(place, None))
        self._sweep.run()
        self._is_isolating = isolate and self._under_way.count > 0
        if isolate and not self._is_isolating:
            self._flush_holders()
        self._books.leave(self._wiring)
        work.is_run = True
        outcome = self._finish()
        if frame.is_buffer_free and self._sweep.is_inlined:
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
        self._sweep.run()
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
        context = runtime.context = Context(self._sweep.emit(place), own=self._own(place, pushed))
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

    # ---- hooks of nodes that have no item in work ----------------------------------------------------------------

    def _in_node(self, place: int, hook: str, own: Callable[[Any, str], None] | None) -> None:
        """Call a hook of a node that has no item in work; what it raises fails what the node holds."""
        runtime = self._runtimes[place]
        emit = self._sweep.emit(place)
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
            self._sweep.run(place)

    def _own(self, place: int, pushed: list[tuple[int, Any]]) -> Callable[[Any, str], None]:
        """Book pushes of a node for no item; what goes to an output that nobody reads ends here."""

        def own(value: object, output: str) -> None:
            if (place, output) in self._wiring.injects:
                pushed.append((self._wiring.injects.index((place, output)), value))

        return own

    def _fail_held(self, place: int, error: BaseException) -> None:
        """Fail all that a holder keeps open, and close it."""
        runtime = self._runtimes[place]
        for token in list(runtime.tokens):
            self._books.fail(place, Held(token.parts), error, None, went_on=True)
        runtime.release(list(runtime.tokens))
