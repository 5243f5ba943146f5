"""Which value inside an item can't be packed, where it is, and what to do about it.

Rules of this module: runs only after packing failed, so it may be slow; it decides nothing, it explains. The path reads
like Python: ``item['when'].tz``, ``item[3]``, ``item.keys()`` for a key, ``item.elements`` for what a set holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, time
from enum import Enum
from typing import TypeAlias

from consecution.errors import short_repr, user_errors
from consecution.wire.extensions import CONTAINERS, NATIVE, WRITERS, ZoneRefused, write_zone

Fits: TypeAlias = Callable[[object], bool]
Plain: TypeAlias = Callable[[object], object]

_REGISTER = "consecution.wire.codec.register(cls, name, to_plain, from_plain)"


def find_blame(value: object, path: str, fits: Fits, plains: dict[type, Plain], depth_max: int) -> tuple[str, str]:
    """Name the first value that can't be packed.

    Args:
        value: What could not be packed.
        path: How to call it in the answer.
        fits: Whether a value can be packed on its own.
        plains: For each registered class its `to_plain`.
        depth_max: How deep containers may lie in each other.

    Returns:
        (path of the culprit, what is wrong and what to do); the whole value when no part of it fails alone.
    """
    return _descend(value, path, fits, plains, depth_max, ()) or (path, "is too large or too deep to be packed")


def _descend(
    value: object, path: str, fits: Fits, plains: dict[type, Plain], depth_left: int, above: tuple[int, ...]
) -> tuple[str, str] | None:
    if id(value) in above:
        return path, "contains itself; break the cycle before you push it"
    if depth_left == 0:
        return path, "lies deeper than values may be nested; flatten it before you push it"
    kind = type(value)
    if kind in plains:
        try:
            inner = plains[kind](value)
        except user_errors() as error:  # user code: it is the culprit, and its error is the explanation
            return path, f"to_plain of {kind.__qualname__} raised {type(error).__name__}: {error}"
        return _descend(inner, f"{path}.<{kind.__qualname__}>", fits, plains, depth_left - 1, (*above, id(value)))
    parts = _parts(value, path)
    if parts is None:
        return None if fits(value) else (_culprit(value, path), _reason(value))
    for part, part_path in parts:
        found = _descend(part, part_path, fits, plains, depth_left - 1, (*above, id(value)))
        if found is not None:
            return found
    return None


def _parts(value: object, path: str) -> Iterator[tuple[object, str]] | None:
    """Give the values inside a container with their paths; None for what is no container of ours."""
    if type(value) is dict:
        return _dict_parts(value, path)
    if type(value) in (list, tuple):
        return ((part, f"{path}[{place}]") for place, part in enumerate(value))  # type: ignore[arg-type, var-annotated]
    if type(value) in (set, frozenset):
        return ((part, f"{path}.elements") for part in value)  # type: ignore[attr-defined]
    return None


def _dict_parts(value: dict[object, object], path: str) -> Iterator[tuple[object, str]]:
    for key, part in value.items():
        yield key, f"{path}.keys()"
        yield part, f"{path}[{short_repr(key)}]"


def _culprit(value: object, path: str) -> str:
    return f"{path}.tz" if type(value) in (datetime, time) else path


def _reason(value: object) -> str:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if isinstance(value, (datetime, time)) and kind in (datetime, time):
        try:
            write_zone(value.tzinfo)
        except ZoneRefused:
            zone = f"{type(value.tzinfo).__module__}.{type(value.tzinfo).__qualname__}"
            return f"is a {zone}, which can't travel; use zoneinfo.ZoneInfo(key) or datetime.timezone"
    if isinstance(value, Enum):
        return f"is the enum member {value}, which can't travel; push its .value or .name, or {_REGISTER}"
    base = next((base for base in kind.__mro__[1:] if base in NATIVE or base in CONTAINERS or base in WRITERS), None)
    if base is not None and kind not in WRITERS:
        plain = "value._asdict()" if hasattr(kind, "_asdict") else f"{base.__name__}(value)"
        return (
            f"is a {name}, which would come back as a plain {base.__name__}; expected exactly {base.__name__}; "
            f"push {plain}, or {_REGISTER}"
        )
    if callable(value):
        return f"is a function or class ({short_repr(value)}), which can't travel; push the data that it needs"
    return f"is a {name}, which can't travel ({short_repr(value)}); push plain values made from it, or {_REGISTER}"
