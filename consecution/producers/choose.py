"""as_producer: which producer reads what stood on the left of ``|``, or was given to consume()."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from consecution.errors import GraphError, short_repr
from consecution.graph.source import Rows
from consecution.graph.view import Composable
from consecution.producers.base import Producer
from consecution.producers.iterable import IterableProducer
from consecution.producers.pipe import PipeProducer
from consecution.producers.sequence import SequenceProducer


def as_producer(rows: object, *, name: str | None = None) -> Producer:
    """Give the producer of ``rows``.

    A producer is given back as it is; an open file is read by a `PipeProducer`, a list, tuple, range or other sequence
    by a `SequenceProducer`, any other iterable once, by an `IterableProducer`.

    Raises:
        GraphError: It is text, bytes, a set, a dict, asynchronous, a node, or can't be iterated.

    >>> as_producer([1, 2]).kind, as_producer(iter([1, 2])).kind
    ('sequence', 'iterable')
    """
    if isinstance(rows, Producer):
        return rows
    if isinstance(rows, Rows):
        rows = rows.iterable
    # tempfile's wrappers are no io classes themselves
    inner = getattr(rows, "file", None)
    file = inner if isinstance(inner, io.IOBase) else rows
    if isinstance(file, io.IOBase):
        if _is_of_the_system(file):
            return PipeProducer.of_file(file, name=name)
        return IterableProducer(_lines(file), name=name)
    cure = _cure(rows)
    if cure is not None:
        msg = f"items can't be read from {short_repr(rows)}, a {type(rows).__name__}: {cure}"
        raise GraphError(msg)
    if isinstance(rows, Sequence):
        return SequenceProducer(rows, name=name)
    assert isinstance(rows, Iterable) or hasattr(rows, "__getitem__")
    return IterableProducer(rows, name=name)  # type: ignore[arg-type]  # iter() takes __getitem__ too


def _cure(rows: object) -> str | None:
    """Say what to write instead, or None when the items can be read."""
    if isinstance(rows, (str, bytes, bytearray, memoryview)):
        return "it would be read character by character; write [s] for one item, s.splitlines() for its lines"
    if isinstance(rows, (set, frozenset)):
        return "its order differs in each process; write sorted(s)"
    if isinstance(rows, Mapping):
        return "write list(d) for its keys, list(d.items()) for pairs"
    if isinstance(rows, AsyncIterable):
        return "it is asynchronous; write GeneratorProducer(func), where func(position) is an async generator"
    if isinstance(rows, (Composable, type)):
        return "nodes and classes are linked, not read; expected the items, such as a list"
    if callable(rows) and not isinstance(rows, Iterator):
        return "a function isn't called for you; write func(), or GeneratorProducer(func) where func takes a position"
    if not isinstance(rows, Iterable) and not hasattr(type(rows), "__getitem__"):
        return "it can't be iterated; expected a list, a generator, an open file or another iterable; write [x] for one"
    return None


def _is_of_the_system(file: Any) -> bool:
    """True when the file's bytes are those of its descriptor: not so for gzip, whose fileno() is the packed file."""
    raw = getattr(file, "buffer", file)
    return isinstance(getattr(raw, "raw", raw), io.FileIO)


def _lines(file: Any) -> Iterator[Any]:
    """Give the lines of a file that only Python knows, as PipeProducer gives them."""
    for line in file:
        yield line.removesuffix("\n" if isinstance(line, str) else b"\n")
