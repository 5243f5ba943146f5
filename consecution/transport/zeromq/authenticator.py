"""Who may connect: the answers that libzmq asks for at each handshake (ZAP, RFC 27).

Rules of this module: fails closed. Whoever isn't in the list is refused; while nobody polls this, nobody new gets in.
It answers in the loop of its owner: no thread of its own.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

from consecution.transport.zeromq import sockets
from consecution.transport.zeromq.keys import key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

REFUSALS_MAX = 100


class Authenticator:
    """Answers for one context. Not thread-safe: one owner, who polls ``socket``.

    Attributes:
        socket: Readable when there is something to answer.
        refused: Connections refused so far.
    """

    def __init__(self, context: sockets.Context) -> None:
        self.socket = sockets.zap(context)
        self.refused = 0
        self._allowed: frozenset[bytes] = frozenset()
        self._refusals: deque[str] = deque(maxlen=REFUSALS_MAX)

    def allow(self, public_keys: Iterable[bytes]) -> None:
        """Replace the list of allowed keys (40 characters each). Connections that are open stay open."""
        self._allowed = frozenset(public_keys)

    def take_refusals(self) -> list[str]:
        """Give what was refused since the last call, for people; at most the newest 100."""
        refusals = list(self._refusals)
        self._refusals.clear()
        return refusals

    def answer(self) -> None:
        """Answer all questions that wait."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.socket.send_multipart(self._answer(frames))

    def close(self) -> None:
        """Close its socket: from then on nobody new gets in."""
        self.socket.close(linger=0)

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        version, request, _, address, _, mechanism, *credentials = frames
        key = z85.encode(credentials[0]) if mechanism == b"CURVE" and len(credentials) == 1 else b""
        if key and key in self._allowed:
            return [version, request, b"200", b"OK", key, b""]
        self.refused += 1
        who = f"key {key_id(key)}…" if key else f"no key (mechanism {mechanism.decode('ascii', 'replace')})"
        self._refusals.append(
            f"a connection from {address.decode('ascii', 'replace')} with {who} was refused: the key isn't in the "
            "list of allowed ones; add it there, or stop whoever that is"
        )
        return [version, request, b"400", b"key not allowed", b"", b""]
