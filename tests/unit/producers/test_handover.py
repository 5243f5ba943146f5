"""Handover: what was offered is kept until it is journalled."""

from __future__ import annotations

import select
from contextlib import closing

import pytest

from consecution.producers.handover import Handover


@pytest.fixture
def handover():
    with closing(Handover("a.x", items_max=3)) as made:
        made.begin_run(endless=False)
        yield made


def is_readable(handover):
    return bool(select.select([handover.fileno()], [], [], 0)[0])


def test_senders_are_told_in_order_when_the_last_of_their_items_is_journalled(handover):
    told = []
    handover.open()
    handover.offer([1, 2, 3], lambda: told.append("first"))
    handover.offer([4], lambda: told.append("second"))
    assert handover.read(2, 0.0).items == [1, 2]
    handover.acknowledge(0, 2)
    assert told == []
    assert handover.read(10, 0.0).items == [3, 4]
    handover.acknowledge(2, 2)
    assert told == ["first", "second"]
    assert handover.waiting_items == 0


def test_a_reader_that_is_opened_anew_gets_what_was_not_journalled(handover):
    handover.open()
    handover.offer([1, 2, 3])
    handover.offer([4])
    assert handover.read(3, 0.0).items == [1, 2, 3]
    handover.acknowledge(0, 1)
    handover.close()
    handover.open()
    assert handover.read(10, 0.0).items == [2, 3, 4]


def test_what_was_offered_before_it_is_opened_is_there(handover):
    handover.offer([1])
    handover.open()
    assert is_readable(handover)
    assert handover.ready_in() == 0.0
    assert handover.read(10, 0.0).items == [1]
    assert not is_readable(handover)
    assert handover.ready_in() is None


def test_the_end_is_told_once_behind_the_last_items(handover):
    handover.open()
    handover.offer([1, 2])
    handover.end()
    assert not handover.read(1, 0.0).ended
    assert handover.read(1, 0.0).ended
    assert not handover.read(1, 0.0).ended


def test_an_async_output_drops_what_finds_no_room_and_counts_it(handover):
    handover.open()
    assert handover.offer_async([1, 2]) == 0
    assert handover.offer_async([3, 4, 5]) == 2
    assert handover.dropped == 2
    assert handover.read(10, 0.0).items == [1, 2, 3]
    assert handover.offer_async([6]) == 1, "what was read and isn't journalled yet still takes room"
    handover.acknowledge(0, 3)
    assert handover.offer_async([7]) == 0


def test_a_new_run_begins_without_what_an_earlier_one_left(handover):
    told = []
    handover.open()
    handover.offer([1], lambda: told.append("told"))
    handover.offer_async([1, 2, 3])
    handover.end()
    handover.begin_run(endless=True)
    assert (handover.waiting_items, handover.dropped, handover.endless) == (0, 0, True)
    assert not handover.read(10, 0.0).ended
    assert told == []


def test_what_a_sender_offered_that_is_gone_is_withdrawn_unless_it_was_read(handover):
    told = []
    handover.open()
    handover.offer(["a", "b", "c"], lambda: told.append("first"), sender=1)
    handover.offer(["d"], lambda: told.append("other"), sender=2)
    handover.offer(["e"], lambda: told.append("second"), sender=1)
    assert handover.read(2, 0.0).items == ["a", "b"]
    assert handover.withdraw(1) == 2
    assert handover.waiting_items == 3
    assert handover.read(10, 0.0).items == ["d"]
    assert not is_readable(handover)
    handover.acknowledge(0, 3)
    assert told == ["other"]
    assert handover.waiting_items == 0


def test_a_withdrawal_leaves_the_end_to_be_read(handover):
    handover.open()
    handover.offer(["a"], sender=1)
    handover.end()
    assert handover.withdraw(1) == 1
    assert is_readable(handover)
    assert handover.read(10, 0.0).ended
