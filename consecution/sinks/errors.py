"""What goes wrong where items leave."""

from __future__ import annotations

from consecution.errors import ConsecutionError


class SinkError(ConsecutionError):
    """A sink can't write: a full disk, a locked or absent database, a table of another shape."""
