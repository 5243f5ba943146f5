"""Transports in one process, for tests and simulations: the same links, on a network of lists.

Rules of this module: deterministic and single-threaded. Time is the network's own and stands still but for `poll`,
which advances it to the next thing that is due when nothing moves; so a second of silence costs no second.
Faults are asked for: `cut`, `heal`, `reset`, `kill`. As on a real network, a packet that was taken by a connection
that is then cut is lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from consecution.errors import ClusterError
from consecution.transport.base import Transport
from consecution.transport.link import Connected

if TYPE_CHECKING:
    from consecution.guarantee.messages import Incarnation
    from consecution.transport.link import LinkLimits
    from consecution.transport.links import Open


class MemoryNetwork:
    """Addresses, and the connections between them. Not thread-safe."""

    def __init__(self) -> None:
        self.now = 0.0
        self._bound: dict[str, MemoryTransport] = {}
        self._count = 0
        self._cut: set[tuple[str, str]] = set()

    def open(
        self, incarnation: Incarnation, *, address: str = "", limits: LinkLimits | None = None, birth: int = 0
    ) -> MemoryTransport:
        """Start a transport.

        Args:
            incarnation: Of the process that it stands for.
            address: Where it is bound; "" for a new one.
            limits: Bounds of its links.
            birth: As for `Transport`.

        Raises:
            ClusterError: The address is in use.
        """
        self._count += 1
        address = address or f"memory://{self._count}"
        if address in self._bound:
            message = f"address {address} is in use; kill or close the transport that has it first"
            raise ClusterError(message)
        transport = MemoryTransport(self, incarnation, address, limits, birth)
        self._bound[address] = transport
        return transport

    def cut(self, one: str, other: str) -> None:
        """Break the connections between two addresses and allow no new ones; what is under way is lost."""
        self._cut |= {(one, other), (other, one)}
        self.reset(one, other)

    def heal(self, one: str, other: str) -> None:
        """Allow connections between two addresses again; both sides connect at once."""
        self._cut -= {(one, other), (other, one)}
        for source, target in ((one, other), (other, one)):
            transport = self._bound.get(source)
            if transport is not None:
                transport.reconnected(target)

    def reset(self, one: str, other: str) -> None:
        """Break the connections between two addresses, as a TCP reset does: what is under way is lost."""
        for source, target in ((one, other), (other, one)):
            transport = self._bound.get(target)
            if transport is not None:
                transport.lose(source)
        if (one, other) not in self._cut:
            self.heal(one, other)

    def kill(self, address: str) -> None:
        """End the process at an address as kill -9 does."""
        transport = self._bound.pop(address, None)
        if transport is not None:
            transport.lose(None)

    def put(self, source: str, target: str, data: bytes) -> bool:
        """Carry a packet; False when there is no connection."""
        transport = self._bound.get(target)
        if transport is None or (source, target) in self._cut:
            return False
        transport.arrive(source, data)
        return True


class MemoryTransport(Transport):
    """A transport on a `MemoryNetwork`; made by `MemoryNetwork.open`.

    Example:
        >>> from consecution.transport.links import Peer, PlacementView
        >>> from consecution.wire.messages import Audit
        >>> network = MemoryNetwork()
        >>> one, two = network.open(1), network.open(2)
        >>> peers = {1: Peer(1, one.address), 2: Peer(1, two.address)}
        >>> one.place(PlacementView(1, peers)), two.place(PlacementView(1, peers))
        (None, None)
        >>> one.send(2, Audit(7, ()))
        True
        >>> two.poll(1.0)
        [Received(sender=1, message=Audit(number=7, roots=()), size=13)]
    """

    def __init__(
        self, network: MemoryNetwork, incarnation: Incarnation, address: str, limits: LinkLimits | None, birth: int
    ) -> None:
        super().__init__(incarnation, limits=limits, birth=birth)
        self._network = network
        self._address = address
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._peers: dict[Incarnation, str] = {}
        self._reconnected: list[Incarnation] = []
        self._is_woken = False

    @property
    def address(self) -> str:
        """Its name on the network."""
        return self._address

    def wake(self) -> None:
        """Let the next `poll` return."""
        self._is_woken = True

    def close(self) -> None:
        """Leave the network."""
        self._network.kill(self._address)

    def arrive(self, source: str, data: bytes) -> None:
        """The network brings a packet; from "" for bytes of nobody's link."""
        self._inbox.append((source, data))

    def lose(self, source: str | None) -> None:
        """The network loses what came from an address and wasn't polled yet; all of it for None."""
        self._inbox = deque(one for one in self._inbox if source is not None and one[0] != source)

    def reconnected(self, target: str) -> None:
        """The network has a new connection to an address."""
        self._reconnected += [peer for peer, address in self._peers.items() if address == target]

    def _now(self) -> float:
        return self._network.now

    def _move(self, wait_s: float) -> bool:
        if not (self._inbox or self._reconnected or self._is_woken):
            self._network.now += wait_s
        reconnected, self._reconnected = self._reconnected, []
        for peer in reconnected:
            self._moved(peer, Connected())
        for _ in range(len(self._inbox)):
            self._came(self._inbox.popleft()[1])
        for peer in sorted(self._blocked):
            self._moved(peer, Connected())
        is_woken, self._is_woken = self._is_woken, False
        return is_woken

    def _open(self, instruction: Open) -> None:
        self._peers[instruction.peer] = instruction.address

    def _close(self, peer: Incarnation) -> None:
        del self._peers[peer]

    def _put(self, peer: Incarnation, data: bytes) -> bool:
        return self._network.put(self._address, self._peers[peer], data)
