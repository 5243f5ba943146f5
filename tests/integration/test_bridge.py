"""Bridges over real sockets: items of one process in the journal of another, and only then told."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from consecution.process.bridge.bridge import Bridge
from consecution.process.bridge.passage import Passage
from consecution.producers.handover import Handover
from consecution.transport.zeromq import new_keys
from consecution.wire.placement import Inlet, Outlet, Phase, Placement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from consecution.transport.zeromq import Keys
    from tests.conftest import WaitFor

ANY = "tcp://127.0.0.1:*"
PLACE = 1


def placement(number: int, **fields: object) -> Placement:
    return Placement("t", number, Phase.RUNNING, **fields)  # type: ignore[arg-type]


class Reader:
    """The process that takes: a bridge, a producer, and a journal that is a list."""

    def __init__(self, incarnation: int, keys: Keys | None = None, address: str = ANY) -> None:
        self.incarnation = incarnation
        self.keys = keys
        self.journal: list[object] = []
        self.handover = Handover("a.on")
        self.handover.open()
        self.bridge = Bridge(incarnation, address, 0, keys=keys)
        self.bridge.start()
        self.bridge.take_in({PLACE: self.handover}, lambda place: False)

    def journalled(self) -> int:
        """Journal all that has come; gives how many items are there."""
        self.bridge.check()
        items = self.handover.read(10_000).items
        self.journal += items
        self.handover.acknowledge(0, len(items))
        return len(self.journal)

    def outlet(self) -> Outlet:
        key = None if self.keys is None else self.keys.public
        return Outlet(0, PLACE, self.incarnation, self.bridge.address, key)

    def close(self) -> None:
        self.bridge.close()
        self.handover.close()


class Writer:
    """The process that hands over."""

    def __init__(self, keys: Keys | None = None, *, is_async: bool = False) -> None:
        self.bridge = Bridge(7, ANY, 1, keys=keys)
        self.bridge.start()
        self.passage = Passage("a.on", lambda piece: self.bridge.hand(0, piece), is_async=is_async, items_max=100)
        self.told = threading.Event()


@pytest.fixture
def writer(stack: ExitStack) -> Writer:
    one = Writer()
    stack.callback(one.bridge.close)
    return one


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield stack


def reader(stack: ExitStack, incarnation: int = 9, **options: object) -> Reader:
    one = Reader(incarnation, **options)  # type: ignore[arg-type]
    stack.callback(one.close)
    return one


def test_items_are_told_once_the_other_process_has_journalled_them(
    writer: Writer, stack: ExitStack, wait_for: WaitFor
) -> None:
    there = reader(stack)
    writer.passage.offer(list(range(10_000)), writer.told.set)  # before anybody knows where to
    writer.bridge.place(placement(1, outlets=(there.outlet(),)))
    wait_for(lambda: there.handover.waiting_items == 10_000, 10)
    assert not writer.told.is_set()
    assert writer.passage.waiting_items == 10_000
    there.journalled()
    wait_for(writer.told.is_set, 10)
    assert there.journal == list(range(10_000))
    assert writer.passage.waiting_items == 0


def test_a_process_in_the_place_of_a_dead_one_gets_what_that_hadnt_journalled(
    writer: Writer, stack: ExitStack, wait_for: WaitFor
) -> None:
    first = reader(stack)
    writer.bridge.place(placement(1, outlets=(first.outlet(),)))
    writer.passage.offer(["a"])
    wait_for(lambda: first.journalled() == 1, 10)
    wait_for(lambda: writer.passage.waiting_items == 0, 10)
    writer.passage.offer(["b"], writer.told.set)
    wait_for(lambda: first.handover.waiting_items, 10)
    first.close()
    writer.bridge.place(placement(2))
    second = reader(stack, 11)
    writer.bridge.place(placement(3, outlets=(second.outlet(),)))
    wait_for(lambda: second.journalled() == 1, 10)
    wait_for(writer.told.is_set, 10)
    assert second.journal == ["b"]


def test_what_a_dead_sender_handed_over_and_nobody_read_is_withdrawn(
    writer: Writer, stack: ExitStack, wait_for: WaitFor
) -> None:
    """Its tree is replayed by another process, so that nobody waits for it."""
    there = reader(stack)
    there.bridge.place(placement(1, inlets=(Inlet(PLACE, senders=(7,)),)))
    writer.bridge.place(placement(1, outlets=(there.outlet(),)))
    writer.passage.offer(["a"])
    wait_for(lambda: there.handover.waiting_items == 1, 10)
    there.bridge.place(placement(2, inlets=(Inlet(PLACE, senders=(8,)),)))
    wait_for(lambda: there.handover.waiting_items == 0, 10)
    assert there.journalled() == 0


def test_a_process_on_the_port_of_a_dead_one_takes_nothing_that_was_for_that(
    writer: Writer, stack: ExitStack, wait_for: WaitFor
) -> None:
    first = reader(stack)
    outlet = first.outlet()
    first.close()
    stranger = reader(stack, 11, address=outlet.address)
    writer.bridge.place(placement(1, outlets=(outlet,)))
    writer.passage.offer(["a"])
    wait_for(lambda: stranger.bridge._receiver.ignored, 10)
    assert stranger.journalled() == 0
    assert writer.passage.waiting_items == 1


def test_with_keys_nobody_gets_in_before_the_placement_names_him(stack: ExitStack, wait_for: WaitFor) -> None:
    mine, other = new_keys(), new_keys()
    writer = Writer(mine)
    stack.callback(writer.bridge.close)
    there = reader(stack, keys=other)
    writer.bridge.place(placement(1, outlets=(there.outlet(),)))
    writer.passage.offer(["a"], writer.told.set)
    wait_for(lambda: there.bridge._sockets._authenticator.refused > 1, 10, "it is tried again")  # type: ignore[union-attr]
    assert there.journalled() == 0
    there.bridge.place(placement(1, inlets=(Inlet(PLACE, keys=(mine.public,)),)))
    wait_for(lambda: there.journalled() == 1, 10)
    wait_for(writer.told.is_set, 10)


def test_an_async_passage_drops_what_finds_no_room_and_counts_it(stack: ExitStack) -> None:
    writer = Writer(is_async=True)
    stack.callback(writer.bridge.close)
    assert writer.passage.offer_async(list(range(70))) == 0
    assert writer.passage.offer_async(list(range(70))) == 40
    assert (writer.passage.offered, writer.passage.dropped, writer.passage.waiting_items) == (100, 40, 100)


def test_whatever_else_comes_to_a_bridge_changes_nothing(writer: Writer, stack: ExitStack, wait_for: WaitFor) -> None:
    import zmq

    there = reader(stack)
    host, port = there.bridge.address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
    context = zmq.Context()
    try:
        dealer = context.socket(zmq.DEALER)
        dealer.set(zmq.LINGER, 0)
        dealer.connect(there.bridge.address)
        for payload in (b"", b"\x92\xa4Hand\x80", b"\x91" * 1000, b"\x92\xa4Took\x80"):
            dealer.send(payload)
        dealer.send_multipart([b"a", b"b"])
        writer.bridge.place(placement(1, outlets=(there.outlet(),)))
        writer.passage.offer(["a"])
        wait_for(lambda: there.journalled() == 1, 10)
    finally:
        context.destroy(linger=0)


def test_who_cant_be_reached_is_told_until_it_answers(writer: Writer, stack: ExitStack, wait_for: WaitFor) -> None:
    with socket.socket() as taken:  # somebody is there, and never says a word
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        silent = Outlet(0, PLACE, 9, f"tcp://127.0.0.1:{taken.getsockname()[1]}", None)
        writer.bridge.place(placement(1, outlets=(silent,)))
        writer.passage.offer(["a"], writer.told.set)
        wait_for(lambda: writer.bridge.unanswered(0.5), 10)
        ((target, for_s, waiting),) = writer.bridge.unanswered(0.5)
        assert (target, waiting) == (9, 1)
        assert for_s >= 0.5
    there = reader(stack, 11)
    writer.bridge.place(placement(2, outlets=(there.outlet(),)))
    wait_for(lambda: there.journalled() == 1, 10)
    wait_for(writer.told.is_set, 10)
    assert writer.bridge.unanswered(0.0) == []
