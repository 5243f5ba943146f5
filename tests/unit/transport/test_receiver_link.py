"""The receiver's half of a link: once, in order, and not before its placement."""

from __future__ import annotations

import pytest

from consecution.transport.link import (
    Arrived,
    Asked,
    Behind,
    Blocked,
    Connected,
    Deliver,
    LinkLimits,
    Placed,
    Refuse,
    Tell,
    Tick,
    Took,
    Writable,
)
from consecution.transport.receiver_link import ReceiverLink
from consecution.wire.messages import Audit, Data, EndMark

LIMITS = LinkLimits(window_items=10, window_bytes=1000, unread_bytes_max=250)
MINE = frozenset({1, 2})


class Checked(ReceiverLink):
    def handle(self, event, now):
        out = super().handle(event, now)
        self.check_invariants()
        return out


@pytest.fixture
def link() -> ReceiverLink:
    return Checked(LIMITS, Placed(3, MINE))


def audit(number: int) -> Audit:
    return Audit(number, ())


def arrived(*numbers: int, placement: int = 3, size: int = 100) -> Arrived:
    return Arrived(numbers[0], placement, tuple((audit(n), size) for n in numbers))


def frame(task: int = 1, items: int = 2) -> Data:
    return Data(task, b"", items, roots=(items,))


def delivered(out: list) -> list[int]:
    return [one.message.number for one in out if isinstance(one, Deliver)]


def tells(out: list) -> list[Tell]:
    return [one for one in out if isinstance(one, Tell)]


def test_repeated_messages_are_taken_once_and_answered(link: ReceiverLink) -> None:
    assert delivered(link.handle(arrived(1, 2), 0)) == [1, 2]
    assert link.handle(arrived(1, 2), 0) == [Tell(2, (), again=False)]
    assert delivered(link.handle(arrived(2, 3), 0)) == [3]


def test_gap_is_dropped_and_told_once_not_for_each_packet_behind_it(link: ReceiverLink) -> None:
    assert link.handle(arrived(2), 0) == [Tell(0, (), again=True)]
    assert link.handle(arrived(3), 0.01) == []
    assert link.handle(arrived(4), 0.2) == [Tell(0, (), again=True)]
    assert delivered(link.handle(arrived(1, 2, 3, 4), 0.3)) == [1, 2, 3, 4]


def test_message_of_a_later_placement_waits_with_all_behind_it_until_that_placement(link: ReceiverLink) -> None:
    """Schedules 13 and 19: executors refused for good what came from a placement that they had not heard of."""
    assert link.handle(arrived(1, placement=5), 0) == [Behind(5)]
    assert link.handle(arrived(2, placement=3), 0) == []
    assert link.handle(Placed(4, MINE), 0) == []
    assert delivered(link.handle(Placed(5, MINE), 0)) == [1, 2]


def test_message_of_an_older_placement_is_read_at_once(link: ReceiverLink) -> None:
    assert delivered(link.handle(arrived(1, placement=1), 0)) == [1]


def test_unread_messages_are_bounded_and_what_was_dropped_is_asked_for_again(link: ReceiverLink) -> None:
    link.handle(arrived(1, 2, 3, placement=4), 0)
    assert link.unread == 2
    out = link.handle(Placed(4, MINE), 0.01)
    assert delivered(out) == [1, 2]
    assert tells(out) == [Tell(2, (), again=True)]
    assert delivered(link.handle(arrived(3, placement=4), 0.02)) == [3]


def test_frame_for_a_task_of_another_is_refused_and_its_credit_given_back(link: ReceiverLink) -> None:
    data = frame(task=9)
    assert link.handle(Arrived(1, 3, ((data, 50),)), 0) == [Refuse(data, 50)]
    assert tells(link.handle(Tick(), 0)) == [Tell(1, ((9, 2, 50),), again=False)]


def test_task_that_moves_away_is_refused_from_the_placement_on(link: ReceiverLink) -> None:
    mark = EndMark(1, 0)
    assert link.handle(Arrived(1, 3, ((mark, 5),)), 0) == [Deliver(mark, 5)]
    link.handle(Placed(4, frozenset({2})), 0)
    assert link.handle(Arrived(2, 3, ((mark, 5),)), 0) == [Refuse(mark, 5)]


def test_older_placement_that_comes_late_changes_nothing(link: ReceiverLink) -> None:
    link.handle(Placed(2, frozenset()), 0)
    assert isinstance(link.handle(Arrived(1, 3, ((EndMark(1, 0), 5),)), 0)[0], Deliver)


def test_position_is_told_at_half_a_window(link: ReceiverLink) -> None:
    link.handle(Arrived(1, 3, ((frame(items=4), 10), (frame(items=4), 10))), 0)
    assert tells(link.handle(Took(1, 4, 10), 0)) == []
    assert tells(link.handle(Took(1, 4, 10), 0)) == [Tell(2, ((1, 8, 20),), again=False)]


def test_position_is_told_each_tenth_of_a_second_while_anything_is_outstanding(link: ReceiverLink) -> None:
    link.handle(Arrived(1, 3, ((frame(), 10),)), 0)
    assert tells(link.handle(Tick(), 0))
    assert not tells(link.handle(Tick(), 0.09))
    assert tells(link.handle(Tick(), 0.1))
    assert tells(link.handle(Tick(), 0.2))
    link.handle(Took(1, 2, 10), 0.25)
    assert tells(link.handle(Tick(), 0.31)) == [Tell(1, ((1, 2, 10),), again=False)]
    assert link.due == float("inf")
    assert link.is_settled


@pytest.mark.parametrize("event", [Asked(), Connected()])
def test_question_and_new_connection_are_answered_at_once(link: ReceiverLink, event: Asked | Connected) -> None:
    assert link.handle(event, 0) == [Tell(0, (), again=False)]


def test_position_that_the_connection_did_not_take_is_told_when_it_is_writable(link: ReceiverLink) -> None:
    link.handle(Asked(), 0)
    assert link.handle(Blocked(0), 0) == []
    assert link.due == float("inf")  # a blocked half must not spin
    assert link.handle(Tick(), 5) == []
    assert tells(link.handle(Writable(), 5))


def test_audits_hear_of_what_waits_unread(link: ReceiverLink) -> None:
    link.handle(Arrived(1, 4, ((frame(items=3), 10),)), 0)
    assert set(link.roots()) == {3}
