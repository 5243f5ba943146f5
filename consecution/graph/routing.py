"""Route: a node that sends each item to one of its branches.

What the function may answer: an index (0 ≤ i < n, no bool), a branch's name, or with keys exactly one of them; None
drops the item. Anything else fails the item.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar

from consecution.errors import GraphError, short_repr

from .naming import function_name
from .node import Node
from .nodes import check_function
from .view import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class RouteError(LookupError):
    """A route function's answer names no branch; the item in work fails."""


class Route(Node):
    """Send each item to the branch that ``func`` answers: ``a | Route(func, x, y) | d``.

    Args:
        func: Function of one item, or None for round robin in each task; or the first branch.
        *branches: Nodes, views and functions, a list of them, or one dict from answers to them; none: what ``|``
            links later, each link a branch.
        **options: As Node, ``name=`` included.

    Attributes:
        func: The route function, or None.
        keys: Answers that name the branches, when they were given as a dict.

    Raises:
        GraphError: ``func`` is async, or a branch is no node.

    >>> by_parity = resolver("by_parity", lambda n: n % 2, ("even", "odd"))
    >>> by_parity(4), by_parity(7)
    (0, 1)
    """

    _is_route: ClassVar[bool] = True
    func: Callable[[Any], Any] | None
    keys: tuple[object, ...] | None

    def __init__(self, func: object = None, *branches: object, **options: Any) -> None:
        super().__init__(**options)
        self.func = None
        self.keys = None
        from .compose import fill_route, read_route

        read_func, parts, keys = read_route("Route", (func, *branches))
        if read_func is not None:
            check_function("Route", read_func, may_be_async=False, cure="look it up in a node before the route")
            self.func = read_func
            self._slot.named_after = read_func
        if parts:
            fill_route(self, parts, keys)

    def process(self, item: Any) -> None:
        """Refuse: the stage runner asks ``resolver`` for the branch instead."""
        msg = f"{describe(self)}: a Route is run by its resolver"
        raise GraphError(msg)

    def resolver(self) -> Callable[[Any], int | None]:
        """Give the function from an item to its branch's index, or None to drop; call once for each running copy.

        The function raises RouteError for an answer that names no branch, and what the user's function raises. Its
        round robin is its own. Not for several threads.
        """
        slot = self._slot
        return resolver(slot.name or describe(self), self.func, slot.branch_names, self.keys)


def resolver(
    name: str,
    func: Callable[[Any], Any] | None,
    branch_names: Sequence[str],
    keys: Sequence[object] | None = None,
) -> Callable[[Any], int | None]:
    """Give the function that turns an item into the index of its branch.

    Args:
        name: Name of the route, for messages.
        func: The user's function; None for round robin.
        branch_names: Name of each branch's first node.
        keys: The only answers allowed, when the branches were given as a dict.

    Returns:
        Function of one item that gives an index, or None to drop it, and raises RouteError for other answers.
    """
    count = len(branch_names)
    if func is None:
        return _round_robin(count)
    expected = list(branch_names if keys is None else keys)
    table: dict[object, int] = {}
    for index, key in enumerate(expected):
        table.setdefault(key, index)
    indexes = range(count)
    label = f"route {name!r}" if name == function_name(func) else f"route {name!r} ({function_name(func)})"

    def resolve(item: Any) -> int | None:
        answer = func(item)
        if answer is None:
            return None
        if answer.__class__ is int and keys is None:
            if answer in indexes:
                return answer
            raise RouteError(_message(label, answer, expected, count))
        try:
            index = table.get(answer)
        except TypeError:  # unhashable
            index = None
        # True == 1 in a dict, yet a bool is no index and no number.
        if index is not None and isinstance(answer, bool) is isinstance(expected[index], bool):
            return index
        if keys is None and not isinstance(answer, bool):
            try:
                index = operator.index(answer)
            except TypeError:
                index = -1
            if index in indexes:
                return index
        raise RouteError(_message(label, answer, expected, count if keys is None else None))

    return resolve


def _round_robin(count: int) -> Callable[[Any], int]:
    following = 0

    def resolve(_: Any) -> int:
        nonlocal following
        index = following
        following = index + 1 if index + 1 < count else 0
        return index

    return resolve


def _message(label: str, answer: object, expected: list[object], count: int | None) -> str:
    index = "" if count is None else f", or an index from 0 to {count - 1}"
    kind = ", which names no branch"
    if isinstance(answer, bool) and count is not None:
        kind = ", a bool, which is no index"
    return (
        f"{label} returned {short_repr(answer)}{kind}; expected one of {', '.join(map(repr, expected))}{index}; "
        f"add a branch, or return None to drop the item"
    )
