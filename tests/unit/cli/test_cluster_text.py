"""How a cluster's answers look."""

from __future__ import annotations

from consecution.cli.cluster_text import stuck_lines
from consecution.wire.cluster.to_client import State, Status, StuckStatus, Summary
from consecution.wire.placement import Phase


def test_a_stuck_link_is_a_line_with_both_ends_how_long_and_what_waits():
    link = StuckStatus("executor-0", "a", "acker-1", "b", 12.34, 1_200)
    status = Status(Summary("flow", 1, State.RUNNING), 7, Phase.RUNNING, stuck=(link,))
    assert stuck_lines(status) == [
        "executor-0 on a gets no answer from acker-1 on b for 12.3 s: 1,200 messages wait; look at the network between "
        "a and b"
    ]
