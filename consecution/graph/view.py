"""Expressions over nodes: ``|``, ``<`` and ``>`` on nodes, sources and views.

Rules of this module:
1. Links live on the vertices; a View is what an expression shows of them: where it begins and where it ends.
2. A chain of n nodes costs n steps, without recursion.
3. Nothing here is iterable, comparable or an array's element: numpy, pandas, ``sorted`` and ``in`` are kept out.
4. What is refused is refused before anything is linked.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ClassVar, TypeVar, overload

from consecution.errors import GraphError

from .naming import base_name, function_name
from .slot import DEFAULT_OUTPUT, NodeSlot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self, TypeAlias

    from .brackets import Bracket
    from .node import Node

    Exit: TypeAlias = tuple["Vertex", str]
    Chained: TypeAlias = tuple[weakref.ref["View"], "View"]


class Endpoint:
    """Base of what links itself (a consecutor, its inputs and outputs): operators of nodes leave it the word."""

    __slots__ = ()


EndpointT = TypeVar("EndpointT", bound=Endpoint)


class Composable:
    """What stands on either side of ``|``, ``<`` and ``>``: a node, a source, or a view of linked ones."""

    __slots__ = ()
    __array_ufunc__: ClassVar[None] = None  # else numpy makes one link for each element of an array
    __pandas_priority__: ClassVar[int] = 10_000
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None

    def _view(self) -> View:
        raise NotImplementedError

    @overload
    def __or__(self, right: EndpointT) -> EndpointT: ...  # type: ignore[overload-overlap]

    @overload
    def __or__(self, right: object) -> View: ...

    def __or__(self, right: object) -> object:
        """Link what ends here to what begins there."""
        if isinstance(right, Endpoint):
            return NotImplemented
        from .branches import read_right

        left = self._view()
        return join(left, read_right(right, describe(self)))

    def __ror__(self, left: object) -> View:
        """Feed branches, a function or items into this."""
        if isinstance(left, Endpoint):
            return NotImplemented
        from .branches import read_left

        right = self._view()
        return join(read_left(left, describe(self)), right)

    def __lt__(self, right: object) -> View:
        """Open ``self < branches``, or close ``… < branches > self``."""
        if isinstance(right, Endpoint):
            return NotImplemented
        from .angles import less

        return less(self, right)

    def __gt__(self, right: object) -> View:
        if isinstance(right, Endpoint):
            return NotImplemented
        from .angles import refuse_greater

        return refuse_greater(self, right)

    def __le__(self, right: object) -> bool:
        return self._refuse_comparison("<=", right)

    def __ge__(self, right: object) -> bool:
        return self._refuse_comparison(">=", right)

    def _refuse_comparison(self, sign: str, right: object) -> bool:
        msg = f"{describe(self)} {sign} {describe(right)}: nodes have no order; `|` links them: write a | b"
        raise GraphError(msg)

    def __getitem__(self, key: object) -> View:
        name = describe(self)
        msg = (
            f"{name}[{key!r}]: a node has no items, so a `|` seems to be missing; write {name} | [...] for branches, "
            f"or {name}.output[{key!r}] for a declared output"
        )
        raise GraphError(msg)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        msg = f"{describe(self)} is a composition, and only nodes can be copied"
        raise TypeError(msg)


class Vertex(Composable):
    """Base of nodes and sources: what has links."""

    __slots__ = ("__dict__", "__weakref__", "_slot")
    _slot: NodeSlot
    _is_source: ClassVar[bool] = False
    _is_route: ClassVar[bool] = False

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make the instance with our slot, so that no ``__init__`` of ours is needed."""
        self = super().__new__(cls)
        self._slot = NodeSlot()
        return self

    def _view(self) -> View:
        fragment = self._slot.fragment
        return View((self,), ((self, DEFAULT_OUTPUT),)) if fragment is None else fragment


class View(Composable):
    """What an expression gives: the entries and exits of nodes that it linked.

    Attributes:
        entries: Vertices that a ``|`` on the left feeds.
        exits: (vertex, output) pairs that a ``|`` on the right continues.
        parts: The branches, when it was made of a list of them.
    """

    __slots__ = ("__weakref__", "_bracket", "_closer", "chained", "entries", "exits", "parts")

    def __init__(
        self,
        entries: tuple[Vertex, ...],
        exits: tuple[Exit, ...],
        parts: tuple[View, ...] = (),
    ) -> None:
        self.entries = entries
        self.exits = exits
        self.parts = parts
        self.chained: Chained | None = None
        self._bracket: Bracket | None = None
        self._closer: NodeSlot | View | None = None

    def __repr__(self) -> str:
        return f"<View {describe(self)}>"

    def __bool__(self) -> bool:
        """Be true; Python asks only inside a chain such as ``a < [x, y] > d``, and that marks it as one."""
        if self._bracket is not None:
            self._bracket.is_marked = True
        if self._closer is not None:
            self._closer.chained = weakref.ref(self), View(self.entries, self.exits)
        return True

    def _view(self) -> View:
        if self._bracket is not None:
            from .angles import refuse_unclosed

            refuse_unclosed(self._bracket)
        return self


def describe(thing: object) -> str:
    """Name a node, view, function or list as a user knows it, for messages."""
    if isinstance(thing, Vertex):
        slot = thing._slot
        if slot.name is not None:
            return slot.name
        own = getattr(thing, "name", None) if thing._is_source else None
        return own if isinstance(own, str) else base_name(slot, type(thing))
    if isinstance(thing, View):
        first = _describe_all(thing.entries)
        last = _describe_all(vertex for vertex, _ in thing.exits)
        return first if first == last else f"({first} | … | {last})"
    if isinstance(thing, (list, tuple)):
        return f"[{', '.join(describe(part) for part in thing[:4])}{', …' if len(thing) > 4 else ''}]"
    if isinstance(thing, (str, bytes)) or not callable(thing):
        return f"a {type(thing).__name__}"
    return function_name(thing)


def _describe_all(vertices: Iterable[Vertex]) -> str:
    names = [describe(vertex) for vertex in vertices]
    return names[0] if len(names) == 1 else f"[{', '.join(names[:4])}{', …' if len(names) > 4 else ''}]"


def gather(parts: Iterable[View], *, keep_parts: bool = False) -> View:
    """Give the view that begins where any part begins and ends where any ends."""
    parts = tuple(parts)
    entries = {id(vertex): vertex for part in parts for vertex in part.entries}
    exits = {(id(vertex), output): (vertex, output) for part in parts for vertex, output in part.exits}
    return View(tuple(entries.values()), tuple(exits.values()), parts if keep_parts else ())


def join(left: View, right: View) -> View:
    """Link every exit of ``left`` to every entry of ``right``.

    Raises:
        GraphError: A producer stands in the middle, or a node belongs to a consecutor already.
    """
    targets = check_targets(right)
    check_free(vertex for vertex, _ in left.exits)
    for vertex, output in left.exits:
        if vertex._is_route and output == DEFAULT_OUTPUT:
            _link_route(vertex, right)
            continue
        link = vertex._slot.link
        for target in targets:
            link(vertex, target, output, None)
    return View(left.entries, right.exits)


def check_targets(right: View) -> tuple[Node, ...]:
    """Give the entries of a view as nodes that may still be linked."""
    for vertex in right.entries:
        if vertex._is_source:
            msg = (
                f"producer {describe(vertex)} stands on the right of a link, where items would flow into it; "
                f"a producer begins a flow: write {describe(vertex)} | node"
            )
            raise GraphError(msg)
    check_free(right.entries)
    return right.entries  # type: ignore[return-value]  # what is no source is a node


def check_free(vertices: Iterable[Vertex]) -> None:
    """Refuse vertices of a frozen graph."""
    for vertex in vertices:
        owner = vertex._slot.frozen_by
        if owner is not None:
            msg = (
                f"{describe(vertex)} belongs to consecutor {owner}: make a second one, or build the flow in a function"
            )
            raise GraphError(msg)


def _link_route(route: Vertex, right: View) -> None:
    """Make each part of ``right`` a branch, unless it already is one."""
    for part in right.parts or (right,):
        known = route._slot.branches
        if not any(_same(part.entries, entries) for entries in known):
            add_branch(route, part)


def add_branch(route: Vertex, part: View) -> None:
    """Make ``part`` the next branch of a route."""
    slot = route._slot
    index = len(slot.branches)
    slot.branches.append(part.entries)
    for target in check_targets(part):
        slot.link(route, target, DEFAULT_OUTPUT, index)


def _same(left: tuple[Vertex, ...], right: tuple[Vertex, ...]) -> bool:
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))
