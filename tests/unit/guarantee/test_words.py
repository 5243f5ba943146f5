from __future__ import annotations

import random

from consecution.guarantee.ids import id_maker
from consecution.guarantee.messages import Fail, Init, Sum
from consecution.guarantee.words import RunningWords
from tests.unit.guarantee.builders import BOOM, PRODUCER, CheckedLedger

ME, OTHER = 7, 8
ROOT = 100


def test_sums_of_one_root_combine_in_the_order_of_first_touch() -> None:
    words = RunningWords()
    words.created(2, PRODUCER, 0b1000, ME)
    words.closed(1, PRODUCER, 0b0001)
    words.created(2, PRODUCER, 0b0100, OTHER)
    words.failed(Fail(1, (3,), BOOM), PRODUCER)
    words.dropped(1, PRODUCER, 2)
    words.reached(1, PRODUCER, frozenset({"total"}))
    words.reached(1, PRODUCER, frozenset({"count"}))
    words.refused(2, PRODUCER)
    words.closed(2, PRODUCER, 0b0001)
    words.check_invariants()
    assert len(words) == 2
    assert words.take(placement=4) == [
        Sum(2, PRODUCER, 0b1101, frozenset({ME, OTHER}), refused=True, placement=4),
        Sum(1, PRODUCER, 1, frozenset(), (Fail(1, (3,), BOOM),), 2, frozenset({"total", "count"}), placement=4),
    ]
    assert words.take() == []


def test_a_frame_created_and_closed_between_two_sums_tells_nothing() -> None:
    words = RunningWords()
    words.created(1, PRODUCER, 5, ME)
    words.closed(1, PRODUCER, 5)
    assert words.take() == []
    assert len(words) == 0


def test_a_fail_is_told_though_its_frame_was_created_and_closed_between_two_sums() -> None:
    words = RunningWords()
    words.created(1, PRODUCER, 5, ME)
    words.failed(Fail(1, (0,), BOOM), PRODUCER)
    words.closed(1, PRODUCER, 5)
    assert words.take() == [Sum(1, PRODUCER, 0, frozenset({ME}), (Fail(1, (0,), BOOM),))]


def test_two_frames_of_a_root_that_meet_in_one_chunk_do_not_cancel_their_output() -> None:
    """Schedule 2.

    1. Frames F1 and F2 of one root meet in one Chunk, which pushes one frame G.
    2. Their sums, F1^G and F2^G, would cancel G: G is booked once, so it stays in the word.
    3. Done only when G is closed. 2,000 random joins of 2 to 9 frames.
    """
    rng, new_id = random.Random(2), id_maker(b"joins")
    for _ in range(2_000):
        inputs = [new_id() for _ in range(rng.randint(2, 9))]
        ledger, words, joined = CheckedLedger(), RunningWords(), new_id()
        word = 0
        for each in inputs:
            word ^= each
        assert ledger.handle(Init(ROOT, PRODUCER, word, frozenset({ME})), 0.0) == []
        words.created(ROOT, PRODUCER, joined, OTHER)
        cut = rng.randint(0, len(inputs))
        for each in inputs[:cut]:
            words.closed(ROOT, PRODUCER, each)
        sums = words.take()
        for each in inputs[cut:]:
            words.closed(ROOT, PRODUCER, each)
        for each_sum in [*sums, *words.take()]:
            assert ledger.handle(each_sum, 1.0) == []
        words.closed(ROOT, PRODUCER, joined)
        [verdict] = [v for each_sum in words.take() for v in ledger.handle(each_sum, 2.0)]
        assert (verdict.failed, verdict.lost) == ((), False)


def test_a_root_stays_open_while_the_output_of_its_closed_input_waits_in_a_batch() -> None:
    """Schedule 3, at the level of words.

    1. A task handles frame F and puts its output into a growing batch, frame G.
    2. G's id is in the word before F is closed, though G hasn't left: the sum keeps the root open.
    """
    ledger, words = CheckedLedger(), RunningWords()
    ledger.handle(Init(ROOT, PRODUCER, 0xF, frozenset({ME})), 0.0)
    words.created(ROOT, PRODUCER, 0xA, OTHER)
    words.closed(ROOT, PRODUCER, 0xF)
    [before] = words.take()
    assert ledger.handle(before, 1.0) == []
    words.closed(ROOT, PRODUCER, 0xA)
    [after] = words.take()
    assert [verdict.lost for verdict in ledger.handle(after, 2.0)] == [False]
