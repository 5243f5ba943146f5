"""Idempotency keys: what is handed over twice is one item, with one outcome, over restarts too (R17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution import Consecutor, Map, Pusher
from consecution.errors import ConsecutionError
from consecution.producers.inquiries import Fate, Inquiries

if TYPE_CHECKING:
    from pathlib import Path


def check(item: str) -> str:
    if item == "bad":
        message = "no good"
        raise ValueError(message)
    return item


def flow(folder: Path, seen: list[str]) -> Consecutor:
    def keep(item: str) -> None:
        seen.append(item)

    return Consecutor(Map(check) | Map(keep), "keys", journal=folder / "journal", replays_max=0)


def test_a_second_push_with_a_key_is_the_first_item(tmp_path: Path) -> None:
    seen: list[str] = []
    with flow(tmp_path, seen).start() as running:
        first = running.push("a", key="k1")
        second = running.push("a again", key="k1")
        other = running.push("b", key="k2")
        assert [one.wait(10) for one in (first, second, other)] == ["completed"] * 3
        third = running.push("a once more", key="k1")
        assert third.wait(10) == "completed"
    assert first.seq == second.seq == third.seq != other.seq
    assert seen == ["a", "b"]
    assert running.report is not None
    assert (running.report.introduced, running.report.completed) == (2, 2)


def test_a_key_is_known_after_a_restart_with_its_outcome(tmp_path: Path) -> None:
    seen: list[str] = []
    with flow(tmp_path, seen).start() as running:
        good, bad = running.push("a", key="good"), running.push("bad", key="bad")
        assert (good.wait(10), bad.wait(10)) == ("completed", "failed")
    with flow(tmp_path, seen).start() as running:
        again, worse = running.push("a", key="good"), running.push("bad", key="bad")
        assert (again.wait(10), worse.wait(10)) == ("completed", "failed")
        assert (again.seq, worse.seq, worse.attempts) == (good.seq, bad.seq, 1)
        assert "ValueError: no good" in str(worse.error)
    assert seen == ["a"]


class Telling(Pusher):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__(name="telling")
        self.told: list[tuple[int, int]] = []
        self.admitted: list[bool] = []
        self.no: list[int] = []
        self.inquiries = Inquiries()

    def acknowledge(self, first_seq: int, count: int) -> None:
        self.told.append((first_seq, count))

    def admit(self, is_open: bool) -> None:
        self.admitted.append(is_open)

    def fail(self, count: int, error: Exception) -> None:
        self.no.append(count)


def test_items_of_one_read_are_acknowledged_in_order_each_under_its_number(tmp_path: Path) -> None:
    """1 new, 2 new, the first again, 4 new: the third is told the number of the first."""
    pusher, seen = Telling(), []
    for item, key in [("a", "k1"), ("b", None), ("a", "k1"), ("c", "k3")]:
        pusher.push(item, key=key)
    pusher.end()
    report = Consecutor(pusher | Map(seen.append), "told", journal=tmp_path / "journal").run()
    numbers = [first + offset for first, count in pusher.told for offset in range(count)]
    assert numbers == [0, 1, 0, 2]
    assert seen == ["a", "b", "c"]
    assert report.introduced == 3


def test_a_producer_hears_that_nothing_is_taken_any_more_before_it_is_closed(tmp_path: Path) -> None:
    pusher = Telling()
    running = Consecutor(pusher | Map(str), "drained", journal=tmp_path / "journal").start()
    pusher.push("a")
    running.drain()
    assert pusher.admitted in ([True, False], [False])  # drained before its first turn, or after


def test_a_thread_of_a_producer_hears_what_became_of_an_item(tmp_path: Path) -> None:
    pusher = Telling()
    pusher.inquiries.open()
    cons = Consecutor(pusher | Map(check), "asked", journal=tmp_path / "journal", replays_max=0)
    with cons.start() as running:
        for item in ("a", "bad"):
            pusher.push(item)

        def fates() -> list[Fate | None]:
            return [pusher.inquiries.ask(seq).result(10) for seq in range(2)]

        while any(fate is None or fate.state == "open" for fate in fates()):
            pass
        good, bad = fates()
        assert good == Fate(0, "completed")
        assert bad is not None
        assert (bad.state, bad.attempts) == ("failed", 1)
        assert bad.cause is not None
        assert bad.cause.exception == "ValueError"
        assert pusher.inquiries.ask(7).result(10) is None
        pusher.end()
        running.end()
    pusher.inquiries.close()
    assert pusher.inquiries.ask(0).cancelled()


def test_an_abandoned_item_is_told_so_and_stays_in_the_journal(tmp_path: Path) -> None:
    running = flow(tmp_path, []).start()
    receipt = running.push("a", key="k")
    running.stop()
    if receipt.outcome == "open":
        assert isinstance(receipt.error, ConsecutionError)
    with flow(tmp_path, []).start() as again:
        assert again.push("a", key="k").wait(10) == "completed"
