"""What the async nodes of one task have in work, over all its frames.

The walk of one item through an async node:

1. The column before the node is taken; each of its values becomes an `ItemInWork`, which keeps its frame open as a
   holder does (R9). The frame's run goes on with the other columns, and ends; the frame isn't closed.
2. The task's event loop takes a step, in the task's own thread, between two pieces of work, or when something has come
   for it: up to ``concurrency`` items are awaited at a time, of whatever frames.
3. Items that are done go on: what they pushed enters the columns behind the node and is worked on to the task's end.
   The frame closes with the last of its items.

Rules of this module: no user code but what the loop runs. Columns hold values of one frame at a time, named by int
places; where values of several would meet, they are `Held`.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from consecution.errors import user_errors
from consecution.executor.awaiting import AwaitingNode, ItemInWork
from consecution.executor.columns import Held, parts_of
from consecution.executor.runtime import Context
from consecution.graph import FlatMap
from consecution.graph.kinds import is_function

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from consecution.executor.booking import Booking
    from consecution.executor.columns import Place
    from consecution.executor.hooks import Hooks
    from consecution.executor.runtime import Runtime
    from consecution.executor.wiring import Wiring
    from consecution.graph import Node
    from consecution.guarantee.messages import Origin

UNDER_WAY_MAX = 8192
"""Items of one node; a frame that gives it more is worked on only as they end."""


class UnderWay:
    """The async work of one task.

    Args:
        nodes: The running copies, by place.
        names: Names of all nodes, by place.
        runtimes: Of the nodes, by place.
        hooks: Has the event loop.
        books: The task's.
        wiring: The task's.
        emit: Gives what books a single push of a node.
        fail_copy: Gives what fails a value that can't be copied.
        sweep: Works on all columns behind a node.
        now: Monotonic seconds.
        note: Called with the origins of all that is awaited, before another item begins (R15); None for nobody.
        note_pushed: Called with the origins of what goes on, likewise.
    """

    def __init__(
        self,
        nodes: Mapping[int, Node],
        names: Sequence[str],
        runtimes: Mapping[int, Runtime],
        hooks: Hooks,
        books: Booking,
        wiring: Wiring,
        *,
        emit: Callable[[int], Callable[[Any, Place, str], None]],
        fail_copy: Callable[[int, Sequence[Place] | None], Callable[[int, BaseException], None]],
        sweep: Callable[[int], None],
        now: Callable[[], float],
        note: Callable[[Sequence[Origin]], None] | None,
        note_pushed: Callable[[Sequence[Origin]], None] | None,
    ) -> None:
        self._nodes = nodes
        self._names = names
        self._runtimes = runtimes
        self._hooks = hooks
        self._books = books
        self._wiring = wiring
        self._emit = emit
        self._fail_copy = fail_copy
        self._sweep = sweep
        self._now = now
        self._note = note
        self._note_pushed = note_pushed
        self._awaiting: dict[int, AwaitingNode] = {}

    # ---- what others ask -----------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Items that are under way."""
        return sum(node.under_way for node in self._awaiting.values()) if self._awaiting else 0

    @property
    def has_room(self) -> bool:
        """Whether another frame may be taken: no node has more in work than it may await at a time."""
        return not self._awaiting or all(node.has_room for node in self._awaiting.values())

    @property
    def oldest(self) -> tuple[float, str] | None:
        """When the oldest of the items began that are awaited, and at which node; None when none is."""
        firsts = [(next(iter(node.running), None), place) for place, node in self._awaiting.items()]
        began = ((one.began_at, self._names[place]) for one, place in firsts if one is not None)
        return min(((at, name) for at, name in began if at is not None), default=None)

    @property
    def due_in_s(self) -> float | None:
        """Seconds until `step` has something to do; None when only `fileno` can tell."""
        return self._hooks.loop().due_in_s

    def fileno(self) -> int:
        """Give a descriptor that is readable when something has come."""
        return self._hooks.loop().fileno()

    def touch(self) -> None:
        """Hear that other code of the task ran, which may have given the loop something to do."""
        if self._awaiting:
            self._hooks.loop().touch()

    def roots(self) -> set[int]:
        """Roots of all that is under way, for the audit (R13)."""
        return {
            root
            for node in self._awaiting.values()
            for entry in node.items()
            for work, _ in entry.parts
            for root in work.frame.roots
        }

    # ---- work ----------------------------------------------------------------------------------------------------

    def add(self, place: int, items: Sequence[Any], places: Sequence[Place] | None, started: object) -> None:
        """Take a column into work.

        Args:
            place: The async node.
            items: The column.
            places: Its places.
            started: What the function has already given for the first value; None for nothing.
        """
        work = self._books.work
        entries = []
        for position, item in enumerate(items):
            where = position if places is None else places[position]
            entry = ItemInWork(item, where, work, parts_of(where, work))
            for one in {id(part_work): part_work for part_work, _ in entry.parts}.values():
                one.held += 1
            entries.append(entry)
        entries[0].started = started
        node = self._node(place)
        loop = self._hooks.loop()
        node.add(entries, loop.loop)
        loop.touch()
        while node.under_way > UNDER_WAY_MAX:
            self._wait([node])
            self._go_on(place, node.take())

    def step(self) -> bool:
        """Let the loop run what is ready, and let go on what is done; False when nothing is.

        The columns are empty before it and after it.
        """
        self._hooks.loop().step()
        return self._let_go()

    def run_out(self) -> None:
        """Await all that is under way, to its end; the columns are empty before it and after it."""
        work = self._books.work
        while busy := [node for node in self._awaiting.values() if node.under_way]:
            self._wait(busy)
            self._let_go()
        self._books.work = work

    def cancel(self) -> None:
        """Give up all that is under way: it stays unfinished."""
        workers = [worker for node in self._awaiting.values() for worker in node.workers]
        if workers:
            self._hooks.loop().cancel(workers)

    def _node(self, place: int) -> AwaitingNode:
        found = self._awaiting.get(place)
        if found is None:
            node = self._nodes[place]
            options = node._slot.options
            found = self._awaiting[place] = AwaitingNode(
                node.func if is_function(node) else node.process,
                self._names[place],
                concurrency=options.concurrency,
                ordered=options.ordered,
                timeout_s=options.process_timeout_s,
                pushes_results=is_function(node),
                pushes_elements=isinstance(node, FlatMap),
                now=self._now,
                began=self._began,
            )
            self._awaiting = dict(sorted(self._awaiting.items()))
        return found

    def _began(self) -> None:
        """Write what is awaited, before any of it runs."""
        if self._note is not None:
            self._note(_origins(entry for node in self._awaiting.values() for entry in node.running))

    def _wait(self, nodes: Sequence[AwaitingNode]) -> None:
        """Let the loop run until a worker of these nodes has nothing more to do."""
        workers = [worker for node in nodes for worker in node.workers]
        if workers:
            self._hooks.loop().run(_one_ended(workers))

    def _let_go(self) -> bool:
        """Let go on what is done, frame by frame; what its values come to is made into frames at once."""
        did = False
        for place, node in list(self._awaiting.items()):  # in topological order: what goes on comes to later nodes
            taken = node.take()
            if not taken:
                continue
            did = True
            for entries in self._by_frame(place, taken):
                self._books.work = entries[0].work
                self._go_on(place, entries)
                self._sweep(place)
                self._books.leave(self._wiring)
        self._books.work = None
        return did

    def _by_frame(self, place: int, taken: Sequence[ItemInWork]) -> Iterable[list[ItemInWork]]:
        """Part items by the frames that they came in, in the order in which the first of each is done."""
        if self._nodes[place]._slot.options.ordered:
            return [list(group) for _, group in groupby(taken, key=lambda entry: id(entry.work))]
        frames: dict[int, list[ItemInWork]] = {}
        for entry in taken:
            frames.setdefault(id(entry.work), []).append(entry)
        return frames.values()

    def _go_on(self, place: int, entries: Sequence[ItemInWork]) -> None:
        """Deliver what items have pushed to the columns behind their node, and book what failed."""
        runtime, books = self._runtimes[place], self._books
        if self._note_pushed is not None:  # what ended is awaited no more, and goes into work as any value
            self._began()
            self._note_pushed(_origins(entries))
        pushed: list[Any] = []
        marks: list[Place] = []
        outer = runtime.context
        context = runtime.context = Context(self._emit(place), work=books.work)
        try:
            for entry in entries:
                where = entry.place if entry.work is books.work else Held(entry.parts)
                for output, value, of in entry.pushes:
                    if of is None and output == "default":
                        pushed.append(value)
                        marks.append(where)
                    elif of is None:
                        context.emit(value, where, output)
                    else:
                        _push_held(runtime, entry, value, output, of)
                if entry.error is not None:
                    books.fail(place, where, entry.error, entry.value, went_on=bool(entry.pushes))
        finally:
            runtime.context = outer
        self._wiring.deliver((place, "default", None), pushed, marks, self._fail_copy(place, marks))
        for entry in entries:
            books.let_go(entry.parts)


def _push_held(runtime: Runtime, entry: ItemInWork, value: object, output: str, of: object) -> None:
    """Book what an async node pushed of held items; a token that is used twice is its item's fault."""
    try:
        runtime.push(value, output, of)
    except user_errors() as error:
        entry.error = entry.error or error


def _origins(entries: Iterable[ItemInWork]) -> list[Origin]:
    return [origin for entry in entries for work, code in entry.parts for origin in work.frame.origin_pairs((code,))]


async def _one_ended(workers: Sequence[asyncio.Task[None]]) -> None:
    import asyncio

    await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
