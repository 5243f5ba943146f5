"""What every journal promises, on disk and in memory (protocol.md R15, R17; schedules 8 to 10 and 26)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from consecution.errors import JournalError
from consecution.guarantee.changes import Attempt, Changes, DeadLetter
from consecution.guarantee.messages import Cause
from consecution.journal.base import (
    REPLAY_KIND,
    Counts,
    Header,
    Journal,
    Outcome,
    ProducerHeader,
    ProducerRound,
    Restored,
    Round,
    Stand,
)
from consecution.journal.memory import MemoryJournal, MemoryShelf
from consecution.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIPE = ProducerHeader("pipe", "pipe", "fire and forget")
FILE = ProducerHeader("file", "cursor", "re-readable")
HTTP = ProducerHeader("http", "http", "handed over", endless=True)
RAISED = Cause("parse", "ValueError", "bad", traceback="Traceback …", host="h", process=7)
KILLED = Cause("parse", "Killed", "signal 11")


class Desk:
    """Opens the same journal again and again, as restarts do."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._shelf = MemoryShelf()
        self._open: list[Journal] = []
        self.now = 1_000_000.0

    def journal(self) -> Journal:
        for journal in self._open:
            journal.close()
        if self._kind == "memory":
            journal: Journal = MemoryJournal(self._shelf, now=lambda: self.now, receipts_keep_s=100)
        else:
            journal = SqliteJournal(self._folder, now=lambda: self.now, receipts_keep_s=100)
        self._open.append(journal)
        return journal

    def begin(self, *producers: ProducerHeader, accumulating: bool = False) -> tuple[Journal, dict[str, Restored]]:
        journal = self.journal()
        return journal, journal.begin(Header("flow", accumulating), producers or (PIPE,))

    def close(self) -> None:
        for journal in self._open:
            journal.close()


@pytest.fixture(params=["memory", "sqlite"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(request.param, tmp_path / "journal")
    yield desk
    desk.close()


def round_of(
    producer: str,
    mark: int,
    ranges: tuple[tuple[int, int], ...] = (),
    *,
    next_seq: int,
    position: Any = None,
    check: Any = None,
    **changes: Any,
) -> Round:
    return Round((ProducerRound(producer, Changes(**changes), mark, ranges, next_seq, position, check),))


def test_a_new_journal_knows_nothing(desk):
    journal, restored = desk.begin(PIPE, FILE)
    assert restored == {"pipe": Restored(0, 0), "file": Restored(0, 0)}
    assert journal.counts() == Counts()
    assert list(journal.read_entries("pipe")) == []
    assert journal.dead_letters() == []


def test_unfinished_entries_come_back_in_order_and_finished_ones_do_not(desk):
    journal, _ = desk.begin()
    journal.append("pipe", 0, [{"n": 0}, {"n": 1}, {"n": 2}], sync=False)
    journal.append("pipe", 3, [("three",), 4, 5], sync=True)
    journal.commit(round_of("pipe", 1, ((3, 5),), next_seq=6, completed=[range(0, 1), range(3, 5)]))
    journal, restored = desk.begin()
    assert restored["pipe"] == Restored(next_seq=6, mark=1, ranges=((3, 5),), entries=3)
    assert list(journal.read_entries("pipe")) == [(1, {"n": 1}), (2, {"n": 2}), (5, 5)]
    assert journal.counts() == Counts(introduced=6, completed=3)


def test_entries_are_as_they_were_when_they_were_appended(desk):
    journal, _ = desk.begin()
    items = [{"tags": ["a"]}]
    journal.append("pipe", 0, items, sync=False)
    items[0]["tags"].append("b")
    assert list(journal.read_entries("pipe")) == [(0, {"tags": ["a"]})]


def test_schedule_8_an_appended_entry_that_no_round_has_seen_is_not_skipped(desk):
    journal, _ = desk.begin()
    journal.append("pipe", 0, ["a", "b"], sync=False)
    _, restored = desk.begin()
    assert (restored["pipe"].next_seq, restored["pipe"].mark, restored["pipe"].entries) == (2, 0, 2)


def test_the_position_behind_appended_entries_is_known_before_any_round(desk):
    """A clock that is killed between the two would make the items of one due time twice."""
    clock = ProducerHeader("clock", "interval", "fire and forget", endless=True)
    journal, _ = desk.begin(clock)
    journal.append("clock", 0, ["a"], sync=False, position=10.0)
    journal.append("clock", 1, ["b", "c"], sync=False, position=20.0)
    journal, restored = desk.begin(clock)
    assert restored["clock"].position == 20.0
    assert list(journal.read_entries("clock")) == [(0, "a"), (1, "b"), (2, "c")]
    journal.commit(round_of("clock", 1, next_seq=3, position=20.0, completed=[range(1)]))
    _, restored = desk.begin(clock)
    assert (restored["clock"].position, restored["clock"].mark) == (20.0, 1)


def test_schedule_10_items_finished_above_a_slow_one_stay_finished_and_have_one_outcome(desk):
    journal, _ = desk.begin(FILE)
    dead = DeadLetter(500, 4, RAISED, {"row": 500})
    journal.commit(
        round_of(
            "file",
            1,
            ((2, 901),),
            next_seq=1000,
            position=["offset", 17],
            check=99,
            completed=[range(0, 1), range(2, 500), range(501, 901)],
            dead=[dead],
        )
    )
    journal, restored = desk.begin(FILE)
    assert restored["file"] == Restored(1000, 1, ((2, 901),), ["offset", 17], 99, dead=frozenset({500}))
    assert journal.counts() == Counts(introduced=1000, completed=899, failed=1)
    assert journal.outcome("file", 500) == Outcome("file", 500, "failed", 4, RAISED)
    assert journal.outcome("file", 499) == Outcome("file", 499, "completed")
    assert journal.outcome("file", 1) == Outcome("file", 1, "open")
    assert journal.outcome("file", 1000) is None
    assert journal.outcome("nobody", 1) is None


def test_an_item_with_two_outcomes_is_our_own_mistake_and_changes_nothing(desk):
    journal, _ = desk.begin(FILE)
    with pytest.raises(AssertionError, match="one outcome"):
        journal.commit(round_of("file", 1, next_seq=1, completed=[range(1)], dead=[DeadLetter(0, 1, None, "x")]))
    assert journal.counts() == Counts()
    journal.commit(round_of("file", 1, next_seq=1, completed=[range(1)]))
    assert journal.counts() == Counts(introduced=1, completed=1)


def test_attempts_and_suspicion_survive_a_restart_until_the_outcome(desk):
    journal, _ = desk.begin()
    journal.append("pipe", 0, list("abcd"), sync=False)
    attempts = [Attempt(1, 2, False, RAISED), Attempt(2, 0, True, KILLED), Attempt(3, 1, True, KILLED)]
    journal.commit(round_of("pipe", 0, next_seq=4, attempts=attempts, replayed=3, dropped=2))
    journal, restored = desk.begin()
    assert restored["pipe"].attempts == {1: (2, False), 2: (0, True), 3: (1, True)}
    assert journal.outcome("pipe", 1) == Outcome("pipe", 1, "open", 2)
    journal.commit(round_of("pipe", 0, ((1, 3),), next_seq=4, completed=[range(1, 3)]))
    journal, restored = desk.begin()
    assert restored["pipe"].attempts == {3: (1, True)}
    assert journal.counts() == Counts(introduced=4, completed=2, replayed=3, dropped=2)


def test_an_attempt_and_the_outcome_in_one_round_leave_nothing_open(desk):
    journal, _ = desk.begin()
    journal.append("pipe", 0, ["a"], sync=False)
    journal.commit(
        round_of("pipe", 1, next_seq=1, attempts=[Attempt(0, 3, True, RAISED)], dead=[DeadLetter(0, 4, RAISED, "a")])
    )
    _, restored = desk.begin()
    assert restored["pipe"].attempts == {}


def test_one_round_of_several_producers_is_counted_together(desk):
    journal, _ = desk.begin(PIPE, FILE)
    journal.append("pipe", 0, ["a"], sync=False)
    parts = [
        ProducerRound("pipe", Changes(completed=[range(1)], state_lost=frozenset({"sum"})), 1, (), 1),
        ProducerRound("file", Changes(completed=[range(5)], dropped=1, state_lost=frozenset({"count"})), 5, (), 5, 5),
    ]
    journal.commit(Round(tuple(parts)), sync=True)
    journal, restored = desk.begin(PIPE, FILE)
    assert journal.counts() == Counts(6, 6, dropped=1, state_lost=frozenset({"sum", "count"}))
    assert (restored["pipe"].mark, restored["file"].position) == (1, 5)


# -- dead letters ------------------------------------------------------------------------------------------------------


def bury_three(journal: Journal) -> None:
    journal.append("pipe", 0, ["a", ("b",), {"c": 1}], sync=False)
    dead = [DeadLetter(seq, 4, RAISED, item) for seq, item in enumerate(["a", ("b",), {"c": 1}])]
    journal.commit(round_of("pipe", 3, next_seq=3, dead=dead))


def test_dead_letters_are_listed_shown_and_dropped(desk):
    journal, _ = desk.begin()
    bury_three(journal)
    journal, _ = desk.begin()
    letters = journal.dead_letters()
    assert [(letter.id, letter.producer, letter.seq, letter.item) for letter in letters] == [
        (1, "pipe", 0, "a"),
        (2, "pipe", 1, ("b",)),
        (3, "pipe", 2, {"c": 1}),
    ]
    assert letters[0].cause == RAISED
    assert (letters[0].attempts, letters[0].at, letters[0].item_repr) == (4, desk.now, "'a'")
    assert [letter.id for letter in journal.dead_letters(after_id=1, limit=1)] == [2]
    assert journal.drop_dead_letters([2, 2, 99]) == 1
    assert journal.drop_dead_letters([2]) == 0
    journal, _ = desk.begin()
    assert [letter.id for letter in journal.dead_letters()] == [1, 3]
    assert [letter.is_dropped for letter in journal.dead_letters(is_standing=False)] == [False, True, False]
    assert journal.counts().failed == 3
    assert journal.dead_letter(99) is None


def test_a_replay_by_hand_is_a_new_item_that_names_the_old_one(desk):
    replays = ProducerHeader("replays", REPLAY_KIND, "handed over")
    journal, _ = desk.begin(PIPE, replays)
    bury_three(journal)
    journal.append("replays", 0, ["a", {"c": 1}], sync=True, replay_of=[1, 3])
    journal, _ = desk.begin(PIPE, replays)
    assert journal.dead_letter(1).replayed_as == ("replays", 0)
    assert [letter.id for letter in journal.dead_letters()] == [2]
    journal.commit(round_of("replays", 2, next_seq=2, completed=[range(1)], dead=[DeadLetter(1, 1, RAISED, {"c": 1})]))
    journal, _ = desk.begin(PIPE)  # the producer of replays may be missing in a run
    assert [(letter.id, letter.replay_of) for letter in journal.dead_letters()] == [(2, None), (4, 3)]
    assert journal.counts() == Counts(introduced=5, completed=1, failed=4)


def test_replaying_an_unknown_dead_letter_is_refused_and_changes_nothing(desk):
    journal, _ = desk.begin()
    with pytest.raises(JournalError, match="no dead letter 7"):
        journal.append("pipe", 0, ["a"], sync=False, replay_of=[7])
    with pytest.raises(JournalError, match="no dead letter 7"):
        journal.mark_replayed(7, "pipe", 0)
    assert journal.counts() == Counts()


def test_an_item_that_was_replayed_without_an_entry_is_marked(desk):
    journal, _ = desk.begin()
    bury_three(journal)
    journal.mark_replayed(1, "pipe", 77)
    journal, _ = desk.begin()
    assert journal.dead_letter(1).replayed_as == ("pipe", 77)


def test_a_dead_letter_that_cannot_be_packed_keeps_its_repr(desk):
    journal, _ = desk.begin(FILE)
    journal.commit(round_of("file", 1, next_seq=1, dead=[DeadLetter(0, 1, None, len)]))
    journal, _ = desk.begin(FILE)
    (letter,) = journal.dead_letters()
    assert (letter.item_repr, letter.cause) == ("<built-in function len>", None)
    assert letter.item == (len if letter.has_item else None)


# -- receipts ----------------------------------------------------------------------------------------------------------


def test_an_idempotency_key_finds_its_item_before_and_after_the_outcome(desk):
    journal, _ = desk.begin(HTTP)
    journal.append("http", 0, ["a", "b", "c"], ["k0", None, "k2"], sync=True)
    assert journal.find_key("http", "k2") == Outcome("http", 2, "open")
    assert journal.find_key("http", "k1") is None
    journal.commit(round_of("http", 0, ((2, 3),), next_seq=3, completed=[range(2, 3)]))
    journal, _ = desk.begin(HTTP)
    assert journal.find_key("http", "k2") == Outcome("http", 2, "completed")
    assert journal.find_key("http", "k0") == Outcome("http", 0, "open")


def test_keys_are_purged_after_receipts_keep_but_never_while_the_item_is_open(desk):
    journal, _ = desk.begin(HTTP)
    journal.append("http", 0, ["a", "b"], ["done", "open"], sync=True)
    journal.commit(round_of("http", 1, next_seq=2, completed=[range(1)]))
    desk.now += 99
    journal.commit(round_of("http", 1, next_seq=2, dropped=1))
    assert journal.find_key("http", "done") is not None
    desk.now += 99
    journal.commit(round_of("http", 1, next_seq=2, dropped=1))
    assert journal.find_key("http", "done") is None
    assert journal.find_key("http", "open") == Outcome("http", 1, "open")


# -- whose journal it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "producers", "difference"),
    [
        (Header("other"), [PIPE], "it belongs to pipeline 'flow', this is 'other'"),
        (Header("flow"), [FILE], r"its producers are pipe \(pipe\), this flow has file \(cursor\)"),
        (Header("flow"), [ProducerHeader("pipe", "tcp", "fire and forget")], r"this flow has pipe \(tcp\)"),
        (Header("flow"), [PIPE, FILE], r"this flow has file \(cursor\), pipe \(pipe\)"),
    ],
)
def test_a_journal_of_another_flow_names_the_difference_and_both_ways_out(desk, header, producers, difference):
    journal, _ = desk.begin()
    journal.append("pipe", 0, ["a"], sync=False)
    journal = desk.journal()
    with pytest.raises(JournalError, match=difference) as caught:
        journal.begin(header, producers)
    assert "--fresh" in str(caught.value)
    assert "--journal DIR" in str(caught.value)
    _, restored = desk.begin()
    assert restored["pipe"].entries == 1


# -- accumulating runs (R17, schedules 9 and 26) -----------------------------------------------------------------------


def test_schedule_9_a_pass_starts_over_with_every_entry_and_no_outcome(desk):
    journal, _ = desk.begin(PIPE, FILE, accumulating=True)
    journal.append("pipe", 0, list(range(10)), sync=False)
    pipe = ProducerRound(
        "pipe", Changes(completed=[range(5)], dead=[DeadLetter(5, 4, RAISED, 5)], replayed=3, dropped=1), 6, (), 10
    )
    file = ProducerRound("file", Changes(completed=[range(60)]), 60, (), 100, "row 60", "crc")
    journal.commit(Round((pipe, file)))
    journal, restored = desk.begin(PIPE, FILE, accumulating=True)
    assert restored["pipe"].mark == 6
    restored = journal.start_over()
    assert restored == {"pipe": Restored(next_seq=10, mark=0, entries=10), "file": Restored(0, 0)}
    assert list(journal.read_entries("pipe")) == [(seq, seq) for seq in range(10)]
    assert journal.counts() == Counts(introduced=10)
    assert journal.dead_letters() == []
    journal, again = desk.begin(PIPE, FILE, accumulating=True)
    assert again == restored
    journal.commit(round_of("file", 100, next_seq=100, completed=[range(100)]))
    assert journal.counts() == Counts(introduced=110, completed=100)


def test_what_an_item_did_to_its_process_outlives_a_start_over(desk):
    journal, _ = desk.begin(accumulating=True)
    journal.append("pipe", 0, list(range(6)), sync=False)
    journal.commit(
        round_of(
            "pipe",
            0,
            next_seq=6,
            attempts=[
                Attempt(0, 2, False, RAISED),
                Attempt(1, 1, True, KILLED),
                Attempt(2, 0, True, KILLED),
                Attempt(3, 1, True, KILLED),
            ],
        )
    )
    journal.commit(
        round_of(
            "pipe",
            0,
            ((3, 5),),
            next_seq=6,
            attempts=[Attempt(1, 2, True, RAISED)],
            dead=[DeadLetter(3, 2, KILLED, 3), DeadLetter(4, 4, RAISED, 4)],
        )
    )
    restored = journal.start_over()
    assert restored["pipe"].attempts == {1: (1, True), 2: (0, True)}
    assert restored["pipe"].ranges == ((3, 4),)
    assert restored["pipe"].dead == frozenset({3})
    assert journal.counts() == Counts(introduced=6, failed=1)
    assert [seq for seq, _ in journal.read_entries("pipe")] == [0, 1, 2, 4, 5]
    _, again = desk.begin(accumulating=True)
    assert again == restored


def test_a_first_crash_that_is_a_dead_letter_at_once_outlives_a_start_over_too(desk):
    journal, _ = desk.begin(FILE, accumulating=True)
    journal.commit(round_of("file", 3, next_seq=3, completed=[range(2)], dead=[DeadLetter(2, 1, KILLED, "c")]))
    assert journal.start_over()["file"] == Restored(next_seq=3, mark=0, ranges=((2, 3),), dead=frozenset({2}))
    assert journal.counts() == Counts(introduced=3, failed=1)


def test_schedule_26_a_kill_before_finish_leaves_every_entry_for_another_pass(desk):
    journal, _ = desk.begin(accumulating=True)
    journal.append("pipe", 0, list("ab"), sync=False)
    journal.commit(round_of("pipe", 2, next_seq=2, completed=[range(2)]))
    journal, _ = desk.begin(accumulating=True)
    assert journal.start_over()["pipe"].entries == 2


def test_a_new_pass_after_finish_does_not_void_the_old_one(desk):
    journal, _ = desk.begin(PIPE, accumulating=True)
    journal.append("pipe", 0, list("abc"), sync=False)
    journal.commit(
        round_of("pipe", 3, next_seq=3, completed=[range(2)], dead=[DeadLetter(2, 4, RAISED, "c")], dropped=1)
    )
    assert journal.finish() is False  # a dead letter stands
    journal.append("pipe", 3, list("de"), sync=False)
    journal.commit(round_of("pipe", 4, next_seq=5, completed=[range(3, 4)], dropped=1))
    restored = journal.start_over()["pipe"]
    assert restored == Restored(next_seq=5, mark=3, entries=2)
    assert journal.counts() == Counts(introduced=5, completed=2, failed=1, dropped=1)
    assert [letter.seq for letter in journal.dead_letters()] == [2]


# -- the end -----------------------------------------------------------------------------------------------------------


def test_finish_removes_what_nobody_needs_any_more(desk):
    journal, _ = desk.begin()
    journal.append("pipe", 0, ["a"], sync=False)
    assert journal.finish() is False
    journal.commit(round_of("pipe", 1, next_seq=1, completed=[range(1)]))
    assert journal.finish() is True
    journal, restored = desk.begin(FILE)  # another flow may take the place
    assert restored == {"file": Restored(0, 0)}


def test_finish_keeps_a_journal_with_standing_dead_letters_until_they_are_dropped(desk):
    journal, _ = desk.begin()
    bury_three(journal)
    assert journal.finish() is False
    journal.drop_dead_letters([1, 2, 3])
    assert journal.finish() is True


def test_finish_keeps_the_journal_of_an_endless_producer(desk):
    journal, _ = desk.begin(HTTP)
    journal.append("http", 0, ["a"], ["key"], sync=True)
    journal.commit(round_of("http", 1, next_seq=1, completed=[range(1)]))
    assert journal.finish() is False
    journal, restored = desk.begin(HTTP)
    assert restored["http"] == Restored(1, 1)
    assert journal.find_key("http", "key") == Outcome("http", 0, "completed")


# ---- another host (R17) ----------------------------------------------------------------------------------------------


def test_a_new_journal_goes_on_where_one_on_a_lost_host_ended(desk: Desk) -> None:
    journal, _ = desk.begin(FILE)
    stand = Stand(mark=10, ranges=((12, 15),), next_seq=20, failed=2, position=100, check=7)
    restored = journal.adopt({"file": stand})["file"]
    assert (restored.mark, restored.ranges, restored.next_seq) == (10, ((12, 15),), 20)
    assert (restored.position, restored.check) == (100, 7)
    counts = journal.counts()
    assert (counts.introduced, counts.completed, counts.failed) == (20, 11, 2)
    _, again = desk.begin(FILE)
    assert again["file"] == restored


def test_a_journal_that_has_begun_takes_no_word_from_elsewhere(desk: Desk) -> None:
    journal, _ = desk.begin(FILE)
    journal.adopt({"file": Stand(mark=10, ranges=(), next_seq=20)})
    assert journal.adopt({"file": Stand(mark=3, ranges=(), next_seq=5)})["file"].mark == 10
