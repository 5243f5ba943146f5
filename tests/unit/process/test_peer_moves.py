"""What executors do when tasks come, go and change hands: every item once, in order, and nothing under way."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from consecution import Chunk, Collect, Map, Node, Robustness
from consecution.guarantee.messages import Fail, Verdict
from consecution.plan.partitions import StageTasks, dealt, moved
from consecution.wire.messages import Verdicts
from consecution.wire.placement import Phase
from tests.unit.process.peers import Peers

ITEMS = 3_000


def stage(number: int, tasks: tuple[int, ...], before: tuple[int, ...]) -> StageTasks:
    return StageTasks(number, tasks, moved(dealt(before), tasks))


def keyed() -> Any:
    return range(ITEMS) | Map(abs, name="spread") | Collect("keep", key=lambda item: item % 97, parallelism=2)


@pytest.mark.parametrize("level", [Robustness.NONE, Robustness.CONFIRM, Robustness.TRACK, Robustness.REPLAY])
def test_a_keyed_stage_grows_and_shrinks_and_each_item_comes_once_and_in_order(level: Robustness) -> None:
    """1. Tasks 1, 2 on two executors. 2. Task 3 on a new one, task 4 on an old one. 3. Only tasks 1 and 4 are left."""
    peers = Peers(keyed(), (0, 1), (2,), level=level)
    _, second = sorted(peers.peers)
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: peers.introduced > 300)
    third = peers.add()
    peers.rescale((stage(1, (1, 2, 3, 4), (1, 2)),), {second: (2, 4), third: (3,)})
    peers.run_until(lambda: len(peers.collected()) == 4 and all(peers.collected().values()))
    assert peers.introduced < ITEMS, "it still flows"
    if level is Robustness.NONE:  # no root says what is under way: the coordinator compares what was made and done
        peers.pause_for_a_move()
        peers.run_until(lambda: agree(peers))
    peers.pause_for_a_move()
    gone = {task: items for task, items in peers.collected().items() if task in (2, 3)}
    peers.tasks.update({second: (4,), third: ()})
    peers.place(scaled=(StageTasks(1, (1, 4), moved(peers.scaled[0].owners, (1, 4))),))
    peers.place(phase=Phase.RUNNING, is_moving=False)
    peers.run_until(lambda: peers.is_over)
    found = peers.collected() | gone
    assert sorted(item for items in found.values() for item in items) == list(range(ITEMS))
    assert all(items == sorted(items) for items in found.values())
    assert peers.told().replayed == 0
    peers.close()


def agree(peers: Peers) -> bool:
    """Pause once more; whether all frames that were made were worked on."""
    peers.pause_for_a_move()
    return sum(one.made for one in peers.paused.values()) == sum(one.done for one in peers.paused.values())


def test_a_new_upstream_task_is_waited_for_at_the_end() -> None:
    """Downstream ends only after the ends of all upstream tasks, those that were added too (R19)."""
    peers = Peers(keyed(), (0, 1), (2,))
    _, second = sorted(peers.peers)
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: peers.introduced > 100)
    peers.rescale((StageTasks(0, (0, 3), dealt((0, 3))),), {second: (2, 3)})
    peers.run_until(lambda: peers.is_over)
    assert sorted(item for items in peers.collected().values() for item in items) == list(range(ITEMS))
    assert peers.peers[second].core.is_ended
    peers.close()


class Slow(Node):
    """Fails its item twice."""

    def setup(self) -> None:
        self.tries: Counter[int] = Counter()

    def process(self, item: int) -> None:
        self.tries[item] += 1
        if item == 5 and self.tries[item] < 3:
            raise ValueError(item)
        self.push(item)


def test_while_something_moves_what_failed_waits() -> None:
    """R6: failed and lost items wait in the window; a replay that left meanwhile would be under way."""
    peers = Peers(range(20) | Slow("slow") | Collect("keep", key=abs, parallelism=2), (0, 1), (2,))
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: sum(map(len, peers.collected().values())) == 19)
    peers.pause_for_a_move()
    feed = peers.opened.intake.feeds[0]
    at = feed.window.next_replay_at()
    assert at is not None
    for _ in range(50):
        feed.window.next_replay_at()
        peers.opened.intake.feed(at + 10.0, reads=False, draining=True, is_still=True)
        peers.turn()
    assert not feed.window.is_out
    peers.place(phase=Phase.RUNNING, is_moving=False)
    peers.opened.intake.feed(at + 10.0, reads=False, draining=False)
    assert feed.window.is_out
    peers.close()


class Ticks(Node):
    """Pushes a value at each turn."""

    def process(self, item: int) -> None:
        self.push(item)

    def on_timer(self) -> None:
        self.push(-1)


def test_no_timer_is_called_while_something_moves_so_that_a_pause_can_be_confirmed() -> None:
    graph = range(10**6) | Ticks("ticks", every=timedelta(milliseconds=1)) | Collect("keep", grouping="shuffle")
    peers = Peers(graph, (0,), (1,))
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: peers.collected()[1].count(-1) > 5)
    peers.pause_for_a_move()
    count = len(peers.collected()[1])
    time.sleep(0.005)  # several are due
    for _ in range(50):
        peers.turn()
    assert len(peers.collected()[1]) == count
    ticks = peers.collected()[1].count(-1)
    peers.place(phase=Phase.RUNNING, is_moving=False)
    peers.run_until(lambda: peers.collected()[1].count(-1) > ticks)
    peers.close()


def test_what_a_task_pushes_by_itself_while_there_is_no_acker_is_told_to_the_next_one() -> None:
    """1. An acker dies. 2. An executor is started, which never knew it; a timer of it fires. 3. A new acker comes."""
    graph = range(10) | Ticks("ticks", every=timedelta(milliseconds=1)) | Collect("keep", grouping="shuffle")
    peers = Peers(graph, (), (1,))
    peers.place(phase=Phase.RUNNING)
    third = peers.add(0)
    peers.network.kill(peers.acker_address)
    peers.place(has_acker=False)
    peers.run_until(lambda: peers.collected()[1].count(-1) > 0)
    peers.replace_acker()
    peers.place(has_acker=True)
    peers.pause_for_a_move()
    assert peers.peers[third].core.is_quiet
    peers.close()


def test_at_level_none_a_holder_that_keeps_something_does_not_confirm() -> None:
    graph = range(10) | Chunk(100) | Collect("keep", grouping="shuffle")
    peers = Peers(graph, (0,), (1,), level=Robustness.NONE)
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: peers.introduced == 10 and peers.peers[min(peers.peers)].core.done > 0)
    holder = peers.peers[min(peers.peers)]
    assert holder.runners[0].has_open_tokens
    peers.place(phase=Phase.PAUSED, pause=1, is_moving=True)
    assert holder.advance() is None
    peers.pause_for_a_move()
    assert not holder.runners[0].has_open_tokens, "a flush mark emptied it"
    peers.close()


@pytest.mark.parametrize("leaves", [True, False])
def test_at_level_none_a_pause_is_confirmed_also_after_a_process_has_gone(leaves: bool) -> None:
    """What was made for it, and what it made, was counted where nobody asks any more (R6).

    1. A process dies with frames queued, or leaves when it has worked on all. 2. Another one takes its tasks. 3. A move
    pauses: what the living have made and worked on agrees.
    """
    graph = range(ITEMS) | Map(abs, name="spread") | Collect("keep", key=lambda item: item % 97, parallelism=2)
    peers = Peers(graph, (0, 1), (2,), level=Robustness.NONE)
    _, second = sorted(peers.peers)
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: peers.introduced > 300 and peers.peers[second].core.done > 0)
    if leaves:
        peers.pause_for_a_move()
        peers.run_until(lambda: agree(peers))
    peers.remove(second)
    third = peers.add(2)
    peers.place(phase=Phase.RUNNING, is_moving=False)
    peers.run_until(lambda: peers.introduced > 600 and peers.peers[third].core.done > 0)
    peers.pause_for_a_move()
    peers.run_until(lambda: agree(peers), turns_max=50)
    peers.place(phase=Phase.RUNNING, is_moving=False)
    peers.run_until(lambda: peers.is_over)
    peers.close()


def test_schedule_24_an_end_is_said_again_to_a_task_whose_owner_had_died() -> None:
    """1. The producer has said its end. 2. A task's process dies: a placement without it. 3. A new one gets the task.

    The end must be said to the new one, though its task had no owner in between (R19).
    """
    peers = Peers(range(10) | Collect("keep", grouping="shuffle"), (), (0,))
    first, second = sorted(peers.peers)
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: peers.peers[first].has_sent_end)
    peers.remove(second)
    peers.place()
    for _ in range(10):
        peers.turn()
    peers.add(0)
    peers.place()
    peers.run_until(lambda: peers.is_over)
    peers.close()


def test_a_verdict_that_names_items_which_its_batch_has_not_is_refused_and_counted() -> None:
    """Bytes from a socket are hostile: the process lives, and the true verdict counts."""
    peers = Peers(range(10) | Collect("keep", grouping="shuffle"), (0,), ())
    first, second = sorted(peers.peers)
    peers.place(phase=Phase.RUNNING)
    peers.peers[first].turn()
    (root,) = peers.peers[first]._owner_of_root
    wrong = Verdict(root, first, failed=(Fail(root, (10**6,), None),))
    peers.peers[second]._transport.send(first, Verdicts((wrong,)))
    peers.run_until(lambda: peers.peers[first].refused == 1)
    peers.run_until(lambda: peers.is_over)
    assert peers.told().completed == 10
    peers.close()


def test_an_executor_whose_producers_may_not_read_yet_waits_for_what_comes() -> None:
    """It once looked all the time, from its birth until all others were born too."""
    peers = Peers(range(ITEMS) | Map(abs), (0,))
    [peer] = peers.peers.values()
    assert not peer.turn()
    assert peer.due(time.monotonic()) == float("inf")
    peers.place(phase=Phase.RUNNING)
    assert peer.due(now := time.monotonic()) <= now
    peers.close()


def test_an_executor_whose_replays_wait_for_a_move_does_not_look_for_them_all_the_time() -> None:
    peers = Peers(range(1) | Map(abs), (0,))
    [peer] = peers.peers.values()
    peers.place(phase=Phase.RUNNING)
    peers.run_until(lambda: peers.introduced == 1)
    window = peers.opened.intake.feeds[0].window
    [root] = window._out
    window.settle(Verdict(root, peers.first, lost=True), 0.0)
    peers.place(phase=Phase.PAUSED, pause=1, is_moving=True)
    while peer.turn():
        pass
    assert peer.due(now := time.monotonic()) > now
    peers.place(phase=Phase.RUNNING, is_moving=False)
    peers.run_until(lambda: peers.is_over)
    peers.close()
