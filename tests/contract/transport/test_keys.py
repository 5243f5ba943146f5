"""Who may connect: right keys work, and every wrong one is refused in words, soon."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from consecution.errors import ClusterError
from consecution.transport.base import ConnectionFailed
from consecution.transport.links import Peer, PlacementView, Received
from consecution.transport.zeromq import Keys, ZmqTransport, new_keys, read_keys, write_keys
from consecution.wire.messages import Audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 10.0


class Pair:
    def __init__(self, one: Keys | None, two: Keys | None) -> None:
        self.one = ZmqTransport(1, "tcp://127.0.0.1:*", keys=one)
        self.two = ZmqTransport(2, "tcp://127.0.0.1:*", keys=two)
        self.news: dict[int, list[object]] = {1: [], 2: []}

    def place(self, one: bytes | None, two: bytes | None, only: ZmqTransport | None = None, number: int = 1) -> None:
        peers = {1: Peer(1, self.one.address, one), 2: Peer(1, self.two.address, two)}
        for transport in (self.one, self.two) if only is None else (only,):
            transport.place(PlacementView(number, peers))

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"{what}: {self.news}"
            self.news[1] += self.one.poll(0.005)
            self.news[2] += self.two.poll(0.005)

    def failures(self, which: int) -> list[str]:
        return [one.reason for one in self.news[which] if isinstance(one, ConnectionFailed)]

    def arrived(self, which: int) -> bool:
        return any(isinstance(one, Received) for one in self.news[which])


@pytest.fixture
def pairs() -> Iterator[Callable[[Keys | None, Keys | None], Pair]]:
    made: list[Pair] = []

    def make(one: Keys | None, two: Keys | None) -> Pair:
        made.append(Pair(one, two))
        return made[-1]

    yield make
    for pair in made:
        pair.one.close()
        pair.two.close()


def test_links_with_keys_carry_messages_both_ways(pairs: Callable[..., Pair]) -> None:
    one, two = new_keys(), new_keys()
    pair = pairs(one, two)
    pair.place(one.public, two.public)
    pair.one.send(2, Audit(1, ()))
    pair.two.send(1, Audit(2, ()))
    pair.until(lambda: pair.arrived(1) and pair.arrived(2), "messages")
    pair.until(lambda: pair.one.is_settled and pair.two.is_settled, "settled")


def test_key_that_is_not_allowed_is_refused_on_both_sides_in_words(pairs: Callable[..., Pair]) -> None:
    one, two = new_keys(), new_keys()
    pair = pairs(one, two)
    pair.place(one.public, two.public, only=pair.one)  # the other has no placement, so it lets nobody in
    pair.one.send(2, Audit(1, ()))
    pair.until(lambda: pair.failures(1) and pair.failures(2), "failures")
    assert "refused the key" in pair.failures(1)[0]
    assert one.public[:8].decode() in pair.failures(2)[0]
    assert not pair.arrived(2)


def test_peer_that_is_allowed_later_gets_in_without_help(pairs: Callable[..., Pair]) -> None:
    """A placement reaches one side first; libzmq gives up for good after a refusal, so the link must try anew."""
    one, two = new_keys(), new_keys()
    pair = pairs(one, two)
    pair.place(one.public, two.public, only=pair.one)
    pair.one.send(2, Audit(1, ()))
    pair.until(lambda: pair.failures(1), "a refusal")
    pair.place(one.public, two.public, only=pair.two)
    pair.until(lambda: pair.arrived(2) and pair.one.is_settled, "the message, once it is allowed")


def test_wrong_key_of_the_other_side_is_reported(pairs: Callable[..., Pair]) -> None:
    one, two, other = new_keys(), new_keys(), new_keys()
    pair = pairs(one, two)
    pair.place(one.public, other.public)
    pair.one.send(2, Audit(1, ()))
    pair.until(lambda: pair.failures(2), "the side that was reached reports it")
    assert "wrong key" in pair.failures(2)[0]
    assert not pair.arrived(2)


def test_peer_without_keys_is_refused_where_keys_are_needed(pairs: Callable[..., Pair]) -> None:
    two = new_keys()
    pair = pairs(None, two)
    pair.place(None, None)
    pair.one.send(2, Audit(1, ()))
    pair.until(lambda: pair.failures(1), "a report")
    assert "not a Consecution peer, or has the wrong key" in pair.failures(1)[0]
    assert not pair.arrived(2)


def test_placement_with_a_key_needs_keys_of_ones_own(pairs: Callable[..., Pair]) -> None:
    pair = pairs(None, None)
    pair.place(None, new_keys().public)
    with pytest.raises(ClusterError, match="has none"):
        pair.one.send(2, Audit(1, ()))


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:*", "tcp://*:*", "tcp://[::]:*"])
def test_address_off_loopback_without_keys_is_refused(address: str) -> None:
    with pytest.raises(ClusterError, match="--insecure"):
        ZmqTransport(1, address)


def test_insecure_said_aloud_binds_off_loopback() -> None:
    with ZmqTransport(1, "tcp://0.0.0.0:*", insecure=True) as transport:
        assert transport.address.startswith("tcp://0.0.0.0:")


def test_address_in_use_is_a_clear_error() -> None:
    with ZmqTransport(1, "tcp://127.0.0.1:*") as first, pytest.raises(ClusterError, match="can't bind"):
        ZmqTransport(2, first.address)


def test_keys_are_written_for_their_owner_alone_and_read_back(tmp_path: Path) -> None:
    keys = new_keys()
    write_keys(keys, tmp_path / "a.key")
    assert read_keys(tmp_path / "a.key") == keys
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert keys.secret.decode() not in repr(keys)
    with pytest.raises(ClusterError, match="not overwritten"):
        write_keys(keys, tmp_path / "a.key")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [(None, 0, "consecution keys new"), (b"x\ny\n", 0o600, "pair"), (b"x\n", 0o600, "pair"), (b"", 0o644, "chmod 600")],
)
def test_bad_key_files_say_what_to_do(tmp_path: Path, content: bytes | None, mode: int, words: str) -> None:
    path = tmp_path / "bad.key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ClusterError, match=words):
        read_keys(path)
