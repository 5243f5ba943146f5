"""Ports for tests that bind again where something was bound before.

Rules of this module: a port that the kernel chose (``:0``, ``:*``) is one of those that it gives to outgoing
connections too, so that while nobody is bound there it may go to anybody's client. Who binds again takes a port from
here: below that range, and held against every other test process of this machine by a name in the abstract namespace of
Unix sockets, which ends with the process and belongs, as ports do, to the network namespace.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST, LAST = 10_000, 65_535
SPAN = 20_000  # so many below the kernel's range are ours


class Ports:
    """Ports that are kept for their owner until `close`. Owned by one thread.

    >>> with Ports() as ports:
    ...     port = ports.take(2)  # port and port + 1
    >>> port in our_ports()
    True
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def __enter__(self) -> Ports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def take(self, count: int = 1) -> int:
        """Give the first of ``count`` neighbouring ports at which nobody is bound, and keep them from others."""
        candidates = our_ports()[: -(count - 1) or None]
        for first in random.sample(candidates, len(candidates)):
            held: list[socket.socket] = []
            if all(_hold(port, held) for port in range(first, first + count)):
                self._held += held
                return first
            _close(held)
        message = f"no {count} free ports in {candidates}"
        raise AssertionError(message)

    def close(self) -> None:
        """Let others have them."""
        _close(self._held)


def our_ports(outgoing: Path = OUTGOING) -> range:
    """Give the ports that the kernel gives to no client.

    Raises:
        AssertionError: It may give them all.
    """
    low, high = map(int, outgoing.read_text().split())
    below, above = range(max(FIRST, low - SPAN), low), range(max(FIRST, high + 1), LAST + 1)
    ours = max(below, above, key=len)
    if len(ours) < 100:
        message = f"clients may have the ports {low} to {high} ({outgoing}): too few are left that stay free"
        raise AssertionError(message)
    return ours


def _hold(port: int, held: list[socket.socket]) -> bool:
    name = socket.socket(socket.AF_UNIX)
    held.append(name)
    try:
        name.bind(f"\0consecution-test-port-{port}")
        with socket.socket() as probe:
            probe.bind(("", port))  # without SO_REUSEADDR, so that one where old connections linger is refused too
    except OSError:
        return False
    return True


def _close(held: list[socket.socket]) -> None:
    for name in held:
        name.close()
    held.clear()
