"""One world for every transport: start, place, cut, heal, kill. Tests say what must hold; the world says how."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from consecution.testing.sim.network import SimNetwork, SimTransport, TransportWatch, host_of
from consecution.testing.sim.timeline import Timeline
from consecution.transport.link import LinkLimits
from consecution.transport.links import Peer, PlacementView, Received
from consecution.transport.memory import MemoryNetwork
from consecution.transport.zeromq import ZmqTransport
from tests.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consecution.transport.base import Transport

DEADLINE_S = 20.0


class World(ABC):
    """Transports by incarnation, and what each has received."""

    def __init__(self) -> None:
        self.transports: dict[int, Transport] = {}
        self.births: dict[int, int] = {}
        self.news: dict[int, list[Any]] = {}
        self.number = 0
        self.tasks: dict[int, frozenset[int]] = {}
        self.takes_up = True

    def start(self, incarnation: int, *, limits: LinkLimits | None = None, tasks: tuple[int, ...] = (), **more: Any):
        transport = self.open(incarnation, limits, **more)
        self.transports[incarnation] = transport
        self.news[incarnation] = []
        self.tasks[incarnation] = frozenset(tasks)
        return transport

    def place(self, *only: int) -> None:
        """Publish the next placement, with all that were started and not killed; to those in ``only``, or to all."""
        self.number += 1
        for one in self.transports:
            self.births.setdefault(one, self.number)
        for one in only or list(self.transports):
            peers = {
                peer: Peer(self.births[peer], self.route(one, transport.address), self.key(peer))
                for peer, transport in self.transports.items()
            }
            self.transports[one].place(PlacementView(self.number, peers, self.tasks[one]))

    def poll(self) -> None:
        for incarnation, transport in list(self.transports.items()):
            for one in transport.poll(0.002):
                self.news[incarnation].append(one)
                if self.takes_up and isinstance(one, Received):
                    transport.take_up(one)

    def until(self, condition: Callable[[], Any], what: str = "") -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            self.poll()
            if time.monotonic() > end:
                pytest.fail(f"not within {DEADLINE_S} s: {what}; received {self.summary()}")

    def summary(self) -> dict[int, int]:
        return {one: len(news) for one, news in self.news.items()}

    def received(self, incarnation: int, sender: int | None = None) -> list[Any]:
        return [
            one.message for one in self.news[incarnation] if isinstance(one, Received) and sender in (None, one.sender)
        ]

    def forget(self, incarnation: int) -> Transport:
        self.births.pop(incarnation)
        return self.transports.pop(incarnation)

    def key(self, incarnation: int) -> bytes | None:
        return None

    @abstractmethod
    def open(self, incarnation: int, limits: LinkLimits | None, **more: Any) -> Transport: ...

    @abstractmethod
    def route(self, one: int, address: str) -> str:
        """Address under which ``one`` reaches ``address``."""

    @abstractmethod
    def cut(self) -> None:
        """Break all connections, and allow no new ones."""

    @abstractmethod
    def heal(self) -> None: ...

    @abstractmethod
    def reset(self) -> None:
        """Break all connections once."""

    @abstractmethod
    def kill(self, incarnation: int) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.network = MemoryNetwork()

    def open(self, incarnation: int, limits: LinkLimits | None, *, address: str = "") -> Transport:
        return self.network.open(incarnation, address=address, limits=limits)

    def route(self, one: int, address: str) -> str:
        return address

    def pairs(self) -> list[tuple[str, str]]:
        names = sorted(transport.address for transport in self.transports.values())
        return [(a, b) for a in names for b in names if a < b]

    def cut(self) -> None:
        for a, b in self.pairs():
            self.network.cut(a, b)

    def heal(self) -> None:
        for a, b in self.pairs():
            self.network.heal(a, b)

    def reset(self) -> None:
        for a, b in self.pairs():
            self.network.reset(a, b)

    def kill(self, incarnation: int) -> None:
        self.network.kill(self.forget(incarnation).address)

    def close(self) -> None:
        for transport in self.transports.values():
            transport.close()


class SimulatedWorld(World):
    """The network of simulated runs: it promises and loses what ZeroMQ does, or simulations would prove little."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline = Timeline()
        self.network = SimNetwork(self.timeline, "contract", lambda where, crc: None)
        self.random = Random("contract")
        self.opened = 0

    def open(self, incarnation: int, limits: LinkLimits | None, *, address: str = "") -> Transport:
        self.opened += 1
        return SimTransport(
            self.network,
            incarnation,
            address or f"sim://host{self.opened}/process",
            limits=limits or LinkLimits(),
            clock=lambda: self.timeline.now,
            departs=lambda: self.timeline.now,
            watch=TransportWatch(),
            wake=lambda: None,
            point=lambda: None,
        )

    def poll(self) -> None:
        end = self.timeline.now + 0.01
        self.timeline.at(end, lambda: None)
        while self.timeline.now < end:
            self.timeline.step()
        super().poll()

    def route(self, one: int, address: str) -> str:
        return address

    def pairs(self) -> list[tuple[str, str]]:
        names = sorted(host_of(transport.address) for transport in self.transports.values())
        return [(a, b) for a in names for b in names if a < b]

    def cut(self) -> None:
        for a, b in self.pairs():
            self.network.reset(a, b, self.random)
            self.network.cut(a, b)

    def heal(self) -> None:
        for a, b in self.pairs():
            self.network.heal(a, b)

    def reset(self) -> None:
        for a, b in self.pairs():
            self.network.reset(a, b, self.random)

    def kill(self, incarnation: int) -> None:
        self.network.unbind(self.forget(incarnation).address, loses=True)

    def close(self) -> None:
        for transport in self.transports.values():
            transport.close()


class Proxy:
    """Carries bytes to a bound socket, over TCP or a Unix socket; cuts with a reset. One thread for all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_cut = False
        self._listeners: dict[socket.socket, str] = {}
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    def listen(self, target: str) -> str:
        if target.startswith("ipc://"):
            path = str(self.folder / f"proxy{len(self._listeners)}")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            address = f"ipc://{path}"
        else:
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.listen(100)
        with self._lock:
            self._listeners[listener] = target
        return address

    def drop_all(self) -> None:
        with self._lock:
            for one in list(self._pairs):
                self._drop(one)

    def close(self) -> None:
        self._ends = True
        self._thread.join(10)
        self.drop_all()
        for listener in self._listeners:
            listener.close()

    def _run(self) -> None:
        while not self._ends:
            with self._lock:
                watched = [*self._listeners, *self._pairs]
            try:
                ready, _, _ = select.select(watched, [], [], 0.01)
            except (OSError, ValueError):
                continue  # one of them was dropped meanwhile
            with self._lock:
                for one in ready:
                    self._serve(one)

    def _serve(self, one: socket.socket) -> None:
        if one in self._listeners:
            near, _ = one.accept()
            far = None if self.is_cut else self._dial(self._listeners[one])
            if far is None:
                self._reset(near)
            else:
                self._pairs[near], self._pairs[far] = far, near
        elif one in self._pairs:
            try:
                data = one.recv(65536)
                if data:
                    self._pairs[one].settimeout(5)
                    self._pairs[one].sendall(data)
                    return
            except OSError:
                pass  # either side has gone: drop both
            self._drop(one)

    def _dial(self, target: str) -> socket.socket | None:
        if target.startswith("ipc://"):
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(target.removeprefix("ipc://"))
            except OSError:
                far.close()
                return None
            return far
        host, port = target.removeprefix("tcp://").split(":")
        try:
            return socket.create_connection((host, int(port)), 5)
        except OSError:
            return None

    def _drop(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        if other is not None:
            self._pairs.pop(other, None)
            self._reset(one)
            self._reset(other)

    def _reset(self, one: socket.socket) -> None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()


class ZmqWorld(World):
    def __init__(self, scheme: str, folder: Path) -> None:
        super().__init__()
        self.scheme, self.folder = scheme, folder
        self.proxy = Proxy(folder)
        self.routes: dict[str, str] = {}
        self.ports = Ports()
        self.bound = 0

    def open(self, incarnation: int, limits: LinkLimits | None, *, address: str = "") -> Transport:
        self.bound += 1
        if not address:
            is_tcp = self.scheme == "tcp"
            address = f"tcp://127.0.0.1:{self.ports.take()}" if is_tcp else f"ipc://{self.folder}/bound{self.bound}"
        return ZmqTransport(incarnation, address, limits=limits)

    def route(self, one: int, address: str) -> str:
        if address not in self.routes:
            self.routes[address] = self.proxy.listen(address)
        return self.routes[address]

    def cut(self) -> None:
        self.proxy.is_cut = True
        self.proxy.drop_all()

    def heal(self) -> None:
        self.proxy.is_cut = False

    def reset(self) -> None:
        self.proxy.drop_all()

    def kill(self, incarnation: int) -> None:
        self.forget(incarnation).close()

    def close(self) -> None:
        for transport in self.transports.values():
            transport.close()
        self.proxy.close()
        self.ports.close()


@pytest.fixture(params=["memory", "simulated", "tcp", "ipc"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with TemporaryDirectory(prefix="links") as folder:
        own = {"memory": MemoryWorld, "simulated": SimulatedWorld}.get(request.param)
        world = ZmqWorld(request.param, Path(folder)) if own is None else own()
        try:
            yield world
        finally:
            world.close()
