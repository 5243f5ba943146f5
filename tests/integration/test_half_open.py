"""A sender whose host vanishes without a word: TCP's own probes find it, and its place is free again."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from consecution.producers import TcpProducer, tcp_clients
from tests.e2e.cluster import network

if TYPE_CHECKING:
    from tests.conftest import StartProcess

SENDER = """
import socket, sys, time
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
client.sendall(b"last words\\n")
time.sleep(600)
"""
DEADLINE_S = 60.0


@pytest.mark.root
@pytest.mark.parametrize("is_answered", [True, False])
def test_a_client_whose_host_is_cut_off_is_noticed(
    process: StartProcess, wait_for: Any, monkeypatch: pytest.MonkeyPatch, is_answered: bool
) -> None:
    """Whether an answer is under way to it (then it is the retransmissions that end) or nothing is (keepalive)."""
    if not network.is_possible():
        pytest.skip("needs to make network namespaces")
    monkeypatch.setattr(tcp_clients, "KEEPALIVE_S", 1)
    monkeypatch.setattr(tcp_clients, "KEEPALIVE_EVERY_S", 1)
    monkeypatch.setattr(tcp_clients, "KEEPALIVE_TRIES", 2)
    monkeypatch.setattr(tcp_clients, "UNREAD_MAX_S", 3.0)
    with network.Network(("sender",)) as hosts:
        producer = TcpProducer(0, host=hosts.address(network.TEST), insecure=True)
        producer.open()
        try:
            command = [*hosts.enter("sender"), sys.executable, "-c", SENDER]
            process(*command, *map(str, producer.address))
            items: list[Any] = []
            end = time.monotonic() + DEADLINE_S
            while not items and time.monotonic() < end:
                items += producer.read(10, 0.1).items
            assert items == ["last words"]
            network.run("ip", "-n", hosts.namespace("sender"), "link", "set", f"cx{hosts.number}e1", "down")
            if is_answered:
                producer.acknowledge(0, 1)
            assert producer.counts.clients == 1
            wait_for(lambda: producer.counts.clients == 0, DEADLINE_S, "the connection is given up")
            with socket.create_connection(producer.address, 10) as another:
                another.sendall(b"next\n")
                while not items[1:] and time.monotonic() < end:
                    items += producer.read(10, 0.1).items
            assert items[1:] == ["next"]
        finally:
            producer.close()
