"""How many items a feed reads at once: many of fast ones, few of slow ones."""

from __future__ import annotations

import random

import pytest

from consecution import Collect, Dag
from consecution.guarantee.levels import Robustness
from consecution.guarantee.window import Window
from consecution.local.feed import BATCH_FIRST, BATCH_LARGE_S, BATCH_MAX, BATCH_MAX_REREAD, BATCH_S, Feed, batch_max_of
from consecution.local.receipts import Receipts
from consecution.local.sending import Sending
from consecution.plan.stages import plan_of
from consecution.producers import as_producer
from consecution.values import keep


@pytest.fixture
def feed():
    feed = feed_of(BATCH_MAX)
    yield feed
    feed.close()


@pytest.fixture
def large():
    feed = feed_of(BATCH_MAX_REREAD)
    yield feed
    feed.close()


def feed_of(batch_max):
    dag = Dag.of(Collect("out"), "flow")
    new_id = random.Random(1).getrandbits
    window = Window(
        producer=1,
        level=Robustness.REPLAY,
        replays_max=0,
        pending_max=10**9,
        new_root=lambda: new_id(64),
        snapshot=keep,
        exposed=lambda node: frozenset(),
    )
    sending = Sending(dag, plan_of(dag, [dag.entries]), 0, 1, new_id=lambda: new_id(64), incarnation_of=lambda task: 2)
    feed = Feed(
        0, "range", as_producer(range(10**9)), window, sending, journal=None, receipts=Receipts(), root_table=None,
        batch_max=batch_max,
    )  # fmt: skip
    feed.begin(None, {}, is_charged=False)
    return feed


def sizes_of(feed, reads, apart_s, now=100.0):
    sizes = []
    for turn in range(reads):
        before = feed.window.next_seq
        feed.read(now + turn * apart_s)
        sizes.append(feed.window.next_seq - before)
    return sizes


def test_batches_of_fast_items_double_up_to_the_greatest(feed):
    sizes = sizes_of(feed, 10, BATCH_S / 100)
    assert sizes[:3] == [BATCH_FIRST, 2 * BATCH_FIRST, 4 * BATCH_FIRST]
    assert max(sizes) == sizes[-1] == BATCH_MAX


def test_batches_of_slow_items_halve_down_to_one(feed):
    sizes = sizes_of(feed, 12, 1.0)
    assert sizes[0] == BATCH_FIRST
    assert sizes[-1] == 1


def test_the_largest_batches_are_of_very_fast_items(large):
    assert max(sizes_of(large, 12, BATCH_LARGE_S / 2)) == BATCH_MAX_REREAD


def test_batches_of_less_fast_items_stay_where_the_caches_hold_them(large):
    assert max(sizes_of(large, 12, BATCH_LARGE_S * 1.1)) == BATCH_MAX


def test_batches_that_take_what_they_may_stay_as_they_are(feed):
    sizes = sizes_of(feed, 10, BATCH_S * 0.75)
    assert set(sizes[1:]) == {2 * BATCH_FIRST}


def test_batches_grow_again_once_items_are_fast(feed):
    sizes_of(feed, 12, 1.0)
    assert sizes_of(feed, 14, BATCH_S / 100, now=200.0)[-1] == BATCH_MAX


def test_only_what_can_be_read_again_on_one_machine_comes_in_the_largest_batches():
    again, once = as_producer(range(10)), as_producer(iter(range(10)))
    assert batch_max_of(again, 32_768, over_processes=False) == 4 * BATCH_MAX
    assert batch_max_of(once, 32_768, over_processes=False) == BATCH_MAX  # so much is lost by a kill (R17)
    assert batch_max_of(again, 65_536, over_processes=True) == BATCH_MAX


def test_what_can_be_read_again_fills_half_of_a_window_at_most():
    again = as_producer(range(10))
    assert batch_max_of(again, 16_384, over_processes=False) == 2 * BATCH_MAX
    assert batch_max_of(again, 1_000_000, over_processes=False) == 4 * BATCH_MAX
    assert batch_max_of(again, 100, over_processes=False) == BATCH_MAX  # the window's room is the bound


def test_over_processes_the_window_holds_several_batches():
    assert batch_max_of(as_producer(range(10)), 100, over_processes=True) == 25
    assert batch_max_of(as_producer(range(10)), 1, over_processes=True) == 1
