"""The queue between senders' threads and the run's."""

from __future__ import annotations

import select

from consecution.producers.offers import Offer, Offers


def is_ringing(offers: Offers) -> bool:
    return bool(select.select([offers.fileno()], [], [], 0.0)[0])


def test_offers_come_out_in_order_in_the_sizes_that_are_asked_for() -> None:
    offers = Offers(10)
    one, two = Offer([1, 2, 3], keys=["a", "b", "c"]), Offer([4, 5], tokens=["t4", "t5"])
    assert offers.offer(one)
    assert offers.offer(two)
    read = offers.read(4, 0.0)
    assert (read.items, read.keys, read.tokens) == ([1, 2, 3, 4], ["a", "b", "c", None], [None, None, None, "t4"])
    read = offers.read(4, 0.0)
    assert (read.items, read.keys, read.tokens) == ([5], None, ["t5"])
    assert offers.acknowledge(10, 2) == [(one, 10, 2)]
    assert offers.acknowledge(12, 2) == [(one, 12, 1), (two, 13, 1)]
    assert offers.acknowledge(14, 1) == [(two, 14, 1)]


def test_an_offer_beyond_the_bound_is_refused_and_told_of_room_once_half_is_free() -> None:
    told: list[int] = []
    offers = Offers(4, lambda: told.append(len(offers)))
    assert offers.room == 4
    assert offers.offer(Offer([1, 2, 3]))
    assert not offers.offer(Offer([4, 5]))
    assert offers.offer(Offer([4]))
    assert offers.room == 0
    offers.read(1, 0.0)
    assert told == []
    offers.read(1, 0.0)
    offers.read(2, 0.0)
    assert told == [2]


def test_what_is_withdrawn_is_never_read() -> None:
    offers = Offers(10)
    one, two = Offer([1, 2, 3]), Offer([4, 5])
    offers.offer(one)
    offers.offer(two)
    assert offers.read(1, 0.0).items == [1]
    assert offers.withdraw(one) == 2
    assert offers.withdraw(one) == 0
    assert len(offers) == 2
    assert offers.withdraw_all() == [(two, 2)]
    assert offers.read(9, 0.0).items == []
    assert offers.acknowledge(0, 1) == [(one, 0, 1)]


def test_the_descriptor_is_readable_while_items_wait() -> None:
    offers = Offers(10)
    offers.offer(Offer([1, 2]))
    offers.open()
    assert is_ringing(offers)
    offers.read(1, 0.0)
    assert is_ringing(offers)
    offers.read(1, 0.0)
    assert not is_ringing(offers)
    assert offers.ready_in() is None
    offers.close()
    assert offers.fileno() is None


def test_what_nobody_sends_again_takes_up_room_until_it_is_journalled() -> None:
    told: list[str] = []
    offers = Offers(4, lambda: told.append("room"), until_acknowledged=True)
    offers.open()
    assert offers.offer(Offer(["a", "b", "c", "d"]))
    assert offers.read(4, 0.0).items == ["a", "b", "c", "d"]
    assert offers.room == 0
    assert not offers.offer(Offer(["e"]))
    offers.acknowledge(0, 1)
    assert (offers.room, told) == (1, [])
    offers.acknowledge(1, 1)
    assert (offers.room, told) == (2, ["room"])
    assert offers.offer(Offer(["e", "f"]))
    offers.close()
