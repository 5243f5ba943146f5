"""What every transport promises: once, in order, never stuck, until one of both dies."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from consecution.transport.link import LinkLimits
from consecution.transport.links import Credited, Lagging, Received, Refused
from consecution.wire.messages import Audit, Data, EndMark

if TYPE_CHECKING:
    from tests.contract.transport.conftest import World

A, B, C = 11, 12, 13
SMALL = LinkLimits(window_items=100, window_bytes=1 << 20)


def numbers(messages: list) -> list[int]:
    return [one.number for one in messages]


def send_many(world: World, count: int, start: int = 0, to: int = B) -> None:
    for number in range(start, start + count):
        assert world.transports[A].send(to, Audit(number, ()))


def test_messages_arrive_once_and_in_order_in_both_directions(world: World) -> None:
    world.start(A)
    world.start(B)
    world.place()
    send_many(world, 1000)
    for number in range(1000):
        world.transports[B].send(A, Audit(number, ()))
    world.until(lambda: len(world.received(A)) == len(world.received(B)) == 1000)
    assert numbers(world.received(A)) == numbers(world.received(B)) == list(range(1000))
    world.until(lambda: all(one.is_settled for one in world.transports.values()), "settled")


def test_process_can_send_to_itself(world: World) -> None:
    world.start(A)
    world.place()
    send_many(world, 3, to=A)
    world.until(lambda: len(world.received(A)) == 3)


def test_connection_resets_lose_repeat_and_reorder_nothing(world: World) -> None:
    """Schedule 4, and row 16 of the fault matrix: resets while both sides send large messages."""
    world.start(A, tasks=(1,))
    world.start(B, tasks=(2,))
    world.place()
    sent = 0
    for round_ in range(8):
        for _ in range(20):
            world.transports[A].send(B, Data(2, b"x" * 50_000, 1, (sent,), (1,), (1,)))
            world.transports[B].send(A, Data(1, b"y" * 50_000, 1, (sent,), (1,), (1,)))
            sent += 1
        wanted = min(sent, len(world.received(B)) + 5)
        world.until(lambda wanted=wanted: len(world.received(B)) >= wanted)
        if round_ % 2:
            world.reset()
    world.until(lambda: len(world.received(A)) >= sent and len(world.received(B)) >= sent, f"{sent} messages")
    for one in (A, B):
        assert [data.roots[0] for data in world.received(one)] == list(range(sent))


def test_cut_connection_delivers_everything_after_it_heals(world: World) -> None:
    world.start(A)
    world.start(B)
    world.place()
    send_many(world, 50)
    world.until(lambda: len(world.received(B)) >= 10)
    world.cut()
    send_many(world, 500, start=50)
    for _ in range(20):
        world.poll()
    world.heal()
    world.until(lambda: len(world.received(B)) >= 550)
    assert numbers(world.received(B)) == list(range(550))


def test_slow_receiver_gets_no_more_than_its_window(world: World) -> None:
    world.takes_up = False
    sender = world.start(A, limits=SMALL)
    receiver = world.start(B, limits=SMALL, tasks=(7,))
    world.place()
    for number in range(60):
        sender.send(B, Data(7, b"x", 10, (number,), (1,), (1,)))
    sender.send(B, Audit(1, ()))  # needs no credit
    world.until(lambda: len(world.received(B)) == 11, "a window of frames, and the audit")
    for _ in range(50):
        world.poll()
    assert len(world.received(B)) == 11
    assert not sender.has_credit(B, 7)
    assert sender.has_credit(B, 8)
    for one in world.news[B]:
        receiver.take_up(one)
    world.takes_up = True
    world.until(lambda: len(world.received(B)) == 61)
    world.until(lambda: any(isinstance(one, Credited) for one in world.news[A]), "credit again")
    assert sender.has_credit(B, 7)


def test_credit_comes_back_although_the_connection_was_reset_with_a_full_window(world: World) -> None:
    """Schedule 4."""
    world.takes_up = False
    sender = world.start(A, limits=SMALL)
    receiver = world.start(B, limits=SMALL, tasks=(7,))
    world.place()
    for number in range(20):
        sender.send(B, Data(7, b"x", 10, (number,), (1,), (1,)))
    world.until(lambda: len(world.received(B)) == 10)
    world.cut()
    for one in [one for one in world.news[B] if isinstance(one, Received)]:
        receiver.take_up(one)
    world.takes_up = True
    for _ in range(10):
        world.poll()
    world.heal()
    world.until(lambda: len(world.received(B)) == 20)
    assert [data.roots[0] for data in world.received(B)] == list(range(20))


def test_two_processes_that_feed_each_other_never_stand_still(world: World) -> None:
    """Schedule 16: P1 runs a and c, P2 runs b and d, a -> b -> c -> d; credit for each link stopped it for ever."""
    b, c, d = 2, 3, 4
    limits = LinkLimits(window_items=4, window_bytes=10_000)
    one = world.start(A, limits=limits, tasks=(c,))
    two = world.start(B, limits=limits, tasks=(b, d))
    world.place()
    world.takes_up = False
    stages = {b: (two, A, c), c: (one, B, d), d: (two, None, None)}
    queues: dict[int, deque[Received]] = {task: deque() for task in stages}
    seen = dict.fromkeys((A, B), 0)
    fed = done = 0
    total = 300

    def step() -> bool:
        nonlocal fed, done
        while fed < total and one.has_credit(B, b):
            one.send(B, Data(b, b"x" * 100, 1, (fed,), (1,), (1,)))
            fed += 1
        for process in (A, B):
            for news in world.news[process][seen[process] :]:
                if isinstance(news, Received):
                    queues[news.message.task].append(news)  # type: ignore[union-attr]
                    assert len(queues[news.message.task]) <= 4  # type: ignore[union-attr]
            seen[process] = len(world.news[process])
        for task, (transport, to, target) in stages.items():
            while queues[task] and (to is None or transport.has_credit(to, target)):
                received = queues[task].popleft()
                transport.take_up(received)
                if to is None:
                    assert received.message.roots == (done,)  # type: ignore[union-attr]
                    done += 1
                else:
                    transport.send(to, Data(target, b"x" * 100, 1, received.message.roots, (1,), (1,)))
        return done == total

    world.until(step, "schedule 16")


def test_new_process_on_the_address_of_a_dead_one_gets_nothing_that_was_for_it(world: World) -> None:
    """Row 2 of the ZeroMQ facts, schedule 14: what waits for a dead process must not reach its successor."""
    world.start(A)
    victim = world.start(B)
    world.place()
    send_many(world, 20)
    world.until(lambda: len(world.received(B)) >= 1)
    address = victim.address
    world.kill(B)
    send_many(world, 100, start=20)
    for _ in range(20):
        world.poll()
    world.start(C, address=address)
    for _ in range(50):
        world.poll()  # under the old placement: all that A still sends there is for the dead incarnation
    assert world.received(C) == []
    world.place()
    send_many(world, 5, start=500, to=C)
    world.until(lambda: len(world.received(C)) >= 5)
    assert numbers(world.received(C)) == [500, 501, 502, 503, 504]
    assert not world.transports[A].send(B, Audit(1, ()))
    world.until(lambda: world.transports[A].is_settled, "nothing waits for the dead")


def test_message_of_a_later_placement_waits_until_the_receiver_knows_it(world: World) -> None:
    """Schedules 13, 19."""
    world.start(A)
    world.start(B, tasks=(7,))
    world.place()
    world.place(A)
    send_many(world, 5)
    world.until(lambda: any(isinstance(one, Lagging) for one in world.news[B]))
    assert world.received(B) == []
    world.number -= 1
    world.place(B)
    world.until(lambda: len(world.received(B)) == 5)


def test_frame_for_a_task_of_another_is_refused_aloud(world: World) -> None:
    world.start(A)
    world.start(B, tasks=(7,))
    world.place()
    data = Data(8, b"x", 1, (5,), (6,), (A,))
    world.transports[A].send(B, data)
    world.transports[A].send(B, EndMark(7, 0))
    world.until(lambda: len(world.received(B)) == 1)
    assert [one for one in world.news[B] if isinstance(one, Refused)] == [Refused(A, data)]


def test_audits_hear_of_what_is_under_way(world: World) -> None:
    world.start(A)
    world.start(B, tasks=(7,))
    world.place()
    world.cut()
    world.transports[A].send(B, Data(7, b"x", 1, (99,), (6,), (A,)))
    assert world.transports[A].roots() == {99}
    world.heal()
    world.until(lambda: world.received(B) and world.transports[A].is_settled)
    assert world.transports[A].roots() == set()
