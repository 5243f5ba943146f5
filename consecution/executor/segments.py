"""Segments: function nodes in a row, compiled into one loop with the node that ends the row.

Rules of this module: it knows nodes and Python source, no frames and no origins. A segment reads the column of its
first node and calls ``add(value)`` and, where the row may drop or multiply values, ``mark(position in the column)``.

Why compiled: a pipeline's cost is calls. A row of Maps and Filters is one ``for`` loop with one call for each
function - none for a simple expression, see inlining.py - and no other work for each item; what may go wrong is found
afterwards (see `Segment.node_at`): the failing item is what the list iterator has just given, the failing node is the
line of the traceback.

What a function gives back decides what happens to it (a generator gives each of its values, an awaitable is awaited):
the loop compares the result's type with the type that it saw last, and asks `expect` only when it changes.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any

from consecution.executor.inlining import Inlined, inlined
from consecution.graph import Filter, FlatMap, Map, Route
from consecution.graph.kinds import is_batch, is_function

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import CodeType, TracebackType

    from consecution.graph import Node

CHAIN_NODES_MAX = 200
SPILL_ITEMS = 4096

NOWHERE = -1

PUSH, CALL, EXPAND, ROUTE, BATCH, ASYNC = "push", "call", "expand", "route", "batch", "async"

_plain_types: set[type] = {int, float, str, bytes, bool, type(None), list, dict, tuple, set}


class UnexpectedResultError(Exception):
    """A function that was compiled as a plain one gave a generator or an awaitable; caught by the runner."""

    def __init__(self, link: int, value: object) -> None:
        super().__init__(link)
        self.link = link
        self.value = value


def is_awaitable(value: object) -> bool:
    """Whether a result comes later: an awaitable or an async generator."""
    return type(value) not in _plain_types and isinstance(value, (Awaitable, AsyncGenerator))


def is_expanding(value: object) -> bool:
    """Whether a result stands for several values, or for one that comes later."""
    kind = type(value)
    if kind in _plain_types:
        return False
    if issubclass(kind, (Generator, AsyncGenerator)) or isinstance(value, Awaitable):
        return True
    if len(_plain_types) < 10_000:
        _plain_types.add(kind)
    return False


def expect(link: int, value: object) -> type:
    """Give the type of a plain result.

    Raises:
        UnexpectedResultError: It is a generator or an awaitable.
    """
    if is_expanding(value):
        raise UnexpectedResultError(link, value)
    return type(value)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which nodes a segment runs, before it is compiled.

    Attributes:
        chain: Places of the Map and Filter nodes in the row.
        kind: How the row ends: PUSH, CALL, EXPAND, ROUTE, BATCH or ASYNC.
        last: Node that ends it; for PUSH the last of the chain.
    """

    chain: tuple[int, ...]
    kind: str
    last: int

    @property
    def first(self) -> int:
        """The node whose column the segment reads."""
        return self.chain[0] if self.chain else self.last

    @property
    def nodes(self) -> tuple[int, ...]:
        """All its nodes, in order."""
        return self.chain if self.kind == PUSH else (*self.chain, self.last)


def ending_of(node: Node, *, expands: bool, awaits: bool) -> str | None:
    """How a node ends a row; None for a function that a row may go through."""
    if is_batch(node):
        return BATCH
    if awaits or _is_async(node):
        return ASYNC
    if isinstance(node, Route):
        return ROUTE
    if not is_function(node):
        return CALL
    if isinstance(node, FlatMap):
        return EXPAND
    if isinstance(node, Map):
        return EXPAND if expands or inspect.isgeneratorfunction(node.func) else None
    return None


def _is_async(node: Node) -> bool:
    work = node.func if is_function(node) else getattr(node, "process", None)
    return inspect.iscoroutinefunction(work) or inspect.isasyncgenfunction(work)


def shapes_of(
    nodes: Mapping[int, Node],
    followers: Callable[[int], Sequence[int | None]],
    in_degree: Callable[[int], int],
    expands: set[int],
    awaits: set[int],
) -> dict[int, Shape]:
    """Cut a stage into rows.

    Args:
        nodes: The stage's nodes by place, in topological order.
        followers: For a node: the nodes that its default output feeds, None for each channel.
        in_degree: How many edges of the stage enter a node.
        expands: Map nodes that were seen to give generators.
        awaits: Nodes that were seen to give awaitables.

    Returns:
        Segments by the place of their first node.
    """
    endings = {
        place: ending_of(node, expands=place in expands, awaits=place in awaits) for place, node in nodes.items()
    }
    shapes: dict[int, Shape] = {}
    taken: set[int] = set()
    for place in nodes:
        if place in taken:
            continue
        chain: list[int] = []
        here = place
        while True:
            taken.add(here)
            ending = endings[here]
            if ending is not None:
                shapes[place] = Shape(tuple(chain), ending, here)
                break
            chain.append(here)
            after = followers(here)
            following = after[0] if len(after) == 1 else None
            if (
                following is None
                or in_degree(following) != 1
                or len(chain) >= CHAIN_NODES_MAX
                or endings[following] in (BATCH, ASYNC)
            ):
                shapes[place] = Shape(tuple(chain), PUSH, here)
                break
            here = following
    return shapes


class Segment:
    """A compiled row; made once for each task.

    Attributes:
        shape: What it runs.
        run: ``run(iterator, count)``: the loop over a column of ``count`` values; ``iterator`` is the list's own and
            gives values, or (position, value) pairs when `numbers`.
        numbers: Whether the loop wants positions.
        is_marked: Whether ``marks`` are kept.
        push: Bound as the ``push`` of a CALL node; None elsewhere.
        inlined: Functions of the row that stand in the loop as expressions, by place.
        position: Gives the position of the item in work, -1 outside of one; only of CALL nodes. It is worked out from
            what the iterator has left, so that items that push nothing pay nothing for it.
        leave: Forget the position: the item in work is finished.
        left_at: Position of the last item of which something has left the row by another way than ``out``.
        returned: ``returned(result, position)``: what the loop calls with a result that isn't plain.
        out: Values that the row gave; one list for each branch of a Route.
        marks: Their positions, beside ``out``; left empty when the row gives exactly one value for each item.
    """

    __slots__ = (
        "_lines", "filename", "has_outputs", "inlined", "is_marked", "leave", "left_at", "marks", "numbers", "out",
        "position", "push", "returned", "run", "shape",
    )  # fmt: skip

    def __init__(
        self,
        shape: Shape,
        nodes: Mapping[int, Node],
        *,
        has_outputs: bool,
        n_branches: int,
        other_push: Callable[..., None],
        returned: Callable[[object, int], None],
        spill: Callable[[], None],
    ) -> None:
        self.shape = shape
        self.has_outputs = has_outputs
        self.left_at = NOWHERE
        self.returned = returned
        count = max(1, n_branches)
        self.out: list[list[Any]] = [[] for _ in range(count)]
        self.marks: list[list[Any]] = [[] for _ in range(count)]
        drops = any(isinstance(nodes[place], Filter) for place in shape.chain)
        self.is_marked = has_outputs and (shape.kind != PUSH or drops)
        self.numbers = self.is_marked and shape.kind != CALL
        self.filename = f"<stage at {nodes[shape.first]._slot.name}>"
        functions: list[Callable[..., Any]] = []
        self.inlined: dict[int, Inlined] = {}
        for place in shape.chain:
            node = nodes[place]
            assert isinstance(node, (Map, Filter))
            functions.append(node.func)
            if (text := inlined(node.func)) is not None:
                self.inlined[place] = text
        source, self._lines = _source(shape, nodes, self.inlined, has_outputs=has_outputs, numbers=self.numbers)
        last = nodes[shape.last]
        end: Callable[..., Any] | None = None
        if shape.kind == CALL:
            end = last.process
        elif shape.kind == EXPAND:
            assert isinstance(last, (Map, FlatMap))
            end = last.func
        elif shape.kind == ROUTE:
            assert isinstance(last, Route)
            end = last.resolver()
        namespace: dict[str, Any] = {}
        exec(_code_of(source, self.filename), namespace)
        self.run, self.push, self.position, self.leave = namespace["make"](
            functions, end, expect, self.out, self.marks, other_push, returned, spill, repeat
        )

    def node_at(self, traceback: TracebackType) -> int:
        """The node in whose line the loop was when it raised."""
        return self._lines.get(traceback.tb_lineno, self.shape.last)

    def has_given(self, position: int) -> bool:
        """Whether the item at that position, which failed, had given something; after `settle_marks`."""
        return self.left_at == position or any(marks and marks[-1] == position for marks in self.marks)

    def settle_marks(self, position: int) -> None:
        """After a failure in the middle of an item: book what it has given so far on that item."""
        for out, marks in zip(self.out, self.marks, strict=True):
            missing = len(out) - len(marks)
            if missing > 0 and self.is_marked:
                marks.extend([position] * missing)


@lru_cache(maxsize=256)
def _code_of(source: str, filename: str) -> CodeType:
    """The code of a loop; tasks of one stage have the same, and so has a stage that is set up again."""
    return compile(source, filename, "exec")


def _source(
    shape: Shape, nodes: Mapping[int, Node], texts: Mapping[int, Inlined], *, has_outputs: bool, numbers: bool
) -> tuple[str, dict[int, int]]:
    """The loop as Python source, and which node stands in which line."""
    calls = shape.kind == CALL
    text: list[str] = ["def make(functions, end, expect, out, marks, other_push, returned, spill, repeat):"]
    lines: dict[int, int] = {}
    text += [f"    f{link} = functions[{link}]" for link in range(len(shape.chain))]
    text += [
        "    out0, mark0 = out[0], marks[0]",
        "    add, mark, more, mark_more = out0.append, mark0.append, out0.extend, mark0.extend",
    ]
    if calls:
        text += [
            "    left, last = None, 0",  # how many values the iterator still has, while one is in work
            "    def position(): return -1 if left is None else last - left()",
            "    def leave():",
            "        nonlocal left",
            "        left = None",
        ]
        text += _push_source(has_outputs=has_outputs)
    else:
        text += ["    push = None", "    def position(): return -1", "    def leave(): pass"]
    text.append("    def run(items, count):")
    if calls:
        text += ["        nonlocal left, last", "        last = count - 1", "        left = items.__length_hint__"]
    if shape.chain:
        text.append("        " + " = ".join(f"t{link}" for link in range(len(shape.chain))) + " = None")
    text.append("        for i, x in items:" if numbers else "        for x in items:")
    for link, place in enumerate(shape.chain):
        simple = texts.get(place)
        given = f"f{link}(x)" if simple is None else f"({simple.text})"
        if isinstance(nodes[place], Filter):
            text.append(f"            if not {given}: continue")
            lines[len(text)] = place
            continue
        text.append(f"            x = {given}")
        lines[len(text)] = place
        if simple is None or not simple.is_plain:
            text.append(f"            if type(x) is not t{link}: t{link} = expect({link}, x)")
            lines[len(text)] = place
    for line in _ending_source(shape.kind, nodes[shape.last], has_outputs=has_outputs, numbers=numbers):
        text.append("            " + line)
        lines[len(text)] = shape.last
    if calls:
        text.append("        left = None")
    text.append("    return run, push, position, leave")
    return "\n".join(text) + "\n", lines


def _push_source(*, has_outputs: bool) -> list[str]:
    lines = [
        '    def push(item, output="default", of=None):',
        '        if left is None or of is not None or output != "default":',
        "            other_push(position(), item, output, of)",
        "            return",
    ]
    if has_outputs:
        lines += [
            "        add(item)",
            "        mark(last - left())",
            f"        if len(out0) >= {SPILL_ITEMS}: spill()",
        ]
    return lines


def _ending_source(kind: str, node: Node, *, has_outputs: bool, numbers: bool) -> Iterator[str]:
    number = "i" if numbers else "-1"
    if kind == CALL:
        yield "r = end(x)"
        yield "if r is not None: returned(r, last - left())"
    elif kind == EXPAND and isinstance(node, FlatMap) and has_outputs:
        yield "r = end(x)"
        yield f"if type(r) is list and len(r) < {SPILL_ITEMS}:"  # what nearly every such function gives
        yield "    more(r)"
        yield "    mark_more(repeat(i, len(r)))"
        yield f"else: returned(r, {number})"
    elif kind == EXPAND:
        yield f"returned(end(x), {number})"
    elif kind == ROUTE:
        yield "b = end(x)"
        yield "if b is None: returned(None, -1)"
        yield "else: out[b].append(x)" + ("; marks[b].append(i)" if numbers else "")
    elif has_outputs:
        yield "add(x)"
        if numbers:
            yield "mark(i)"
    else:
        yield "pass"
