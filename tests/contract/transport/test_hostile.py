"""Hostile peers on the real sockets: the process lives, says so, and its links go on."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import consecution
from consecution.transport.base import ConnectionFailed
from consecution.transport.links import Peer, PlacementView, Received, Rejected
from consecution.transport.zeromq import ZmqTransport
from consecution.wire.messages import Audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31


def command(name: bytes, body: bytes) -> bytes:
    data = bytes([len(name)]) + name + body
    return bytes([4, len(data)]) + data


READY = command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", 4) + b"PUSH")
PING = command(b"PING", struct.pack(">H", 0))


def exactly(raw: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += raw.recv(count - len(data))
    return data


class Victim:
    """A transport and an honest peer that talks to it."""

    def __init__(self, address: str = "tcp://127.0.0.1:*") -> None:
        self.victim = ZmqTransport(1, address)
        self.honest = ZmqTransport(2, "tcp://127.0.0.1:*")
        view = PlacementView(1, {1: Peer(1, self.victim.address), 2: Peer(1, self.honest.address)})
        self.victim.place(view)
        self.honest.place(view)
        self.news: list[object] = []
        self.sent = 0

    def poll(self) -> None:
        self.news += self.victim.poll(0.005)
        self.honest.poll(0)

    def connect(self) -> socket.socket:
        if self.victim.address.startswith("ipc://"):
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(self.victim.address.removeprefix("ipc://"))
            return raw
        host, port = self.victim.address.removeprefix("tcp://").split(":")
        raw = socket.create_connection((host, int(port)), 5)
        raw.settimeout(5)
        return raw

    def handshake(self) -> socket.socket:
        raw = self.connect()
        raw.sendall(GREETING)
        exactly(raw, len(GREETING))
        raw.sendall(READY)
        exactly(raw, exactly(raw, 2)[1])
        return raw

    def assert_lives(self) -> None:
        self.sent += 1
        self.honest.send(1, Audit(self.sent, ()))
        wanted = self.sent
        self.until(lambda: [n.message.number for n in self.news if isinstance(n, Received)][-1:] == [wanted], "alive")

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < end, what
            self.poll()


@pytest.fixture
def victim() -> Iterator[Victim]:
    victim = Victim()
    yield victim
    victim.victim.close()
    victim.honest.close()


def test_random_and_truncated_bytes_leave_the_process_unharmed(victim: Victim) -> None:
    chaos = random.Random(7)
    good = GREETING + READY + bytes([0, 100]) + b"x" * 100
    before = psutil.Process().memory_info().rss
    for _ in range(300):
        raw = victim.connect()
        data = bytearray(good[: chaos.randint(1, len(good))])
        for _ in range(chaos.randint(0, 5)):
            data[chaos.randrange(len(data))] = chaos.randrange(256)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it may cut us off at once
            raw.sendall(chaos.randbytes(chaos.randint(1, 300)) if chaos.random() < 0.3 else data)
        raw.close()
        victim.poll()
    victim.assert_lives()
    assert psutil.Process().memory_info().rss - before < 20 << 20


def test_messages_of_a_real_zeromq_peer_that_are_not_ours_are_counted_and_dropped(victim: Victim) -> None:
    raw = victim.handshake()
    for _ in range(50):
        raw.sendall(bytes([0, 40]) + random.randbytes(40))
    victim.until(lambda: victim.victim.counters.rejected == 50, "50 rejections")
    assert any(isinstance(one, Rejected) for one in victim.news)
    victim.assert_lives()
    raw.close()


def test_header_that_claims_a_gigabyte_is_cut_off_without_memory(victim: Victim) -> None:
    before = psutil.Process().memory_info().rss
    raw = victim.handshake()
    raw.sendall(b"\x02" + struct.pack(">Q", 1 << 30) + b"x" * 1000)
    victim.assert_lives()

    def is_closed() -> bool:
        raw.settimeout(0.01)
        try:
            return raw.recv(4096) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    victim.until(is_closed, "the connection is closed")
    assert psutil.Process().memory_info().rss - before < 50 << 20
    raw.close()


def test_full_queue_with_pings_and_a_reset_does_not_abort_the_process(victim: Victim) -> None:
    """Libzmq issue 3937: these bytes abort a process whose socket has RCVHWM=10, and no Python code can catch it."""
    for _ in range(3):
        raw = victim.handshake()
        raw.sendall((bytes([0, 10]) + b"y" * 10 + PING) * 300)
        assert exactly(raw, 6)[3:] == b"PON"  # it is being read although nobody polls
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        victim.assert_lives()


def test_peer_that_never_finishes_its_greeting_is_told_about_nothing_and_holds_up_nobody(victim: Victim) -> None:
    idle = [victim.connect() for _ in range(50)]
    victim.assert_lives()
    for raw in idle:
        raw.close()


def test_a_process_of_ours_that_dies_in_its_handshake_is_no_news(tmp_path: Path) -> None:
    """On one machine nobody else finds the socket; a warning about strangers would worry for nothing."""
    victim = Victim(f"ipc://{tmp_path}/v")
    try:
        for _ in range(3):
            raw = victim.connect()
            raw.sendall(GREETING)
            exactly(raw, len(GREETING))
            raw.sendall(READY[:9])
            raw.close()
            victim.assert_lives()
        assert not [one for one in victim.news if isinstance(one, ConnectionFailed)]
    finally:
        victim.victim.close()
        victim.honest.close()


def test_wrong_greeting_is_reported_in_words(victim: Victim) -> None:
    raw = victim.connect()
    raw.sendall(GREETING.replace(b"NULL", b"WHAT"))
    raw.sendall(READY)
    victim.until(lambda: any(isinstance(one, ConnectionFailed) for one in victim.news), "a report")
    (report,) = (one for one in victim.news if isinstance(one, ConnectionFailed))
    assert "not a Consecution peer" in report.reason
    raw.close()


def test_only_one_module_makes_sockets_and_only_its_package_imports_zmq() -> None:
    root = Path(consecution.__file__).parent
    sources = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    importers = {name for name, text in sources.items() if re.search(r"^\s*(import|from) zmq", text, re.MULTILINE)}
    assert all(name.startswith("transport/zeromq/") for name in importers)
    makers = {name for name, text in sources.items() if re.search(r"ontext\.socket\(|zmq\.Socket\(", text)}
    assert makers == {"transport/zeromq/sockets.py"}
