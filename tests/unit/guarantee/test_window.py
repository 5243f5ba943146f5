from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from consecution.errors import CapacityError, ProtocolError
from consecution.guarantee.changes import Attempt, Changes, DeadLetter
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import WHOLE, Fail, Verdict
from consecution.guarantee.ranges import Ranges
from tests.unit.guarantee.builders import BOOM, CRASH, PRODUCER, done, failed, lost, make_window

if TYPE_CHECKING:
    from consecution.guarantee.window import Batch

# -- completing


def test_a_batch_gets_the_next_numbers_and_completes_as_a_range() -> None:
    window = make_window()
    first = window.introduce(["a", "b", "c"], 0.0)
    second = window.introduce(["d"], 0.0)
    assert (first.seqs, first.items, first.solo, first.attempt) == (range(3), ["a", "b", "c"], False, 1)
    assert (window.mark, window.next_seq, window.unfinished, window.is_idle) == (0, 4, 4, False)
    window.settle(done(first, dropped=2), 1.0)
    window.settle(done(second), 1.0)
    assert window.take_changes() == Changes(completed=[range(4)], dropped=2)
    assert not window.take_changes()
    assert (window.mark, window.is_idle, first.root != second.root) == (4, True, True)


def test_what_finishes_above_a_slow_item_is_kept_as_ranges() -> None:
    """Schedules 8 and 10. 1. Item 0 is slow. 2. Items 1 to 899 finish. 3. The mark stays; the ranges say the rest."""
    window = make_window()
    slow = window.introduce([0], 0.0)
    for start in range(1, 900, 31):
        window.settle(done(window.introduce(list(range(start, start + 31)), 0.0)), 0.0)
    assert (window.mark, list(window.finished)) == (0, [(1, 900)])
    window.settle(done(slow), 1.0)
    assert (window.mark, list(window.finished)) == (900, [])


def test_the_window_bounds_what_is_unfinished() -> None:
    window = make_window(pending_max=3)
    batch = window.introduce([1, 2], 0.0)
    assert window.room() == 1
    with pytest.raises(CapacityError, match=r"room for 1 more, not for 2.*pending_max=3"):
        window.introduce([3, 4], 0.0)
    window.introduce([3], 0.0)
    with pytest.raises(CapacityError):
        window.introduce([4], 0.0)
    window.settle(failed(batch, 0), 0.0)
    assert window.room() == 1
    with pytest.raises(ValueError, match="one at least"):
        window.introduce([], 0.0)


def test_there_is_no_room_while_what_is_kept_takes_too_many_bytes() -> None:
    """A batch that has begun may exceed the bound; what is lost or fails frees it, and still counts as items."""
    window = make_window(kept_bytes_max=1_000)
    first = window.introduce(list(range(9)), now=0.0)
    assert window.room() == 991
    second = window.introduce(list(range(9)), now=0.0)
    third = window.introduce(list(range(9)), now=0.0)  # of the same read
    assert window.room() == 0
    window.settle(Verdict(second.root, PRODUCER, failed=(Fail(second.root, (0,), BOOM),)), now=1.0)
    assert window.room() == 0
    window.settle(Verdict(third.root, PRODUCER, lost=True), now=1.0)
    assert (window.room(), window.unfinished) == (981, 19)
    window.take_changes()
    [again] = [batch for batch in window.replays(now=1.0) if len(batch.seqs) == 9]
    window.settle(Verdict(again.root, PRODUCER), now=1.0)
    window.settle(Verdict(first.root, PRODUCER), now=1.0)
    assert (window.room(), window.unfinished) == (999, 1)


def test_a_verdict_that_names_an_item_outside_of_its_batch_changes_nothing() -> None:
    window = make_window()
    batch = window.introduce(["a", "b"], 0.0)
    for bad in (failed(batch, 2), failed(batch, -1), lost(batch, 5)):
        with pytest.raises(ProtocolError, match="places in a batch of 2"):
            window.settle(bad, 1.0)
    window.settle(done(batch), 1.0)
    assert window.take_changes() == Changes(completed=[range(2)])


# -- failing


def test_a_failed_item_is_replayed_alone_with_its_pristine_value_then_buried() -> None:
    window = make_window(replays_max=2)
    batch = window.introduce([{"n": 0}, {"n": 1}, {"n": 2}], 0.0)
    for item in batch.items:
        item["n"] = "spoiled by a node"
    window.settle(failed(batch, 1), 10.0)
    assert window.take_changes() == Changes(completed=[range(1), range(2, 3)], attempts=[Attempt(1, 1, False, BOOM)])
    [first] = window.replays(10.0)
    assert (first.seqs, first.items, first.solo, first.attempt) == ((1,), [{"n": 1}], True, 2)
    first.items[0]["n"] = "spoiled again"
    window.settle(failed(first, 0), 11.0)
    window.take_changes()
    assert (window.replays(11.9), window.next_replay_at()) == ([], 12.0)
    [second] = window.replays(12.0)
    assert (second.items, second.attempt) == ([{"n": 1}], 3)
    window.settle(failed(second, 0), 13.0)
    assert window.take_changes() == Changes(dead=[DeadLetter(1, 3, BOOM, {"n": 1})], replayed=1)
    assert (window.mark, window.is_idle, window.next_replay_at()) == (3, True, None)


def test_no_replay_leaves_before_its_attempt_was_taken_for_the_journal() -> None:
    window = make_window()
    window.settle(failed(window.introduce(["a"], 0.0), 0), 1.0)
    assert window.replays(1.0) == []
    assert window.take_changes().attempts == [Attempt(0, 1, False, BOOM)]
    assert len(window.replays(1.0)) == 1


def test_one_poison_row_among_500_costs_the_others_nothing() -> None:
    """Schedule 15.

    1. A Chunk(500) fails with one poison row: all 500 origins fail with it. 2. Each is replayed alone: 499 complete.
    3. A death in between loses the poison's root: it still travels alone, not with the innocents that were lost too.
    """
    window = make_window()
    batch = window.introduce(list(range(500)), 0.0)
    window.settle(failed(batch, *range(500)), 1.0)
    assert len(window.take_changes().attempts) == 500
    solos = window.replays(1.0)
    assert all(solo.solo and len(solo.seqs) == 1 for solo in solos)
    other = window.introduce(["innocent", "too"], 1.0)
    for solo in solos[1:]:
        window.settle(done(solo), 2.0)
    window.settle(lost(solos[0]), 2.0)
    window.settle(lost(other), 2.0)
    assert sum(map(len, window.take_changes().completed)) == 499
    assert [(each.seqs, each.solo, each.attempt) for each in window.replays(2.0)] == [
        ((0,), True, 2),
        (range(500, 502), False, 1),
    ]


def test_a_verdict_settles_only_items_that_still_belong_to_its_root() -> None:
    """Schedule 18.

    1. Root R1 is lost by a death; its item travels again as R2. 2. R2 fails for good: a dead letter.
    3. Another verdict on R1 comes: it changes nothing.
    """
    window = make_window(replays_max=0)
    old = window.introduce(["a"], 0.0)
    window.ackers_died(lambda root: True, 1.0)
    [new] = window.replays(1.0)
    window.settle(failed(new, 0), 2.0)
    assert len(window.take_changes().dead) == 1
    for late in (lost(old), done(old), failed(old, 0), done(new)):
        window.settle(late, 3.0)
    assert not window.take_changes()
    assert (window.mark, window.is_idle, window.verdicts_ignored) == (1, True, 4)


@pytest.mark.parametrize(
    ("level", "dead"),
    [(Robustness.TRACK, DeadLetter(1, 1, BOOM, "b")), (Robustness.CONFIRM, DeadLetter(1, 1, None, None))],
)
def test_levels_below_replay_bury_a_failed_item_at_once(level: Robustness, dead: DeadLetter) -> None:
    window = make_window(level=level)
    window.settle(failed(window.introduce(["a", "b"], 0.0), 1), 1.0)
    assert window.take_changes() == Changes(completed=[range(1)], dead=[dead])
    assert (window.replays(100.0), window.is_idle) == ([], True)


def test_levels_below_replay_report_lost_items_as_failed() -> None:
    window = make_window(level=Robustness.TRACK)
    window.settle(lost(window.introduce(["a", "b"], 0.0)), 1.0)
    dead = window.take_changes().dead
    assert [(each.seq, each.attempts, each.item) for each in dead] == [(0, 0, "a"), (1, 0, "b")]
    assert all(each.cause is not None and each.cause.exception == "Lost" for each in dead)
    assert window.is_idle


def test_without_tracking_everything_is_finished_at_once() -> None:
    window = make_window(level=Robustness.NONE, pending_max=2)
    for _ in range(5):
        assert window.introduce([1, 2], 0.0).root == 0
    assert (window.mark, window.room(), window.is_idle) == (10, 2, True)
    assert window.flush_due(0.0, draining=False, ended=True) is None
    assert window.flush_due(0.0, draining=True, ended=False) == 1
    assert not window.take_changes()


# -- losing


def test_lost_items_are_replayed_together_at_once_then_with_growing_backoff() -> None:
    window = make_window()
    batch = window.introduce(["a", "b"], 0.0)
    for now, due in ((10.0, 10.0), (20.0, 21.0), (30.0, 32.0), (40.0, 44.0)):
        window.settle(lost(batch), now)
        assert window.next_replay_at() == due
        assert window.replays(due - 0.1) == []
        [batch] = window.replays(due)
        assert (batch.seqs, batch.items, batch.solo, batch.attempt) == (range(2), ["a", "b"], False, 1)
    assert window.take_changes() == Changes(replayed=8)


def test_only_the_roots_of_the_dead_acker_are_replayed() -> None:
    window = make_window(new_root=iter(range(1, 100)).__next__)
    batches = [window.introduce([number], 0.0) for number in range(6)]
    window.ackers_died(lambda root: root % 2 == 1, 1.0)
    assert sorted(each.items[0] for each in window.replays(1.0)) == [0, 2, 4]
    for batch in batches:
        window.settle(done(batch), 2.0)
    assert window.unfinished == 3


def test_a_crash_suspects_what_was_in_work_and_nobody_else() -> None:
    """Schedule 12.

    1. 1,000 items are in flight; item 7 crashes its executor each time. 2. The first slot names 10 items: they go
    alone. 3. Each later slot names item 7 alone: it is charged. 4. After four attempts one dead letter, 999 completed.
    """
    window = make_window(pending_max=2_000)
    out = [window.introduce(list(range(start, start + 100)), 0.0) for start in range(0, 1_000, 100)]
    completed, dead, now, is_first = 0, [], 0.0, True
    while not window.is_idle:
        now += 10.0
        guilty = next((each for each in out if 7 in each.seqs), None)
        for batch in out:
            if batch is guilty:
                named = range(10) if is_first else (0,)
                window.settle(lost(batch, *named, charged=not is_first), now)
                is_first = False
            elif guilty is not None and batch.seqs[0] % 3 == 0:
                window.settle(lost(batch), now)
            else:
                window.settle(done(batch), now)
        changes = window.take_changes()
        completed += sum(map(len, changes.completed))
        dead += changes.dead
        out = window.replays(now + 9.0)
    assert completed == 999
    assert dead == [DeadLetter(7, 4, CRASH, 7)]


@pytest.mark.parametrize("is_charged", [True, False])
@pytest.mark.parametrize("order", [1, -1])
def test_who_is_lost_with_attempts_of_other_items_waits_no_longer_each_time(is_charged, order) -> None:
    """Six items that kill their process let all others wait for half a minute at each of their last attempts."""
    window = make_window(pending_max=100)
    others = window.introduce(["a", "b"], 0.0)
    now = 0.0
    for _ in range(9):
        guilty = window.introduce(["c"], now)
        now += 60.0
        verdicts = [lost(guilty, *([0] if is_charged else []), charged=is_charged), lost(others)]
        for verdict in verdicts[::order]:  # in whichever order two ackers tell them
            window.settle(verdict, now)
        window.take_changes()
        sent: list[Batch] = []
        waited_s = -1
        while not any(len(each.seqs) == 2 for each in sent):
            waited_s += 1
            sent += window.replays(now + waited_s)
        [others] = [each for each in sent if len(each.seqs) == 2]
    assert (waited_s == 0) is is_charged


def test_a_slot_that_names_a_whole_root_suspects_all_of_it() -> None:
    window = make_window()
    window.settle(lost(window.introduce(["a", "b"], 0.0), WHOLE, charged=True), 1.0)
    assert window.take_changes().attempts == [Attempt(0, 0, True, CRASH), Attempt(1, 0, True, CRASH)]
    first, second = window.replays(1.0)
    window.settle(done(first), 2.0)
    window.settle(lost(second, WHOLE, charged=True), 2.0)
    assert window.take_changes().attempts == [Attempt(1, 1, True, CRASH)]


def test_suspects_that_are_never_alone_drift_apart() -> None:
    window = make_window()
    batch = window.introduce(list(range(10)), 0.0)
    window.settle(lost(batch, *range(10)), 0.0)
    window.take_changes()
    for solo in window.replays(0.0):
        window.settle(lost(solo, 0), 10.0)
    window.take_changes()
    times = set()
    while (at := window.next_replay_at()) is not None:
        times.add(at)
        assert len(window.replays(at)) == 1
    assert len(times) == 10
    assert all(11.0 <= at <= 12.0 for at in times)


def test_suspects_alone_lets_one_suspect_out_at_a_time_and_nothing_else() -> None:
    window = make_window(suspects_alone=True)
    first = window.introduce(["a", "b", "c"], 0.0)
    other = window.introduce(["d"], 0.0)
    lost_too = window.introduce(["e"], 0.0)
    window.settle(lost(first, 0, 2), 1.0)
    window.settle(lost(lost_too), 1.0)
    window.take_changes()
    assert window.room() == 0
    with pytest.raises(CapacityError):
        window.introduce(["f"], 1.0)
    assert (window.replays(1.0), window.next_replay_at()) == ([], None)
    window.settle(done(other), 2.0)
    [suspect] = window.replays(2.0)
    assert (suspect.seqs, window.next_replay_at(), window.replays(3.0)) == ((0,), None, [])
    window.settle(lost(suspect, 0, charged=True), 3.0)
    window.take_changes()
    [next_one] = window.replays(3.0)
    assert next_one.seqs == (2,)
    window.settle(done(next_one), 4.0)
    [again] = window.replays(4.0)
    assert (again.seqs, again.attempt) == ((0,), 2)
    window.settle(done(again), 5.0)
    assert sorted(each.items for each in window.replays(5.0)) == [["b"], ["e"]]
    assert window.room() > 0


# -- state of accumulating nodes


def test_a_replayed_item_names_the_accumulating_nodes_that_it_passes_again() -> None:
    exposed = {"parse": frozenset({"total", "count"})}
    window = make_window(exposed=exposed.__getitem__, replays_max=1)
    batch = window.introduce(["a"], 0.0)
    window.settle(failed(batch, 0, reached=frozenset({"total", "elsewhere"})), 1.0)
    assert window.take_changes().state_lost == frozenset({"total"})
    [last] = window.replays(1.0)
    window.settle(failed(last, 0, reached=frozenset({"count"})), 2.0)
    assert window.take_changes().state_lost == frozenset(), "a dead letter passes nothing again"


def test_an_item_whose_values_went_on_before_it_failed_passes_all_again_that_its_tree_reached() -> None:
    window = make_window(exposed=lambda node: frozenset())
    batch = window.introduce(["a", "b"], 0.0)
    fail = Fail(batch.root, (1,), BOOM, went_on=True)
    window.settle(Verdict(batch.root, PRODUCER, (fail,), reached=frozenset({"total"})), 1.0)
    assert window.take_changes().state_lost == frozenset({"total"})


def test_a_lost_tree_names_the_accumulating_nodes_that_it_reached() -> None:
    window = make_window()
    window.settle(lost(window.introduce(["a"], 0.0), reached=frozenset({"total"})), 1.0)
    assert window.take_changes().state_lost == frozenset({"total"})


# -- restart


def test_a_restart_finishes_what_the_journal_says_first() -> None:
    finished = Ranges(3, [(5, 7), (9, 10)])
    window = make_window(first_seq=12, finished=finished)
    for seq in (10, 3, 11):
        window.resume(seq, f"item {seq}")
    window.resume(4, "item 4", attempts=2)
    window.resume(7, "item 7", suspect=True)
    window.resume(8, "item 8", attempts=4, suspect=True, crash=CRASH)
    window.check_invariants()
    assert (window.mark, window.next_seq, window.unfinished) == (3, 12, 5)
    assert window.take_changes() == Changes(dead=[DeadLetter(8, 4, CRASH, "item 8")])
    batches = window.replays(0.0)
    assert [(tuple(each.seqs), each.solo, each.attempt) for each in batches] == [
        ((7,), True, 1),
        ((4,), True, 3),
        ((3, 10, 11), False, 1),
    ]
    fresh = window.introduce(["new"], 0.0)
    assert fresh.seqs == range(12, 13)
    for batch in [*batches, fresh]:
        window.settle(done(batch), 1.0)
    assert (window.mark, list(window.finished)) == (13, [])
    assert window.take_changes().replayed == 5


def test_a_crash_charged_at_the_restart_is_journalled_before_its_replay_leaves() -> None:
    window = make_window(first_seq=1, finished=Ranges(0))
    window.resume(0, "a", attempts=1, suspect=True, crash=CRASH)
    assert window.replays(0.0) == []
    assert window.take_changes().attempts == [Attempt(0, 1, True, CRASH)]
    assert [each.attempt for each in window.replays(0.0)] == [2]


def test_resumed_items_travel_in_batches_of_500() -> None:
    window = make_window(first_seq=1_200, finished=Ranges(0), pending_max=10)
    for seq in range(1_200):
        window.resume(seq, seq)
    assert window.room() == 0
    assert [len(each.seqs) for each in window.replays(0.0)] == [500, 500, 200]


@pytest.mark.parametrize("seq", [2, 6, 12])
def test_only_unfinished_numbers_can_be_resumed(seq: int) -> None:
    window = make_window(first_seq=12, finished=Ranges(3, [(5, 7)]))
    with pytest.raises(ValueError, match=f"item {seq} can't be resumed"):
        window.resume(seq, "item")


def test_a_number_is_resumed_once_also_when_it_is_out_and_after_fresh_items() -> None:
    window = make_window(first_seq=12, finished=Ranges(3, [(5, 7)]))
    window.introduce(["fresh"], 0.0)
    window.resume(4, "item", attempts=1)
    window.resume(7, "item")
    window.replays(0.0)
    for seq in (4, 7):
        with pytest.raises(ValueError, match="once"):
            window.resume(seq, "item")


@pytest.mark.parametrize(
    ("level", "dead"),
    [(Robustness.REPLAY, DeadLetter(1, 1, BOOM, "b")), (Robustness.CONFIRM, DeadLetter(1, 1, None, None))],
)
def test_an_item_that_cannot_be_sent_is_buried_under_the_next_number(level: Robustness, dead: DeadLetter) -> None:
    window = make_window(level=level)
    first = window.introduce(["a"], 0.0)
    window.bury("b", BOOM)
    window.settle(done(first), 1.0)
    window.check_invariants()
    assert window.take_changes() == Changes(completed=[range(1)], dead=[dead])
    assert (window.mark, window.next_seq, window.is_idle) == (2, 2, True)


def test_an_item_that_was_not_resumed_holds_the_mark() -> None:
    window = make_window(first_seq=12, finished=Ranges(3, [(5, 12)]))
    window.resume(4, "item 4")
    for batch in window.replays(0.0):
        window.settle(done(batch), 0.0)
    assert (window.mark, list(window.finished)) == (3, [(4, 12)])


# -- flush marks


def marks(window: Any, times: list[float], **state: bool) -> list[int | None]:
    return [window.flush_due(now, **({"draining": False, "ended": False} | state)) for now in times]


def test_a_full_window_flushes_after_a_second_without_a_verdict() -> None:
    """Schedule 23.

    1. A filter lets through one item of each batch of 500; a Chunk(500) holds them: their batches stay unfinished.
    2. The window is full; the Chunk never fills. 3. After 1 s without a verdict flush marks go out, each 100 ms.
    """
    window = make_window(pending_max=1_000)
    first = window.introduce(list(range(500)), 10.0)
    assert marks(window, [12.0]) == [None], "there is room"
    window.introduce(list(range(500)), 12.0)
    assert marks(window, [12.5, 12.99, 13.0, 13.05, 13.11]) == [None, None, 1, None, 2]
    window.settle(done(first), 13.2)
    assert marks(window, [14.5]) == [None]
    window.introduce(list(range(500)), 14.6)
    assert marks(window, [15.5, 15.7]) == [None, 3]


@pytest.mark.parametrize("state", ["draining", "ended"])
def test_a_producer_that_drains_or_has_ended_flushes_at_once_while_items_are_out(state: str) -> None:
    window = make_window()
    assert marks(window, [0.0], **{state: True}) == [None]
    batch = window.introduce(["a"], 0.0)
    assert marks(window, [0.0, 0.05, 0.1], **{state: True}) == [1, None, 2]
    window.settle(failed(batch, 0), 0.2)
    assert marks(window, [5.0], **{state: True}) == [None], "what waits for its replay is in no Chunk"


def test_a_suspect_that_waits_for_the_others_gets_them_flushed() -> None:
    window = make_window(suspects_alone=True)
    first = window.introduce(["a"], 0.0)
    window.introduce(["held by a Chunk"], 0.0)
    window.settle(lost(first, 0), 1.0)
    assert marks(window, [1.5, 2.0]) == [None, 1]


def test_one_outcome_for_an_item_that_fails_in_two_branches() -> None:
    window = make_window(replays_max=0)
    batch = window.introduce(["a"], 0.0)
    twice = (Fail(batch.root, (0,), BOOM), Fail(batch.root, (0,), CRASH))
    window.settle(Verdict(batch.root, PRODUCER, twice), 1.0)
    assert window.take_changes().dead == [DeadLetter(0, 1, BOOM, "a")]


# -- careful: processes die, and nobody knows of which item


def crashed(root: int) -> Verdict:
    """Lost with a process that crashed; its slot names nothing of this root."""
    return Verdict(root, PRODUCER, lost=True, crash=CRASH)


def careful_window(**settings: Any) -> Any:
    window = make_window(pending_max=10, replays_max=2, is_only=True, **settings)
    return window


def test_a_careful_window_sends_one_by_one_what_was_lost_and_what_is_new() -> None:
    window = careful_window()
    batch = window.introduce(["a", "b", "c"], 0.0)
    window.settle(crashed(batch.root), 1.0)
    window.be_careful(True)
    for item in "abc":
        [one] = window.replays(10.0)
        assert (one.items, one.solo) == ([item], True)
        assert (window.room(), window.replays(10.0), window.next_replay_at()) == (0, [], None)
        window.settle(done(one), 10.0)
    assert window.room() == 1
    fresh = window.introduce(["d"], 11.0)
    assert (fresh.solo, window.room()) == (True, 0)
    window.settle(done(fresh), 11.0)
    assert window.is_idle


def test_a_careful_window_waits_for_what_was_out_before() -> None:
    window = careful_window()
    first, second = window.introduce(["a", "b"], 0.0), window.introduce(["c"], 0.0)
    window.be_careful(True)
    window.settle(crashed(first.root), 1.0)
    assert window.replays(10.0) == []
    window.settle(done(second), 10.0)
    assert [one.items for one in window.replays(10.0)] == [["a"]]


def test_an_item_that_is_the_only_one_under_way_at_crashes_is_a_dead_letter_with_their_cause() -> None:
    window = careful_window()
    window.be_careful(True)
    batch = window.introduce(["delayed killer"], 0.0)
    for attempt in (1, 2):
        window.settle(crashed(batch.root), 1.0)
        assert window.take_changes().attempts == [Attempt(0, attempt, True, CRASH)]
        [batch] = window.replays(1e6)
    window.settle(crashed(batch.root), 1.0)
    assert window.take_changes().dead == [DeadLetter(0, 3, CRASH, "delayed killer")]


@pytest.mark.parametrize("why", ["before", "with others", "a node with a timer", "no crash", "no longer careful"])
def test_an_item_that_may_be_innocent_of_a_crash_is_charged_nothing(why: str) -> None:
    window = make_window(pending_max=10, is_only=why != "a node with a timer")
    if why not in ("before", "with others"):
        window.be_careful(True)
    batch = window.introduce(["innocent"], 0.0)
    if why == "with others":
        window.introduce(["other"], 0.0)
    if why in ("before", "with others"):
        window.be_careful(True)
    if why == "no longer careful":
        window.be_careful(False)
        window.introduce(["other"], 0.0)
        window.be_careful(True)
    window.settle(lost(batch) if why == "no crash" else crashed(batch.root), 1.0)
    assert window.take_changes().attempts == []


def test_a_held_window_sends_nothing_until_it_is_let_go() -> None:
    window = make_window(pending_max=10)
    batch = window.introduce(["a"], 0.0)
    window.settle(lost(batch), 1.0)
    window.hold(True)
    assert (window.room(), window.replays(100.0), window.next_replay_at(), window.is_held) == (0, [], None, True)
    window.hold(False)
    assert window.room() == 9
    assert [one.items for one in window.replays(100.0)] == [["a"]]


def test_the_items_that_were_lost_again_and_again_are_named() -> None:
    window = careful_window()
    batch = window.introduce(["a", "b"], 0.0)
    for now in (1.0, 100.0):
        window.settle(crashed(batch.root), now)
        [batch] = window.replays(now + 50.0)
    window.introduce(["c"], 200.0)
    assert (window.lost_often(2), window.lost_often(3)) == ([0, 1], [])
