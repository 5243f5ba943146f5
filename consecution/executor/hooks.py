"""Hooks: what the nodes of a task do beside ``process``, and the event loop for all that is awaited.

Rules of this module: what a hook gives decides: a generator gives each of its values, an awaitable is awaited, anything
else but None is refused. One event loop for each task.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import TYPE_CHECKING, Any

from consecution.errors import short_repr
from consecution.executor.awaiting import returned_message, timed_out

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consecution.executor.event_loop import EventLoop, VirtualTime
    from consecution.graph import Node


class Hooks:
    """Calls the hooks of a task's nodes.

    Args:
        nodes: The running copies, by place.
        names: Names of all nodes, by place.
        new_loop: Makes the event loop; None: asyncio's own.
        virtual: The time that asyncio's own goes by; None: the real one.
    """

    def __init__(
        self,
        nodes: Mapping[int, Node],
        names: Sequence[str],
        new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
        virtual: VirtualTime | None = None,
    ) -> None:
        self._new_loop = new_loop
        self._virtual = virtual
        self._nodes = nodes
        self._names = names
        self._loop: EventLoop | None = None

    def values(self, hook: str, place: int) -> Iterator[Any]:
        """Call a hook of a node, await what it gives when that is awaitable, and give the values to push, lazily.

        Raises:
            TypeError: It returned a value: what is to go on must be pushed or yielded.
        """
        result: object = getattr(self._nodes[place], hook)()
        if isinstance(result, Awaitable):
            result = self.awaited(result)
        if isinstance(result, AsyncGenerator):
            return self.stepped(result)
        if isinstance(result, Generator):
            return result
        if result is not None:
            raise TypeError(returned_message(self._names[place], result, hook))
        return iter(())

    def give_nothing(self, hook: str, place: int) -> None:
        """Call a hook that may not push."""
        for value in self.values(hook, place):
            message = f"{hook} of node {self._names[place]!r} yielded {short_repr(value)}; only process may push"
            raise TypeError(message)

    def stepped(self, values: AsyncGenerator[Any, None]) -> Iterator[Any]:
        """Give the values of an async generator, one step of the event loop for each."""
        end = object()
        while (value := self.awaited(anext(values, end))) is not end:
            yield value

    def awaited(self, result: Awaitable[Any], *, limit_s: float | None = None, name: str = "") -> Any:
        """Await something to its end.

        Args:
            result: What is awaited.
            limit_s: How long; None is no limit.
            name: The node's name, for the error.

        Raises:
            TimeoutError: It took longer, and was cancelled.
        """
        return self.loop().run(_awaited(result, limit_s, name))

    def loop(self) -> EventLoop:
        """The task's event loop, made at its first use."""
        if self._loop is None:
            from consecution.executor.event_loop import EventLoop

            self._loop = EventLoop(self._new_loop, self._virtual)
        return self._loop

    def close(self) -> None:
        """Close the event loop."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None


async def _awaited(result: Awaitable[Any], limit_s: float | None, name: str) -> Any:
    import asyncio

    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            return await result
    except TimeoutError as error:
        if limit.expired():
            raise timed_out(name, limit_s, error) from error
        raise
