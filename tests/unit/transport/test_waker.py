"""A waker: whoever waits for its file ends the wait, whatever was called when."""

from __future__ import annotations

import select
from contextlib import closing

from consecution.transport.zeromq.waker import Waker


def is_ringing(waker: Waker) -> bool:
    return bool(select.select([waker], [], [], 0)[0])


def test_it_wakes_once_however_often_it_was_called():
    with closing(Waker()) as waker:
        assert not is_ringing(waker)
        for _ in range(3):
            waker.wake()
        assert is_ringing(waker)
        waker.take()
        assert not is_ringing(waker)


def test_calls_that_find_no_room_are_no_error():
    with closing(Waker()) as waker:
        for _ in range(100_000):
            waker.wake()
        assert is_ringing(waker)


def test_a_call_after_the_end_does_nothing():
    waker = Waker()
    waker.close()
    waker.close()
    waker.wake()
