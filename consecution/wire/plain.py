"""Frozen dataclasses as MessagePack and back, checked by their type hints.

Rules of this module: pure. For control messages, of which there are few: speed doesn't matter, strictness does. Bytes
are hostile until decoded: `decode` gives a value of one of the expected classes, or raises `ProtocolError`; unknown
fields are ignored, so that a newer peer may say more; missing ones must have a default.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

import msgpack  # type: ignore[import-untyped]

from consecution.errors import ProtocolError

T = TypeVar("T")

DEPTH_MAX = 16
ENTRIES_MAX = 200_000


def encode(value: object) -> bytes:
    """Pack a frozen dataclass: its class's name, and its fields by name.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Point:
    ...     x: int
    ...     tags: tuple[str, ...] = ()
    >>> decode(encode(Point(1, ("a",))), (Point,))
    Point(x=1, tags=('a',))
    """
    packed: bytes = msgpack.packb([type(value).__name__, _plain(value)])
    return packed


def decode(data: bytes, kinds: tuple[type[T], ...]) -> T:
    """Read what `encode` packed.

    Args:
        data: At most what the socket's limit lets through.
        kinds: The classes that are expected here.

    Raises:
        ProtocolError: It is none of them, or a field isn't of its type.
    """
    try:
        name, fields = msgpack.unpackb(
            data, max_array_len=ENTRIES_MAX, max_map_len=ENTRIES_MAX, strict_map_key=False, use_list=True
        )
    except Exception as error:  # msgpack raises many kinds on hostile bytes; all mean the same
        message = f"{len(data)} bytes are no control message: {type(error).__name__}: {error}"
        raise ProtocolError(message) from error
    for kind in kinds:
        if kind.__name__ == name:
            value: T = _read(kind, fields, name, 0)
            return value
    expected = ", ".join(kind.__name__ for kind in kinds)
    message = f"control message {name!r} isn't expected here; expected one of {expected}"
    raise ProtocolError(message)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, (frozenset, set)):
        return [_plain(one) for one in sorted(value)]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, value: Any, where: str, depth: int) -> Any:
    """Check a plain value against a type hint, and make the Python value."""
    if depth > DEPTH_MAX:
        message = f"{where} is nested more than {DEPTH_MAX} deep"
        raise ProtocolError(message)
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, where, depth)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _read_fields(kind, value, where, depth)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            raise _wrong(where, kind, value) from None
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, kind, value)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_read(arguments[0], one, f"{where}[]", depth + 1) for one in value)
        if len(arguments) != len(value):
            raise _wrong(where, kind, value)
        return tuple(
            _read(each, one, f"{where}[{n}]", depth + 1)
            for n, (each, one) in enumerate(zip(arguments, value, strict=True))
        )
    if origin in (frozenset, list):
        if not isinstance(value, list):
            raise _wrong(where, kind, value)
        return origin(_read(arguments[0], one, f"{where}[]", depth + 1) for one in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, kind, value)
        return {
            _read(arguments[0], key, f"{where} key", depth + 1): _read(
                arguments[1], one, f"{where}[{key!r}]", depth + 1
            )
            for key, one in value.items()
        }
    if kind is float and type(value) is int:
        return float(value)
    if kind is None or kind is type(None):
        if value is None:
            return None
        raise _wrong(where, kind, value)
    if type(value) is not kind:
        raise _wrong(where, kind, value)
    return value


def _read_union(arguments: tuple[Any, ...], value: Any, where: str, depth: int) -> Any:
    for argument in arguments:
        try:
            return _read(argument, value, where, depth)
        except ProtocolError:  # the next one may fit
            continue
    raise _wrong(where, " | ".join(map(str, arguments)), value)


def _read_fields(kind: type, value: Any, where: str, depth: int) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, kind, value)
    hints = _hints(kind)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            found[field.name] = _read(hints[field.name], value[field.name], f"{where}.{field.name}", depth + 1)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            message = f"{where} lacks the field {field.name!r}"
            raise ProtocolError(message)
    try:
        return kind(**found)
    except (TypeError, ValueError) as error:
        message = f"{where} is no {kind.__name__}: {error}"
        raise ProtocolError(message) from error


def _wrong(where: str, kind: Any, value: Any) -> ProtocolError:
    name = getattr(kind, "__name__", str(kind))
    return ProtocolError(f"{where} is a {type(value).__name__}; expected {name}")
