"""Batch nodes: one call for a whole column.

Rules of this module: what the node gives belongs to all values of the batch, unless it says ``of=``; nothing counts
when it raises, so that the runner can try each value alone.
"""

from __future__ import annotations

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


def run_batch(
    node: Node,
    name: str,
    runtime: Runtime,
    hooks: Hooks,
    items: list[Any],
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
        result: Any = node.process_batch(items.copy())
        if isinstance(result, Awaitable):
            result = hooks.awaited(result, limit_s=node._slot.options.process_timeout_s, name=name)
        if isinstance(result, AsyncGenerator):
            result = list(hooks.stepped(result))
        elif isinstance(result, Generator):
            result = list(result)
    finally:
        runtime.context = None
    if result is not None:
        if not isinstance(result, (list, tuple)):
            message = (
                f"process_batch of node {name!r} returned a {type(result).__name__}; "
                "return the list of values to push, or None after self.push"
            )
            raise TypeError(message)
        if "default" in pushes:
            values, marks = pushes["default"]
            values.extend(result)
            marks.extend(repeat(context.whole(), len(result)))
        elif result:
            values = list(result)  # the node may keep its own
            given.append(("default", values, Alike(context.whole(), len(values))))
    for position, error in fails:
        fail_at(context.place(position), error, items[position])
    given += [(output, values, marks) for output, (values, marks) in pushes.items()]
    return given
