"""What the crash slot is told of a frame: every item in it, in few words."""

from __future__ import annotations

from array import array

import pytest

from consecution.executor.booking import Outcome
from consecution.executor.events import Kind, Work
from consecution.executor.frames import INDEX_BITS, Frame
from consecution.journal.slots import CrashSlots, read_slots
from consecution.local.working import Working, runs_of

SECOND = 1 << INDEX_BITS


@pytest.mark.parametrize(
    ("origins", "runs"),
    [
        (None, [(7, 0, 4)]),
        ([3, 4, 5, 6], [(7, 3, 4)]),
        (range(3, 7), [(7, 3, 4)]),
        (array("H", [5, 5, 9, 9]), [(7, 5, 1), (7, 9, 1)]),
        ([2, 2, 0, 1], [(7, 0, 3)]),
        ([5, 5, 9, 9], [(7, 5, 1), (7, 9, 1)]),
        ([SECOND | 1, 0, 1, SECOND | 2], [(7, 0, 2), (8, 1, 2)]),
        ([(0, SECOND | 3), 1, 1, 2], [(7, 0, 1), (8, 3, 1), (7, 1, 1), (7, 1, 2)]),
    ],
)
def test_the_origins_of_a_frame_are_told_once_each_as_runs(origins, runs):
    roots = (7, 8) if isinstance(origins, list) else (7,)
    assert runs_of(Frame(0, [10, 20, 30, 40], roots, origins=origins)) == runs


class Looking:
    """A task that looks at its own slot, and pushes what a holder kept."""

    def __init__(self, path):
        self.path = path
        self.seen = []

    def run(self, frame):
        self.seen.append([one.runs for one in read_slots(self.path)])
        self.working.note_pushed([(6, 3)])
        self.seen.append([one.runs for one in read_slots(self.path)])
        return Outcome(closed=[frame])


@pytest.mark.parametrize("origins", [array("H", [4, 4, 9]), [4, 4, 9], array("Q", [4, 4, 9])])
def test_what_a_holder_pushes_is_in_work_beside_the_frame(tmp_path, origins):
    slots = CrashSlots(tmp_path / "slots")
    task = Looking(tmp_path / "slots")
    task.working = Working({0: task}, slots)
    task.working.run(Work(0, Kind.RUN, frame=Frame(0, [1, 2, 3], (7,), (8,), (5,), origins)))
    frame = ((7, 4, 1), (7, 9, 1))
    assert task.seen == [[frame], [(*frame, (6, 3, 1))]]
    assert read_slots(tmp_path / "slots") == []
    slots.close()
