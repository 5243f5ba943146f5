"""Sources: what begins a flow. Rows wraps the items that stood on the left of ``|``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import ClassVar, Self

from consecution.errors import GraphError

from .view import Composable, Vertex


class Source(Vertex):
    """Base of everything that begins a graph: ``source | node``, ``source | [x, y]``, ``source < [x, y] > d``.

    Producers derive from it. Nothing can be linked into a source.
    """

    __slots__ = ()
    _is_source: ClassVar[bool] = True


class Rows(Source):
    """The items of an iterable that stood on the left of ``|``.

    Args:
        iterable: Read once for each run when it is a list, tuple or range; else once at all.

    Attributes:
        iterable: What was given; of a one-shot iterator a checked one that refuses nodes.
        is_file: Whether it is an open file, whose lines a PipeProducer reads.
    """

    __slots__ = ("is_file", "iterable")

    def __init__(self, iterable: Iterable[object]) -> None:
        self.iterable = iterable
        self.is_file = isinstance(iterable, io.IOBase)

    def __repr__(self) -> str:
        return f"<Rows of a {type(self.iterable).__name__}>"

    @classmethod
    def of(cls, left: object, right_name: str) -> Self:
        """Give the rows of what stood on the left of ``| right_name``.

        Raises:
            GraphError: It is text, a set, a dict, a table, asynchronous, or can't be iterated.

        >>> list(Rows.of(range(3), "parse").iterable)
        [0, 1, 2]
        """
        cure = _cure(left, right_name)
        if cure is not None:
            msg = f"a {type(left).__name__} stands on the left of `| {right_name}`; {cure}"
            raise GraphError(msg)
        if isinstance(left, Iterator) and not isinstance(left, io.IOBase):
            left = _without_nodes(left, right_name)
        return cls(left)  # type: ignore[arg-type]  # _cure refused what can't be iterated


def _cure(left: object, right: str) -> str | None:
    """Say what to write instead, or None when the value can be iterated."""
    if isinstance(left, (str, bytes, bytearray, memoryview)):
        return f"it would be read character by character: write [s] | {right}, or s.splitlines() | {right}"
    if isinstance(left, (set, frozenset)):
        return f"its order differs in each process: write sorted(s) | {right}"
    if isinstance(left, dict):
        return f"write list(d) | {right} for its keys, or list(d.items()) | {right}"
    if hasattr(type(left), "__aiter__"):
        return f"async iterables are read by GeneratorProducer: write GeneratorProducer(func) | {right}"
    if hasattr(left, "itertuples"):
        return f"it would give its column names: write list(df.itertuples(index=False)) | {right}"
    if not _is_iterable(left):
        return f"it can't be iterated; expected a list, a generator or another iterable: write [x] | {right}"
    if hasattr(left, "__len__") and isinstance(next(iter(left), None), Composable):  # type: ignore[call-overload]
        return f"it holds nodes; branches are a list: write [x, y] | {right}"
    return None


def _is_iterable(left: object) -> bool:
    if isinstance(left, Iterable):
        return True
    try:
        iter(left)  # type: ignore[call-overload]  # by __getitem__; numpy's scalars have one that only raises
    except TypeError:
        return False
    return True


def _without_nodes(items: Iterator[object], right_name: str) -> Iterator[object]:
    """Give the items of a one-shot iterator; its first one is checked when it is read, never before."""
    for first in items:
        if isinstance(first, Composable):
            msg = f"an iterator of nodes stands on the left of `| {right_name}`; write a list: [x, y] | {right_name}"
            raise GraphError(msg)
        yield first
        yield from items
