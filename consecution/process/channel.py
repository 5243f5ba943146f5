"""A pair of sockets between a parent and a child process: control messages, each behind four bytes of length.

Rules of this module: nothing blocks. What can't be written now waits in the channel, bounded; whoever doesn't read for
that long is hung, and the channel says so. `Channel.send` and `Channel.receive` may be called from different threads.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from consecution.errors import CapacityError, ProtocolError
from consecution.wire.plain import decode, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

T = TypeVar("T")

MESSAGE_BYTES_MAX = 64 << 20
UNSENT_BYTES_MAX = 256 << 20
_LENGTH = struct.Struct(">I")


class Channel(Generic[T]):
    """One end.

    Args:
        end: A connected stream socket; owned by the channel.
        kinds: Classes that may come.

    Attributes:
        is_closed: The other end is gone; nothing more comes.
    """

    def __init__(self, end: socket.socket, kinds: tuple[type, ...]) -> None:
        end.setblocking(False)
        self._end = end
        self._kinds = kinds
        self._unread = bytearray()
        self._unsent = bytearray()
        self._lock = threading.Lock()
        self.is_closed = False

    def fileno(self) -> int:
        """For select; -1 once it was closed here."""
        return self._end.fileno()

    def send(self, value: object) -> None:
        """Send a message, or as much of it as goes now; `flush` sends the rest.

        Raises:
            CapacityError: More than 256 MiB wait: the other end doesn't read.
        """
        data = encode(value)
        if len(data) > MESSAGE_BYTES_MAX:
            message = (
                f"a {type(value).__name__} has {len(data):,} bytes; at most {MESSAGE_BYTES_MAX:,} go through a channel"
            )
            raise CapacityError(message)
        with self._lock:
            if len(self._unsent) > UNSENT_BYTES_MAX:
                message = f"{len(self._unsent):,} bytes wait for a process that doesn't read them"
                raise CapacityError(message)
            self._unsent += _LENGTH.pack(len(data)) + data
            self._write()

    def flush(self) -> bool:
        """Send what waits, as far as it goes; whether all of it went."""
        with self._lock:
            self._write()
            return not self._unsent

    def _write(self) -> None:
        try:
            while self._unsent:
                sent = self._end.send(self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            return  # the rest goes with the next flush
        except OSError:  # the other end is gone: `receive` tells
            self._unsent.clear()

    def receive(self) -> Iterator[T]:
        """Give the messages that have come; afterwards `is_closed` is right.

        Raises:
            ProtocolError: Bytes that are no message; the channel can't be used any more.
        """
        while not self.is_closed:
            try:
                data = self._end.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.is_closed = True
            self._unread += data
        while len(self._unread) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._unread)
            if size > MESSAGE_BYTES_MAX:
                message = (
                    f"a message of {size:,} bytes is announced; at most {MESSAGE_BYTES_MAX:,} go through a channel"
                )
                raise ProtocolError(message)
            if len(self._unread) < _LENGTH.size + size:
                return
            data = bytes(self._unread[_LENGTH.size : _LENGTH.size + size])
            del self._unread[: _LENGTH.size + size]
            yield decode(data, self._kinds)

    def close(self) -> None:
        """Close this end."""
        self.is_closed = True
        self._end.close()
