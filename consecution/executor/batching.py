"""Batch nodes: one call for a whole column.

Rules of this module: what the node gives belongs to all values of the batch, unless it says ``of=``; nothing counts
when it raises, so that the runner can try each value alone. A node may keep the list that it gives, and may change the
one that it gets: neither is seen by anybody else.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Generator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from consecution.executor.columns import Alike
from consecution.executor.runtime import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.executor.columns import InWork, Place
    from consecution.executor.hooks import Hooks
    from consecution.executor.runtime import Runtime
    from consecution.graph import Node


def _holders(values: list[Any]) -> int:
    """How many references there are to a list, by the caller's own and those that a call makes."""
    return sys.getrefcount(values)


def _of_one_holder() -> int:
    values: list[Any] = []
    return _holders(values)


_ONE_HOLDER = _of_one_holder()  # the interpreter's way to count a local variable's value that nobody else has


def run_batch(
    node: Node,
    name: str,
    runtime: Runtime,
    hooks: Hooks,
    items: Sequence[Any],
    places: Sequence[Place] | None,
    *,
    work: InWork | None,
    fail_at: Callable[[Place, BaseException, object], None],
) -> list[tuple[str, list[Any], Sequence[Place]]]:
    """Call ``process_batch``.

    Args:
        node: A batch node's running copy.
        name: Its name.
        runtime: Its runtime.
        hooks: For what is awaited.
        items: The column.
        places: Its places.
        work: The frame in work.
        fail_at: ``fail_at(place, error, item)`` books what the node failed by `Node.fail`.

    Returns:
        (output, values, places) of what it pushed and returned; nothing is delivered yet.

    Raises:
        Exception: Whatever it raised; then nothing of what it pushed counts.
    """
    given: list[tuple[str, list[Any], Sequence[Place]]] = []
    pushes: dict[str, tuple[list[Any], list[Place]]] = {}
    fails: list[tuple[int, BaseException]] = []

    def emit(value: object, where: Place, output: str) -> None:
        values, marks = pushes.setdefault(output, ([], []))
        values.append(value)
        marks.append(where)

    def fail(position: int, error: BaseException) -> None:
        fails.append((position, error))

    context = runtime.context = Context(emit, work=work, places=places, batch=len(items), fail=fail)
    try:
        result: Any = node.process_batch(list(items))
        if type(result) is not list and result is not None:
            result = _run_out(result, node, name, hooks)
    finally:
        runtime.context = None
    if result is not None:
        if "default" in pushes:
            values, marks = pushes["default"]
            values.extend(result)
            marks.extend(repeat(context.whole(), len(result)))
        elif result:
            values = result if _holders(result) == _ONE_HOLDER else list(result)
            given.append(("default", values, Alike(context.whole(), len(values))))
    for position, error in fails:
        fail_at(context.place(position), error, items[position])
    given += [(output, values, marks) for output, (values, marks) in pushes.items()]
    return given


def _run_out(result: object, node: Node, name: str, hooks: Hooks) -> list[Any] | None:
    """Await what ``process_batch`` gave, or let it yield all, to a list of its own.

    Raises:
        TypeError: It is nothing of the kind, and no list or tuple either.
        Exception: Whatever it raised.
    """
    if isinstance(result, Awaitable):
        result = hooks.awaited(result, limit_s=node._slot.options.process_timeout_s, name=name)
    if isinstance(result, AsyncGenerator):
        return list(hooks.stepped(result))
    if isinstance(result, (Generator, list, tuple)):
        return list(result)
    if result is None:
        return None
    message = (
        f"process_batch of node {name!r} returned a {type(result).__name__}; "
        "return the list of values to push, or None after self.push"
    )
    raise TypeError(message)
