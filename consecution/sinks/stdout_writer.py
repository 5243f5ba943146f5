"""StdoutWriter: items as lines on standard output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from consecution.errors import OutputClosed
from consecution.graph.node import Node
from consecution.sinks.errors import SinkError
from consecution.sinks.formats import Csv, format_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class StdoutWriter(Node):
    """Prints each item on a line of its own; pushes nothing. A frame is one write and one flush.

    Args:
        format: "lines" (``str(item)``), "csv" (with a header when items have names) or "jsonl".
        fields: Names of the values to print of each item (csv, jsonl); None takes those of the first item.
        name: As of any node.

    When nobody reads the output any more (``flow | head``), `OutputClosed` is raised, for each later frame too.
    """

    def __init__(self, *, format: str = "lines", fields: Sequence[str] | None = None, name: str | None = None) -> None:
        super().__init__(name)
        self._format = format_of(format, fields, where="StdoutWriter", one_line=False)
        self._has_header = False
        self._is_closed = False

    def setup(self) -> None:
        """See that there is a standard output.

        Raises:
            SinkError: The process was started without one (``>&-``).
        """
        if sys.stdout is None:
            msg = "StdoutWriter: the process has no standard output; redirect it to a file, or to /dev/null"
            raise SinkError(msg)

    def process_batch(self, items: list[Any]) -> None:
        """Print a frame.

        Raises:
            OutputClosed: The reader is gone.
            SinkError: Standard output can't be written to.
        """
        table = self._format
        if isinstance(table, Csv) and table.fields is None:
            table.fields = table.learn(items)
        text = table.encode(items).decode("utf-8", "surrogateescape")
        if isinstance(table, Csv) and not self._has_header:
            text = table.header().decode() + text
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError as error:
            self._is_closed = True
            msg = "standard output was closed by its reader; the run stops, and what was not printed is not done"
            raise OutputClosed(msg) from error
        except OSError as error:
            msg = f"StdoutWriter: standard output can't be written to: {error.strerror}; redirect it elsewhere"
            raise SinkError(msg) from error
        self._has_header = True

    def teardown(self) -> None:
        """Let a closed output go; not before, or later frames would seem to be printed."""
        if self._is_closed:
            _forget_stdout()


def _forget_stdout() -> None:
    """Let Python's own flush at exit go nowhere, else it prints an error of its own (bugs.python.org/issue11380)."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    finally:
        os.close(null)
