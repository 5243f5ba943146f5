"""Pushes from outside, where the executor takes them: journalled before yes, once, whatever is asked again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from consecution.process import handing
from consecution.process.handing import Handing
from consecution.producers import Pusher, SequenceProducer
from consecution.producers.inquiries import Fate
from consecution.wire.codec import pack_items
from consecution.wire.control import AskItems, ItemFate, ItemsAre, PushedIn, PushIn
from consecution.wire.placement import Phase


@dataclass
class FakeFeed:
    """A feed whose journal is a list."""

    producer: Any
    place: int = 0
    name: str = "manual"
    taken: list[Any] = field(default_factory=list)

    def journal(self) -> None:
        """Take what was pushed, as the real one does."""
        read = self.producer.read(100)
        for item, token in zip(read.items, read.tokens or (), strict=True):
            token._journalled(self.name, len(self.taken))
            self.taken.append(item)

    def fate(self, seq: int) -> Fate | None:
        return Fate(seq, "open") if seq < len(self.taken) else None


@dataclass
class FakePeer:
    feeds: list[FakeFeed]
    phase: Phase = Phase.RUNNING

    @property
    def intake(self) -> Any:
        return self if self.feeds else None

    @property
    def placement(self) -> Any:
        return self


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed(Pusher(queue_items_max=3))


def push(request: str, *items: Any) -> PushIn:
    return PushIn(request, 0, pack_items(list(items)), tuple(f"{request}-{n}" for n in range(len(items))))


def test_it_is_answered_when_all_is_journalled_and_no_sooner(feed: FakeFeed) -> None:
    one = Handing(FakePeer([feed]))  # type: ignore[arg-type]
    one.hear(push("r1", "a", "b"))
    assert one.answers() == []
    feed.journal()
    assert one.answers() == [PushedIn("r1", "manual", (0, 1), is_final=False)]
    assert one.answers() == []


def test_asked_again_it_is_not_pushed_again_before_its_answer_or_after(feed: FakeFeed) -> None:
    one = Handing(FakePeer([feed]))  # type: ignore[arg-type]
    one.hear(push("r1", "a"))
    one.hear(push("r1", "a"))
    feed.journal()
    (answer,) = one.answers()
    one.hear(push("r1", "a"))
    assert one.answers() == [answer]
    assert feed.taken == ["a"]


def test_answers_that_are_remembered_are_bounded(feed: FakeFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "KEPT_MAX", 2)
    one = Handing(FakePeer([feed]))  # type: ignore[arg-type]
    for number in range(3):
        one.hear(push(f"r{number}", number))
        feed.journal()
        one.answers()
    one.hear(push("r0", 0))  # forgotten here; in the journal its key is known
    assert feed.producer.waiting_items == 1


def test_without_room_for_all_it_says_no_once_the_first_ones_are_journalled(feed: FakeFeed) -> None:
    one = Handing(FakePeer([feed]))  # type: ignore[arg-type]
    one.hear(push("r1", 1, 2, 3, 4))
    assert one.answers() == []
    feed.journal()
    (answer,) = one.answers()
    assert isinstance(answer, PushedIn)
    assert (answer.is_final, "3 pushed items wait" in answer.error) == (False, True)
    one.hear(push("r1", 1, 2, 3, 4))  # and again: the journal knows the first three by their keys
    assert feed.producer.waiting_items == 3


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.PAUSED, Phase.DRAINING, Phase.ENDED])
def test_nothing_is_taken_while_the_topology_takes_nothing(feed: FakeFeed, phase: Phase) -> None:
    one = Handing(FakePeer([feed], phase))  # type: ignore[arg-type]
    one.hear(push("r1", "a"))
    (answer,) = one.answers()
    assert isinstance(answer, PushedIn)
    assert answer.error
    assert not answer.is_final
    assert feed.producer.waiting_items == 0


def test_what_can_never_be_pushed_is_refused_for_good(feed: FakeFeed) -> None:
    one = Handing(FakePeer([feed, FakeFeed(SequenceProducer([1]), place=1, name="rows")]))  # type: ignore[arg-type]
    one.hear(PushIn("r1", 0, b"\xc1", ("k",)))
    one.hear(PushIn("r2", 0, pack_items([1, 2]), ("k",)))
    one.hear(PushIn("r3", 1, pack_items([1]), ("k",)))
    answers = one.answers()
    assert [(one.request, one.is_final) for one in answers if isinstance(one, PushedIn)] == [
        ("r1", True), ("r2", True), ("r3", True)
    ]  # fmt: skip
    assert "'rows' is no Pusher" in answers[2].error


def test_fates_are_told_in_order_and_unknown_items_as_such(feed: FakeFeed) -> None:
    one = Handing(FakePeer([feed]))  # type: ignore[arg-type]
    one.hear(push("r1", "a"))
    feed.journal()
    one.answers()
    one.hear(AskItems("q2", 5, (0,)))
    one.hear(AskItems("q3", 0, (0, 7)))
    assert one.answers() == [
        ItemsAre("q2", error="the executor is not ready; ask again"),
        ItemsAre("q3", (ItemFate("open"), ItemFate())),
    ]
