"""Pushes from outside: to whom they are carried, what is refused, and that asking again does no harm."""

from __future__ import annotations

import pytest
from consecution_coordinator import relays
from consecution_coordinator.events import ClientAsked, Tell, WorkerSaid

from consecution.guarantee.messages import Cause
from consecution.wire.cluster.from_client import AskFates, Drain, FeedFacts, Pause, Push
from consecution.wire.cluster.parcel import Refused
from consecution.wire.cluster.to_client import FatesAre, Pushed, State
from consecution.wire.cluster.to_worker import ForChild
from consecution.wire.control import ItemFate, ItemsAre, PushedIn
from tests.unit.coordinator.conftest import CLIENT, World

PUSH = Push("flow", b"packed", ("k1", "k2"))


def pusher(place: int = 0, name: str = "manual") -> FeedFacts:
    return FeedFacts(place, name, "manual", "handed over", True, (0,))


def ask(world: World, message: object, request: str = "r", peer: bytes = CLIENT) -> list[tuple[bytes, object]]:
    """What is told, to whom, when a client asks."""
    found = world.send(ClientAsked(peer, request, message))  # type: ignore[arg-type]
    return [(one.peer, one.message) for one in found if isinstance(one, Tell)]


def refusal(world: World, message: object = PUSH) -> Refused:
    told = ask(world, message, f"r{next(world.ids)}")
    assert [peer for peer, _ in told] == [CLIENT]
    assert isinstance(told[0][1], Refused)
    return told[0][1]


@pytest.fixture
def running(world: World, build: object) -> World:
    world.worker("a")
    world.start(facts=build.plan(1, 1, feeds=(pusher(),)))  # type: ignore[attr-defined]
    assert world.state_of() is State.RUNNING
    return world


def test_a_push_goes_to_the_executor_of_the_pusher_and_its_answer_to_who_asked(running: World) -> None:
    (peer, carried), = ask(running, PUSH)  # fmt: skip
    assert isinstance(carried, ForChild)
    worker = next(iter(running.workers.values()))
    assert (peer, carried.id) == (worker.peer, worker.child(0))
    assert carried.push is not None
    assert (carried.push.place, carried.push.items, carried.push.keys) == (0, b"packed", ("k1", "k2"))
    answer = PushedIn(carried.push.request, "manual", (4, 5))
    running.send(WorkerSaid(worker.peer, "", answer))
    assert running.answers[-1] == ("r", Pushed("manual", 0, (4, 5)))
    running.send(WorkerSaid(worker.peer, "", answer))  # told twice
    assert [one for one in running.answers if one[0] == "r"] == [("r", Pushed("manual", 0, (4, 5)))]


def test_asked_again_it_is_carried_again_under_the_same_request(running: World) -> None:
    (_, first), = ask(running, PUSH)  # fmt: skip
    (_, again), = ask(running, PUSH)  # fmt: skip
    (_, other), = ask(running, PUSH, "r2")  # fmt: skip
    assert first == again
    assert isinstance(first, ForChild)
    assert isinstance(other, ForChild)
    assert first.push is not None
    assert other.push is not None
    assert first.push.request != other.push.request


def test_an_executor_that_does_not_answer_in_time_is_said_so_and_its_late_answer_is_dropped(running: World) -> None:
    (_, carried), = ask(running, PUSH)  # fmt: skip
    assert isinstance(carried, ForChild)
    assert carried.push is not None
    running.run(1.0)
    ask(running, PUSH)  # asking again makes it live no longer
    running.run(1.0)
    request, answer = running.answers[-1]
    assert (request, isinstance(answer, Refused) and not answer.is_final) == ("r", True)
    assert "window may be full" in answer.reason
    n_answers = len(running.answers)
    running.send(WorkerSaid(b"a", "", PushedIn(carried.push.request, "manual", (4, 5))))
    assert len(running.answers) == n_answers


def test_what_became_of_items_is_asked_of_the_executor_too_also_while_it_is_paused(running: World) -> None:
    running.ask(Pause("flow"))
    (peer, carried), = ask(running, AskFates("flow", 0, (4, 5)))  # fmt: skip
    assert isinstance(carried, ForChild)
    assert carried.ask is not None
    fates = (ItemFate("completed"), ItemFate("failed", 2, Cause("n", "ValueError", "no")))
    running.send(WorkerSaid(peer, "", ItemsAre(carried.ask.request, fates)))
    assert running.answers[-1] == ("r", FatesAre(fates))


def test_a_push_is_refused_for_good_where_it_can_never_go(world: World, build: object) -> None:
    world.worker("a", slots=9)
    world.start("none", facts=build.plan(1))  # type: ignore[attr-defined]
    world.start("two", facts=build.plan(1, feeds=(pusher(0, "x"), pusher(1, "y"))))  # type: ignore[attr-defined]
    expected = {
        Push("nobody", b"", ()): "there is no topology 'nobody'",
        Push("none", b"", ()): "has no Pusher, so nothing can be pushed into it",
        Push("two", b"", ()): "has 2 Pushers ('x', 'y'); name one of them",
        Push("two", b"", (), "z"): "has no Pusher 'z'; it has 'x', 'y'",
    }
    for message, reason in expected.items():
        refused = refusal(world, message)
        assert reason in refused.reason
        assert refused.is_final
    (_, carried), = ask(world, Push("two", b"", (), "y"))  # fmt: skip
    assert isinstance(carried, ForChild)
    assert carried.push is not None
    assert carried.push.place == 1


def test_a_push_is_refused_while_it_is_paused_drains_and_is_over(running: World) -> None:
    running.ask(Pause("flow"))
    assert "is paused; `consecution resume flow` first" in refusal(running).reason
    running.ask(Drain("flow"))
    assert "is draining, and takes no more items" in refusal(running).reason
    running.run(3.0)
    assert "is over (drained)" in refusal(running).reason
    assert "is over" in refusal(running, AskFates("flow", 0, (1,))).reason


def test_a_push_may_be_asked_again_while_it_starts_or_its_executor_does(world: World, build: object) -> None:
    world.ask(build.submit(facts=build.plan(1, feeds=(pusher(),))))  # type: ignore[attr-defined]
    pending = refusal(world)
    assert (pending.is_final, "isn't running yet" in pending.reason) == (False, True)
    worker = world.worker("a")
    world.run(1.0)
    worker.crash(0)
    starting = refusal(world)
    assert (starting.is_final, "is being started" in starting.reason) == (False, True)
    world.run(2.0)
    assert isinstance(ask(world, PUSH)[0][1], ForChild)


def test_a_push_names_the_worker_whose_disk_is_away(running: World) -> None:
    worker = next(iter(running.workers.values()))
    worker.die()
    running.worker("b")
    running.run(5.0)
    refused = refusal(running)
    assert not refused.is_final
    assert "worker 'a', whose disk holds its journal, is not there" in refused.reason


def test_an_executor_says_no_and_the_client_hears_whether_to_ask_again(running: World) -> None:
    for is_final in (True, False):
        (peer, carried), = ask(running, PUSH, f"q{is_final}")  # fmt: skip
        assert isinstance(carried, ForChild)
        assert carried.push is not None
        running.send(WorkerSaid(peer, "", PushedIn(carried.push.request, error="no", is_final=is_final)))
        assert running.answers[-1] == (f"q{is_final}", Refused("no", is_final=is_final, kind="state"))


def test_pushes_that_wait_are_bounded(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "RELAYS_MAX", 2)
    for number in range(2):
        assert isinstance(ask(running, PUSH, f"r{number}")[0][1], ForChild)
    assert "2 pushes wait" in refusal(running).reason
    running.run(2.0)
    assert isinstance(ask(running, PUSH, "later")[0][1], ForChild)
