"""Frames on their way: what can't travel is taken out alone, and what is too large for one frame goes in several."""

from __future__ import annotations

from itertools import count

from consecution.executor.frames import Frame
from consecution.process.packing import Packing, frame_of

NEW_ID = count(100).__next__


def frame_with(items: list[object]) -> Frame:
    return Frame(3, items, (7,), (11,), (1,), None, False)


def test_items_that_can_not_travel_are_taken_out_with_their_origins() -> None:
    packing = Packing()
    bad_item = object()
    [frame], bad = packing.prepare(frame_with([1, bad_item, 3, {"a": [bad_item]}]), NEW_ID)
    assert [(code, item) for code, item, _ in bad] == [(1, bad_item), (3, {"a": [bad_item]})]
    sent = frame_of(packing.data(frame))
    assert (sent.items, sent.origins, sent.ids) == ([1, 3], [0, 2], (11,))


def test_a_frame_of_which_nothing_can_travel_is_not_sent() -> None:
    frames, bad = Packing().prepare(frame_with([object()]), NEW_ID)
    assert frames == []
    assert len(bad) == 1


def test_a_frame_that_is_too_large_goes_in_several_with_ids_of_their_own() -> None:
    packing = Packing()
    items: list[object] = [str(n) * 3_000_000 for n in range(10)]
    frames, bad = packing.prepare(frame_with(list(items)), NEW_ID)
    assert not bad
    assert len(frames) > 1
    ids = [frame.ids[0] for frame in frames]
    assert ids[0] == 11
    assert len(set(ids)) == len(ids)
    sent = [frame_of(packing.data(frame)) for frame in frames]
    assert [item for one in sent for item in one.items] == items
    assert [origin for one in sent for origin in one.origins or ()] == list(range(10))


def test_an_item_that_is_too_large_by_itself_fails_alone() -> None:
    packing = Packing()
    frames, bad = packing.prepare(frame_with([1, "x" * 20_000_000, 3]), NEW_ID)
    assert [code for code, _, _ in bad] == [1]
    assert [item for frame in frames for item in frame_of(packing.data(frame)).items] == [1, 3]
