"""A journal on a disk that is smaller than what is read at once: outcomes make space, and it goes on."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Consecutor, Map
from consecution.errors import ConsecutionError
from consecution.journal.sqlite import open_for_reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import WaitFor

ITEM_BYTES = 20_000
COUNT = 300  # six times the disk


def large_items() -> Iterator[str]:
    return (f"{number:06d}".ljust(ITEM_BYTES, "x") for number in range(COUNT))


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_six_times_the_disk_passes_through_it_and_no_item_is_lost_or_taken_twice(small_disk: Path, mode: Any) -> None:
    seen: Counter[str] = Counter()

    def see(item: str) -> None:
        seen[item[:6]] += 1
        if item.startswith(("000007", "000107")):
            raise ValueError(item[:6])

    flow = Consecutor(large_items() | Map(see), "small", journal=small_disk / "journal", replays_max=0)
    report = flow.run(mode)
    assert (report.introduced, report.completed, report.failed) == (COUNT, COUNT - 2, 2)
    assert seen == {f"{number:06d}": 1 for number in range(COUNT)}
    with closing(open_for_reading(small_disk / "journal")) as journal:
        assert [letter.seq for letter in journal.dead_letters()] == [7, 107]


def test_items_that_fill_the_disk_while_none_is_finished_can_be_finished_and_make_space(
    small_disk: Path, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    """The reserve: outcomes could not be written down if items had taken the last page."""
    gate = threading.Event()
    flow = Consecutor(Map(lambda item: gate.wait(60)), "small", journal=small_disk / "journal")
    pushed: list[Any] = []
    with flow.start("threads") as running:
        thread = threading.Thread(target=lambda: pushed.extend(map(running.push, large_items())))
        thread.start()
        wait_for(lambda: "space for the journal" in (running.progress.waiting_for or ""), 30, "the disk is full")
        assert 0 < len(pushed) < COUNT
        gate.set()
        thread.join(60)
        assert Counter(receipt.wait(30) for receipt in pushed) == {"completed": COUNT}
        report = running.end()
    assert (report.introduced, report.completed) == (COUNT, COUNT)
    told = [text for text in caplog.messages if "journal disk full" in text]
    assert len(told) == 1, "it is told once, not at each try"
    assert "free some space" in told[0]


def test_an_item_that_never_fits_is_told_and_does_not_keep_the_run_from_ending(
    small_disk: Path, wait_for: WaitFor
) -> None:
    flow = Consecutor(Map(len), "small", journal=small_disk / "journal")
    refused: list[BaseException] = []

    def push(item: str) -> None:
        try:
            running.push(item)
        except ConsecutionError as error:
            refused.append(error)

    running = flow.start()
    assert running.push("fits").wait(30) == "completed"
    thread = threading.Thread(target=push, args=("x" * 2_000_000,))
    thread.start()
    wait_for(lambda: "the next items need" in (running.progress.waiting_for or ""), 30, "it says so")
    report = running.drain()
    thread.join(30)
    assert (report.introduced, report.completed) == (1, 1)
    assert len(refused) == 1
