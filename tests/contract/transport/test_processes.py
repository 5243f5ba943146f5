"""Real processes: kill -9, restart in place, clean shutdown, over TCP and over Unix sockets."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from consecution.transport.links import Peer, PlacementView, Received
from consecution.transport.zeromq import ZmqTransport
from consecution.wire.messages import Audit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ports import Ports

ME = 1
PEER = """
import sys
from consecution.transport.links import Peer, PlacementView, Received
from consecution.transport.zeromq import ZmqTransport
from consecution.wire.messages import Audit

incarnation, number, mine, parent, count = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5])
with ZmqTransport(incarnation, mine) as transport:
    transport.place(PlacementView(number, {incarnation: Peer(number, mine), 1: Peer(1, parent)}))
    for i in range(count):  # speak first, then close when all is confirmed
        transport.send(1, Audit(i, ()))
    print("ready", flush=True)
    while not (count and transport.is_settled):
        for news in transport.poll(0.1):
            if isinstance(news, Received) and not count:
                transport.send(1, news.message)  # an echo
"""


class Addresses(Protocol):
    def __call__(self, name: str) -> str: ...


@pytest.fixture
def address(scheme: str, tmp_path: Path, ports: Ports) -> Addresses:
    """``address("peer")``: where one process after another may bind."""
    return lambda name: f"ipc://{tmp_path}/{name}" if scheme == "ipc" else f"tcp://127.0.0.1:{ports.take()}"


class Parent:
    def __init__(self, transport: ZmqTransport) -> None:
        self.transport = transport
        self.received: list[tuple[int, int]] = []

    def until(self, condition: Any, what: str, deadline_s: float = 20.0) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end, what
            for news in self.transport.poll(0.05):
                if isinstance(news, Received):
                    assert isinstance(news.message, Audit)
                    self.received.append((news.sender, news.message.number))


@pytest.fixture(params=["tcp", "ipc"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def parent(address: Addresses) -> Iterator[Parent]:
    with ZmqTransport(ME, address("parent")) as transport:
        yield Parent(transport)


def test_killed_peer_ends_its_link_and_its_successor_on_the_same_address_starts_anew(
    address: Addresses, parent: Parent, process: Any, wait_for: Any
) -> None:
    """Kill -9 with messages under way; the successor is another incarnation on the same port (R1, schedule 14)."""
    theirs = address("peer")
    mine = Peer(1, parent.transport.address)
    for number, incarnation in ((1, 21), (2, 22), (3, 23)):
        child = process(sys.executable, "-c", PEER, str(incarnation), str(number), theirs, mine.address, "0")
        wait_for(lambda child=child: "ready" in child.stdout, what="the peer is up")
        parent.transport.place(PlacementView(number, {ME: mine, incarnation: Peer(number, theirs)}))
        for i in range(2000):
            parent.transport.send(incarnation, Audit(i, ()))
        parent.until(lambda: len(parent.received) > 100, "echoes")
        child.kill()
        for i in range(2000, 2500):
            parent.transport.send(incarnation, Audit(i, ()))
        parent.transport.poll(0.05)
        echoes = [n for sender, n in parent.received if sender == incarnation]
        assert echoes == list(range(len(echoes)))
        assert {sender for sender, _ in parent.received} == {incarnation}
        parent.received.clear()
    parent.transport.place(PlacementView(9, {ME: mine}))
    assert parent.transport.is_settled


def test_process_that_closes_when_all_is_confirmed_loses_nothing(
    address: Addresses, parent: Parent, process: Any
) -> None:
    """Over ipc, closing with LINGER alone lost the tail: 453 of 50,000."""
    theirs = address("peer")
    mine = Peer(1, parent.transport.address)
    parent.transport.place(PlacementView(1, {ME: mine, 21: Peer(1, theirs)}))
    child = process(sys.executable, "-c", PEER, "21", "1", theirs, mine.address, "20000")
    parent.until(lambda: len(parent.received) == 20_000, "all that it sent")
    assert [n for _, n in parent.received] == list(range(20_000))
    parent.until(lambda: child.returncode is not None, "its end")
    assert child.returncode == 0, child.stderr


def test_stopped_peer_gets_everything_when_it_goes_on(
    address: Addresses, parent: Parent, process: Any, wait_for: Any
) -> None:
    """SIGSTOP for longer than the silence after which messages are repeated: once and in order all the same."""
    theirs = address("peer")
    mine = Peer(1, parent.transport.address)
    child = process(sys.executable, "-c", PEER, "21", "1", theirs, mine.address, "0")
    wait_for(lambda: "ready" in child.stdout, what="the peer is up")
    parent.transport.place(PlacementView(1, {ME: mine, 21: Peer(1, theirs)}))
    parent.transport.send(21, Audit(0, ()))
    parent.until(lambda: parent.received, "an echo")
    child.send_signal(signal.SIGSTOP)
    for i in range(1, 500):
        parent.transport.send(21, Audit(i, ()))
    stopped_at = time.monotonic()
    parent.until(lambda: time.monotonic() > stopped_at + 2.5, "two repetitions")
    child.send_signal(signal.SIGCONT)
    parent.until(lambda: len(parent.received) >= 500, "echoes")
    assert [n for _, n in parent.received] == list(range(500))
