"""What strangers do to sockets, byte by byte: no library of ours, so that nothing well-behaved gets in the way.

Rules of this module: connections are closed by who made them; nothing here waits longer than its deadline.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31
PARTNERS = {"ROUTER": b"DEALER", "PUB": b"SUB", "PULL": b"PUSH"}
DEADLINE_S = 10.0


@contextlib.contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    """A connection to ``tcp://HOST:PORT``."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), DEADLINE_S) as raw:
        raw.settimeout(DEADLINE_S)
        yield raw


def shake_hands(raw: socket.socket, kind: str) -> None:
    """Greet a socket of this kind as ZeroMQ does, without keys."""
    raw.sendall(GREETING)
    _exactly(raw, len(GREETING))
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(PARTNERS[kind])) + PARTNERS[kind]
    raw.sendall(bytes([4, len(body)]) + body)
    _exactly(raw, _exactly(raw, 2)[1])


def random_bytes(address: str, rng: random.Random, times: int = 20) -> None:
    """Bytes that mean nothing."""
    for _ in range(times):
        with connected(address) as raw:
            _send(raw, rng.randbytes(rng.randint(1, 400)))


def truncated(address: str, kind: str, rng: random.Random, times: int = 20) -> None:
    """A right beginning that ends in the middle of a greeting, a command or a frame."""
    whole = GREETING + bytes([4, 26]) + b"\x05READY\x0bSocket-Type\0\0\0\x04PUSH" + bytes([0, 200]) + b"x" * 200
    for _ in range(times):
        with connected(address) as raw:
            _send(raw, whole[: rng.randint(1, len(whole) - 1)])
    with connected(address) as raw:
        shake_hands(raw, kind)
        _send(raw, bytes([0, 200]) + b"x" * 100)


def huge(address: str, kind: str, size: int = 1 << 30) -> None:
    """A frame that claims a gigabyte; returns when the connection was closed for it.

    Raises:
        AssertionError: It wasn't.
    """
    with connected(address) as raw:
        shake_hands(raw, kind)
        _send(raw, b"\x02" + struct.pack(">Q", size) + b"x" * 1000)
        assert is_closed(raw), f"{address} goes on with a frame of {size:,} bytes"


def message(address: str, kind: str, *payloads: bytes) -> None:
    """Whole messages of a real peer."""
    with connected(address) as raw:
        shake_hands(raw, kind)
        for payload in payloads:
            head = bytes([0, len(payload)]) if len(payload) < 256 else b"\x02" + struct.pack(">Q", len(payload))
            _send(raw, head + payload)


def is_closed(raw: socket.socket, deadline_s: float = DEADLINE_S) -> bool:
    """Whether the other end closes within the deadline."""
    end = time.monotonic() + deadline_s
    raw.settimeout(0.2)
    while time.monotonic() < end:
        try:
            if not raw.recv(4096):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def _send(raw: socket.socket, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it may cut us off at once
        raw.sendall(data)


def _exactly(raw: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = raw.recv(count - len(data))
        assert part, "the connection was closed in the middle of the handshake"
        data += part
    return data
