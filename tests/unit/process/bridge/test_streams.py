"""Streams over a bridge: nothing is lost, whatever becomes of connections and of whoever takes."""

from __future__ import annotations

import random

import pytest

from consecution.process.bridge.receiver import STREAMS_MAX, Given, Receiver, Say
from consecution.process.bridge.sender import ASK_S, BLOCKED_S, BURST_MAX, Pass, Piece, Sender
from consecution.wire.bridge import Ask, Hand, Took

ME, THERE, OTHER, PLACE = 7, 9, 11, 2
FIRST = Pass()


def sender(*items: bytes, told: list[bytes] | None = None) -> Sender:
    """One that leads to THERE, with pieces that note that they were taken."""
    one = Sender(ME, 0)
    one.place_at(THERE, PLACE, FIRST)
    for item in items:
        one.add(piece(item, told))
    return one


def piece(item: bytes, told: list[bytes] | None = None) -> Piece:
    return Piece(item, 1, None if told is None else lambda: told.append(item))


def hand(number: int, items: bytes = b"x", *, settled: int = 0, sender: int = ME, pass_number: int = 1) -> Hand:
    return Hand(sender, THERE, PLACE, number, settled, items, pass_number)


def took(received: int, journalled: int, answers: int = 0, target: int = THERE) -> Took:
    return Took(ME, target, PLACE, received, journalled, answers)


def receiver(**options: object) -> Receiver:
    return Receiver(THERE, frozenset({PLACE}), **options)  # type: ignore[arg-type]


def given(answers: list[Given | Say]) -> list[bytes]:
    return [one.items for one in answers if isinstance(one, Given)]


def test_pieces_are_sent_in_order_and_their_givers_are_told_once_they_are_journalled() -> None:
    told: list[bytes] = []
    one = sender(b"a", b"b", told=told)
    assert one.send(0.0) == [hand(1, b"a"), hand(2, b"b")]
    assert one.send(0.5) == []
    assert one.took(took(2, 0), 0.5) == []
    for done in one.took(took(2, 1), 0.6):
        assert done.taken is not None
        done.taken()
    assert told == [b"a"]
    assert not one.is_empty
    assert [done.items for done in one.took(took(2, 2), 0.7)] == [b"b"]
    assert one.is_empty
    assert one.due == float("inf")
    one.check_invariants()


def test_nothing_is_sent_before_a_placement_names_a_target() -> None:
    one = Sender(ME, 0)
    one.add(piece(b"a"))
    assert one.send(0.0) == []
    assert one.due == float("inf")
    one.place_at(THERE, PLACE, Pass(3, starts_again=True))
    assert one.send(0.0) == [Hand(ME, THERE, PLACE, 1, 0, b"a", 3, starts_again=True)]


def test_a_target_that_is_held_back_is_asked_and_nothing_is_sent_again() -> None:
    one = sender(b"a")
    one.send(0.0)
    assert one.due == ASK_S
    assert one.send(ASK_S) == [Ask(ME, THERE, PLACE, 1, 0)]
    assert one.took(took(1, 0, answers=1), ASK_S) == []
    assert one.send(ASK_S + 0.1) == []
    assert one.send(2 * ASK_S) == [Ask(ME, THERE, PLACE, 2, 0)]


def test_what_was_lost_with_a_connection_is_sent_again_after_the_answer_that_says_so() -> None:
    """The schedule.

    1. Pieces 1 to 3 leave; 2 and 3 are lost. 2. A word on piece 1 that nobody asked for changes nothing: 2 and 3
    could be on their way. 3. The answer to a question that left behind them says that they didn't come.
    """
    one = sender(b"a", b"b", b"c")
    one.send(0.0)
    one.took(took(1, 1), 0.1)
    assert one.send(0.2) == []
    assert one.send(1.2) == [Ask(ME, THERE, PLACE, 1, 1)]
    one.took(took(1, 1, answers=1), 1.2)
    assert one.send(1.2) == [hand(2, b"b", settled=1), hand(3, b"c", settled=1)]


def test_an_old_answer_doesnt_turn_the_stream_back() -> None:
    one = sender(b"a")
    one.send(0.0)
    one.send(1.0)
    one.send(2.0)
    one.took(took(0, 0, answers=1), 2.1)
    assert one.send(2.1) == []


def test_a_new_target_gets_all_that_isnt_journalled_from_number_1_on() -> None:
    one = sender(b"a", b"b", b"c")
    one.send(0.0)
    one.took(took(3, 1), 0.1)
    one.place_at(OTHER, PLACE, FIRST)
    assert one.send(0.2) == [Hand(ME, OTHER, PLACE, 1, 0, b"b"), Hand(ME, OTHER, PLACE, 2, 0, b"c")]
    assert one.took(took(3, 3), 0.3) == [], "a word of who was there before"
    one.check_invariants()


def test_a_target_that_was_out_of_the_placement_for_a_moment_goes_on_where_it_was() -> None:
    one = sender(b"a", b"b")
    one.send(0.0)
    one.took(took(2, 1), 0.1)
    one.place_at(None, 0, FIRST)
    assert one.send(5.0) == []
    one.place_at(THERE, PLACE, FIRST)
    assert one.send(5.0) == [Ask(ME, THERE, PLACE, 1, 1)]


def test_a_connection_that_takes_nothing_is_tried_again_from_the_piece_on_that_it_refused() -> None:
    one = sender(b"a", b"b")
    messages = one.send(0.0)
    one.blocked(messages[1], 0.0)
    assert one.send(0.0) == []
    assert one.due == BLOCKED_S
    assert one.send(BLOCKED_S) == [hand(2, b"b")]


def test_many_pieces_leave_in_bursts() -> None:
    one = sender(*[b"x"] * (BURST_MAX + 1))
    assert len(one.send(0.0)) == BURST_MAX
    assert one.due <= 0.0
    assert len(one.send(0.0)) == 1


def test_a_stream_is_taken_in_order_and_each_piece_once() -> None:
    one = receiver()
    assert given(one.hear(b"r", hand(1, b"a"))) == [b"a"]
    assert one.hear(b"r", hand(1, b"a")) == []
    assert one.hear(b"r", hand(3, b"c")) == []
    assert given(one.hear(b"r", hand(2, b"b"))) == [b"b"]
    assert one.hear(b"s", Ask(ME, THERE, PLACE, 5, 0)) == [Say(b"s", took(2, 0, answers=5))]
    one.check_invariants()


def test_what_is_journalled_is_told_the_newest_way_of_its_stream() -> None:
    one = receiver()
    (first,) = one.hear(b"old", hand(1))
    assert isinstance(first, Given)
    one.hear(b"new", Ask(ME, THERE, PLACE, 1, 0))
    assert one.journalled(first.stream) == Say(b"new", took(1, 1))


def test_what_is_for_another_incarnation_or_producer_is_ignored() -> None:
    one = receiver()
    assert one.hear(b"r", Hand(ME, OTHER, PLACE, 1, 0, b"x")) == []
    assert one.hear(b"r", Hand(ME, THERE, PLACE + 1, 1, 0, b"x")) == []
    assert one.ignored == 2


def test_a_stream_that_isnt_known_begins_behind_what_is_settled() -> None:
    """Else a piece that overtook a lost one would be taken for the first, and the lost one for journalled."""
    one = receiver()
    assert one.hear(b"r", hand(5, b"e", settled=3)) == []
    assert given(one.hear(b"r", hand(4, b"d", settled=3))) == [b"d"]


def test_streams_are_bounded_and_one_that_was_forgotten_goes_on() -> None:
    one = receiver()
    one.hear(b"r", hand(1, sender=1))
    for number in range(2, STREAMS_MAX + 2):
        one.hear(b"r", hand(1, sender=number))
    one.check_invariants()
    assert one.hear(b"r", Ask(1, THERE, PLACE, 1, 1)) == [Say(b"r", Took(1, THERE, PLACE, 1, 1, 1))]


@pytest.mark.parametrize("numbers", [[1, 1, 2], [1, 3], [2, 1]])
def test_items_of_two_passes_are_doubled(numbers: list[int]) -> None:
    one = receiver()
    for place, number in enumerate(numbers, 1):
        one.hear(b"r", hand(place, pass_number=number))
    assert one.is_doubled


def test_a_run_that_began_anew_before_anything_was_pushed_doubles_nothing() -> None:
    one = receiver()
    one.hear(b"r", Hand(ME, THERE, PLACE, 1, 0, b"x", 2, starts_again=True))
    assert not one.is_doubled


def test_a_run_that_began_anew_doubles_what_the_journal_knew_before_this_start() -> None:
    one = receiver(knew=lambda place: place == PLACE)
    one.hear(b"r", Hand(ME, THERE, PLACE, 1, 0, b"x", 2, starts_again=False))
    assert not one.is_doubled
    one = receiver(knew=lambda place: place == PLACE)
    one.hear(b"r", Hand(ME, THERE, PLACE, 1, 0, b"x", 2, starts_again=True))
    assert one.is_doubled


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_lost_and_whoever_is_replaced_each_piece_is_journalled(seed: int) -> None:
    """A random walk: connections lose what is on them, targets die with what they hadn't journalled, words are late."""
    chance = random.Random(seed)
    target = 100
    now, made, journal, told = 0.0, 0, [], []
    one = Sender(ME, 0)
    there = Receiver(target, frozenset({PLACE}))
    one.place_at(target, PLACE, FIRST)
    out: list[Hand | Ask] = []
    back: list[Took] = []
    waiting: list[Given] = []
    steps = 0
    while made < 60 or not one.is_empty:
        steps += 1
        assert steps < 20_000, "it stands still"
        calm = made >= 60 and steps > 2_000
        now += chance.choice((0.001, 0.3))
        if made < 60 and chance.random() < 0.3:
            item = b"%d" % made
            one.add(piece(item, told))
            made += 1
        for message in one.send(now):
            if not calm and chance.random() < 0.05:
                one.blocked(message, now)
                break
            out.append(message)
        if not calm and chance.random() < 0.05:
            out, back = [], []  # a connection breaks: all that is on it is lost, both ways
        if not calm and chance.random() < 0.02:
            target += 1
            there, out, back, waiting = Receiver(target, frozenset({PLACE})), [], [], []
            one.place_at(target, PLACE, FIRST)
        while out and chance.random() < 0.7:
            for heard in there.hear(b"r", out.pop(0)):
                if isinstance(heard, Given):
                    waiting.append(heard)
                else:
                    back.append(heard.took)
        while waiting and chance.random() < 0.6:
            first = waiting.pop(0)
            journal.append(first.items)
            back.append(there.journalled(first.stream).took)
        while back and chance.random() < 0.7:
            for done in one.took(back.pop(0), now):
                assert done.items in journal
                assert done.taken is not None
                done.taken()
        one.check_invariants()
        there.check_invariants()
    assert told == [b"%d" % number for number in range(60)]
    assert set(told) <= set(journal)


def test_streams_of_who_is_gone_end_and_those_of_who_stays_or_comes_go_on() -> None:
    one = receiver()
    for who in (ME, OTHER):
        one.hear(b"r", hand(1, sender=who))
    assert one.place(PLACE, frozenset({ME})) == [], "who was never listed comes with the next placement"
    assert one.place(PLACE, frozenset({ME, OTHER})) == []
    assert [stream.sender for stream in one.place(PLACE, frozenset({OTHER}))] == [ME]
    assert one.hear(b"r", hand(2, sender=ME)) == []
    assert given(one.hear(b"r", hand(2, b"b", sender=OTHER))) == [b"b"]


def test_who_owes_an_answer_to_a_question_is_told_with_what_waits() -> None:
    one = sender(b"a", b"b")
    one.send(0.0)
    assert one.unanswered(0.9) is None  # pieces may wait for a journal as long as they like
    (ask,) = one.send(ASK_S)
    assert isinstance(ask, Ask)
    assert one.unanswered(ASK_S + 5.0) == (THERE, 5.0, 2)
    one.send(2 * ASK_S)
    assert one.unanswered(ASK_S + 5.0) == (THERE, 5.0, 2)
    one.took(took(0, 0, answers=2), ASK_S + 5.0)
    assert one.unanswered(ASK_S + 6.0) is None


def test_a_connection_that_takes_nothing_owes_too_and_a_new_target_begins_anew() -> None:
    one = sender(b"a")
    (first,) = one.send(0.0)
    one.blocked(first, 0.0)
    assert one.unanswered(4.0) == (THERE, 4.0, 1)
    one.place_at(None, 0, FIRST)
    assert one.unanswered(4.0) is None
    one.place_at(OTHER, PLACE, FIRST)
    assert one.unanswered(4.0) is None
