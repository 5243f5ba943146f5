"""A window that fills up is refilled in batches of some size, unless nodes hold items."""

from __future__ import annotations

from random import Random

import pytest

from consecution import Collect, Map
from consecution.graph import Dag
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Verdict
from consecution.guarantee.window import Window
from consecution.local.feed import Feed
from consecution.local.receipts import Receipts
from consecution.local.sending import Sending
from consecution.plan.stages import plan_of
from consecution.producers import as_producer
from consecution.values import keep

PENDING = 1024


def feed_of(room_min):
    new_id = Random(3).getrandbits
    dag = Dag.of(Map(abs) | Collect("answer"), "refill")
    window = Window(
        producer=1,
        level=Robustness.REPLAY,
        replays_max=0,
        pending_max=PENDING,
        new_root=lambda: new_id(64),
        snapshot=keep,
        exposed=lambda node: frozenset(),
    )
    sending = Sending(dag, plan_of(dag, [dag.entries]), 0, 1, new_id=lambda: new_id(64), incarnation_of=lambda task: 2)
    feed = Feed(
        0, "range", as_producer(range(10**6)), window, sending, journal=None, receipts=Receipts(), root_table=None,
        room_min=room_min,
    )  # fmt: skip
    feed.begin(None, {}, is_charged=False)
    return feed


def fill(feed):
    """Read until the window is full; gives the roots of the batches, oldest first, without asking for credit."""
    roots = []
    while feed.window.room():
        roots += [one.root for one in feed.read(100.0)]
        for task, message in feed.sending.due():
            feed.sending.taken(task, len(message.items))
    return roots


@pytest.mark.parametrize(("room_min", "may"), [(1, True), (PENDING // 4, False)])
def test_a_full_window_with_a_little_room_is_refilled_only_where_nodes_hold_items(room_min, may):
    feed = feed_of(room_min)
    roots = fill(feed)
    assert not feed.may_read
    feed.settle(Verdict(roots[0], 1), 100.0)
    assert 0 < feed.window.room() < PENDING // 4
    assert feed.may_read is may
    for root in roots[1:]:
        feed.settle(Verdict(root, 1), 100.0)
    assert feed.may_read
    feed.close()
