"""What an executor does for outputs that are linked to other topologies, when it ends."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Consecutor, Node
from consecution.plan.stages import plan_of
from consecution.process.bridge.bridge import Bridge
from consecution.process.joint import ASYNC_END_S, Joint
from consecution.producers.handover import Handover
from consecution.wire.placement import Outlet, Phase, Placement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import WaitFor

READER = 9
ANY = "tcp://127.0.0.1:*"


class Tell(Node):
    def __init__(self) -> None:
        super().__init__("tell")
        self.add_async_output("seen")

    def process(self, item: Any) -> None:
        self.async_output["seen"].send(item)
        self.push(item)


def gather(item: Any) -> Any:
    return item


class Ends:
    """An executor's joint with one async output, and the process that takes what it says, each over real sockets."""

    def __init__(self) -> None:
        first = Consecutor([1, 2] | Tell() | gather, "first", journal=None)
        first.output["seen"] | Consecutor(gather, "monitor", journal=None)
        self.bridge = Bridge(7, ANY, 1)
        self.joint = Joint(first, self.bridge, lambda: None)
        plan = plan_of(first.run_dag, [entries for _, entries in first.feeds])
        ((self.door, (self.passage, is_async)),) = self.joint.doors(plan).items()
        assert is_async
        self.bridge.start()

    def kept_open(self, now: float) -> bool:
        return self.door in self.joint.kept_open(frozenset((self.door, 0)), now)


@pytest.fixture
def ends() -> Iterator[Ends]:
    one = Ends()
    with closing(one.joint):
        yield one


def test_an_async_door_has_ended_once_all_it_said_is_taken(ends: Ends, wait_for: WaitFor) -> None:
    assert not ends.kept_open(now=0.0)
    ends.passage.offer_async(["a", "b"])
    assert ends.kept_open(now=1.0)
    handover = Handover("first.seen")
    handover.open()
    there = Bridge(READER, ANY, 0)
    with closing(there), closing(handover):
        there.start()
        there.take_in({0: handover}, lambda place: False)
        ends.joint.place(Placement("first", 1, Phase.RUNNING, outlets=(Outlet(0, 0, READER, there.address, None),)))
        wait_for(lambda: handover.waiting_items == 2, 10)
        assert ends.kept_open(now=2.0)
        handover.acknowledge(0, len(handover.read(10).items))
        wait_for(lambda: not ends.kept_open(now=3.0), 10)
    ends.joint.flush()
    assert ends.joint.dropped == 0


def test_nobody_waits_for_ever_for_a_consecutor_that_isnt_there(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    ends.passage.offer_async(["a", "b"])
    assert ends.kept_open(now=5.0)
    assert ends.kept_open(now=4.9 + ASYNC_END_S)
    assert not ends.kept_open(now=5.0 + ASYNC_END_S)
    with caplog.at_level(logging.WARNING):
        ends.joint.flush()
    assert ends.joint.dropped == 2
    assert "first.seen ended with 2 items" in caplog.text


def test_a_door_that_is_opened_again_waits_anew(ends: Ends) -> None:
    ends.passage.offer_async(["a"])
    assert ends.kept_open(now=0.0)
    assert not ends.joint.kept_open(frozenset(), ASYNC_END_S - 1)  # more frames came: it is no end any more
    assert ends.kept_open(now=ASYNC_END_S + 1)
