"""What the parent keeps of what children tell."""

from __future__ import annotations

import pytest

from consecution import Collect, Consecutor, Map
from consecution.errors import SourceError, UserCodeError
from consecution.guarantee.levels import Robustness
from consecution.process import tally
from consecution.process.tally import RunTally
from consecution.wire.codec import pack_items
from consecution.wire.control import Collected, FeedCounts, Letter, Told


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
    assert kept.progress(0.0, None).failed == 5


def feed(place: int, introduced: int, completed: int, failed: int = 0, dropped: int = 0) -> FeedCounts:
    return FeedCounts(place, f"feed{place}", introduced=introduced, completed=completed, failed=failed, dropped=dropped)


def test_a_report_sums_the_producers_of_a_child_and_has_what_was_collected_by_name() -> None:
    dag = Consecutor(range(3) | Map(str) | Collect("kept")).dag
    kept = RunTally(Robustness.REPLAY)
    kept.told(Told(1, feeds=(feed(0, 5, 4, 1, 2), feed(1, 3, 3)), letters=(letter(4),)), None, has_feeds=True)
    kept.collect(Collected(1, {"kept": pack_items([1, 2])}))
    kept.collect(Collected(0, {"kept": pack_items([0])}))
    report = kept.report(dag, 2.5, None, is_finished=True)
    assert (report.introduced, report.completed, report.failed, report.dropped) == (8, 7, 1, 2)
    assert report.collected == {"kept": [0, 1, 2]}
    assert [failure.seq for failure in report.failures] == [4]
    assert (report.elapsed_s, report.is_finished) == (2.5, True)


@pytest.mark.parametrize(("is_code", "kind"), [(False, SourceError), (True, UserCodeError)])
def test_a_source_that_a_child_could_not_read_on_is_raised_by_whose_fault_it_was(is_code, kind) -> None:
    kept = RunTally(Robustness.REPLAY)
    kept.told(Told(1, source_error="rows.csv was cut", source_is_code=is_code), None, has_feeds=True)
    with pytest.raises(kind, match=r"rows\.csv was cut"):
        kept.report(Consecutor(range(3) | Collect("kept")).dag, 0.0, None, is_finished=True)


def test_where_a_producer_s_code_raised_in_a_child_goes_along() -> None:
    kept = RunTally(Robustness.REPLAY)
    trace = 'Traceback (most recent call last):\n  File "/f/flow.py", line 4, in rows\n    1 / 0\n'
    told = Told(1, source_error="its code raised", source_is_code=True, source_trace=trace)
    kept.told(told, None, has_feeds=True)
    with pytest.raises(UserCodeError) as raised:
        kept.report(Consecutor(range(3) | Collect("kept")).dag, 0.0, None, is_finished=True)
    [note] = raised.value.__notes__
    assert 'File "/f/flow.py", line 4, in rows' in note


def test_what_the_audit_of_an_acker_found_goes_on_counting_when_another_takes_its_place() -> None:
    dag = Consecutor([1] | Collect("kept")).dag
    kept = RunTally(Robustness.REPLAY)
    for acker, audits_fired in ((11, 0), (11, 2), (12, 0), (12, 1), (12, 1)):
        kept.audited(acker, audits_fired)
    assert kept.report(dag, 1.0, None, is_finished=True).audits_fired == 3
