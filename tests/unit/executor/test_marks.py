"""Flush marks while a task can take no frame (R18)."""

from __future__ import annotations

from consecution import Map
from consecution.executor.events import Arrived
from consecution.executor.frames import FlushMark, Frame
from tests.unit.executor.harness import PRODUCER, Harness


def test_flush_marks_that_wait_with_no_frame_between_them_are_one() -> None:
    """A task without credit hears a mark each 100 ms; they must not pile up before it."""
    harness = Harness(Map(abs))
    other = PRODUCER + 1

    def arrives(message: Frame | FlushMark) -> None:
        harness.core.handle(Arrived(0, -1, message), 0.0)

    arrives(Frame(0, [1], (5,), (7,), (PRODUCER,)))
    for number in range(1, 1000):
        arrives(FlushMark(PRODUCER, number))
        arrives(FlushMark(other, number))
    arrives(Frame(0, [2], (6,), (8,), (PRODUCER,)))
    arrives(FlushMark(PRODUCER, 1000))
    waiting = [message for _, message in harness.core._tasks[0].queue]
    marks = [message for message in waiting if isinstance(message, FlushMark)]
    assert marks == [FlushMark(PRODUCER, 999), FlushMark(other, 999), FlushMark(PRODUCER, 1000)]
    assert [isinstance(message, Frame) for message in waiting] == [True, False, False, True, False]
