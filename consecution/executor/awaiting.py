"""Async nodes: what one of them has in work, over all frames of its task.

Rules of this module: up to ``concurrency`` items of a node are awaited at a time, whatever frames they came in; the
others wait in order. Which item is in work is a ContextVar: an attribute would book pushes on the wrong item as soon as
two are in work.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import TYPE_CHECKING, Any

from consecution.errors import user_errors

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from consecution.executor.columns import InWork, Part, Place

Push = tuple[str, Any, object]  # (output, value, of)


class ItemInWork:
    """One item of an async node: where it came from, and what was pushed for it.

    Attributes:
        value: The item.
        place: Its place; in a frame of ``work``, or of frames of its own (`Held`).
        parts: The frames that it keeps open, with its origins in them.
        work: The frame that was in work when it came; None when there was none.
        pushes: What it has pushed so far.
        error: Why it failed.
        is_done: It is finished: it pushes nothing more.
        started: What the function gave for it already, to be awaited.
        began_at: Monotonic seconds; None while it waits for its turn.
    """

    __slots__ = ("began_at", "error", "is_done", "parts", "place", "pushes", "started", "value", "work")

    def __init__(self, value: object, place: Place, work: InWork | None, parts: tuple[Part, ...]) -> None:
        self.value = value
        self.place = place
        self.work = work
        self.parts = parts
        self.pushes: list[Push] = []
        self.error: BaseException | None = None
        self.is_done = False
        self.started: object = None
        self.began_at: float | None = None


item_in_work: contextvars.ContextVar[ItemInWork | None] = contextvars.ContextVar("item_in_work", default=None)


class AwaitingNode:
    """Awaits what an async node gives for its items.

    Args:
        call: The node's work: ``process`` or the function.
        name: The node's name, for errors.
        concurrency: How many items are in work at a time.
        ordered: Give results in the order of the items; else in the order in which they end.
        timeout_s: Limit for one item; None for none.
        pushes_results: A function's result is pushed; a class's must be None.
        pushes_elements: What a function gives is iterated, and each of its elements is pushed.
        now: Monotonic seconds.
        began: Called when an item begins, before any code of the node runs for it.

    Attributes:
        running: Items that are awaited, in the order in which they began.
        workers: The tasks that await them; one that has nothing more to do is in it until the loop has run once more.
        under_way: Items that were added and not taken.
    """

    def __init__(
        self,
        call: Callable[[Any], Any],
        name: str,
        *,
        concurrency: int,
        ordered: bool,
        timeout_s: float | None,
        pushes_results: bool,
        pushes_elements: bool,
        now: Callable[[], float],
        began: Callable[[], None],
    ) -> None:
        self.concurrency = concurrency
        self.running: dict[ItemInWork, None] = {}
        self.workers: set[asyncio.Task[None]] = set()
        self._call = call
        self._name = name
        self._ordered = ordered
        self._timeout_s = timeout_s
        self._pushes_results = pushes_results
        self._pushes_elements = pushes_elements
        self._now = now
        self._began = began
        self._waiting: deque[ItemInWork] = deque()
        self._kept: deque[ItemInWork] = deque()  # not taken yet: all in order, or those that have ended
        self._n_working = 0
        self.under_way = 0

    @property
    def has_room(self) -> bool:
        """Whether it may be given another frame."""
        return self.under_way < self.concurrency

    def add(self, items: Iterable[ItemInWork], loop: asyncio.AbstractEventLoop) -> None:
        """Let items wait for their turn; what they give is awaited when the loop runs."""
        new = list(items)
        self.under_way += len(new)
        self._waiting.extend(new)
        if self._ordered:
            self._kept.extend(new)
        for _ in range(min(self.concurrency - self._n_working, len(self._waiting))):
            self._n_working += 1
            task = loop.create_task(self._work())
            self.workers.add(task)
            task.add_done_callback(self.workers.discard)

    def take(self) -> list[ItemInWork]:
        """Give, and forget, the items that are done, in the order in which their pushes go on."""
        taken: list[ItemInWork] = []
        while self._kept and self._kept[0].is_done:
            taken.append(self._kept.popleft())
        self.under_way -= len(taken)
        return taken

    def items(self) -> list[ItemInWork]:
        """Give all that is under way."""
        return [*self._kept] if self._ordered else [*self._kept, *self.running, *self._waiting]

    async def _work(self) -> None:
        """Await one item after the other while any wait."""
        try:
            await self._work_off()
        finally:
            self._n_working -= 1  # at once: who adds items before the loop runs again must know

    async def _work_off(self) -> None:
        import asyncio

        while self._waiting:
            entry = self._waiting.popleft()
            entry.began_at = self._now()
            self.running[entry] = None
            self._began()
            item_in_work.set(entry)
            limit = asyncio.timeout(self._timeout_s)
            try:
                first, entry.started = entry.started, None
                async with limit:
                    await self._one(entry, self._call(entry.value) if first is None else first)
            except TimeoutError as error:  # the item's own code may have limits of its own
                entry.error = timed_out(self._name, self._timeout_s, error) if limit.expired() else error
            except user_errors() as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise  # it is us who are cancelled: the run is quit
                entry.error = error
            entry.is_done = True
            del self.running[entry]
            if not self._ordered:
                self._kept.append(entry)

    async def _one(self, entry: ItemInWork, result: object) -> None:
        if isinstance(result, Awaitable):
            result = await result
        if isinstance(result, AsyncGenerator):
            async for value in result:
                entry.pushes.append(("default", value, None))
        elif isinstance(result, Generator) or (self._pushes_results and self._pushes_elements):
            entry.pushes.extend(("default", value, None) for value in result)  # type: ignore[attr-defined]
        elif self._pushes_results:
            entry.pushes.append(("default", result, None))
        elif result is not None:
            raise TypeError(returned_message(self._name, result))


def timed_out(name: str, timeout_s: float | None, cause: BaseException) -> TimeoutError:
    """Give the error of an item that took longer than its node allows."""
    error = TimeoutError(
        f"node {name!r} gave no result within process_timeout_s={timeout_s}; it was cancelled: allow more, or see what "
        "it waits for"
    )
    error.__cause__ = cause
    return error


def returned_message(name: str, result: object, hook: str = "process") -> str:
    """What a class node is told whose method returns a value."""
    return (
        f"{hook} of node {name!r} returned a {type(result).__name__}; a class's {hook} returns None: "
        "push the value with self.push(value), or yield it"
    )
