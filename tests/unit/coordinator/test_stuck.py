"""Links that are stuck while the coordinator hears both ends: shown, and in the history, once."""

from __future__ import annotations

import pytest

from consecution.wire.cluster.from_client import Rebalance
from consecution.wire.cluster.parcel import Done
from consecution.wire.control import StuckLink

FOR_S = 3.0


@pytest.fixture
def two(world, build):
    """Executor 0 on worker a, executor 1 on worker b."""
    a, b = world.worker("a", slots=1), world.worker("b", slots=1)
    world.start("flow", build.plan(1, 1))
    return a, b


def stuck_to(world, index: int, for_s: float = FOR_S, waiting: int = 7) -> StuckLink:
    incarnation = next(
        m.incarnation for m in world.placement().members if (m.role.value, m.index) == ("executor", index)
    )
    return StuckLink(incarnation, for_s, waiting)


def history(world) -> list[str]:
    return [text for _, text in world.status().events if "answer" in text]


def pair(world, two) -> None:
    """A tells that it gets no answer of b for as long as this is called."""
    a, _ = two
    a.tell(0, stuck=(stuck_to(world, 1),))


def test_a_stuck_link_is_shown_with_both_ends_for_how_long_and_what_waits(world, two):
    pair(world, two)
    world.run(2.0)
    (one,) = world.status().stuck
    assert (one.process, one.worker, one.to, one.to_worker) == ("executor-0", "a", "executor-1", "b")
    assert (one.for_s, one.waiting) == (FOR_S, 7)
    assert world.status().summary.reason == "waits for the network between a and b"
    (line,) = history(world)
    assert line == (
        "a gets no answer from b for 3 s, though the coordinator hears both (executor-0 to executor-1); "
        "7 messages wait: look at the network between the two"
    )
    assert any(line in text for text in world.log)


def test_its_end_is_told(world, two):
    pair(world, two)
    world.run(2.0)
    two[0].tell(0, stuck=())
    world.run(3.0)
    assert world.status().stuck == ()
    assert world.status().summary.reason == ""
    assert where(world)["executor-1"] == "b"
    assert [text.partition(",")[0] for text in history(world)] == [
        "a gets no answer from b for 3 s",
        "a waits for no answer of b any more",
    ]


def test_what_is_told_for_a_moment_is_no_matter(world, two):
    """The words of both ends are not of the same moment: b's call may have ended since a was heard."""
    pair(world, two)
    world.run(1.0)
    two[0].tell(0, stuck=())
    world.run(3.0)
    assert history(world) == []


@pytest.mark.parametrize("oldest_s", [3.0, 300.0])
def test_who_is_in_a_long_call_answers_late(world, two, oldest_s):
    two[1].tell(1, oldest_s=oldest_s)
    pair(world, two)
    world.run(5.0)
    assert (world.status().stuck, history(world)) == ((), [])


def test_who_is_still_setting_up_answers_late(world, two):
    """1. E1 dies. 2. Its successor is listed, and its setup takes long. 3. E0 waits for its answer."""
    _, b = two
    place, b.place = b.place, lambda placement: None
    b.crash(1)
    world.run(2.0)
    pair(world, two)
    world.run(5.0)
    assert history(world) == []
    b.place = place
    world.run(2.0)
    assert len(history(world)) == 1


def test_who_is_dead_is_waited_for_by_nobody(world, two):
    _, b = two
    pair(world, two)
    world.run(2.0)
    b.die()
    world.run(5.0)
    assert world.status().stuck == ()
    assert "network" not in world.status().summary.reason


# ---- giving way ------------------------------------------------------------------------------------------------------


def where(world) -> dict[str, str]:
    return {f"{m.role.value}-{m.index}": m.worker for m in world.placement().members}


def last_s(world, two, seconds: float) -> None:
    """A gets no answer of b for so long, and says for how long."""
    for step in range(round(seconds / 0.5)):
        two[0].tell(0, stuck=(stuck_to(world, 1, 3.0 + 0.5 * step),))
        world.run(0.5)
        if where(world).get("executor-1") != "b":
            return


def test_after_six_seconds_the_one_without_producers_gives_way(world, two):
    before = world.placement()
    last_s(world, two, 2.5)
    assert world.placement().members == before.members
    last_s(world, two, 8.0)
    world.run(2.0)
    assert set(where(world).values()) == {"a"}
    assert next(m for m in before.members if m.feeds) in world.placement().members
    assert two[1].runs() == []
    assert world.placement().deaths == ()  # nobody is to blame
    assert any("b and a don't reach each other for 6 s" in text for _, text in world.status().events)
    assert world.status().summary.reason == ""


def test_who_gave_way_gets_nothing_until_a_user_rebalances(world, two):
    last_s(world, two, 8.0)
    two[0].tell(0, stuck=())
    world.run(1.0)
    two[0].crash(1)
    world.run(2.0)
    assert set(where(world).values()) == {"a"}
    assert isinstance(world.ask(Rebalance("flow")), Done)
    world.run(3.0)
    assert set(where(world).values()) == {"a", "b"}


def test_who_gave_way_is_better_than_nobody(world, two):
    last_s(world, two, 8.0)
    two[0].die()
    world.run(8.0)
    assert set(where(world).values()) == {"b"}


@pytest.mark.parametrize("level", ["NONE", "CONFIRM", "TRACK"])
def test_without_replay_it_only_waits(world, build, level):
    a, b = world.worker("a", slots=1), world.worker("b", slots=1)
    world.start("flow", build.plan(1, 1), level=level)
    before = world.placement().members
    last_s(world, (a, b), 10.0)
    assert world.placement().members == before
    assert len(world.status().stuck) == 1


def test_a_run_that_would_begin_anew_only_waits(world, build):
    a, b = world.worker("a", slots=1), world.worker("b", slots=1)
    world.start("flow", build.plan(1, 1, accumulating=True))
    last_s(world, (a, b), 10.0)
    assert world.placement().pass_number == 1


def test_of_three_the_one_that_neither_reaches_gives_way(world, build):
    """A runs the producer; c is cut from a and from b."""
    workers = [world.worker(name, slots=1) for name in "abc"]
    world.start("flow", build.plan(1, 1, 1))
    assert [where(world)[f"executor-{index}"] for index in range(3)] == ["a", "b", "c"]
    for step in range(20):
        for index in (0, 1):
            is_cut = where(world).get("executor-2") == "c"
            links = (stuck_to(world, 2, 3.0 + 0.5 * step),) if is_cut else ()
            workers[index].tell(index, stuck=links)
        world.run(0.5)
    assert set(where(world).values()) == {"a", "b"}
    assert where(world)["executor-1"] == "b"
