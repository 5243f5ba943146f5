"""A pipe that is readable while something waits: what lets a thread wake the one that waits in `select`.

Rules of this module: the owner holds a lock of its own round `ring` and `hush`; nothing blocks.
"""

from __future__ import annotations

import os


class Bell:
    """Rings through a pipe; silent until `open`, and after `close`."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None

    def open(self) -> None:
        """Make the pipe, unless it is there."""
        if self._pipe is None:
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, False)

    def fileno(self) -> int | None:
        """Give the end that is readable while it rings; None when it is closed."""
        return None if self._pipe is None else self._pipe[0]

    def ring(self) -> None:
        """Make it readable."""
        if self._pipe is not None:
            try:
                os.write(self._pipe[1], b"!")
            except BlockingIOError:
                return  # the pipe is full of rings already

    def hush(self) -> None:
        """Make it silent."""
        if self._pipe is not None:
            try:
                os.read(self._pipe[0], 65536)
            except BlockingIOError:
                return  # nobody rang

    def close(self) -> None:
        """Close the pipe; twice is fine."""
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            os.close(end)
