"""Names of nodes: from a function's or class's name in snake case, and unique in a Dag."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, short_repr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .slot import NodeSlot

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
NAME_CHARS_MAX = 200


def snake_case(name: str) -> str:
    """Give ``name`` in snake case.

    >>> snake_case("HTTPWriter"), snake_case("<lambda>"), snake_case("_to_row")
    ('http_writer', 'lambda', 'to_row')
    """
    words = re.sub(r"\W+", "_", name).strip("_")
    return _HUMP.sub("_", words).lower() or "node"


def function_name(func: Any) -> str:
    """Give the name a user knows a function by; of a partial, that of its function."""
    while isinstance(func, (functools.partial, functools.partialmethod)):
        func = func.func
    return str(getattr(func, "__name__", None) or type(func).__name__)


def base_name(slot: NodeSlot, kind: type) -> str:
    """Give the name that an unnamed node starts from."""
    return snake_case(kind.__name__ if slot.named_after is None else function_name(slot.named_after))


def check_name(name: object) -> str:
    """Give ``name`` when it can name a node.

    Raises:
        GraphError: It is no string, is empty, too long, or can't be shown.
    """
    if isinstance(name, str) and name.strip() and len(name) <= NAME_CHARS_MAX and name.isprintable():
        return name
    msg = f"a node's name is {short_repr(name)}; expected a printable string of 1 to {NAME_CHARS_MAX} characters"
    if callable(name):
        msg += "; to make a node of a function, write Map(function)"
    raise GraphError(msg)


def unique_names(given: Sequence[str | None], bases: Iterable[str]) -> list[str]:
    """Name what has no name yet: its base, then base-2, base-3.

    Args:
        given: For each node in topological order its own name, or None.
        bases: For each node the name that it would start from.

    >>> unique_names([None, "load", None, None], ["load", "x", "load", "parse"])
    ['load-2', 'load', 'load-3', 'parse']
    """
    taken = {name for name in given if name is not None}
    numbers: dict[str, int] = {}
    names: list[str] = []
    for own, base in zip(given, bases, strict=True):
        name = own
        if name is None:
            name, number = base, numbers.get(base, 1)
            while name in taken:
                number += 1
                name = f"{base}-{number}"
            numbers[base] = number
            taken.add(name)
        names.append(name)
    return names
