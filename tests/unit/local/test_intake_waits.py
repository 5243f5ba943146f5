"""An intake asks for nothing that it couldn't do then: else its process would be at work all the time."""

from __future__ import annotations

from random import Random

from consecution import Map
from consecution.graph import Dag
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Verdict
from consecution.guarantee.window import Window
from consecution.local.feed import Feed
from consecution.local.intake import Intake, Tally
from consecution.local.receipts import Receipts
from consecution.local.sending import Sending
from consecution.plan.stages import plan_of
from consecution.producers import as_producer
from consecution.values import keep


class Nobody:
    """A link to a task that nobody runs, until somebody does."""

    def __init__(self):
        self.owner = 2

    def is_remote(self, task):
        return True

    def has_credit(self, task):
        return self.owner is not None

    def prepare(self, frame):
        return [frame], []


def test_a_replay_that_nobody_could_take_wakes_nobody():
    """1. A tree is lost with its executor. 2. Its replay is due at once. 3. Nobody runs the task for 30 s."""
    new_id = Random(3).getrandbits
    dag = Dag.of(Map(abs), "waits")
    link = Nobody()
    window = Window(
        producer=1, level=Robustness.REPLAY, replays_max=3, pending_max=10, new_root=lambda: new_id(64), snapshot=keep,
        exposed=lambda node: frozenset(),
    )  # fmt: skip
    sending = Sending(
        dag, plan_of(dag, [dag.entries]), 0, 1, new_id=lambda: new_id(64), incarnation_of=lambda task: link.owner,
        link=link,
    )  # fmt: skip
    feed = Feed(0, "list", as_producer([1]), window, sending, journal=None, receipts=Receipts(), root_table=None)
    feed.begin(None, {}, is_charged=False)
    intake = Intake([feed], Robustness.REPLAY, journal=None, receipts=Receipts(), tally=Tally())
    [init] = feed.read(100.0)
    link.owner = None
    feed.settle(Verdict(init.root, 1, lost=True), 101.0)
    intake.commit(101.0, force=True)
    assert window.next_replay_at() == 101.0
    times, _ = intake.wait_for(102.0, reads=True)
    assert all(at > 102.0 for at in times)
    link.owner = 3
    times, _ = intake.wait_for(102.0, reads=True)
    assert min(times) <= 102.0
