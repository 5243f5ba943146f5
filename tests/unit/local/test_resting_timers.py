"""Timers rest while a suspect must be alone in work, and go on by themselves once it has its outcome (R15)."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from consecution import Consecutor, Node, Pusher
from consecution.guarantee.window import Window
from consecution.local.build import build

if TYPE_CHECKING:
    from tests.conftest import WaitFor


class Ticks(Node):
    def setup(self) -> None:
        self.count = 0

    def process(self, item: int) -> None:
        self.push(item)

    def on_timer(self) -> None:
        self.count += 1
        ticks.append(self.count)


ticks: list[int] = []


@pytest.mark.parametrize("in_threads", [False, True], ids=["single", "threads"])
def test_timers_rest_while_there_is_a_suspect(
    monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor, in_threads: bool
) -> None:
    """A thread that waits for nothing but its timers hears when they fire again."""
    suspects = [True]
    monkeypatch.setattr(Window, "has_suspects", property(lambda window: suspects[0]))
    ticks.clear()
    pusher = Pusher()
    cons = Consecutor(pusher | Ticks(every=timedelta(seconds=0.01)), "timed", journal=None)
    engine = build(cons.dag, cons.feeds, cons.settings(None), workers=2, in_threads=in_threads).engine
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        wait_for(lambda: engine._is_waiting, 10, "the engine to wait")
        [host] = engine._hosts
        assert host.core.next_time(0.0) is None
        assert not ticks
        suspects[0] = False
        engine.wake()
        wait_for(lambda: len(ticks) > 2, 10, "the timer to fire again")
    finally:
        pusher.end()
        thread.join(20)
    assert not thread.is_alive()
