"""Nodes that come with Consecution: Map, Filter, FlatMap, Broadcast, Merge, Collect.

``func`` of Map, Filter and FlatMap is a plain attribute: the stage runner compiles chains of them into one loop and
calls their ``process`` only outside of it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, short_repr

from .naming import function_name
from .node import Node
from .view import View, describe, gather, join

if TYPE_CHECKING:
    from collections.abc import Callable


def is_async_function(func: object) -> bool:
    """Whether calling ``func`` gives an awaitable or an async generator, as far as it can be seen without a call."""
    called = getattr(type(func), "__call__", None)  # noqa: B004
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (inspect.unwrap(func) if callable(func) else func, called)
    )


def check_function(kind: str, func: object, *, may_be_async: bool, cure: str = "") -> None:
    """Refuse what can't be called with an item.

    Raises:
        GraphError: It is no function, a node, or async where only a plain function can answer.
    """
    if isinstance(func, Node) or (isinstance(func, type) and issubclass(func, Node)) or not callable(func):
        msg = f"{kind}({short_repr(func)}): expected a function of one item"
        raise GraphError(msg)
    if not may_be_async and is_async_function(func):
        msg = f"{kind}({function_name(func)}): the function is async, and its answer is needed at once; {cure}"
        raise GraphError(msg)


class _FunctionNode(Node):
    """Base of nodes round one function."""

    func: Callable[[Any], Any]

    def __init__(self, func: Callable[[Any], Any], **options: Any) -> None:
        super().__init__(**options)
        self.func = func
        self._slot.named_after = func


class Map(_FunctionNode):
    """Push what ``func`` gives for each item, None too; a generator gives each value, an awaitable is awaited.

    Args:
        func: Function of one item; may be async.
        **options: As Node, ``name=`` included.

    Raises:
        GraphError: ``func`` is no function, or an option is wrong.

    >>> Map(str.upper).func("a")
    'A'
    """

    def __init__(self, func: Callable[[Any], Any], **options: Any) -> None:
        check_function("Map", func, may_be_async=True)
        super().__init__(func, **options)

    def process(self, item: Any) -> Any:
        """Push the function's value."""
        self.push(self.func(item))


class Filter(_FunctionNode):
    """Let through the items for which ``func`` is true; the others are completed.

    Args:
        func: Function of one item; it can't be async (write a Node with ``async def process`` for that).
        **options: As Node, ``name=`` included.

    Raises:
        GraphError: ``func`` is no function or is async, or an option is wrong.

    >>> Filter(str.isdigit).func("7")
    True
    """

    def __init__(self, func: Callable[[Any], Any], **options: Any) -> None:
        cure = "write a Node with `async def process` that pushes the item when it passes"
        check_function("Filter", func, may_be_async=False, cure=cure)
        super().__init__(func, **options)

    def process(self, item: Any) -> None:
        """Push the item if it passes."""
        if self.func(item):
            self.push(item)


class FlatMap(_FunctionNode):
    """Push each element of the iterable that ``func`` gives for an item; an empty one drops it.

    Args:
        func: Function of one item that gives an iterable; it can't be async.
        **options: As Node, ``name=`` included.

    Raises:
        GraphError: ``func`` is no function or is async, or an option is wrong.

    >>> FlatMap(str.split).func("to be")
    ['to', 'be']
    """

    def __init__(self, func: Callable[[Any], Any], **options: Any) -> None:
        check_function("FlatMap", func, may_be_async=False, cure="give Map an async generator function")
        super().__init__(func, **options)

    def process(self, item: Any) -> None:
        """Push each element."""
        push = self.push
        for element in self.func(item):
            push(element)


class Broadcast(Node):
    """Pass every item to every branch: ``a | Broadcast([x, y]) | d``, or ``a | Broadcast() | [x, y]``.

    Args:
        *branches: Nodes, views and functions, or one list of them; none: what ``|`` links later.
        **options: As Node, ``name=`` included.

    Raises:
        GraphError: A branch is no node.
    """

    def __init__(self, *branches: object, **options: Any) -> None:
        super().__init__(**options)
        if branches:
            from .compose import read_branches

            part = gather(read_branches("Broadcast", branches), keep_parts=True)
            self._slot.fragment = join(View((self,), ((self, "default"),)), part)

    def process(self, item: Any) -> None:
        """Pass the item on."""
        self.push(item)


class Merge(Node):
    """Pass on what comes from several branches: ``Merge([x, y]) | d``, or ``[x, y] | Merge() | d``.

    Args:
        *branches: Nodes, views and functions, or one list of them; none: what ``|`` links before it.
        **options: As Node, ``name=`` included.

    Raises:
        GraphError: A branch is no node.
    """

    def __init__(self, *branches: object, **options: Any) -> None:
        super().__init__(**options)
        if branches:
            from .compose import read_branches

            own = View((self,), ((self, "default"),))
            self._slot.fragment = join(gather(read_branches("Merge", branches)), own)

    def process(self, item: Any) -> None:
        """Pass the item on."""
        self.push(item)


class Collect(Node):
    """Gather all items for ``report.collected[name]``, in the calling process; local modes only. Ends a branch.

    Args:
        name: Name in the report.
        **options: As Node.

    Attributes:
        items: What a running copy has gathered, in order of arrival.
    """

    def __init__(self, name: str | None = None, **options: Any) -> None:
        super().__init__(name, **options)
        self.items: list[Any] = []

    def process(self, item: Any) -> None:
        """Keep the item."""
        self.items.append(item)

    def finish(self) -> None:
        """Leave the items to the report; overriding finish makes the node an accumulating one."""


def refuse_after_collect(node: Collect, following: str) -> str:
    """Say what to write when something follows a Collect."""
    name = describe(node)
    return f"{name} is a Collect, which ends a branch, but {following} follows it; write a | [{name}, {following}]"
