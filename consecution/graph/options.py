"""How a node is to be run: copies, grouping, concurrency, time limits.

Rules of this module: values only, checked when they are made, so that a wrong option fails in the line that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, short_repr

if TYPE_CHECKING:
    from collections.abc import Callable

GROUPINGS = ("shuffle", "key", "all", "global", "local", "partial_key")


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What the user said about running a node.

    Attributes:
        parallelism: Number of tasks that run the node at the same time; 1 unless said.
        key: Field name, index or function of an item; items with an equal key reach the same task.
        grouping: One of ``GROUPINGS``; None lets the node be fused with its neighbours.
        concurrency: Items that one task of an async node has in work at the same time.
        ordered: Whether an async node pushes in the order of its inputs.
        process_timeout_s: Seconds that one item may take in an async node; None is no limit.
        every: Time between two calls of ``on_timer``; None is never.

    Raises:
        GraphError: An option is out of its range, or two exclude each other.

    >>> NodeOptions(key="country").grouping
    'key'
    """

    parallelism: int = 1
    key: str | int | Callable[[Any], Any] | None = None
    grouping: str | None = None
    concurrency: int = 16
    ordered: bool = True
    process_timeout_s: float | None = None
    every: timedelta | None = None

    def __post_init__(self) -> None:
        _check_count("parallelism", self.parallelism)
        _check_count("concurrency", self.concurrency)
        self._check_grouping()
        seconds = self.process_timeout_s
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0
        ):
            msg = f"process_timeout_s={short_repr(seconds)}; expected seconds above 0, or None for no limit"
            raise GraphError(msg)
        if self.every is not None and (not isinstance(self.every, timedelta) or self.every <= timedelta(0)):
            msg = f"every={short_repr(self.every)}; expected a timedelta above 0, such as timedelta(seconds=1)"
            raise GraphError(msg)

    def _check_grouping(self) -> None:
        if self.grouping is not None and self.grouping not in GROUPINGS:
            msg = f"grouping={short_repr(self.grouping)}; expected one of {', '.join(map(repr, GROUPINGS))}, or None"
            if callable(self.grouping):
                msg += "; the function that gives an item's key is key=, not grouping="
            raise GraphError(msg)
        if self.key is None:
            if self.grouping in ("key", "partial_key"):
                msg = f"grouping={self.grouping!r} without a key; say key= (a field's name, an index or a function)"
                raise GraphError(msg)
            return
        if isinstance(self.key, bool) or not (isinstance(self.key, (str, int)) or callable(self.key)):
            msg = f"key={short_repr(self.key)}; expected a field's name, an index or a function of the item"
            raise GraphError(msg)
        if self.grouping is None:
            object.__setattr__(self, "grouping", "key")
        elif self.grouping not in ("key", "partial_key"):
            msg = f"key= excludes grouping={self.grouping!r}: items go by their key; leave one of the two out"
            raise GraphError(msg)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{name}={short_repr(value)}; expected a whole number, 1 or more"
        raise GraphError(msg)
