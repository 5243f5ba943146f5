"""What workers report of processes: counts never go back, and a dead letter is kept once (R17)."""

from __future__ import annotations

import pytest

from consecution.guarantee.messages import Cause
from consecution.wire.control import FeedCounts, Letter

CRASH = Cause("", "ExecutorDied", "killed by signal 9")


def test_counts_that_go_back_are_of_a_process_that_has_not_yet_read_where_to_begin(world, build):
    a = world.worker("a", slots=1)
    world.start("flow", build.plan(1))
    a.tell(0, feeds=(FeedCounts(0, "feed0", introduced=9, completed=5, mark=5, is_idle=False),))
    a.crash(0)
    world.run(1.0)
    a.tell(0, feeds=(FeedCounts(0, "feed0"),))
    assert world.course().kept.feeds[0].mark == 5


def test_letters_of_a_pass_that_was_voided_are_not_taken(world, build):
    a = world.worker("a")
    world.start("flow", build.plan(1, 1, accumulating=True))
    a.crash(0)
    world.run(1.0)
    a.letter(0, Letter("feed0", 3, None, "3", 4, None), pass_number=1)
    a.beat()
    assert world.status().letters == 0
    assert a.letters == [], "but confirmed"


def test_dead_letters_are_kept_once_and_counted(world, build):
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    worker.letter(0, *(Letter("feed0", seq, b"", repr(seq), 4, CRASH) for seq in range(7)))
    worker.beat()
    worker.letters, told = [], worker.letters
    worker.letters = told
    world.run(2.0)
    assert [letter.seq for letter in world.letters["flow"]] == list(range(7))
    status = world.status()
    assert status.letters == 7
    assert [letter.seq for letter in status.newest_letters] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("restarts", [False, True])
def test_letters_that_an_executor_tells_again_after_its_restart_are_kept_once(world, build, restarts):
    """An executor that goes on with its journal tells the letters of before too; so it does to a new coordinator."""
    worker = world.worker("a")
    world.start("flow", build.plan(1))
    letters = [Letter("feed0", seq, b"", repr(seq), 4, CRASH) for seq in range(3)]
    worker.letter(0, *letters)
    worker.beat()
    if restarts:
        world.restart()
        world.run(1.0)
    worker.crash(0)
    world.run(2.0)
    worker.letter(0, *letters, Letter("feed0", 9, b"", "9", 4, CRASH), Letter("n0", -1, None, "", 1, CRASH))
    worker.beat()
    assert [letter.seq for letter in world.letters["flow"]] == [0, 1, 2, 9, -1]
    assert world.status().letters == 5
