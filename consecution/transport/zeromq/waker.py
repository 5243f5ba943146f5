"""What wakes a thread that waits for its sockets.

Rules of this module: `Waker.wake` may be called from any thread at any time, after `close` too: a closed socket object
has no descriptor that another file could have got meanwhile.
"""

from __future__ import annotations

import socket


class Waker:
    """Two joined sockets: who waits has one of them among its files, who wakes writes to the other."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Give the descriptor that is readable after `wake`."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Let a wait that is under way end now, or the next one; from any thread."""
        try:
            self._writer.send(b"\0")
        except OSError:
            return  # it is full of earlier calls, so the wait will end; or it is closed, and nobody waits

    def take(self) -> None:
        """Forget the calls that ended a wait; there was one at least."""
        self._reader.recv(4096)

    def close(self) -> None:
        """Close both; twice is fine."""
        self._reader.close()
        self._writer.close()
