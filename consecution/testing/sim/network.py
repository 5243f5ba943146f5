"""A virtual network below the links: pipes between addresses, with what real ones do to packets.

Rules of this module: a pipe keeps the order of its packets; pipes know nothing of each other, so packets of different
pairs overtake each other freely. What can happen to a pipe is what was seen with ZeroMQ over TCP: packets are late, a
full pipe takes nothing (the high-water mark), a reset loses what was under way, a cut lets nothing through for a while.
A lost packet (`Weather.loss`) stands for a connection that broke and came back unseen.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import deque
from random import Random
from typing import TYPE_CHECKING

from consecution.transport.base import Transport
from consecution.transport.link import Connected, Writable

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.guarantee.messages import Incarnation
    from consecution.testing.sim.timeline import Timeline
    from consecution.transport.base import TransportNews
    from consecution.transport.link import LinkLimits
    from consecution.transport.links import Open, PlacementView
    from consecution.wire.messages import Message


@dataclasses.dataclass(frozen=True, slots=True)
class Weather:
    """How pipes behave as long as no fault hits them.

    Attributes:
        delay_s: Shortest time under way.
        jitter_s: Up to so much is added, anew for each packet; order within a pipe is kept.
        loss: Share of packets that vanish.
        packets_max: Packets under way at once in a pipe; more are not taken.
    """

    delay_s: float = 0.0002
    jitter_s: float = 0.001
    loss: float = 0.0
    packets_max: int = 1000


CALM = Weather()


class _Pipe:
    """One direction between two addresses."""

    __slots__ = ("clogged_until", "is_cut", "is_full", "last_at", "packets", "random")

    def __init__(self, random: Random) -> None:
        self.random = random
        self.packets: deque[tuple[float, bytes]] = deque()
        self.last_at = 0.0
        self.clogged_until = 0.0
        self.is_cut = False
        self.is_full = False


class SimNetwork:
    """Addresses and the pipes between them.

    Args:
        timeline: Virtual time.
        seed: What delays and losses depend on.
        note: Told of each packet that is put, for the trace.

    Attributes:
        weather: As it is now; may be replaced at any time.
    """

    def __init__(self, timeline: Timeline, seed: str, note: Callable[[str, int], None]) -> None:
        self.weather = CALM
        self._timeline = timeline
        self._seed = seed
        self._note = note
        self._bound: dict[str, SimTransport] = {}
        self._pipes: dict[tuple[str, str], _Pipe] = {}
        self._cut: set[frozenset[str]] = set()

    # ---- who is there --------------------------------------------------------------------------------------------

    def bind(self, transport: SimTransport) -> None:
        """Take a transport; its address is its own."""
        assert transport.address not in self._bound, transport.address
        self._bound[transport.address] = transport

    def unbind(self, address: str, *, loses: bool = False) -> None:
        """The process at an address is gone.

        Args:
            address: Its.
            loses: Some of what it had sent is lost with it, from some packet on in each pipe, as after SIGKILL.
        """
        self._bound.pop(address, None)
        for (source, target), pipe in self._pipes.items():
            if target == address:
                pipe.packets.clear()
            elif source == address and loses and pipe.packets:
                for _ in range(pipe.random.randint(0, len(pipe.packets))):
                    pipe.packets.pop()

    def free_address(self, address: str) -> str:
        """Give this address if it is free, as a port that is used again, else one like it."""
        number, free = 1, address
        while free in self._bound:
            number += 1
            free = f"{address}-{number}"
        return free

    def hosts(self) -> list[str]:
        """All hosts that have an address, sorted."""
        return sorted({host_of(address) for address in self._bound})

    # ---- packets -------------------------------------------------------------------------------------------------

    def put(self, source: str, target: str, data: bytes, at: float) -> bool:
        """Carry a packet; False when the pipe is full."""
        pipe = self._pipe(source, target)
        weather = self.weather
        if len(pipe.packets) >= weather.packets_max:
            pipe.is_full = True
            return False
        self._note(f"{source}>{target}", zlib.crc32(data))
        if weather.loss and pipe.random.random() < weather.loss:
            return True
        arrives_at = max(at, pipe.clogged_until) + weather.delay_s + pipe.random.random() * weather.jitter_s
        pipe.last_at = max(pipe.last_at, arrives_at)
        pipe.packets.append((pipe.last_at, data))
        if not pipe.is_cut:
            self._timeline.at(pipe.last_at, lambda: self._deliver(source, target))
        return True

    def _pipe(self, source: str, target: str) -> _Pipe:
        pipe = self._pipes.get((source, target))
        if pipe is None:
            pipe = self._pipes[source, target] = _Pipe(Random(f"{self._seed}/{source}>{target}"))
            pipe.is_cut = self._is_cut(source, target)
        return pipe

    def _deliver(self, source: str, target: str) -> None:
        pipe = self._pipes[source, target]
        if pipe.is_cut:
            return
        receiver = self._bound.get(target)
        while pipe.packets and pipe.packets[0][0] <= self._timeline.now:
            if pipe.clogged_until > self._timeline.now:
                self._timeline.at(pipe.clogged_until, lambda: self._deliver(source, target))
                return
            _, data = pipe.packets.popleft()
            if receiver is not None:
                receiver.arrive(data)
        if pipe.is_full and 2 * len(pipe.packets) <= self.weather.packets_max:
            pipe.is_full = False
            sender = self._bound.get(source)
            if sender is not None:
                sender.writable(target)

    # ---- faults --------------------------------------------------------------------------------------------------

    def _is_cut(self, source: str, target: str) -> bool:
        return frozenset((host_of(source), host_of(target))) in self._cut

    def cut(self, one: str, other: str) -> None:
        """Let nothing through between two hosts; packets wait, as TCP lets them."""
        self._cut.add(frozenset((one, other)))
        self._set_cuts()

    def heal(self, one: str, other: str) -> None:
        """Let everything through again; what waited arrives."""
        self._cut.discard(frozenset((one, other)))
        self._set_cuts()

    def heal_all(self) -> None:
        """Let everything through everywhere."""
        self._cut.clear()
        self._set_cuts()

    def _set_cuts(self) -> None:
        for (source, target), pipe in self._pipes.items():
            was_cut, pipe.is_cut = pipe.is_cut, self._is_cut(source, target)
            if was_cut and not pipe.is_cut:
                for arrives_at, _ in pipe.packets:
                    self._timeline.at(arrives_at, lambda s=source, t=target: self._deliver(s, t))  # type: ignore[misc]

    def is_cut(self, one: str, other: str) -> bool:
        """Whether two hosts are cut off from each other."""
        return frozenset((one, other)) in self._cut

    def clog(self, one: str, other: str, seconds: float) -> None:
        """Let nothing arrive between two hosts for a while; nobody notices more than that."""
        until = self._timeline.now + seconds
        for (source, target), pipe in self._pipes.items():
            if {host_of(source), host_of(target)} == {one, other}:
                pipe.clogged_until = max(pipe.clogged_until, until)

    def reset(self, one: str, other: str, random: Random) -> None:
        """Break all connections between two hosts: what was under way is lost, or comes late behind what follows it."""
        for (source, target), pipe in self._pipes.items():
            if {host_of(source), host_of(target)} != {one, other} or pipe.is_cut:
                continue
            lost = list(pipe.packets)
            pipe.packets.clear()
            pipe.is_full = False
            if random.random() < 0.2:  # the end of the old connection is read after the beginning of the new one
                for _, data in lost[len(lost) // 2 :]:
                    self._timeline.after(random.uniform(0.0, 0.05), lambda t=target, d=data: self._arrive_late(t, d))  # type: ignore[misc]
            sender = self._bound.get(source)
            if sender is not None:
                self._timeline.after(
                    random.uniform(0.0, 0.2),
                    lambda sender=sender, target=target: sender.connected(target),  # type: ignore[misc]
                )

    def _arrive_late(self, target: str, data: bytes) -> None:
        receiver = self._bound.get(target)
        if receiver is not None:
            receiver.arrive(data)


def host_of(address: str) -> str:
    """The host in an address.

    >>> host_of("sim://b/executor-0.1")
    'b'
    """
    return address.removeprefix("sim://").partition("/")[0]


class SimTransport(Transport):
    """A process's links on a `SimNetwork`.

    Args:
        network: Where packets go.
        incarnation: The process's.
        address: ``sim://HOST/NAME``.
        limits: Bounds of its links.
        clock: Gives the process's own time.
        departs: Gives the network's time at which what it sends now leaves.
        watch: Told of all that it sends and receives.
        wake: Called when something has come.
        point: Called where its process may be killed.
    """

    def __init__(
        self,
        network: SimNetwork,
        incarnation: Incarnation,
        address: str,
        *,
        limits: LinkLimits,
        clock: Callable[[], float],
        departs: Callable[[], float],
        watch: TransportWatch,
        wake: Callable[[], None],
        point: Callable[[], None],
    ) -> None:
        super().__init__(incarnation, limits=limits)
        self._point = point
        self._network = network
        self._address = address
        self._clock = clock
        self._departs = departs
        self._watch = watch
        self._wake_process = wake
        self._inbox: deque[bytes] = deque()
        self._events: deque[tuple[str, Connected | Writable]] = deque()
        self._peers: dict[Incarnation, str] = {}
        network.bind(self)

    @property
    def address(self) -> str:
        """Its name on the network."""
        return self._address

    # ---- what the network says -----------------------------------------------------------------------------------

    def arrive(self, data: bytes) -> None:
        """A packet has come."""
        self._inbox.append(data)
        self._wake_process()

    def connected(self, target: str) -> None:
        """There is a new connection to an address."""
        self._events.append((target, Connected()))
        self._wake_process()

    def writable(self, target: str) -> None:
        """A pipe that was full takes packets again."""
        self._events.append((target, Writable()))
        self._wake_process()

    # ---- what the process says -----------------------------------------------------------------------------------

    def place(self, view: PlacementView) -> None:
        """See `Transport.place`."""
        super().place(view)
        self._watch.placed(self.incarnation, view)

    def send(self, to: Incarnation, message: Message, *, more: bool = False) -> bool:
        """See `Transport.send`."""
        self._watch.sending(self.incarnation, to, message)
        return super().send(to, message, more=more)

    def poll(self, timeout_s: float) -> list[TransportNews]:
        """See `Transport.poll`; it never waits: who has nothing to do is woken."""
        news = super().poll(0.0)
        for one in news:
            self._watch.heard(self.incarnation, one)
        return news

    @property
    def due(self) -> float:
        """When it must be polled though nothing comes."""
        self._look_at = 0.0
        return self._links.due

    def wake(self) -> None:
        """Let the process run."""
        self._wake_process()

    def close(self) -> None:
        """Leave the network."""
        self._network.unbind(self._address)

    def check_invariants(self) -> None:
        """Raise AssertionError when a rule of the links doesn't hold."""
        self._links.check_invariants()

    # ---- below ---------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock()

    def _move(self, wait_s: float) -> bool:
        while self._events:
            target, event = self._events.popleft()
            for peer in [peer for peer, address in self._peers.items() if address == target]:
                self._moved(peer, event)
        while self._inbox:
            self._came(self._inbox.popleft())
        return False

    def _open(self, instruction: Open) -> None:
        self._peers[instruction.peer] = instruction.address

    def _close(self, peer: Incarnation) -> None:
        self._peers.pop(peer, None)

    def _put(self, peer: Incarnation, data: bytes) -> bool:
        self._point()
        return self._network.put(self._address, self._peers[peer], data, self._departs())


class TransportWatch:
    """Who looks at what transports send and receive; this one doesn't."""

    def placed(self, me: Incarnation, view: PlacementView) -> None:
        """A process took a placement."""

    def sending(self, me: Incarnation, to: Incarnation, message: Message) -> None:
        """A process sends a message."""

    def heard(self, me: Incarnation, news: TransportNews) -> None:
        """A process was told something by its links."""
