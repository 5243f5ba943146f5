"""From an exception to the cause that a user reads.

Rules of this module: it reads exceptions and tracebacks, and formats; it decides nothing.
"""

from __future__ import annotations

import os
import platform
import traceback
from typing import TYPE_CHECKING

from consecution.errors import short_repr, user_errors
from consecution.guarantee.messages import Cause

if TYPE_CHECKING:
    from types import TracebackType

TRACEBACK_CHARS_MAX = 2048
OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def cause_of(node: str, error: BaseException, value: object) -> Cause:
    """Say why a value failed at a node.

    Args:
        node: The node's name.
        error: What its code raised.
        value: The value in work.

    Returns:
        The cause, with at most 2 KiB of traceback: its end, from the first line of the user's code on.
    """
    host, process = where_we_are()
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except user_errors() as broken:  # a user's __str__ is user code
        message = f"<{name} whose text raised {type(broken).__name__}>"
    return Cause(
        node=node,
        exception=name,
        message=message,
        traceback=_users_traceback(error),
        value=short_repr(value),
        host=host,
        process=process,
    )


def where_we_are() -> tuple[str, int]:
    """The host and process that causes name; simulated runs, which all are one process, put another in its place."""
    return platform.node(), os.getpid()


def _users_traceback(error: BaseException) -> str:
    """The traceback without our own frames above the user's code; all of it when no frame is the user's."""
    start: TracebackType | None = error.__traceback__
    while start is not None and _is_own(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, start, limit=-20))
    except user_errors() as broken:  # a user's __str__ again
        return f"<traceback can't be formatted: {type(broken).__name__}>"
    return text if len(text) <= TRACEBACK_CHARS_MAX else "... " + text[4 - TRACEBACK_CHARS_MAX :]


def _is_own(filename: str) -> bool:
    return filename.startswith((OWN_FOLDER, "<stage at "))
