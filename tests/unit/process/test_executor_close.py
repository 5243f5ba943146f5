"""What an executor with producers leaves on disk when it ends (R15)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from consecution.process.child import Executor
from consecution.wire.placement import Phase


class Opened:
    """Notes how it was closed."""

    def __init__(self):
        self.was = []

    def abandon(self):
        self.was.append("abandon")

    def close(self, *, is_finished):
        self.was.append("close")


@pytest.mark.parametrize(
    ("is_left_out", "phase", "was"),
    [
        (
            True,
            Phase.STARTING,
            "abandon",
        ),  # a death began the pass anew
        (True, Phase.RUNNING, "close"),
        (False, Phase.ENDED, "close"),
    ],
)
def test_who_leaves_a_pass_that_begins_anew_leaves_the_tables_of_what_was_in_work(is_left_out, phase, was):
    executor = object.__new__(Executor)
    placement = SimpleNamespace(phase=phase, keeps_journal=True)
    executor.peer = SimpleNamespace(is_left_out=is_left_out, placement=placement)
    executor._opened, executor._slot = Opened(), None
    executor._begin = SimpleNamespace(in_work=None)
    executor.close()
    assert executor._opened.was == [was]
