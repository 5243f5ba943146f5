"""Both halves of a link over a channel that loses, repeats and reorders: once, in order, never stuck."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from consecution.transport.link import (
    Arrived,
    Ask,
    Asked,
    Blocked,
    Connected,
    Deliver,
    LinkLimits,
    Parcel,
    Placed,
    Refuse,
    Send,
    Tell,
    Tick,
    Told,
    Took,
    Transmit,
    Writable,
)
from consecution.transport.receiver_link import ReceiverLink
from consecution.transport.sender_link import SenderLink
from consecution.wire.messages import Data, FlushMark

if TYPE_CHECKING:
    from random import Random

LIMITS = LinkLimits(
    window_items=6,
    window_bytes=60,
    unconfirmed_bytes_max=100,
    unconfirmed_messages_max=8,
    unsent_bytes_max=1 << 20,
    unread_bytes_max=40,
    packet_bytes=30,
)
TASKS = frozenset({1, 2, 3})


@dataclass
class Channel:
    """One link, and the two directions of its connection as lists of what is under way."""

    random: Random
    now: float = 0.0
    sender: SenderLink = field(default_factory=lambda: SenderLink(LIMITS))
    receiver: ReceiverLink = field(default_factory=lambda: ReceiverLink(LIMITS, Placed(1, TASKS)))
    forth: deque = field(default_factory=deque)
    back: deque = field(default_factory=deque)
    old: list = field(default_factory=list)
    sent: dict[int, Data | FlushMark] = field(default_factory=dict)
    got: list[Data | FlushMark] = field(default_factory=list)
    queues: dict[int, deque] = field(default_factory=lambda: {task: deque() for task in TASKS})
    placement: int = 1
    placed: int = 1
    count: int = 0

    def check(self) -> None:
        self.sender.check_invariants()
        self.receiver.check_invariants()
        for queue in self.queues.values():
            items = sum(data.count for data, _ in queue)
            size = sum(size for _, size in queue)
            assert len(queue) <= 1 or (items <= LIMITS.window_items and size <= LIMITS.window_bytes), "credit exceeded"

    def on_sender(self, event: object) -> None:
        for one in self.sender.handle(event, self.now):  # type: ignore[arg-type]
            if isinstance(one, (Transmit, Ask)):
                self.forth.append(one)

    def on_receiver(self, event: object) -> None:
        for one in self.receiver.handle(event, self.now):  # type: ignore[arg-type]
            if isinstance(one, Tell):
                self.back.append(one)
            elif isinstance(one, Deliver):
                self.got.append(one.message)  # type: ignore[arg-type]
                if isinstance(one.message, Data):
                    self.queues[one.message.task].append((one.message, one.size))
            else:
                assert not isinstance(one, Refuse)

    def send(self) -> None:
        self.count += 1
        task, size = self.random.choice((1, 2, 3)), self.random.randint(1, 40)
        if self.random.random() < 0.2:
            message: Data | FlushMark = FlushMark(task, 0, 7, self.count)
            mark = (task, 0, 7)
        else:
            message, mark = Data(task, b"", self.random.choice((1, 2, 3, 9)), roots=(self.count,)), None
        self.sent[self.count] = message
        items = message.count if isinstance(message, Data) else 0
        parcel = Parcel((self.count.to_bytes(4, "big"),), size, self.placement, (), task, items, mark)
        self.on_sender(Send(parcel))

    def carry(self) -> None:
        if not self.forth:
            return
        one = self.forth.popleft()
        self.old.append(one)
        self.arrive(one)

    def arrive(self, one: Transmit | Ask) -> None:
        if isinstance(one, Ask):
            self.on_receiver(Asked())
            return
        messages = []
        for part in one.parts:
            message = self.sent[int.from_bytes(part, "big")]
            messages.append((message, self.sizes[int.from_bytes(part, "big")]))
        self.on_receiver(Arrived(one.number, one.placement, tuple(messages)))

    @property
    def sizes(self) -> _Sizes:
        return _Sizes(self)

    def carry_back(self) -> None:
        if self.back:
            one = self.back.popleft()
            self.on_sender(Told(one.received, one.taken, one.again))

    def repeat(self) -> None:
        if self.old:
            self.arrive(self.random.choice(self.old[-10:]))

    def reset(self) -> None:
        """A connection ends: a tail of what is under way is lost; what is read late comes behind the new one's."""
        for direction in (self.forth, self.back):
            for _ in range(self.random.randint(0, len(direction))):
                direction.pop()
        late = list(self.forth)
        self.forth.clear()
        if self.random.random() < 0.3:
            self.on_sender(Blocked(late[0].number if late and isinstance(late[0], Transmit) else 0))
            self.on_receiver(Blocked(0))
            self.on_sender(Writable())
            self.on_receiver(Writable())
        self.on_sender(Connected())
        self.on_receiver(Connected())
        place = self.random.randint(0, len(self.forth))
        for one in reversed(late):
            self.forth.insert(place, one)

    def lose_unnoticed(self) -> None:
        if self.forth:
            self.forth.popleft()
        if self.back:
            self.back.popleft()

    def take(self) -> None:
        task = self.random.choice((1, 2, 3))
        if self.queues[task]:
            data, size = self.queues[task].popleft()
            self.on_receiver(Took(task, data.count, size))

    def tick(self) -> None:
        self.now += self.random.choice((0.01, 0.11, 1.0))
        self.on_sender(Tick())
        self.on_receiver(Tick())

    def know(self) -> None:
        self.placement += 1

    def place(self) -> None:
        self.placed = self.random.randint(self.placed, self.placement)
        self.on_receiver(Placed(self.placed, TASKS))

    def finish(self) -> None:
        """No more faults: everything must arrive within a minute of the link's time."""
        self.on_receiver(Placed(self.placement, TASKS))
        end = self.now + 600
        while not (self.sender.is_settled and self.receiver.is_settled) or any(self.queues.values()):
            assert self.now < end, "the link stands still"
            while self.forth or self.back or any(self.queues.values()):
                self.carry()
                self.carry_back()
                self.take()
                self.check()
            self.now += 0.1
            self.on_sender(Tick())
            self.on_receiver(Tick())
            self.check()


class _Sizes:
    """Sizes of messages: what was sent as size must be counted as size."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def __getitem__(self, number: int) -> int:
        return self.channel.parcel_sizes[number]


class Recorded(Channel):
    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.parcel_sizes: dict[int, int] = {}

    def on_sender(self, event: object) -> None:
        if isinstance(event, Send):
            self.parcel_sizes[self.count] = event.parcel.size
        super().on_sender(event)


def per_task(messages: object, task: int) -> list:
    return [one for one in messages if one.task == task and isinstance(one, Data)]  # type: ignore[attr-defined]


@given(st.randoms(use_true_random=False), st.integers(10, 120))
@settings(max_examples=120, deadline=None)
def test_everything_arrives_once_and_in_order_whatever_the_channel_does(random: Random, steps: int) -> None:
    channel = Recorded(random)
    actions = [
        *(channel.send,) * 4,
        *(channel.carry,) * 4,
        *(channel.carry_back,) * 3,
        *(channel.take,) * 3,
        channel.repeat,
        channel.reset,
        channel.lose_unnoticed,
        channel.tick,
        channel.know,
        channel.place,
    ]
    for _ in range(steps):
        random.choice(actions)()
        channel.check()
    channel.finish()
    for task in TASKS:
        assert per_task(channel.got, task) == per_task(channel.sent.values(), task)
        marks = [one for one in channel.sent.values() if isinstance(one, FlushMark) and one.task == task]
        came = [one for one in channel.got if isinstance(one, FlushMark) and one.task == task]
        assert came == sorted(set(came), key=lambda one: one.number)
        if marks:
            assert came[-1] == marks[-1], "the newest mark was lost"
            behind = list(channel.sent.values())
            before = {one.roots for one in behind[: behind.index(marks[-1])] if isinstance(one, Data)}
            so_far = channel.got[: channel.got.index(came[-1])]
            before_here = {d.roots for d in per_task(behind, task) if d.roots in before}
            assert before_here <= {d.roots for d in per_task(so_far, task)}, "a mark overtook a frame"
