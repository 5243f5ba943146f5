"""What a user may write beside ``|``: nodes, functions, lists of branches, items.

Rules of this module:
1. A list is read before anything is made or linked (``read_list``), and made into a view later (``Branches.build``).
2. In a list of branches a function in the first place decides where items go; elsewhere it is a branch.
3. On the left of ``|`` a list of nodes, views and functions is branches, one without any is items, a mix is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from consecution.errors import GraphError, short_repr

from .view import Composable, Endpoint, View, add_branch, check_targets, describe, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Part: TypeAlias = "Composable | Callable[..., Any] | Branches"

NESTED_CHECKED_MAX = 100  # a list of rows may be long; a list of branches never is


@dataclass(frozen=True, slots=True, eq=False)
class Branches:
    """A list of branches as it was read: the route function, if any, and the parts."""

    func: Callable[..., Any] | None
    parts: tuple[Part, ...]

    def build(self) -> View:
        """Make the nodes that the list needs and give its view."""
        views = [build_part(part) for part in self.parts]
        if self.func is None:
            return gather(views, keep_parts=True)
        return build_route(self.func, views)


def build_part(part: Part) -> View:
    """Give the view of one branch; a function becomes a Map."""
    if isinstance(part, Branches):
        return part.build()
    if isinstance(part, Composable):
        return part._view()
    from .nodes import Map

    return Map(part)._view()


def build_route(func: Callable[..., Any] | None, views: Sequence[View], keys: tuple[object, ...] | None = None) -> View:
    """Make a Route node before the given branches."""
    from .routing import Route

    for view in views:
        check_targets(view)
    node = Route(func)
    node.keys = keys
    for view in views:
        add_branch(node, view)
    return View((node,), gather(views).exits)


def is_function(thing: object) -> bool:
    """Whether a bare value in an expression is a function that makes a node."""
    return callable(thing) and not isinstance(thing, (Composable, Endpoint)) and not _is_vertex_class(thing)


def _is_vertex_class(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, (Composable, Endpoint))


def read_right(right: object, left_name: str) -> View:
    """Read what stands on the right of ``|``."""
    if isinstance(right, (list, tuple)):
        return read_list(right, left_name).build()
    return build_part(read_part(right, f"on the right of `{left_name} |`", left_name))


def read_list(items: Sequence[object], near: str) -> Branches:
    """Read a list of branches without making or linking anything.

    Args:
        items: The list or tuple that the user wrote.
        near: Name of the node beside it, for messages.

    Raises:
        GraphError: It is empty, has fewer than two branches behind a route function, or holds no node.
    """
    where = f"in the list of branches beside {near}"
    if not items:
        msg = f"the list of branches beside {near} is empty; expected nodes, as in {near} | [x, y]"
        raise GraphError(msg)
    func = items[0] if is_function(items[0]) else None
    parts = items if func is None else items[1:]
    if func is not None and len(parts) < 2:
        name = describe(func)
        msg = (
            f"{name} stands first {where}, so it is the route function, and {len(parts)} branch is left; expected two "
            f"or more; write Map({name}) for a branch"
        )
        raise GraphError(msg)
    return Branches(func, tuple(read_part(part, where, near) for part in parts))  # type: ignore[arg-type]


def read_part(part: object, where: str, near: str) -> Part:
    """Read one node, view or function, or a nested list of them.

    Raises:
        GraphError: It is none of these; the message says what to write.
    """
    if isinstance(part, Composable):
        part._view()  # refuses an unclosed `<`
        return part
    if isinstance(part, (list, tuple)):
        return read_list(part, near)
    if _is_vertex_class(part):
        msg = f"{part.__name__} {where} is a class; expected a node: write {part.__name__}()"  # type: ignore[attr-defined]
        raise GraphError(msg)
    if callable(part) and not isinstance(part, Endpoint):
        return part
    msg = f"{short_repr(part)} {where} is not a node but a {type(part).__name__}; {_cure(part)}"
    raise GraphError(msg)


def _cure(part: object) -> str:
    if isinstance(part, dict):
        return "write route(func, {...}) for branches with keys"
    if isinstance(part, (set, frozenset)):
        return "branches have an order: write a list [x, y]"
    if isinstance(part, Endpoint):
        return "link consecutors from their outputs: cons.output['a'] | cons2"
    if part is None:
        return "was a function called, or a `return` forgotten? expected a node, a function or a list of them"
    return "expected a node, a function or a list of them"


def read_left(left: object, right_name: str) -> View:
    """Read what stands on the left of ``|``: branches, a function, or items.

    Raises:
        GraphError: It mixes nodes and items, or can't be a source of items; the message says what to write.
    """
    where = f"on the left of `| {right_name}`"
    if isinstance(left, (list, tuple)) and _holds_branches(left, where):
        return read_list(left, right_name).build()
    if isinstance(left, (set, frozenset)) and any(isinstance(item, Composable) for item in left):
        msg = f"a set of nodes {where} has no order; write a list: [x, y] | {right_name}"
        raise GraphError(msg)
    if callable(left) or _is_vertex_class(left):
        return build_part(read_part(left, where, right_name))
    from .source import Rows

    return Rows.of(left, right_name)._view()


def _holds_branches(items: Sequence[object], where: str) -> bool:
    """Tell branches from items by the types in the list, at C speed: rows may be millions."""
    kinds = set(map(type, items))
    branch_kinds = {kind for kind in kinds if issubclass(kind, Composable) or _has_call(kind)}
    nested = {kind for kind in kinds & {list, tuple} if len(items) <= NESTED_CHECKED_MAX}
    nested_branches = {type(item) for item in items if nested and _nests_nodes(item)}
    if not branch_kinds and not nested_branches:
        return False
    others = kinds - branch_kinds - nested_branches
    if others or any(type(item) in nested_branches and not _nests_nodes(item) for item in items):
        names = ", ".join(sorted(kind.__name__ for kind in others)) or "rows"
        msg = (
            f"the list {where} mixes nodes with items ({names}); a list is either branches, as in [x, y] | d, "
            f"or items, as in [1, 2] | d"
        )
        raise GraphError(msg)
    return True


def _has_call(kind: type) -> bool:
    return any("__call__" in vars(base) for base in kind.__mro__)  # hasattr would find the metaclass's


def _nests_nodes(item: object) -> bool:
    return isinstance(item, (list, tuple)) and any(isinstance(part, Composable) or _nests_nodes(part) for part in item)
