"""GeneratorProducer: a generator function that can start anywhere."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, short_repr
from consecution.graph.naming import function_name
from consecution.producers.base import Producer, SourceClass

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable


class GeneratorProducer(Producer):
    """Gives the items of ``func(position)``: re-readable, because it starts where it is told to.

    >>> def squares(position):
    ...     for number in range(position, 5):
    ...         yield number * number
    >>> producer = GeneratorProducer(squares)
    >>> producer.open(position=3)
    >>> producer.read(10, 0.0).items
    [9]
    >>> producer.close()

    Args:
        func: A generator or async generator function, or any function that gives an iterable. ``position`` says how
            many items were given before, 0 at first; from one position it must give the same items each time.
        endless: True when it never ends; the journal is kept then.

    Raises:
        GraphError: ``func`` is no function, or takes no position.
    """

    kind = "generator"
    source = SourceClass.RE_READABLE

    def __init__(
        self,
        func: Callable[[int], Iterable[Any] | AsyncIterable[Any]],
        *,
        endless: bool = False,
        name: str | None = None,
    ) -> None:
        given: object = func
        if not callable(given):
            msg = f"GeneratorProducer({short_repr(func)}): expected a function of the position; a list, a generator or"
            raise GraphError(msg + " another iterable goes without it: rows | node")
        shown = function_name(func)
        try:
            inspect.signature(func).bind(0)
        except TypeError as error:
            msg = (
                f"GeneratorProducer({shown}): {shown} must take one argument, the position it starts from ({error});"
                f" write `def {shown}(position):`, or `{shown}() | node` for what can be read only once"
            )
            raise GraphError(msg) from error
        except ValueError:  # some builtins have no signature: the call will tell
            pass
        self.name = name
        self.endless = endless
        self._func = func

    @property
    def label(self) -> str:
        """The name or kind, and the function's name."""
        return f"{super().label} {function_name(self._func)}"

    def items(self, position: int) -> Any:
        """Give the items from number ``position`` on."""
        return self._func(position)
