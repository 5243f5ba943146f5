"""Kill -9 at random moments, for each kind of source; the long form is ``python -m tests.e2e.kill_many``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.killing import (
    BATCH_MAX,
    UNTOLD_LOST_MAX,
    kill_again_and_again,
    kill_while_nobody_is_told,
    kill_while_others_send,
)

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 3


@pytest.mark.parametrize(
    ("kind", "mode", "lost_most"),
    [
        ("file", "single", 0),
        ("file", "threads", 0),
        ("range", "threads", 0),
        ("async", "threads", 0),
        ("stdin", "single", BATCH_MAX),
        ("iterator", "threads", BATCH_MAX),
        ("pusher", "single", 0),
        ("pusher", "threads", 0),
        ("cursor", "single", 0),
        ("cursor", "threads", 0),
        ("clock", "single", 0),
        ("clock", "threads", 0),
    ],
)
def test_schedule_8_and_10_killed_again_and_again_every_item_comes_through(
    tmp_path: Path, kind: str, mode: str, lost_most: int
) -> None:
    """Restarts skip nothing that was not seen, and give no item two outcomes (R17).

    1. A process reads items, finishes some out of order, and is killed.
    2. It is started again, reads on from its mark or from its journal, and is killed again.
    3. It is started and ends: every item is in the sink or a dead letter; of a source that forgets what it gave,
       all but what was read and not yet journalled when it died, at most one batch.
    4. The report counts each item once, over all starts; dead letters of the first start stay what they were.

    A clock that is to make up for what it missed (missed="all") makes each due time once, also those of the pauses.
    """
    total = {"pusher": 1_500, "clock": 400}.get(kind, 4_000)
    toll = kill_again_and_again(kind, mode, tmp_path, kills=KILLS, total=total, seed=20)
    assert toll.wrong == ()
    assert toll.lost_most <= lost_most
    assert toll.kills == KILLS


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("http", "processes"),
        ("tcp", "threads"),
        ("tcp-processed", "single"),
        ("cursor", "processes"),
        ("clock", "processes"),
    ],
)
def test_all_that_a_sender_was_told_is_taken_comes_through_any_kill(tmp_path: Path, kind: str, mode: str) -> None:
    """What was acknowledged is in the journal, and what is sent again under its key is no second item (R17).

    1. Four connections send numbers, each under a key, and send again what they heard no yes for.
    2. The process is killed; in mode "processes" also only the executor that holds socket and journal.
    3. It is started again, or its executor is: senders connect again and go on.
    4. At the end each number is in the sink or a dead letter, and counted once.
    """
    toll = kill_while_others_send(kind, mode, tmp_path, kills=KILLS, total=2_000, seed=5)
    assert toll.wrong == ()
    assert toll.lost == 0


def test_a_tcp_source_without_answers_loses_a_batch_and_what_the_kernel_keeps_and_no_more(tmp_path: Path) -> None:
    """Who isn't answered sends nothing again: what a kill takes was read and not yet journalled (R17).

    1. A client sends faster than the nodes work, so that all queues are full.
    2. The process is killed; the client connects again and goes on with the next number.
    3. The numbers that are missing together are fewer than the docs say, and all others have one outcome.
    """
    toll = kill_while_nobody_is_told("single", tmp_path, kills=2, seed=3)
    assert toll.wrong == ()
    assert 0 < toll.lost_most <= UNTOLD_LOST_MAX
