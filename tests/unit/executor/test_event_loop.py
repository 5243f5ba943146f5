"""The event loop of a task on virtual time: nothing is waited for, and nothing goes on for ever."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

import pytest

from consecution.executor.event_loop import STEP_S, EventLoop, VirtualTime


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def now(self):
        return self.seconds

    def spend(self, seconds):
        self.seconds += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loop(clock):
    with closing(EventLoop(virtual=VirtualTime(clock.now, clock.spend))) as one:
        yield one


def test_what_is_run_to_its_end_takes_virtual_time_alone(loop, clock):
    began = time.monotonic()
    loop.run(asyncio.sleep(3600))
    assert 3600 <= clock.seconds - 1000.0 < 3601
    assert time.monotonic() - began < 60


def test_a_step_waits_for_nothing_and_says_when_the_next_one_is_due(loop, clock):
    task = loop.loop.create_task(asyncio.sleep(10))
    loop.step()
    assert loop.due_in_s == pytest.approx(10, abs=0.01)
    assert not task.done()
    clock.spend(10.1)
    assert loop.due_in_s == 0.0
    loop.step()
    assert task.done()


def test_a_step_of_code_that_spins_ends(loop, clock):
    async def spins():
        while True:
            await asyncio.sleep(0)

    task = loop.loop.create_task(spins())
    loop.step()
    assert clock.seconds - 1000.0 == pytest.approx(STEP_S, rel=0.01)
    assert loop.due_in_s == 0.0
    loop.cancel([task])
