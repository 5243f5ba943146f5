r"""Items as lines of text: plain lines, JSON lines, CSV; pure.

Rules of this module:
1. A frame is encoded as a whole before anything is written: one bad item raises, and nothing of its frame is out.
2. What is written can be read back as so many items: nothing but a CSV field in quotes holds a "\n".
3. No value is dropped silently: a missing field is an error, and so is one that the first item had not.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Protocol
from uuid import UUID

from consecution.errors import GraphError, short_repr

FORMATS = ("lines", "csv", "jsonl")
BY_ENDING = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Format(Protocol):
    """How items become bytes."""

    def encode(self, items: Sequence[Any]) -> bytes:
        """Give the items' bytes; raises ValueError or TypeError for an item that can't be written."""
        ...


def format_by_path(path: str) -> str:
    """Give the format that a file's name stands for.

    >>> format_by_path("out/orders.CSV"), format_by_path("orders.txt")
    ('csv', 'lines')
    """
    return BY_ENDING.get(PurePath(path).suffix.lower(), "lines")


def format_of(name: str, fields: Sequence[str] | None, *, where: str, one_line: bool = True) -> Lines | JsonLines | Csv:
    """Give the format called ``name``.

    Args:
        name: "lines", "csv" or "jsonl".
        fields: Names of the values to write, in order; None takes those of the first item.
        where: Names the sink in messages.
        one_line: False lets an item of "lines" hold newlines.

    Raises:
        GraphError: There is no such format, or it has no fields.
    """
    if isinstance(fields, str) or (fields is not None and (not fields or len(set(fields)) < len(fields))):
        msg = f"{where}: fields={short_repr(fields)}, expected a list of different names"
        raise GraphError(msg)
    chosen = None if fields is None else tuple(fields)
    if name == "lines" and chosen is None:
        return Lines(one_line=one_line)
    if name == "jsonl":
        return JsonLines(chosen)
    if name == "csv":
        return Csv(chosen)
    msg = f"{where}: format={name!r}, fields={short_repr(fields)}; expected a format of {', '.join(map(repr, FORMATS))}"
    raise GraphError(msg + "; only csv and jsonl have fields")


class Lines:
    r"""One line for each item: a str as it is, else ``str(item)``; a newline at an item's own end isn't doubled.

    >>> Lines().encode(["a", "b\n", 3])
    b'a\nb\n3\n'
    """

    def __init__(self, *, one_line: bool = True) -> None:
        self._one_line = one_line

    def encode(self, items: Sequence[Any]) -> bytes:
        """Give the lines.

        Raises:
            ValueError: An item holds a newline before its end.
        """
        lines = [item if type(item) is str else _text(item) for item in items]
        data = "\n".join(lines)
        if data.count("\n") >= len(lines):  # rarely: an item has a newline of its own
            lines = [line.removesuffix("\n") for line in lines]
            if self._one_line:
                self._refuse_newlines(lines)
            data = "\n".join(lines)
        # What PipeProducer(errors="surrogateescape") read goes out as the same bytes.
        return (data + "\n").encode("utf-8", "surrogateescape")

    @staticmethod
    def _refuse_newlines(lines: list[str]) -> None:
        for line in lines:
            if "\n" in line:
                msg = f"item {short_repr(line)} holds a newline, so that it would be read back as several lines"
                raise ValueError(msg + "; write it with format='jsonl'")


class JsonLines:
    r"""One JSON value for each line; dates as ISO text, Decimal and UUID as text. NaN is refused: it is no JSON.

    >>> JsonLines().encode([{"a": 1}, [2]])
    b'{"a":1}\n[2]\n'
    """

    def __init__(self, fields: tuple[str, ...] | None = None) -> None:
        self._fields = fields
        self._encode = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        ).encode

    def encode(self, items: Sequence[Any]) -> bytes:
        """Give the lines.

        Raises:
            TypeError: A value is of a type that JSON has not.
            ValueError: A value is NaN, or lacks a field.
        """
        if self._fields is not None:
            items = [dict(zip(self._fields, pick(item, self._fields), strict=True)) for item in items]
        return "".join([self._encode(item) + "\n" for item in items]).encode()


class Csv:
    r"""Comma separated values, rows ended by "\n", with a header when the items have names.

    >>> table = Csv(("a", "b"))
    >>> table.header() + table.encode([{"a": 1, "b": "x,y"}])
    b'a,b\n1,"x,y"\n'
    """

    def __init__(self, fields: tuple[str, ...] | None = None) -> None:
        self.fields = fields
        self.is_chosen = fields is not None  # chosen fields may be fewer than an item has

    def learn(self, items: Sequence[Any]) -> tuple[str, ...] | None:
        """Give the fields that the first of these items shows; None for items without names."""
        record = as_record(items[0]) if items else None
        return tuple(map(str, record)) if isinstance(record, Mapping) else None

    def header(self) -> bytes:
        """Give the header row; nothing without fields."""
        return b"" if self.fields is None else _csv_rows([self.fields])

    def encode(self, items: Sequence[Any]) -> bytes:
        """Give the rows.

        Raises:
            ValueError: An item lacks a field, has one too many, or is no row at all.
        """
        return _csv_rows([self._row(item) for item in items])

    def _row(self, item: Any) -> Sequence[Any]:
        if self.fields is None:
            record = as_record(item)
            if not isinstance(record, Mapping):
                return record
            msg = f"item {short_repr(item)} has named fields, but the rows before it have none; give fields=[…]"
            raise ValueError(msg)
        return pick(item, self.fields, all_of_them=not self.is_chosen)


def as_record(item: Any) -> Mapping[str, Any] | Sequence[Any]:
    """Give the item as a mapping (dict, dataclass, namedtuple) or a row (list, tuple).

    Raises:
        ValueError: It is neither.
    """
    if isinstance(item, Mapping):
        return item
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return dict(zip(item._fields, item, strict=True))
    if isinstance(item, (list, tuple)):
        return item
    msg = f"item {short_repr(item)} is a {type(item).__name__}; expected a dict, a dataclass, a tuple or a list"
    raise ValueError(msg)


def pick(item: Any, fields: Sequence[str], *, all_of_them: bool = False) -> Sequence[Any]:
    """Give the item's values in the order of ``fields``.

    Raises:
        ValueError: A field is missing; or, with ``all_of_them``, the item has more.
    """
    record = as_record(item)
    if not isinstance(record, Mapping):
        if len(record) != len(fields):
            msg = f"item {short_repr(item)} has {len(record)} values; expected {len(fields)}: {', '.join(fields)}"
            raise ValueError(msg)
        return record
    try:
        values = [record[field] for field in fields]
    except KeyError as error:
        msg = f"item {short_repr(item)} has no field {error.args[0]!r}; expected {', '.join(fields)}"
        raise ValueError(msg) from None
    if all_of_them and len(record) > len(fields):
        extra = sorted(map(str, set(record) - set(fields)))
        msg = f"item {short_repr(item)} has the fields {', '.join(extra)}, which the first item had not"
        raise ValueError(msg + "; give fields=[…] to say what is written")
    return values


def _csv_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    data = text.getvalue()
    if "\r" in data:  # the module leaves a lone "\r" without quotes, and readers end a row at it
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
        data = text.getvalue()
    return data.encode()


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _plain(value: Any) -> Any:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return as_record(value)
    msg = f"{short_repr(value)} is a {type(value).__name__}, which JSON has not; make it a dict, list, str or number"
    raise TypeError(msg)
