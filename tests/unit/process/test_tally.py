"""What the parent keeps of what children tell."""

from __future__ import annotations

from consecution.guarantee.levels import Robustness
from consecution.process import tally
from consecution.process.tally import RunTally
from consecution.wire.control import Letter, Told


def letter(seq: int, producer: str = "http") -> Letter:
    return Letter(producer, seq, None, str(seq), 1, None)


def test_a_dead_letter_that_a_restarted_executor_tells_again_is_kept_once() -> None:
    kept = RunTally(Robustness.REPLAY)
    for letters in ((letter(1), letter(2)), (letter(1), letter(2), letter(5), letter(1, "other"))):
        kept.told(Told(1, letters=letters), None, has_feeds=True)
    assert [(one.producer, one.seq) for one in kept.failures] == [("http", 1), ("http", 2), ("http", 5), ("other", 1)]


def test_failures_that_are_no_items_are_all_kept_up_to_the_bound(monkeypatch) -> None:
    monkeypatch.setattr(tally, "FAILURES_MAX", 3)
    kept = RunTally(Robustness.REPLAY)
    kept.told(Told(1, letters=tuple(letter(-1, name) for name in "abcde")), None, has_feeds=False)
    assert [one.producer for one in kept.failures] == ["c", "d", "e"]
    assert kept.progress(0.0).failed == 5
