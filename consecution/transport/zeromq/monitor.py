"""What a socket's connections do, in our words: the only way to see a handshake that fails.

Rules of this module: it reports what libzmq reports; what to do is decided by the socket's owner.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import TYPE_CHECKING

import zmq

from consecution.transport.zeromq import sockets

if TYPE_CHECKING:
    from collections.abc import Iterator


class Happening(Enum):
    """What happened to a connection."""

    CONNECTED = auto()  # and the handshake is done
    LOST = auto()
    REFUSED = auto()  # our key isn't allowed there
    NO_PEER = auto()  # the other side is no Consecution process, or has another key than expected


_EVENT = struct.Struct("=HI")
_HAPPENINGS = {
    int(zmq.EVENT_HANDSHAKE_SUCCEEDED): Happening.CONNECTED,
    int(zmq.EVENT_DISCONNECTED): Happening.LOST,
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): Happening.REFUSED,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): Happening.NO_PEER,
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): Happening.NO_PEER,
}
_ALL = sum(_HAPPENINGS)


class Monitor:
    """Watches one socket, from before it connects or binds. Not thread-safe: owned as the socket is.

    Attributes:
        socket: Readable when something happened.
    """

    def __init__(self, context: sockets.Context, watched: sockets.Socket, name: str) -> None:
        address = f"inproc://monitor.{name}"
        watched.monitor(address, _ALL)
        self._watched = watched
        self.socket = sockets.pair(context, address)
        self.socket.get(zmq.EVENTS)  # its descriptor tells nothing before the socket was asked once and had nothing

    def take(self) -> Iterator[Happening]:
        """Give what happened since the last call, in order."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            event, _ = _EVENT.unpack(frames[0])
            yield _HAPPENINGS[event]

    def close(self) -> None:
        """Stop watching; before the watched socket is closed."""
        self._watched.disable_monitor()
        self.socket.close(linger=0)
