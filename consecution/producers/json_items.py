"""JSON text as items, and what is none; pure."""

from __future__ import annotations

import json
from typing import Any


class Bad(ValueError):
    """A message that is no item; the text says why.

    Args:
        reason: Why.
        line: Where the fault is, from 1. So is ``column``.
    """

    def __init__(self, reason: str, line: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.line = line
        self.column = column


def item_of_json(data: bytes, first_line: int = 1) -> Any:
    """Make an item of JSON text.

    Args:
        data: UTF-8.
        first_line: Number of its first line, for messages.

    Raises:
        Bad: It is none; names the place.

    >>> item_of_json(b'{"a": [1, 2]}')
    {'a': [1, 2]}
    >>> item_of_json(b'{"a": [1, 2}')
    Traceback (most recent call last):
    consecution.producers.json_items.Bad: no JSON at line 1, column 12: Expecting ',' delimiter
    """
    try:
        return json.loads(data.decode())
    except json.JSONDecodeError as error:
        line, column, reason = error.lineno + first_line - 1, error.colno, error.msg
        why: Exception = error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + first_line
        column, reason, why = error.start - data.rfind(b"\n", 0, error.start), f"no UTF-8 text: {error.reason}", error
    except (RecursionError, ValueError) as error:  # nested too deeply; an int of more than 4,300 digits
        line, column, reason, why = first_line, 1, str(error), error
    message = f"no JSON at line {line}, column {column}: {reason}"
    raise Bad(message, line, column) from why
