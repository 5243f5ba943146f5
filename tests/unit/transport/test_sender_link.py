"""The sender's half of a link: numbers, repetition, credit."""

from __future__ import annotations

import pytest

from consecution.errors import CapacityError, ProtocolError
from consecution.transport.link import (
    Ask,
    Blocked,
    Connected,
    Eased,
    LinkLimits,
    Parcel,
    Send,
    Tick,
    Told,
    Transmit,
    Writable,
)
from consecution.transport.sender_link import SenderLink

LIMITS = LinkLimits(window_items=10, window_bytes=1000, unconfirmed_bytes_max=2000, unsent_bytes_max=3000)


def frame(task: int = 1, items: int = 5, size: int = 100, placement: int = 1) -> Parcel:
    return Parcel((b"x" * size,), size, placement, (items,), task, items)


def plain(size: int = 10, placement: int = 1) -> Parcel:
    return Parcel((b"p" * size,), size, placement)


def mark(number: int, task: int = 1) -> Parcel:
    return Parcel((b"%d" % number,), 1, 1, (), task, 0, (task, 0, 7))


class Checked(SenderLink):
    """Checks the invariants after every event, as all tests of cores do."""

    def handle(self, event, now):
        out = super().handle(event, now)
        self.check_invariants()
        return out


@pytest.fixture
def link() -> SenderLink:
    return Checked(LIMITS)


def numbers(instructions: list) -> list[int]:
    return [n for one in instructions if isinstance(one, Transmit) for n in range(one.number, one.number + one.count)]


def test_messages_get_consecutive_numbers_and_leave_at_once(link: SenderLink) -> None:
    assert numbers(link.handle(Send(plain()), 0)) == [1]
    assert numbers(link.handle(Send(plain()), 0)) == [2]


def test_what_more_was_announced_behind_goes_in_one_packet_with_it(link: SenderLink) -> None:
    assert link.handle(Send(plain(), more=True), 0) == []
    assert link.handle(Send(frame(), more=True), 0) == []
    [packet] = link.handle(Send(plain()), 0)
    assert (packet.number, packet.count) == (1, 3)


def test_a_tick_sends_what_more_was_announced_behind_and_never_came(link: SenderLink) -> None:
    link.handle(Send(plain(), more=True), 5.0)
    assert link.due <= 5.0
    assert numbers(link.handle(Tick(), 5.0)) == [1]
    assert link.due > 5.0


def test_reconnect_with_a_full_window_sends_everything_again(link: SenderLink) -> None:
    """Schedule 4: one connection reset with a full window stopped a run for ever."""
    link.handle(Send(frame()), 0)
    link.handle(Send(frame()), 0)
    assert numbers(link.handle(Send(frame()), 0)) == []  # without credit
    assert numbers(link.handle(Connected(), 1)) == [1, 2]


def test_silence_repeats_the_first_unconfirmed_even_while_held_back(link: SenderLink) -> None:
    """Schedule 4: a timer that doesn't run while held back stopped a run for ever."""
    for _ in range(3):
        link.handle(Send(frame()), 0)
    assert link.handle(Tick(), 0.99) == []
    assert numbers(link.handle(Tick(), 1.0))[0] == 1
    assert numbers(link.handle(Tick(), 2.0)) == []  # the pause grows
    assert numbers(link.handle(Tick(), 3.0))[0] == 1


def test_silence_with_credit_outstanding_asks_for_the_position(link: SenderLink) -> None:
    """Schedule 4 again: all was received, and the position that gave credit back was lost with a reset."""
    link.handle(Send(frame()), 0)
    link.handle(Told(1, ()), 0.1)
    assert link.handle(Tick(), 1.0) == []
    assert link.handle(Tick(), 1.1) == [Ask()]
    assert link.handle(Tick(), 2.1) == [Ask()]
    link.handle(Told(1, ((1, 5, 100),)), 2.2)
    assert link.due == float("inf")


def test_after_a_repeated_packet_arrives_alone_all_that_followed_is_sent_again() -> None:
    link = Checked(LinkLimits(packet_bytes=10))
    for _ in range(4):
        link.handle(Send(plain()), 0)
    assert numbers(link.handle(Tick(), 1.0)) == [1]
    assert numbers(link.handle(Told(1), 1.1)) == [2, 3, 4]


def test_after_a_repetition_that_was_needless_nothing_else_is_repeated() -> None:
    link = Checked(LinkLimits(packet_bytes=10))
    for _ in range(4):
        link.handle(Send(plain()), 0)
    link.handle(Tick(), 1.0)
    assert link.handle(Told(3), 1.1) == []


def test_receiver_that_dropped_something_gets_it_again(link: SenderLink) -> None:
    for _ in range(3):
        link.handle(Send(plain()), 0)
    assert numbers(link.handle(Told(1, (), again=True), 0.1)) == [2, 3]


def test_frames_beyond_the_window_wait_and_follow_in_order(link: SenderLink) -> None:
    link.handle(Send(frame(items=6)), 0)
    assert link.has_credit(1)
    assert link.handle(Send(frame(items=6)), 0) == []
    assert not link.has_credit(1)
    link.handle(Send(frame(items=1)), 0)  # would fit, and must not overtake
    assert numbers(link.handle(Send(frame(task=2)), 0)) == [2]
    out = link.handle(Told(1, ((1, 6, 100),)), 0.1)
    assert (out[0], numbers(out)) == (Eased((1,)), [3, 4])


def test_one_frame_larger_than_the_window_goes_when_nothing_is_outstanding(link: SenderLink) -> None:
    assert numbers(link.handle(Send(frame(items=500, size=1500)), 0)) == [1]
    assert link.handle(Send(frame(items=1, size=1)), 0) == []
    assert numbers(link.handle(Told(1, ((1, 500, 1500),)), 0)) == [2]


def test_sums_and_verdicts_need_no_credit(link: SenderLink) -> None:
    link.handle(Send(frame(items=10)), 0)
    link.handle(Send(frame(items=10)), 0)
    assert numbers(link.handle(Send(plain()), 0)) == [2]


def test_marks_stay_behind_the_frames_of_their_task(link: SenderLink) -> None:
    link.handle(Send(frame(items=10)), 0)
    link.handle(Send(frame(items=10)), 0)
    assert link.handle(Send(mark(1)), 0) == []
    assert numbers(link.handle(Told(1, ((1, 10, 100),)), 0)) == [2, 3]


def test_only_the_newest_waiting_flush_mark_is_carried(link: SenderLink) -> None:
    link.handle(Send(frame(items=10)), 0)
    link.handle(Send(frame(items=10)), 0)
    for number in range(1, 2000):
        link.handle(Send(mark(number)), 0)
    link.handle(Blocked(0), 0)
    link.handle(Told(0, ((1, 10, 100),)), 0)
    out = link.handle(Writable(), 0)
    assert out[-1].parts[-1] == b"1999"
    assert numbers(out) == [2, 3]


def test_marks_that_wait_for_a_connection_don_t_pile_up(link: SenderLink) -> None:
    link.handle(Blocked(0), 0)
    for number in range(5000):
        link.handle(Send(mark(number)), 0)
        link.handle(Send(mark(number, task=2)), 0)
    assert link.unsettled_bytes == 2
    assert numbers(link.handle(Writable(), 0)) == [1, 2]


def test_blocked_connection_gets_nothing_until_it_is_writable(link: SenderLink) -> None:
    link.handle(Send(plain()), 0)
    link.handle(Blocked(1), 0)
    assert link.handle(Send(plain()), 0) == []
    assert link.handle(Tick(), 50) == []
    assert numbers(link.handle(Writable(), 50)) == [1, 2]


def test_unconfirmed_bytes_are_bounded(link: SenderLink) -> None:
    sent = [n for _ in range(5) for n in numbers(link.handle(Send(plain(900)), 0))]
    assert sent == [1, 2]
    assert numbers(link.handle(Told(1), 0)) == [3]


def test_full_link_refuses_a_message_and_keeps_what_it_has(link: SenderLink) -> None:
    link.handle(Blocked(0), 0)
    for _ in range(3):
        link.handle(Send(plain(1000)), 0)
    assert not link.has_room
    with pytest.raises(CapacityError, match="unsent bytes"):
        link.handle(Send(plain(1000)), 0)
    assert link.unsettled_bytes == 3000


def test_message_that_is_too_large_is_refused_before_it_is_sent() -> None:
    """A frame that the receiver's socket refuses would end the connection each time that it is sent again."""
    link = Checked(LinkLimits(message_bytes_max=100))
    with pytest.raises(CapacityError, match="101 bytes"):
        link.handle(Send(plain(101)), 0)
    assert link.is_settled


def test_messages_of_different_placements_never_share_a_packet(link: SenderLink) -> None:
    link.handle(Blocked(0), 0)
    for placement in (1, 1, 2):
        link.handle(Send(plain(placement=placement)), 0)
    assert [(one.placement, one.count) for one in link.handle(Writable(), 0)] == [(1, 2), (2, 1)]


@pytest.mark.parametrize("told", [Told(2), Told(1, ((1, 6, 100),)), Told(1, ((9, 1, 0),))])
def test_confirmation_of_what_was_never_sent_is_a_protocol_error_and_changes_nothing(
    link: SenderLink, told: Told
) -> None:
    link.handle(Send(frame()), 0)
    with pytest.raises(ProtocolError):
        link.handle(told, 0)
    assert numbers(link.handle(Connected(), 0)) == [1]


def test_audits_hear_of_all_that_waits_or_is_unconfirmed(link: SenderLink) -> None:
    link.handle(Send(frame(items=8)), 0)
    link.handle(Send(frame(items=9)), 0)
    assert set(link.roots()) == {8, 9}
    link.handle(Told(1), 0)
    assert set(link.roots()) == {9}


# -- what the receiver owes


def test_a_word_is_owed_from_the_oldest_unconfirmed_message_on(link: SenderLink) -> None:
    assert link.unanswered_since == float("inf")
    link.handle(Send(plain()), 1.0)
    link.handle(Send(plain()), 2.0)
    assert (link.unanswered_since, link.waiting) == (1.0, 2)
    link.handle(Tick(), 2.0)  # repeated: no word for that
    assert link.unanswered_since == 1.0
    link.handle(Told(1), 3.0)
    assert (link.unanswered_since, link.waiting) == (3.0, 1)
    link.handle(Told(2), 4.0)
    assert (link.unanswered_since, link.waiting) == (float("inf"), 0)


def test_a_word_is_owed_about_credit_from_the_first_question_on(link: SenderLink) -> None:
    """All is confirmed and nothing taken: a slow task owes nothing, until a question about it has no answer."""
    link.handle(Send(frame(items=10)), 0.0)
    link.handle(Send(frame()), 0.0)
    link.handle(Told(1), 0.1)
    assert (link.unanswered_since, link.waiting) == (float("inf"), 1)
    assert link.handle(Tick(), 1.1) == [Ask()]
    assert link.handle(Tick(), 2.2) == [Ask()]
    assert link.unanswered_since == 1.1
    link.handle(Told(1, ((1, 0, 0),)), 2.5)
    assert link.unanswered_since == float("inf")


def test_a_word_is_owed_while_the_connection_takes_nothing(link: SenderLink) -> None:
    link.handle(Send(plain()), 1.0)
    link.handle(Blocked(1), 1.0)
    link.handle(Send(plain()), 2.0)
    assert (link.unanswered_since, link.waiting) == (1.0, 2)
