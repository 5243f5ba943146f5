"""When a cursor asks which page."""

from __future__ import annotations

from consecution.producers.paging import (
    AskNewest,
    AskPage,
    AskWriters,
    Broke,
    End,
    GiveUp,
    NewestRead,
    PageRead,
    Paging,
    Pause,
    Started,
    WritersRead,
)


def writers(*names: str) -> WritersRead:
    return WritersRead(frozenset(names))


def test_a_short_page_is_the_end_unless_followed() -> None:
    paging = Paging((4,), follow=False)
    assert paging.handle(Started(), 0.0) == AskPage((4,), None)
    assert paging.handle(PageRead((9,), is_full=True), 0.0) == AskPage((9,), None)
    assert paging.handle(PageRead((11,), is_full=False), 0.0) == End()
    followed = Paging((4,), follow=True, poll_s=2.0)
    followed.handle(Started(), 0.0)
    assert followed.handle(PageRead((5,), is_full=False), 0.0) == Pause(2.0)
    assert followed.handle(Started(), 2.0) == AskPage((5,), None)


def test_no_row_is_read_before_all_who_were_writing_have_ended() -> None:
    """The order of commits is not that of keys.

    1. A takes key 1, B takes key 2 and commits; the cursor sees 2 as the newest.
    2. A is still writing, C begins: only A is waited for.
    3. A commits: now all rows up to 2 are read, and those above are asked about anew.
    """
    paging = Paging(None, follow=True, settles=True, poll_s=1.0)
    assert paging.handle(Started(), 0.0) == AskNewest(None)
    assert paging.handle(NewestRead((2,)), 0.0) == AskWriters()
    assert paging.handle(writers("A"), 0.0) == Pause(0.01)
    assert paging.handle(Started(), 0.0) == AskWriters()
    assert isinstance(paging.handle(writers("A", "C"), 0.1), Pause)
    paging.handle(Started(), 0.2)
    assert paging.handle(writers("C"), 0.2) == AskPage(None, (2,))
    assert paging.handle(PageRead((1,), is_full=True), 0.2) == AskPage((1,), (2,))
    assert paging.handle(PageRead((2,), is_full=True), 0.2) == AskNewest((2,))
    assert paging.handle(NewestRead(None), 0.2) == Pause(1.0)


def test_a_prepared_transaction_is_waited_for_under_its_other_name() -> None:
    paging = Paging(None, follow=True, settles=True)
    paging.handle(Started(), 0.0)
    paging.handle(NewestRead((2,)), 0.0)
    paging.handle(writers("3/7"), 0.0)
    assert isinstance(paging.handle(writers("-1/700"), 0.1), Pause)
    assert paging.handle(writers(), 0.2) == AskPage(None, (2,))


def test_writers_that_do_not_end_are_told_of() -> None:
    paging = Paging(None, follow=True, settles=True)
    paging.handle(Started(), 0.0)
    paging.handle(NewestRead((2,)), 0.0)
    paging.handle(writers("A"), 0.0)
    assert paging.trouble is None
    paging.handle(writers("A"), 6.0)
    assert paging.trouble == "1 transactions of the database that have written for 6 s"
    paging.handle(writers(), 7.0)
    assert paging.trouble is None


def test_an_outage_is_tried_again_with_growing_waits_and_given_up_at_last() -> None:
    paging = Paging((3,), follow=True, give_up_s=60.0)
    paging.handle(Started(), 0.0)
    waits = []
    now = 0.0
    while isinstance(answer := paging.handle(Broke("connection refused"), now), Pause):
        waits.append(answer.seconds)
        now += answer.seconds
        assert paging.handle(Started(), now) == AskPage((3,), None)
        assert paging.is_broken
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(waits) == 10.0
    assert isinstance(answer, GiveUp)
    assert 60.0 <= now < 75.0
    assert answer.why.startswith("connection refused; tried 13 times within")


def test_after_an_outage_the_same_page_is_asked_for_and_waits_begin_anew() -> None:
    paging = Paging((3,), follow=True)
    paging.handle(Started(), 0.0)
    paging.handle(Broke("away"), 0.0)
    assert paging.handle(Broke("away"), 10.0) == Pause(0.2)
    assert paging.trouble == "the database, away for 10 s: away"
    assert paging.handle(Started(), 10.2) == AskPage((3,), None)
    paging.handle(PageRead((4,), is_full=False), 10.2)
    assert paging.trouble is None
    assert not paging.is_broken
    assert paging.handle(Broke("away"), 400.0) == Pause(0.1)
