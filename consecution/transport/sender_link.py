"""The sender's half of a link: numbers, repetition, credit (R2, R3; the rules are in ``link``).

A message passes three places. *Lacking*: frames that wait for their task's credit, and marks behind them, in a queue
for each task. *Ready*: may go, not yet numbered. *Kept*: numbered and sent, until confirmed.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from consecution.errors import CapacityError, ProtocolError
from consecution.transport.link import (
    Ask,
    Blocked,
    Connected,
    Eased,
    LinkLimits,
    Send,
    Tick,
    Told,
    Transmit,
    Writable,
)
from consecution.wire.envelope import MESSAGES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.guarantee.messages import Root
    from consecution.transport.link import Parcel, SenderEvent, SenderInstruction

NEVER = float("inf")
SUPERSEDED_MAX = 256


class _Account:
    """What went to a task and what it has taken, since the link began; ``items`` and ``size`` are outstanding."""

    __slots__ = ("items", "sent_bytes", "sent_items", "size", "taken_bytes", "taken_items")

    def __init__(self) -> None:
        self.sent_items = self.sent_bytes = self.taken_items = self.taken_bytes = self.items = self.size = 0

    def send(self, items: int, size: int) -> None:
        """Count a frame that goes out."""
        self.sent_items += items
        self.sent_bytes += size
        self.items += items
        self.size += size

    def take(self, items: int, size: int) -> None:
        """Hear how much was taken since the link began; what is told late changes nothing."""
        self.taken_items = max(self.taken_items, items)
        self.taken_bytes = max(self.taken_bytes, size)
        self.items = self.sent_items - self.taken_items
        self.size = self.sent_bytes - self.taken_bytes


class SenderLink:
    """The sending half of a link from this incarnation to another. Not thread-safe: one owner.

    Example:
        >>> from consecution.transport.link import LinkLimits, Parcel, Send, Told
        >>> link = SenderLink(LinkLimits())
        >>> link.handle(Send(Parcel((b"frame",), size=5, placement=1)), now=0.0)
        [Transmit(number=1, placement=1, parts=(b'frame',), count=1)]
        >>> link.handle(Told(received=1), now=0.1), link.is_settled
        ([], True)
    """

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._lacking: dict[int, deque[Parcel]] = {}
        self._ready: deque[Parcel] = deque()
        self._kept: deque[Parcel] = deque()
        self._marks: dict[tuple[int, ...], Parcel] = {}  # the newest waiting flush mark of each kind
        self._superseded = 0  # marks that were superseded since the queues were last swept
        self._accounts: dict[int, _Account] = {}
        self._unsent_bytes = 0  # lacking and ready
        self._kept_bytes = 0
        self._received = 0  # the first kept message has the number after this
        self._next = 1  # number of the next message to transmit
        self._is_open = True
        self._is_held = False  # more was announced: a Tick that finds it so sends what is there
        self._repeated_to = 0  # last number of what was repeated after a silence; 0: nothing
        self._silence_s = limits.silence_s
        self._repeat_at = NEVER
        self._ask_at = NEVER
        self._unconfirmed_since = NEVER  # nothing was confirmed since then, and something waits for it
        self._asked_since = NEVER  # what was asked then has no answer

    def handle(self, event: SenderEvent, now: float) -> list[SenderInstruction]:
        """Apply one event.

        Args:
            event: What happened.
            now: Monotonic seconds; only differences matter.

        Returns:
            Packets to build and send, in order, and which tasks have credit again.

        Raises:
            CapacityError: A message is too large, or too much waits; the message wasn't taken.
            ProtocolError: The receiver confirms what was never sent; nothing was changed.
        """
        if isinstance(event, Send):
            self._take(event.parcel)
            self._is_held = event.more
            if event.more:
                self._set_timers(now, anew=False)
                return []
        elif isinstance(event, Told):
            eased = self._told(event, now)
            packets = self._transmit(now)
            return [Eased(eased), *packets] if eased else packets
        elif isinstance(event, Tick):
            return self._tick(now)
        elif isinstance(event, Blocked):
            self._is_open = False
            if event.number:
                self._next = max(self._received + 1, min(self._next, event.number))
            return []
        elif isinstance(event, Connected):
            self._is_open = True
            self._next = self._received + 1
            self._repeated_to = 0
        elif isinstance(event, Writable):
            self._is_open = True
        return self._transmit(now)

    def has_credit(self, task: int) -> bool:
        """Whether a stage whose output goes to this task may take a new frame (R3)."""
        if task in self._lacking:
            return False
        account = self._accounts.get(task)
        return account is None or (
            account.items < self._limits.window_items and account.size < self._limits.window_bytes
        )

    @property
    def received(self) -> int:
        """The receiver has confirmed all messages up to this number."""
        return self._received

    @property
    def has_room(self) -> bool:
        """False when half of what may wait here waits: hold back what can be held back, such as sums."""
        return self._unsent_bytes <= self._limits.unsent_bytes_max // 2

    @property
    def is_settled(self) -> bool:
        """Nothing waits and nothing is unconfirmed."""
        return not (self._kept or self._ready or self._lacking)

    @property
    def unsettled_bytes(self) -> int:
        """Bytes that wait or are unconfirmed."""
        return self._unsent_bytes + self._kept_bytes

    @property
    def unanswered_since(self) -> float:
        """Since when the receiver owes a word, about the oldest message or its position; infinity when it owes none."""
        return min(self._unconfirmed_since, self._asked_since)

    @property
    def waiting(self) -> int:
        """How many messages wait or are unconfirmed."""
        return len(self._kept) + len(self._ready) + sum(map(len, self._lacking.values()))

    @property
    def due(self) -> float:
        """When a Tick has something to do; infinity for never."""
        if not self._is_open:
            return NEVER
        return -NEVER if self._is_held else min(self._repeat_at, self._ask_at)

    def roots(self) -> Iterator[Root]:
        """Roots of all that waits or is unconfirmed (R13); a root may come several times."""
        for queue in (self._kept, self._ready, *self._lacking.values()):
            for parcel in queue:
                yield from parcel.roots

    # What comes in

    def _take(self, parcel: Parcel) -> None:
        if parcel.size > self._limits.message_bytes_max:
            message = (
                f"a message for task {parcel.task} has {parcel.size:,} bytes; at most "
                f"{self._limits.message_bytes_max:,} travel: push smaller items"
            )
            raise CapacityError(message)
        if self._unsent_bytes and self._unsent_bytes + parcel.size > self._limits.unsent_bytes_max:
            message = (
                f"a link holds {self._unsent_bytes:,} unsent bytes; at most {self._limits.unsent_bytes_max:,} may "
                "wait: take no new work while an output has no credit"
            )
            raise CapacityError(message)
        self._unsent_bytes += parcel.size
        if parcel.mark is not None:
            self._supersede(parcel)
        task = parcel.task
        if task is not None and (task in self._lacking or not self._may_go(task, parcel)):
            self._lacking.setdefault(task, deque()).append(parcel)
        else:
            self._admit(parcel)

    def _supersede(self, mark: Parcel) -> None:
        """Only the newest flush mark of its kind waits; it is behind all frames that the older one was behind."""
        assert mark.mark is not None
        older = self._marks.get(mark.mark)
        if older is not None:
            older.is_superseded = True
            self._unsent_bytes -= older.size
            self._superseded += 1
        self._marks[mark.mark] = mark
        if self._superseded > SUPERSEDED_MAX:
            self._superseded = 0
            self._ready = deque(parcel for parcel in self._ready if not parcel.is_superseded)
            for task, queue in self._lacking.items():
                self._lacking[task] = deque(parcel for parcel in queue if not parcel.is_superseded)

    def _may_go(self, task: int, parcel: Parcel) -> bool:
        account = self._accounts.get(task)
        if not parcel.items or account is None or not account.items:
            return True
        limits = self._limits
        return account.items + parcel.items <= limits.window_items and account.size + parcel.size <= limits.window_bytes

    def _admit(self, parcel: Parcel) -> None:
        if parcel.items:
            assert parcel.task is not None, "only frames for a task need credit"
            account = self._accounts.get(parcel.task)
            if account is None:
                account = self._accounts[parcel.task] = _Account()
            account.send(parcel.items, parcel.size)
        self._ready.append(parcel)

    def _told(self, event: Told, now: float) -> tuple[int, ...]:
        self._check(event)
        eased: list[int] = []
        if event.taken is not None:
            self._ask_at = self._asked_since = NEVER
            for task, items, size in event.taken:
                account = self._accounts.get(task)
                if account is not None:
                    had_credit = self.has_credit(task)
                    account.take(items, size)
                    self._release(task)
                    if not had_credit and self.has_credit(task):
                        eased.append(task)
        if event.received > self._received:
            for _ in range(event.received - self._received):
                self._kept_bytes -= self._kept.popleft().size
            self._received = event.received
            # What was repeated arrived, and nothing after it: the rest of the connection's content is gone, too.
            lost_the_rest = event.received == self._repeated_to
            self._next = event.received + 1 if lost_the_rest else max(self._next, event.received + 1)
            self._repeated_to = 0
            self._silence_s = self._limits.silence_s
            self._repeat_at = NEVER
            self._unconfirmed_since = now if self._kept else NEVER
        if event.again:
            self._next = self._received + 1
        return tuple(eased)

    def _check(self, event: Told) -> None:
        if event.received > self._received + len(self._kept):
            message = f"a peer confirms message {event.received}; {self._received + len(self._kept)} were sent"
            raise ProtocolError(message)
        for task, items, size in event.taken or ():
            account = self._accounts.get(task)
            sent = (0, 0) if account is None else (account.sent_items, account.sent_bytes)
            if items > sent[0] or size > sent[1]:
                message = f"a peer has taken {items} items of task {task}; {sent[0]} were sent"
                raise ProtocolError(message)

    def _release(self, task: int) -> None:
        """Let go what has credit now."""
        queue = self._lacking.get(task)
        while queue and (queue[0].is_superseded or self._may_go(task, queue[0])):
            parcel = queue.popleft()
            if not parcel.is_superseded:
                self._admit(parcel)
        if queue is not None and not queue:
            del self._lacking[task]

    # What goes out

    def _tick(self, now: float) -> list[SenderInstruction]:
        if not self._is_open:
            return []
        if self._next > self._received + 1 and now >= self._repeat_at:
            self._silence_s = min(2 * self._silence_s, self._limits.silence_max_s)
            packet = self._packet(self._received + 1, self._next - 1)
            self._repeated_to = packet.number + packet.count - 1
            self._set_timers(now, anew=True)
            return [packet]
        if now >= self._ask_at:
            self._ask_at = now + self._limits.silence_s
            self._asked_since = min(self._asked_since, now)
            return [Ask()]
        return self._transmit(now)

    def _transmit(self, now: float) -> list[SenderInstruction]:
        packets: list[SenderInstruction] = []
        self._is_held = False
        if self._is_open:
            self._number()
            last = self._received + len(self._kept)
            while self._next <= last:
                packet = self._packet(self._next, last)
                self._next += packet.count
                packets.append(packet)
        if packets or self._repeat_at == NEVER or self._ask_at == NEVER:
            self._set_timers(now, anew=False)
        return packets

    def _number(self) -> None:
        """Give numbers to what is ready, as far as may be unconfirmed at once."""
        limits, kept, ready = self._limits, self._kept, self._ready
        while ready:
            parcel = ready[0]
            if parcel.is_superseded:
                ready.popleft()
                continue
            if kept and (
                self._kept_bytes + parcel.size > limits.unconfirmed_bytes_max
                or len(kept) >= limits.unconfirmed_messages_max
            ):
                return
            ready.popleft()
            if parcel.mark is not None:
                del self._marks[parcel.mark]
            kept.append(parcel)
            self._unsent_bytes -= parcel.size
            self._kept_bytes += parcel.size

    def _packet(self, number: int, last: int) -> Transmit:
        """Put together what follows from ``number`` on: of one placement, and not too large."""
        place = number - self._received - 1
        first = self._kept[place]
        if number == last or first.size >= self._limits.packet_bytes:
            return Transmit(number, first.placement, first.parts, 1)
        parts: list[bytes] = []
        size = count = 0
        for parcel in islice(self._kept, place, last - self._received):
            size += parcel.size
            too_much = size > self._limits.packet_bytes or count == MESSAGES_MAX
            if count and (too_much or parcel.placement != first.placement):
                break
            parts += parcel.parts
            count += 1
        return Transmit(number, first.placement, tuple(parts), count)

    def _set_timers(self, now: float, *, anew: bool) -> None:
        if self._kept and self._unconfirmed_since == NEVER:
            self._unconfirmed_since = now
        if self._next == self._received + 1:
            self._repeat_at = NEVER
        elif anew or self._repeat_at == NEVER:
            self._repeat_at = now + self._silence_s
        if self._ask_at == NEVER:
            for account in self._accounts.values():
                if account.items:
                    self._ask_at = now + self._limits.silence_s
                    return

    def check_invariants(self) -> None:
        """Assert rules 1, 3, 4 and 6 of ``link`` on the state; for tests."""
        limits = self._limits
        assert self._received < self._next <= self._received + len(self._kept) + 1
        assert self._kept_bytes == sum(parcel.size for parcel in self._kept)
        waiting = [*self._ready, *(parcel for queue in self._lacking.values() for parcel in queue)]
        assert self._unsent_bytes == sum(parcel.size for parcel in waiting if not parcel.is_superseded)
        assert len(self._kept) <= 1 or self._kept_bytes <= limits.unconfirmed_bytes_max
        assert len(self._kept) <= limits.unconfirmed_messages_max
        assert bool(self._kept) == (self._unconfirmed_since != NEVER)
        marks = [parcel.mark for parcel in waiting if parcel.mark is not None and not parcel.is_superseded]
        assert len(marks) == len(set(marks)) == len(self._marks)
        for task, account in self._accounts.items():
            assert 0 <= account.taken_items <= account.sent_items, task
            assert 0 <= account.taken_bytes <= account.sent_bytes, task
            assert account.items == account.sent_items - account.taken_items, task
            assert account.size == account.sent_bytes - account.taken_bytes, task
        for task, queue in self._lacking.items():
            assert queue, task
            assert queue[0].is_superseded or not self._may_go(task, queue[0]), f"task {task} waits although it may go"
        if self._is_open:
            assert self._next == self._received + len(self._kept) + 1, "something numbered wasn't sent"
            if self._kept:
                assert self._repeat_at != NEVER, "nobody would repeat what is unconfirmed (schedule 4)"
            if any(account.items for account in self._accounts.values()):
                assert self._ask_at != NEVER, "nobody would ask for credit (schedule 4)"
