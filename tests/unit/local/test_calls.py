"""A call that hangs is told with its stack, in mode "single" too."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from consecution import Consecutor, Map, Node
from consecution.local.calls import CallWatch


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_a_call_that_hangs_is_told_once_with_the_line_where_it_is(mode: Any, caplog: pytest.LogCaptureFixture) -> None:
    is_told = threading.Event()
    caplog.handler.addFilter(lambda record: is_told.set() or True if "it is here now" in record.getMessage() else True)

    def hang(item: int) -> int:
        if item == 1:
            assert is_told.wait(30)
        return item

    assert Consecutor([1, 2, 3] | Map(hang), "hung", timeout_s=0.2, journal=None).run(mode)
    (told,) = [text for text in caplog.messages if "it is here now" in text]
    assert told.startswith("a call at 'hang' is in work for more than 0.2 s; it is here now:\n")
    assert "assert is_told.wait(30)" in told
    assert "consecution/local" not in told, "only the user's part of the stack"


def test_an_item_that_is_awaited_for_long_is_told_with_its_node(caplog: pytest.LogCaptureFixture) -> None:
    is_told = threading.Event()
    caplog.handler.addFilter(lambda record: is_told.set() or True if "is awaited at" in record.getMessage() else True)

    async def wait(item: int) -> int:
        for _ in range(3000):
            if is_told.is_set():
                return item
            await asyncio.sleep(0.01)
        raise TimeoutError

    assert Consecutor([1, 2, 3] | Map(wait), "awaits", timeout_s=0.2, journal=None).run()
    (told,) = [text for text in caplog.messages if "is awaited at" in text]
    assert told.startswith("an item is awaited at 'wait' for more than 0.2 s;")


def test_calls_that_come_back_are_not_told_however_long_they_take_together(caplog: pytest.LogCaptureFixture) -> None:
    pause = threading.Event()
    assert Consecutor(range(30) | Map(lambda item: pause.wait(0.02)), "slow", timeout_s=0.4, journal=None).run()
    assert not caplog.messages


def test_a_batch_that_is_tried_item_by_item_is_many_calls(caplog: pytest.LogCaptureFixture) -> None:
    pause = threading.Event()

    class Broken(Node):
        def process_batch(self, items: list[int]) -> None:
            pause.wait(0.02)
            raise ValueError

    report = Consecutor(range(30) | Broken(), "broken", timeout_s=0.4, replays_max=0, journal=None).run()
    assert report.failed == 30
    assert not caplog.messages


def test_the_time_in_which_the_process_was_stopped_is_no_call_s(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait_for: Any
) -> None:
    """Ctrl-Z and fg: between two looks a minute passes."""
    now = [0.0]
    monkeypatch.setattr("consecution.local.calls.time.monotonic", lambda: now[0])
    working: Any = SimpleNamespace(
        runner=SimpleNamespace(names=["parse"]), marker=lambda: (1, None), awaited_s=lambda now: 0.0
    )
    watch = CallWatch({threading.get_ident(): working}, 4.0)
    looks = iter([0.5, 1.0, 61.0, 61.5])

    def look(timeout: float) -> bool:
        now[0] = next(looks, 0.0)
        return not now[0]

    monkeypatch.setattr(watch._is_over, "wait", look)
    watch._run()
    assert not caplog.messages
