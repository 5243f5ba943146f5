"""The words of composition: ``broadcast(x, y)``, ``route(func, x, y)``, ``merge(x, y)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, short_repr

from .branches import build_part, is_function, read_part
from .view import View, add_branch, check_targets, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .routing import Route


def broadcast(*branches: object) -> View:
    """Compose branches that all get every item.

    ``a | broadcast(x, y) | d`` is ``a | [x, y] | d``; it makes no node.

    Args:
        *branches: Nodes, views and functions (all of them branches), or one list of them.

    Raises:
        GraphError: There is none, or one is no node.
    """
    return gather(read_branches("broadcast", branches))


def merge(*branches: object) -> View:
    """Compose branches whose items flow together.

    ``merge(x, y) | d`` is ``[x, y] | d``; it makes no node.

    Args:
        *branches: Nodes, views, producers and functions (all of them branches), or one list of them.

    Raises:
        GraphError: There is none, or one is no node.
    """
    return gather(read_branches("merge", branches))


def route(*func_and_branches: object) -> View:
    """Compose branches of which each item takes one.

    ``a | route(func, x, y) | d`` makes a Route node, named after the function.

    Args:
        *func_and_branches: First the function of an item, or None for round robin; then the branches: nodes, views
            and functions, one list of them, or one dict from the function's answers to them.

    Raises:
        GraphError: There are fewer than two branches, or one is no node.
    """
    from .routing import Route

    func, views, keys = read_route("route", func_and_branches)
    if not views:
        msg = "route() has no branches; expected two or more, as in route(func, x, y)"
        raise GraphError(msg)
    node = Route(func)
    return fill_route(node, views, keys)


def fill_route(node: Route, views: Sequence[View], keys: tuple[object, ...] | None) -> View:
    """Link a route to its branches and give the view of the whole."""
    for view in views:
        check_targets(view)
    node.keys = keys
    for view in views:
        add_branch(node, view)
    node._slot.fragment = View((node,), gather(views).exits)
    return node._slot.fragment


def read_branches(word: str, branches: Sequence[object]) -> list[View]:
    """Read branches that stand as arguments; functions are branches here, and one list may hold them all."""
    if len(branches) == 1 and isinstance(branches[0], (list, tuple)):
        branches = branches[0]
    if not branches:
        msg = f"{word}() has no branches; expected nodes, as in {word}(x, y)"
        raise GraphError(msg)
    return [build_part(part) for part in [read_part(part, f"in {word}(…)", word) for part in branches]]


def read_route(
    word: str, arguments: Sequence[object]
) -> tuple[Callable[[Any], Any] | None, list[View], tuple[object, ...] | None]:
    """Read a route's function, branches and keys.

    Raises:
        GraphError: One branch alone, an empty dict, a key None, or something that is no node.
    """
    func, rest = _route_function(arguments)
    if len(rest) == 1 and isinstance(rest[0], dict):
        return func, *_read_keyed(word, rest[0], func)
    if len(rest) == 1 and isinstance(rest[0], (list, tuple)):
        rest = rest[0]
    if not rest:
        return func, [], None
    views = read_branches(word, rest)
    if len(views) < 2:
        msg = (
            f"{word}() has one branch, {short_repr(rest[0])}; expected two or more; "
            f"to let some items through, use Filter"
        )
        raise GraphError(msg)
    return func, views, None


def _route_function(arguments: Sequence[object]) -> tuple[Callable[[Any], Any] | None, Sequence[object]]:
    """Part the function from the branches: it stands first, or last behind a list as in ``Route([x, y], func)``."""
    if not arguments:
        return None, ()
    first, rest = arguments[0], arguments[1:]
    if first is None:
        return None, rest
    if is_function(first):
        return first, rest  # type: ignore[return-value]
    if isinstance(first, (list, tuple)) and len(rest) == 1 and (rest[0] is None or is_function(rest[0])):
        return rest[0], first  # type: ignore[return-value]
    return None, arguments


def _read_keyed(word: str, branches: dict[object, object], func: object) -> tuple[list[View], tuple[object, ...]]:
    if func is None:
        msg = f"{word}({{...}}) has keys but no function that answers them; write {word}(func, {{...}})"
        raise GraphError(msg)
    if not branches or None in branches:
        what = "is empty" if not branches else "has the key None, and a route function's None drops the item"
        msg = f"the dict of branches in {word}(…) {what}; expected answers of the function as keys"
        raise GraphError(msg)
    return read_branches(word, list(branches.values())), tuple(branches)
