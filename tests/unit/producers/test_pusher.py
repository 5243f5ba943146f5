"""Items handed over by calls, from many threads."""

from __future__ import annotations

import select
import threading
from typing import Any

import pytest

from consecution.errors import CapacityError, GraphError, SourceError
from consecution.producers import Pusher, SourceClass


def is_ringing(pusher: Pusher) -> bool:
    return bool(select.select([pusher.fileno()], [], [], 0.0)[0])


def test_keys_and_tokens_come_back_beside_the_items() -> None:
    pusher = Pusher()
    token = object()
    pusher.push("early", key="k1", token=token)
    pusher.open()
    pusher.push("late")
    read = pusher.read(10)
    assert (read.items, read.keys, read.tokens) == (["early", "late"], ["k1", None], [token, None])
    assert pusher.source is SourceClass.HANDED_OVER
    assert read.positions == ()
    pusher.close()


def test_the_descriptor_is_readable_while_items_wait() -> None:
    pusher = Pusher()
    pusher.push(1)
    pusher.open()
    assert is_ringing(pusher)
    assert pusher.ready_in() == 0.0
    pusher.read(10)
    assert not is_ringing(pusher)
    assert pusher.ready_in() is None
    for number in range(100_00):
        pusher.push(number, timeout_s=0)
    assert len(pusher.read(9999).items) == 9999
    assert is_ringing(pusher)
    pusher.read(1)
    assert not is_ringing(pusher)
    pusher.end()
    assert is_ringing(pusher)
    assert pusher.read(1).ended
    assert not is_ringing(pusher)
    pusher.close()
    assert pusher.fileno() is None


def test_a_full_queue_refuses_after_the_timeout_and_takes_when_there_is_room(wait_for: Any) -> None:
    pusher = Pusher(queue_items_max=2)
    pusher.open()
    pusher.push(1)
    pusher.push(2)
    with pytest.raises(CapacityError, match="2 pushed items wait, the most it holds"):
        pusher.push(3, timeout_s=0.01)
    waiting = threading.Thread(target=pusher.push, args=(3,))
    waiting.start()
    assert pusher.read(1).items == [1]
    waiting.join(10)
    assert not waiting.is_alive()
    assert pusher.read(10).items == [2, 3]
    pusher.close()


def test_the_end_wakes_a_waiting_push_and_a_waiting_read(wait_for: Any) -> None:
    pusher = Pusher(queue_items_max=1)
    pusher.open()
    pusher.push(1)
    errors: list[Exception] = []

    def push() -> None:
        try:
            pusher.push(2)
        except SourceError as error:
            errors.append(error)

    waiting = threading.Thread(target=push)
    waiting.start()
    pusher.end()
    waiting.join(10)
    assert "has ended and takes no item" in str(errors[0])
    assert pusher.read(10).items == [1]  # what got in before the end is still given
    pusher.close()

    other = Pusher()
    other.open()
    ender = threading.Timer(0.01, other.end)
    ender.start()
    assert other.read(10, 10.0).ended
    ender.join()
    other.close()


def test_many_threads_lose_nothing_and_keep_their_order() -> None:
    pusher = Pusher(queue_items_max=50)
    pusher.open()

    def push(thread: int) -> None:
        for number in range(500):
            pusher.push((thread, number))

    threads = [threading.Thread(target=push, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    items: list[tuple[int, int]] = []
    while len(items) < 2000:
        read = pusher.read(7, 10.0)
        assert read.items, "pushed items did not come"
        items += read.items
    for thread in threads:
        thread.join()
    for n in range(4):
        assert [number for thread, number in items if thread == n] == list(range(500))
    pusher.close()


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(GraphError, match="expected 1 or more"):
        Pusher(queue_items_max=0)
