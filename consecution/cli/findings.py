"""What `consecution check` finds in a graph before it runs: what fails, in which mode, where, and the cure.

Rules of this module:
    1. Nothing is run and nothing is read: user code is only looked at; of a sequence the first 100 items are packed.
    2. A finding is an error when the run would stop or items would fail, else a warning.
"""

from __future__ import annotations

import io
import socket
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import CodeType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any

from consecution.errors import CodecError, GraphError, short_repr
from consecution.graph.instantiate import instantiate
from consecution.graph.kinds import is_accumulating, is_async, is_collect, items_held_max
from consecution.wire.codec import default_codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consecution.graph.dag import Dag
    from consecution.graph.node import Node
    from consecution.producers import Producer

ITEMS_CHECKED = 100

_LOCKS: tuple[type, ...] = (type(threading.Lock()), type(threading.RLock()))
_RESOURCES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((io.IOBase,), "an open file"),
    ((socket.socket,), "a socket"),
    ((sqlite3.Connection,), "a database connection"),
    ((GeneratorType,), "a running generator"),
    (_LOCKS, "a lock"),
)


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


class Modes(StrEnum):
    """Where a finding holds."""

    ALL = "all modes"
    PARALLEL = "threads, processes"
    PROCESSES = "processes"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` found.

    Attributes:
        severity: Whether the run would stop or items would fail.
        modes: In which modes.
        where: ``node 'x'``, ``producer 'y'`` or ``flow.py, line 3``.
        what: What will happen, in one sentence.
        cure: What to do.
    """

    severity: Severity
    modes: Modes
    where: str
    what: str
    cure: str


def check_nodes(dag: Dag) -> Iterator[Finding]:
    """Find what can't be copied for a run, and what the copies would share.

    Args:
        dag: The frozen graph.
    """
    for node, name in zip(dag.nodes, dag.names, strict=True):
        try:
            instantiate(node)
        except GraphError as error:
            yield Finding(
                Severity.ERROR, Modes.ALL, f"node {name!r}", str(error), "create it in setup(), which each copy calls"
            )
        limit_s = node.options.process_timeout_s
        if limit_s is not None and not is_async(node):
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"node {name!r}",
                f"process_timeout_s={limit_s} does nothing: its work isn't async, and can't be interrupted",
                "write `async def`, or leave it to call_timeout_s of the Consecutor, which ends a process that hangs",
            )
        for label, function in _functions(node):
            for variable, kind in _resources_of(function):
                yield Finding(
                    Severity.WARNING,
                    Modes.PARALLEL,
                    f"node {name!r}",
                    f"{label} uses {variable!r}, {kind}",
                    "threads would share it unguarded and each process would make its own: write a Node that makes it "
                    "in setup(), or use a sink",
                )


def _functions(node: Node) -> Iterator[tuple[str, FunctionType]]:
    """Give the plain functions that a node was made with, and how to call them in a message."""
    values = dict(vars(node))
    values["key"] = node._slot.options.key
    for attribute, value in values.items():
        if isinstance(value, FunctionType):
            label = "its lambda" if value.__name__ == "<lambda>" else f"its function {value.__name__!r}"
            yield (label if attribute != "key" else "its key function"), value


def _resources_of(function: FunctionType) -> Iterator[tuple[str, str]]:
    """Give name and kind of the resources that a function's closure, globals and defaults hold."""
    reached: dict[str, Any] = {}
    for name in _names_used(function.__code__):
        if name in function.__globals__:
            reached[name] = function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            reached[name] = cell.cell_contents
        except ValueError:  # not yet filled
            continue
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    reached |= dict(zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True))
    reached |= function.__kwdefaults__ or {}
    for name, value in reached.items():
        kind = resource_kind(value)
        if kind is not None:
            yield name, kind


def _names_used(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_used(constant)
    return names


def resource_kind(value: object) -> str | None:
    """Give the words for a value that belongs to one process, None for any other value.

    >>> import sys
    >>> resource_kind(sys.__stdout__), resource_kind([1])
    ('an open file', None)
    """
    for kinds, word in _RESOURCES:
        if isinstance(value, kinds):
            return word
    return None


def check_items(sources: Iterable[tuple[str, object]]) -> Iterator[Finding]:
    """Find items of sequences that can't travel to another process.

    Args:
        sources: Each producer's name and the rows that it reads; rows that aren't a sequence are not touched.
    """
    for name, rows in sources:
        if not isinstance(rows, Sequence) or isinstance(rows, range):
            continue
        for index, item in enumerate(rows[:ITEMS_CHECKED]):
            try:
                default_codec.pack(item)
            except CodecError as error:
                yield Finding(
                    Severity.ERROR,
                    Modes.PROCESSES,
                    f"{name}, item {index}: {short_repr(item)}",
                    f"it can't travel to another process: {error}",
                    "give items of plain types, or register the class with the codec",
                )
                break


def check_producers(name: str, first: str, producers: Sequence[Producer], *, is_joined: bool) -> Iterator[Finding]:
    """Find a flow that nothing enters, and sources that can't be read now.

    Args:
        name: The consecutor's.
        first: Its first node's name.
        producers: Linked to it.
        is_joined: Others hand items over to it, or it to others.
    """
    if not producers and not is_joined:
        yield Finding(
            Severity.WARNING,
            Modes.ALL,
            f"consecutor {name!r}",
            "it has no producer, so `consecution run` refuses it",
            f"link one (rows | {first}); a program may call consume(items), or start() and push()",
        )
    for producer in producers:
        obstacle = producer.obstacle()
        if obstacle is not None:
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"producer {producer.label!r}",
                f"it can't be opened now: {obstacle}",
                "have it there when the run begins; a relative path begins where the command is called",
            )


def check_bounds(dag: Dag, pending_max: int) -> Iterator[Finding]:
    """Find holders that can't fill.

    Args:
        dag: The frozen graph.
        pending_max: Unfinished items that a producer may have.
    """
    bounds = {
        name: items_held_max(node) * node._slot.options.parallelism
        for node, name in zip(dag.nodes, dag.names, strict=True)
        if items_held_max(node)
    }
    for name, bound in bounds.items():
        if bound > pending_max:
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"node {name!r}",
                f"its chunks may hold {bound:,} items in all its tasks, but pending_max is {pending_max:,}: it can't "
                f"fill, and waits for a flush each second instead",
                f"make it smaller, or say Consecutor(…, pending_max={2 * sum(bounds.values())})",
            )
    if len(bounds) > 1 and sum(bounds.values()) > pending_max >= max(bounds.values()):
        yield Finding(
            Severity.WARNING,
            Modes.ALL,
            "nodes " + ", ".join(map(repr, bounds)),
            f"together they may hold {sum(bounds.values()):,} items, but pending_max is {pending_max:,}: they may not "
            f"fill",
            f"say Consecutor(…, pending_max={2 * sum(bounds.values())})",
        )


def check_sums(dag: Dag, endless: Sequence[str]) -> Iterator[Finding]:
    """Find nodes that sum in memory, and say what a death means for them.

    Args:
        dag: The frozen graph.
        endless: Names of the producers that never end by themselves.
    """
    for node, name in zip(dag.nodes, dag.names, strict=True):
        if not is_accumulating(node) or is_collect(node):
            continue
        if endless:
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"node {name!r}",
                f"it sums in memory until finish(), but producer {endless[0]!r} never ends: finish() never runs, and a "
                f"restart loses what it has summed (state_lost)",
                "push from on_timer (every=…) and keep the sum outside, or end the producer",
            )
        else:
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"node {name!r}",
                "it sums in memory until finish(): a run that is killed starts over, so that its answer is right, "
                "and repeats what it had already written",
                "write idempotently where that matters",
            )
