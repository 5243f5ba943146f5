"""What the crash slot is told of a frame: every item in it, in few words."""

from __future__ import annotations

import pytest

from consecution.executor.frames import INDEX_BITS, Frame
from consecution.local.working import runs_of

SECOND = 1 << INDEX_BITS


@pytest.mark.parametrize(
    ("origins", "runs"),
    [
        (None, [(7, 0, 4)]),
        ([3, 4, 5, 6], [(7, 3, 4)]),
        ([2, 2, 0, 1], [(7, 0, 3)]),
        ([5, 5, 9, 9], [(7, 5, 1), (7, 9, 1)]),
        ([SECOND | 1, 0, 1, SECOND | 2], [(7, 0, 2), (8, 1, 2)]),
        ([(0, SECOND | 3), 1, 1, 2], [(7, 0, 1), (8, 3, 1), (7, 1, 1), (7, 1, 2)]),
    ],
)
def test_the_origins_of_a_frame_are_told_once_each_as_runs(origins, runs):
    assert runs_of(Frame(0, [10, 20, 30, 40], (7, 8) if origins else (7,), origins=origins)) == runs
