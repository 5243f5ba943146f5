from __future__ import annotations

import pytest

from consecution.errors import CapacityError
from consecution.guarantee.ledger import AuditFired, AuditRound, LedgerFull
from consecution.guarantee.messages import (
    WHOLE,
    Audit,
    Cause,
    Fail,
    Init,
    Placed,
    Sum,
    Suspects,
    Tick,
    Verdict,
)
from tests.unit.guarantee.builders import BOOM, CRASH, PRODUCER, CheckedLedger

E1, E2, E3 = 11, 12, 13
ROOT = 100
EVERYBODY = {PRODUCER, E1, E2, E3}


def at(*incarnations: int) -> frozenset[int]:
    return frozenset(incarnations)


@pytest.fixture
def ledger() -> CheckedLedger:
    ledger = CheckedLedger(timeout_s=30.0)
    assert ledger.handle(Placed(1, EVERYBODY), 0.0) == []
    return ledger


# -- done


def test_a_root_is_done_when_its_word_is_zero(ledger: CheckedLedger) -> None:
    assert ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0) == []
    assert ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 9, at(E2), dropped=2), 0.1) == []
    assert ledger.handle(Sum(ROOT, PRODUCER, 9, dropped=1, reached=frozenset({"total"})), 0.2) == [
        Verdict(ROOT, PRODUCER, dropped=3, reached=frozenset({"total"}))
    ]
    assert len(ledger) == 0


def test_a_batch_that_went_nowhere_is_done_at_once(ledger: CheckedLedger) -> None:
    assert ledger.handle(Init(ROOT, PRODUCER, 0, at()), 0.0) == [Verdict(ROOT, PRODUCER)]


def test_fails_ride_in_the_sum_that_closes_their_frame(ledger: CheckedLedger) -> None:
    """Schedule 1. A fail sent apart from its sum could be lost alone: here the sum that closes the frame holds it."""
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    assert ledger.handle(Sum(ROOT, PRODUCER, 6, fails=(Fail(ROOT, (2,), BOOM),)), 0.1) == [
        Verdict(ROOT, PRODUCER, (Fail(ROOT, (2,), BOOM),))
    ]


def test_fails_are_united_each_index_once_and_equal_causes_once(ledger: CheckedLedger) -> None:
    other = Cause("write", "OSError", "disk full")
    ledger.handle(Init(ROOT, PRODUCER, 7, at(E1)), 0.0)
    ledger.handle(Sum(ROOT, PRODUCER, 1, fails=(Fail(ROOT, (5, 3), BOOM), Fail(ROOT, (3, 4), other))), 0.1)
    assert ledger.handle(Sum(ROOT, PRODUCER, 6, fails=(Fail(ROOT, (0,), BOOM), Fail(ROOT, (0, 5), other))), 0.2) == [
        Verdict(ROOT, PRODUCER, (Fail(ROOT, (0, 3, 5), BOOM), Fail(ROOT, (4,), other)))
    ]


def test_of_two_fails_of_an_item_one_that_says_that_its_values_went_on_is_enough(ledger: CheckedLedger) -> None:
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Sum(ROOT, PRODUCER, 2, fails=(Fail(ROOT, (0, 1), BOOM),)), 0.1)
    [verdict] = ledger.handle(Sum(ROOT, PRODUCER, 4, fails=(Fail(ROOT, (1, 2), BOOM, went_on=True),)), 0.2)
    assert verdict == Verdict(ROOT, PRODUCER, (Fail(ROOT, (0,), BOOM), Fail(ROOT, (1, 2), BOOM, went_on=True)))


def test_fails_without_causes_are_united_too(ledger: CheckedLedger) -> None:
    ledger.handle(Init(ROOT, PRODUCER, 7, at(E1)), 0.0)
    ledger.handle(Sum(ROOT, PRODUCER, 1, fails=(Fail(ROOT, (1,), None),)), 0.1)
    assert ledger.handle(Sum(ROOT, PRODUCER, 6, fails=(Fail(ROOT, (0,), None),)), 0.1) == [
        Verdict(ROOT, PRODUCER, (Fail(ROOT, (0, 1), None),))
    ]


def test_the_sum_overtakes_the_init(ledger: CheckedLedger) -> None:
    """Schedule 6. 1. The only sum comes. 2. Its word would be zero with nothing. 3. The init comes: done."""
    assert ledger.handle(Sum(ROOT, PRODUCER, 6, fails=(Fail(ROOT, (0,), BOOM),)), 0.0) == []
    assert (len(ledger), ledger.waiting) == (1, 1)
    assert ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 1.0) == [Verdict(ROOT, PRODUCER, (Fail(ROOT, (0,), BOOM),))]
    assert (len(ledger), ledger.waiting) == (0, 0)


def test_sums_that_cancel_before_the_init_are_not_done(ledger: CheckedLedger) -> None:
    assert ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 9, at(E2)), 0.0) == []
    assert ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 9), 0.0) == []
    assert len(ledger) == 1


def test_a_sum_waits_for_its_init_as_long_as_the_producer_lives(ledger: CheckedLedger) -> None:
    ledger.handle(Sum(ROOT, PRODUCER, 6), 0.0)
    assert Rounds(ledger).until(3_600.0, e1=set(), e2=set()) == []
    assert ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 3_600.0) == [Verdict(ROOT, PRODUCER)]


# -- what must not happen, and does no harm


def test_a_second_init_is_ignored(ledger: CheckedLedger) -> None:
    init = Init(ROOT, PRODUCER, 6, at(E1))
    ledger.handle(init, 0.0)
    assert ledger.handle(init, 0.0) == []
    assert len(ledger.handle(Sum(ROOT, PRODUCER, 6), 0.1)) == 1
    assert ledger.handle(init, 0.2) == []
    assert ledger.counts.inits_twice == 2
    assert len(ledger) == 0


def test_a_fail_after_done_is_ignored_and_counted(ledger: CheckedLedger) -> None:
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Sum(ROOT, PRODUCER, 6), 0.1)
    assert ledger.handle(Sum(ROOT, PRODUCER, 6, fails=(Fail(ROOT, (0,), BOOM),)), 0.2) == []
    assert ledger.counts.sums_late == 1
    assert len(ledger) == 0


def test_late_sums_of_lost_roots_are_ignored_and_their_tombstones_age_out(ledger: CheckedLedger) -> None:
    ledger.handle(Tick(), 0.0)
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    assert len(ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0)) == 1
    for _ in range(3):
        assert ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 3, at(E2)), 2.0) == []
    assert (ledger.counts.sums_late, len(ledger), ledger.tombstones) == (3, 0, 1)
    ledger.handle(Tick(), 31.0)
    assert ledger.tombstones == 1
    ledger.handle(Tick(), 62.0)
    assert ledger.tombstones == 0


def test_an_init_that_comes_long_after_its_tree_was_lost_is_known_for_what_it_is(ledger: CheckedLedger) -> None:
    """Its link is stuck; else it would open a tree whose sums have come already, which nothing but an audit could end.

    1. A sum of E2's names E1. 2. E1 dies: lost, without an init. 3. For ten minutes all but the producer answer rounds.
    4. The link goes on: the init comes, then what the producer answers.
    """
    ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 9, at(E1)), 0.0)
    assert len(ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0)) == 1
    round_ = 0
    for second in range(0, 600, 5):
        rounds = [one.number for one in ledger.handle(Tick(), float(second)) if isinstance(one, AuditRound)]
        round_ = max([round_, *rounds])
        for executor in (E2, E3):
            ledger.handle(Audit(executor, (), round_), second + 0.1)
    assert ledger.handle(Init(ROOT, PRODUCER, 6, at(E2)), 600.0) == []
    assert (len(ledger), ledger.counts.inits_twice, ledger.counts.audit_fired) == (0, 1, 0)
    ledger.handle(Audit(PRODUCER, (), round_), 600.1)
    for second in (605.0, 640.0, 680.0):
        ledger.handle(Tick(), second)
    assert ledger.tombstones == 0


def test_a_lost_root_of_a_producer_that_died_is_forgotten_in_time(ledger: CheckedLedger) -> None:
    ledger.handle(Tick(), 0.0)
    ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 9, at(E1)), 0.0)
    ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0)
    ledger.handle(Placed(3, EVERYBODY - {E1, PRODUCER}), 2.0)
    for second in (31.0, 62.0):
        ledger.handle(Tick(), second)
    assert ledger.tombstones == 0


def test_a_tombstone_stays_while_somebody_names_its_root(ledger: CheckedLedger) -> None:
    """A Chunk may hold a frame of a lost root for an hour; its sum must not be taken for one that waits for an init."""
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0)
    for number in range(720):
        ledger.handle(Audit(E2, {ROOT}, number), number * 5.0)
        ledger.handle(Tick(), number * 5.0)
    assert ledger.handle(Sum(ROOT, PRODUCER, 6), 3_600.0) == []
    assert len(ledger) == 0


def test_a_refused_frame_fails_its_tree(ledger: CheckedLedger) -> None:
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    assert ledger.handle(Sum(ROOT, PRODUCER, 0, refused=True), 0.1) == [Verdict(ROOT, PRODUCER, lost=True)]


def test_a_full_ledger_refuses_new_roots_and_goes_on_with_the_open_ones() -> None:
    ledger = CheckedLedger(roots_max=2)
    ledger.handle(Init(1, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Sum(2, PRODUCER, 6), 0.0)
    with pytest.raises(LedgerFull, match="roots_max=2"):
        ledger.handle(Init(3, PRODUCER, 6, at(E1)), 0.0)
    with pytest.raises(CapacityError):
        ledger.handle(Sum(3, PRODUCER, 6), 0.0)
    assert len(ledger.handle(Sum(1, PRODUCER, 6), 0.0)) == 1
    assert ledger.handle(Init(3, PRODUCER, 6, at(E1)), 0.0) == []


# -- deaths


def test_a_placement_fails_the_trees_that_name_the_dead(ledger: CheckedLedger) -> None:
    ledger.handle(Init(1, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Init(2, PRODUCER, 6, at(E2)), 0.0)
    ledger.handle(Init(3, PRODUCER, 6, at(E2)), 0.0)
    ledger.handle(Sum(3, PRODUCER, 6 ^ 5, at(E1)), 0.0)
    assert ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0) == [
        Verdict(1, PRODUCER, lost=True),
        Verdict(3, PRODUCER, lost=True),
    ]
    assert len(ledger) == 1
    assert ledger.counts.lost == 2


def test_an_older_placement_changes_nothing(ledger: CheckedLedger) -> None:
    ledger.handle(Placed(5, EVERYBODY), 0.0)
    ledger.handle(Init(1, PRODUCER, 6, at(E1)), 0.0)
    assert ledger.handle(Placed(4, {PRODUCER}), 1.0) == []
    assert ledger.handle(Placed(5, {PRODUCER}), 1.0) == []


def test_the_death_notice_comes_before_the_init_or_the_sum_that_names_the_dead(ledger: CheckedLedger) -> None:
    """Schedule 14.

    1. Executor E1 dies; placement 2 leaves it out.
    2. Only now come an init, a sum after its init, and a sum before its init, that name E1.
    3. Each tree is lost at once.
    """
    ledger.handle(Init(2, PRODUCER, 6, at(E2)), 0.0)
    ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0)
    assert ledger.handle(Init(1, PRODUCER, 6, at(E1), placement=1), 2.0) == [Verdict(1, PRODUCER, lost=True)]
    assert ledger.handle(Sum(2, PRODUCER, 6 ^ 5, at(E1), placement=1), 2.0) == [Verdict(2, PRODUCER, lost=True)]
    assert ledger.handle(Sum(3, PRODUCER, 6 ^ 5, at(E1), placement=1), 2.0) == [Verdict(3, PRODUCER, lost=True)]
    assert ledger.handle(Init(3, PRODUCER, 6, at(E2), placement=1), 3.0) == []
    assert len(ledger) == 0


def test_an_init_behind_a_sum_adds_to_whom_it_was_sent(ledger: CheckedLedger) -> None:
    """The union holds whoever was named, in whatever order that was heard (R12).

    1. A sum that names E2 overtakes its init, which names E1.
    2. E1 dies: the tree is lost.
    """
    ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 5, at(E2)), 0.0)
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.1)
    assert ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0) == [Verdict(ROOT, PRODUCER, lost=True)]


def test_an_executor_born_and_dead_between_two_placements_is_dead(ledger: CheckedLedger) -> None:
    """Schedule 20.

    1. The acker has placement 3 and skips to 5. 2. Executor 40 was born in 4 and died in 5.
    3. A sum whose sender had placement 4 names it: that sum comes before placement 5, or after it.
    """
    ledger.handle(Placed(3, EVERYBODY), 0.0)
    ledger.handle(Init(1, PRODUCER, 6, at(E1), placement=3), 0.0)
    ledger.handle(Init(2, PRODUCER, 6, at(E1), placement=3), 0.0)
    assert ledger.handle(Sum(1, PRODUCER, 6 ^ 5, at(40), placement=4), 1.0) == []
    assert ledger.handle(Placed(5, EVERYBODY), 2.0) == [Verdict(1, PRODUCER, lost=True)]
    assert ledger.handle(Sum(2, PRODUCER, 6 ^ 5, at(40), placement=4), 3.0) == [Verdict(2, PRODUCER, lost=True)]


def test_an_executor_that_is_not_yet_known_is_waited_for(ledger: CheckedLedger) -> None:
    ledger.handle(Placed(3, EVERYBODY), 0.0)
    ledger.handle(Init(1, 50, 6, at(40), placement=6), 0.0)
    assert ledger.handle(Sum(1, 50, 6 ^ 5, at(41), placement=5), 1.0) == []
    assert ledger.handle(Placed(4, EVERYBODY), 2.0) == []
    assert ledger.handle(Placed(6, EVERYBODY | {40, 41, 50}), 3.0) == []
    assert ledger.handle(Sum(1, 50, 5, placement=6), 4.0) == [Verdict(1, 50)]


def test_an_executor_named_for_a_later_placement_that_leaves_it_out_is_dead(ledger: CheckedLedger) -> None:
    ledger.handle(Init(1, PRODUCER, 6, at(40), placement=6), 0.0)
    ledger.handle(Sum(1, PRODUCER, 6 ^ 5, at(40), placement=4), 0.0)
    assert ledger.handle(Placed(3, EVERYBODY), 1.0) == []
    assert ledger.handle(Placed(4, EVERYBODY), 1.0) == [Verdict(1, PRODUCER, lost=True)]


def test_the_earliest_placement_that_names_an_unknown_executor_counts(ledger: CheckedLedger) -> None:
    ledger.handle(Init(1, PRODUCER, 6, at(40), placement=4), 0.0)
    ledger.handle(Sum(1, PRODUCER, 6 ^ 5, at(40), placement=6), 0.0)
    assert ledger.handle(Placed(4, EVERYBODY), 1.0) == [Verdict(1, PRODUCER, lost=True)]


def test_before_the_first_placement_nobody_is_dead() -> None:
    ledger = CheckedLedger()
    assert ledger.handle(Init(1, PRODUCER, 6, at(E1)), 0.0) == []
    assert ledger.handle(Init(2, PRODUCER, 6, at(E2)), 0.0) == []
    assert ledger.handle(Init(3, 50, 6, at(E2), placement=9), 0.0) == []
    assert ledger.handle(Placed(1, {PRODUCER, E2}), 1.0) == [Verdict(1, PRODUCER, lost=True)]
    assert len(ledger) == 2


def test_a_tree_that_is_done_is_done_though_it_names_a_dead_incarnation(ledger: CheckedLedger) -> None:
    ledger.handle(Placed(2, EVERYBODY - {E1}), 1.0)
    ledger.handle(Sum(ROOT, PRODUCER, 6, placement=1), 1.0)
    assert ledger.handle(Init(ROOT, PRODUCER, 6, at(E1), placement=1), 2.0) == [Verdict(ROOT, PRODUCER)]


def test_trees_of_a_dead_producer_are_dropped_and_its_later_messages_ignored(ledger: CheckedLedger) -> None:
    ledger.handle(Init(1, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Sum(2, PRODUCER, 6), 0.0)
    assert ledger.handle(Placed(2, {E1, E2, E3}), 1.0) == []
    assert len(ledger) == 0
    assert ledger.handle(Sum(1, PRODUCER, 6, placement=1), 2.0) == []
    assert ledger.handle(Sum(3, PRODUCER, 6, placement=1), 2.0) == []
    assert ledger.handle(Init(4, PRODUCER, 6, at(E1), placement=1), 2.0) == []
    assert (ledger.counts.trees_dropped, ledger.counts.sums_late, ledger.counts.sums_of_dead) == (2, 1, 2)
    assert len(ledger) == 0


# -- suspects


def test_a_death_with_one_item_in_its_slot_charges_that_item(ledger: CheckedLedger) -> None:
    ledger.handle(Init(1, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Init(2, PRODUCER, 6, at(E1)), 0.0)
    placed = Placed(2, EVERYBODY - {E1}, (Suspects(E1, ((1, 4),), CRASH),))
    assert ledger.handle(placed, 1.0) == [
        Verdict(1, PRODUCER, lost=True, suspects=(4,), crash=CRASH, charged=True),
        Verdict(2, PRODUCER, lost=True),
    ]


def test_a_death_with_several_items_in_its_slot_charges_none_of_them(ledger: CheckedLedger) -> None:
    """Schedule 12, in the ledger: the suspects are those in the slot, not all that was in flight."""
    ledger.handle(Init(1, PRODUCER, 6, at(E1)), 0.0)
    ledger.handle(Init(2, PRODUCER, 6, at(E1)), 0.0)
    placed = Placed(2, EVERYBODY - {E1}, (Suspects(E1, ((1, 4), (2, WHOLE), (1, 2)), CRASH),))
    assert ledger.handle(placed, 1.0) == [
        Verdict(1, PRODUCER, lost=True, suspects=(2, 4), crash=CRASH),
        Verdict(2, PRODUCER, lost=True, suspects=(WHOLE,), crash=CRASH),
    ]


def test_suspects_of_a_sum_that_comes_later_travel_with_its_verdict(ledger: CheckedLedger) -> None:
    """Schedule 22's end: 1. E1 dies with item 4 in work. 2. The sum that names E1 comes later. 3. Suspects with it."""
    suspects = (Suspects(E1, ((1, 4),), CRASH),)
    ledger.handle(Init(1, PRODUCER, 6, at(E2)), 0.0)
    assert ledger.handle(Placed(2, EVERYBODY - {E1}, suspects), 1.0) == []
    assert ledger.handle(Placed(3, EVERYBODY - {E1}, suspects), 2.0) == []
    assert ledger.handle(Sum(1, PRODUCER, 6 ^ 5, at(E1), placement=1), 3.0) == [
        Verdict(1, PRODUCER, lost=True, suspects=(4,), crash=CRASH, charged=True)
    ]


def test_two_deaths_charge_only_when_each_slot_held_one_item(ledger: CheckedLedger) -> None:
    ledger.handle(Init(1, PRODUCER, 6, at(E1, E2)), 0.0)
    ledger.handle(Init(2, PRODUCER, 6, at(E1, E2)), 0.0)
    both = (Suspects(E1, ((1, 4),), CRASH), Suspects(E2, ((1, 5), (2, 0)), CRASH))
    first, second = ledger.handle(Placed(2, {PRODUCER}, both), 1.0)
    assert isinstance(first, Verdict)
    assert isinstance(second, Verdict)
    assert (first.suspects, first.charged) == ((4, 5), False)
    assert (second.suspects, second.charged) == ((0,), False)


# -- audit


class Rounds:
    """Ticks a ledger each 5 s and lets the members answer its rounds, each naming some roots, some not at all."""

    def __init__(self, ledger: CheckedLedger) -> None:
        self.ledger = ledger
        self.now = 0.0

    def until(self, now: float, **named: set[int]) -> list[object]:
        """What the ledger says up to `now`, without the rounds."""
        found: list[object] = []
        while self.now < now:
            self.now += 5.0
            for instruction in self.ledger.handle(Tick(), self.now):
                if not isinstance(instruction, AuditRound):
                    found.append(instruction)
                    continue
                for name, incarnation in (("producer", PRODUCER), ("e1", E1), ("e2", E2)):
                    if name in named:
                        answer = Audit(incarnation, named[name], instruction.number)
                        found += self.ledger.handle(answer, self.now + 1.0)
        return found


def test_the_audit_finds_a_tree_that_nobody_names_in_two_rounds(ledger: CheckedLedger) -> None:
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    rounds = Rounds(ledger)
    assert rounds.until(35.0, producer=set(), e1=set()) == []
    assert rounds.until(40.0, producer=set(), e1=set()) == [
        AuditFired(ROOT, PRODUCER, 40.0, (E1,)),
        Verdict(ROOT, PRODUCER, lost=True),
    ]
    assert ledger.counts.audit_fired == 1


@pytest.mark.parametrize(
    "named",
    [{"producer": {ROOT}, "e1": set()}, {"producer": set(), "e1": {ROOT}}, {"producer": set()}, {"e1": set()}, {}],
)
def test_slowness_alone_never_fails_a_tree(ledger: CheckedLedger, named: dict[str, set[int]]) -> None:
    """Schedules 5 and 25.

    A Chunk at 1 item/s holds the root for an hour and names it; a C call holds the GIL and its executor answers nothing
    at all; an executor is dead and the coordinator is down, so that nobody says so: the audit doesn't fire.
    """
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    assert Rounds(ledger).until(3_600.0, **named) == []
    assert ledger.counts.audit_fired == 0


def test_an_executor_that_answered_nothing_for_40_s_is_asked_twice_again(ledger: CheckedLedger) -> None:
    """Schedule 25. 1. E1's GIL is held for 40 s with the frame queued. 2. It wakes, and names it in its next answer."""
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    rounds = Rounds(ledger)
    assert rounds.until(45.0, producer=set()) == []
    assert rounds.until(50.0, producer=set(), e1=set()) == []
    assert rounds.until(55.0, producer=set(), e1={ROOT}) == []
    assert rounds.until(85.0, producer=set(), e1=set()) == []


def test_answers_made_before_the_receiver_had_the_frame_prove_nothing(ledger: CheckedLedger) -> None:
    """The audit fired for nothing.

    1. P sends a frame to E1. 2. E1 makes audits that don't name it, before it has the frame; they are slow to arrive.
    3. E1 receives the frame. 4. P makes two audits: it has nothing any more. 5. E1's old audits arrive, then silence:
    E1's next audits, which name the root, are still behind them on the link.
    """
    rounds = Rounds(ledger)
    ledger.handle(Sum(7, PRODUCER, 1), 0.0)  # something to ask about, so that rounds are called
    rounds.until(20.0, producer={7}, e1=set())
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 20.0)
    for number in (1, 2, 3, 4):
        assert ledger.handle(Audit(E1, set(), number), 22.0 + number) == []
    assert rounds.until(600.0, producer={7}) == []
    assert ledger.counts.audit_fired == 0


def test_a_sum_restarts_the_silence(ledger: CheckedLedger) -> None:
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    rounds = Rounds(ledger)
    assert rounds.until(35.0, producer=set(), e1=set()) == []
    ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 5, at(E2)), 37.0)
    assert rounds.until(75.0, producer=set(), e1=set(), e2=set()) == []
    assert len(rounds.until(80.0, producer=set(), e1=set(), e2=set())) == 2


def test_an_acker_that_slept_doubts_a_tree_anew_after_its_sum(ledger: CheckedLedger) -> None:
    """1. The tree is doubted at 30 s. 2. A sum comes. 3. The acker itself sleeps until 70 s: two rounds from there."""
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    rounds = Rounds(ledger)
    assert rounds.until(30.0, producer=set(), e1=set()) == []
    ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 5, at(E1)), 32.0)
    rounds.now = 65.0
    assert rounds.until(75.0, producer=set(), e1=set()) == []
    assert len(rounds.until(80.0, producer=set(), e1=set())) == 2


# -- orphans: their init went to an acker that is dead


def test_a_sum_whose_init_its_producer_would_have_told_before_its_answer_is_given_up(ledger: CheckedLedger) -> None:
    """1. An acker dies with the init of a root. 2. A sum comes to its successor. 3. The producer answers a round."""
    ledger.handle(Sum(ROOT, PRODUCER, 6, at(E1)), 0.0)
    assert Rounds(ledger).until(10.0, producer=set()) == []
    assert (len(ledger), ledger.counts.orphans, ledger.counts.lost) == (0, 1, 0)
    assert ledger.handle(Sum(ROOT, PRODUCER, 6 ^ 5), 12.0) == []  # the next one isn't kept
    assert (len(ledger), ledger.counts.sums_late) == (0, 1)


def test_a_sum_waits_for_its_init_while_its_producer_doesnt_answer(ledger: CheckedLedger) -> None:
    ledger.handle(Sum(ROOT, PRODUCER, 6, at(E1)), 0.0)
    assert Rounds(ledger).until(600.0, e1=set()) == []
    assert (len(ledger), ledger.waiting) == (1, 1)
    [verdict] = ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 601.0)
    assert not verdict.lost


def test_an_answer_to_a_round_that_was_called_before_the_sum_came_proves_nothing(ledger: CheckedLedger) -> None:
    """1. A round is called. 2. The producer answers, then tells an init. 3. A sum comes first, then the answer."""
    ledger.handle(Sum(7, PRODUCER, 1), 0.0)  # something to ask about
    [asked] = ledger.handle(Tick(), 5.0)
    ledger.handle(Sum(ROOT, PRODUCER, 6), 5.5)
    assert ledger.handle(Audit(PRODUCER, set(), asked.number), 6.0) == []
    assert (len(ledger), ledger.counts.orphans) == (1, 1)
    [verdict] = ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 6.0)
    assert (verdict.root, verdict.lost) == (ROOT, False)


def test_an_init_that_is_late_for_a_second_is_asked_for_once(ledger: CheckedLedger) -> None:
    ledger.handle(Tick(), 0.0)
    ledger.handle(Sum(ROOT, PRODUCER, 6), 0.5)
    asked = [(now / 2, each) for now in range(2, 9) for each in ledger.handle(Tick(), now / 2)]
    assert asked == [(1.5, AuditRound(1))]


def test_an_answer_to_a_round_that_was_never_called_is_ignored(ledger: CheckedLedger) -> None:
    ledger.handle(Sum(ROOT, PRODUCER, 6), 0.0)
    assert ledger.handle(Audit(PRODUCER, set(), 1), 1.0) == []
    assert len(ledger) == 1


def test_an_idle_ledger_calls_no_rounds(ledger: CheckedLedger) -> None:
    assert [ledger.handle(Tick(), float(now)) for now in range(100)] == [[]] * 100


# -- crashes whose slot names nothing of a tree


def test_a_tree_that_a_crash_has_lost_says_how_though_its_items_were_not_in_work(ledger: CheckedLedger) -> None:
    ledger.handle(Init(ROOT, PRODUCER, 6, at(E1)), 0.0)
    died = Placed(2, EVERYBODY - {E1}, (Suspects(E1, (), CRASH),))
    assert ledger.handle(died, 1.0) == [Verdict(ROOT, PRODUCER, lost=True, crash=CRASH)]
    ledger.handle(Init(ROOT + 1, PRODUCER, 6, at(E2)), 1.0)
    gone = Placed(3, EVERYBODY - {E1, E2}, (Suspects(E1, (), CRASH),))
    assert ledger.handle(gone, 2.0) == [Verdict(ROOT + 1, PRODUCER, lost=True)]
