"""The errors of Consecution: the type says whose fault it is.

Every message says what happened, where, what was expected and what to do.
"""

from __future__ import annotations

import sys

REPR_CHARS_MAX = 200


class Unwinding(BaseException):
    """Ends more than an item, and goes through user code to whoever waits for it; nobody's failure."""


def user_errors() -> tuple[type[BaseException], ...]:
    """What to catch round user code: whatever is in flight, if it is a failure of what that code works on.

    A function, for ``except user_errors()`` asks only when something was raised. Not every failure is an `Exception`:
    an extension in Rust panics, some libraries tell of a time that is over, and ``sys.exit()`` in a node, by others.
    Ctrl-C, a generator that is being closed and our own `Unwinding` pass.
    """
    passes = isinstance(sys.exception(), (KeyboardInterrupt, GeneratorExit, Unwinding))
    return () if passes else (BaseException,)


def short_repr(value: object) -> str:
    """Give ``repr(value)``, cut at 200 characters; a repr that raises is named instead.

    >>> short_repr("x" * 500)[-10:]
    'xxxxxx ...'
    """
    try:
        text = repr(value)
    except user_errors() as error:  # a user's __repr__ is user code
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= REPR_CHARS_MAX else text[: REPR_CHARS_MAX - 4] + " ..."


class ConsecutionError(Exception):
    """Base of all errors that Consecution raises."""


class GraphError(ConsecutionError):
    """Your Dag or flow is wrong; raised before anything runs."""


class UserCodeError(ConsecutionError):
    """Your code raised.

    Args:
        message: What happened, where, and what to do.
        node: Name of the node or producer whose code raised.
        item: Repr of the value in work, cut at 200 characters; None outside of an item.
    """

    def __init__(self, message: str, *, node: str | None = None, item: str | None = None) -> None:
        super().__init__(message)
        self.node = node
        self.item = item


class SourceError(ConsecutionError):
    """A producer's source can't be read, or is not the one that was read before."""


class JournalError(ConsecutionError):
    """The journal can't be used: torn, full, in use, or of another pipeline. Nothing was overwritten."""


class NoLetter(JournalError):
    """The dead letter that was asked for, or a journal with dead letters, isn't there; nothing was changed."""


class CodecError(ConsecutionError):
    """A value can't travel, or bytes are not a value.

    Args:
        message: What can't be packed or read, and what to do.
        path: The place inside the item, as ``item['when'].tz``.
    """

    def __init__(self, message: str, *, path: str = "item") -> None:
        super().__init__(message)
        self.path = path


class ProtocolError(ConsecutionError):
    """A peer misbehaved: bytes that are not of our protocol, or out of its rules."""


class ClusterError(ConsecutionError):
    """The cluster can't do it: no worker, no slot, a lost coordinator."""


class Unreachable(ClusterError):
    """No coordinator answers at the address, or it lets this client not in."""


class CapacityError(ConsecutionError):
    """A bound was reached: too many bytes pushed for one item, an item too large for a frame."""


class OutputClosed(ConsecutionError):
    """Nobody reads the output any more (``flow | head``): the run should stop, quietly and without an error."""
