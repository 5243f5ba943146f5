"""The receiver's half of a link: once, in order, not before its placement (R2, R3, R4; the rules are in ``link``)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

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
from consecution.wire.messages import Data, roots_of, task_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.guarantee.messages import Root
    from consecution.transport.link import ReceiverEvent, ReceiverInstruction
    from consecution.wire.messages import Message

NEVER = float("inf")


class _Account:
    """What came for a task and what it has taken, since the link began; ``told`` is what the sender was told last."""

    __slots__ = ("came_bytes", "came_items", "taken_bytes", "taken_items", "told_bytes", "told_items")

    def __init__(self) -> None:
        self.came_items = self.came_bytes = self.taken_items = self.taken_bytes = self.told_items = self.told_bytes = 0


class ReceiverLink:
    """The receiving half of a link from another incarnation to this one. Not thread-safe: one owner.

    Example:
        >>> from consecution.transport.link import Arrived, LinkLimits, Placed, Tick
        >>> from consecution.wire.messages import Audit
        >>> link = ReceiverLink(LinkLimits(), Placed(number=3, tasks=frozenset()))
        >>> link.handle(Arrived(number=1, placement=4, messages=((Audit(1, ()), 20),)), now=0.0)
        [Behind(number=4)]
        >>> link.handle(Placed(number=4, tasks=frozenset()), now=0.0)
        [Deliver(message=Audit(number=1, roots=()), size=20)]
    """

    def __init__(self, limits: LinkLimits, placed: Placed) -> None:
        self._limits = limits
        self._placement = placed.number
        self._tasks = placed.tasks
        self._accounts: dict[int, _Account] = {}
        self._received = 0
        self._unread: deque[tuple[int, Message, int]] = deque()  # placement, message, size
        self._unread_bytes = 0
        self._asked_for = 0  # newest placement that was asked for
        self._dropped = False  # something after ``received`` was dropped and has to come again
        self._again_at = -NEVER  # a gap may be told of from then on
        self._told_received = 0
        self._told_at = -NEVER
        self._untold_bytes = 0
        self._untaken = 0  # items that came and were not yet taken
        self._has_more = False  # something was taken since the sender was told
        self._owed = False  # the sender waits for an answer
        self._is_open = True

    def handle(self, event: ReceiverEvent, now: float) -> list[ReceiverInstruction]:
        """Apply one event.

        Args:
            event: What happened.
            now: Monotonic seconds; only differences matter.

        Returns:
            Messages to give on, in order, and positions to tell.
        """
        out: list[ReceiverInstruction] = []
        if isinstance(event, Arrived):
            self._arrived(event, now, out)
        elif isinstance(event, Took):
            self._took(event)
        elif isinstance(event, Placed):
            self._placed(event, out)
        elif isinstance(event, Blocked):
            self._owed = self._owed or not event.number
            self._is_open = False
        elif isinstance(event, (Connected, Writable)):
            self._is_open = True
            self._owed = self._owed or isinstance(event, Connected)
        elif isinstance(event, Asked):
            self._owed = True
        elif isinstance(event, Tick):
            self._owed = self._owed or self.due <= now
        if self._owed and self._is_open:
            self._tell(now, out)
        return out

    @property
    def due(self) -> float:
        """When a position must be told; infinity for never."""
        if self._owed or not self._is_open:
            return -NEVER if self._is_open else NEVER
        has_more = self._has_more or self._untaken or self._received != self._told_received
        return self._told_at + self._limits.position_interval_s if has_more else NEVER

    @property
    def received(self) -> int:
        """All messages up to this number have come."""
        return self._received

    @property
    def unread(self) -> int:
        """Messages that wait for a later placement."""
        return len(self._unread)

    @property
    def is_settled(self) -> bool:
        """Nothing waits unread and the sender was told of all that came."""
        return not self._unread and self._received == self._told_received and not self._owed

    def roots(self) -> Iterator[Root]:
        """Roots of what waits unread (R13)."""
        for _, message, _ in self._unread:
            yield from roots_of(message)

    # What comes in

    def _arrived(self, event: Arrived, now: float, out: list[ReceiverInstruction]) -> None:
        number = event.number
        if number > self._received + 1:
            self._drop(now)
            return
        if number + len(event.messages) - 1 <= self._received:
            self._owed = True  # a repetition: the sender doesn't know what I have
            return
        for message, size in event.messages[self._received + 1 - number :]:
            if self._unread or event.placement > self._placement:
                if not self._wait(event.placement, message, size, out):
                    return
            else:
                self._give(message, size, out)
            self._received += 1
            self._untold_bytes += size
        self._dropped = False
        if (
            2 * self._untold_bytes >= self._limits.unconfirmed_bytes_max
            or 2 * (self._received - self._told_received) >= self._limits.unconfirmed_messages_max
        ):
            self._owed = True

    def _drop(self, now: float) -> None:
        """A gap: what lies between was lost with a connection. Told at once, but not for each packet behind it."""
        self._dropped = True
        if now >= self._again_at:
            self._again_at = now + self._limits.position_interval_s
            self._owed = True

    def _wait(self, placement: int, message: Message, size: int, out: list[ReceiverInstruction]) -> bool:
        if self._unread_bytes + size > self._limits.unread_bytes_max:
            self._dropped = True
            return False
        self._unread.append((placement, message, size))
        self._unread_bytes += size
        self._ask_for_head(out)
        return True

    def _ask_for_head(self, out: list[ReceiverInstruction]) -> None:
        if self._unread and self._unread[0][0] > max(self._placement, self._asked_for):
            self._asked_for = self._unread[0][0]
            out.append(Behind(self._asked_for))

    def _placed(self, event: Placed, out: list[ReceiverInstruction]) -> None:
        if event.number < self._placement:
            return
        self._placement, self._tasks = event.number, event.tasks
        while self._unread and self._unread[0][0] <= self._placement:
            _, message, size = self._unread.popleft()
            self._unread_bytes -= size
            self._give(message, size, out)
        self._ask_for_head(out)
        self._owed = self._owed or self._dropped

    def _give(self, message: Message, size: int, out: list[ReceiverInstruction]) -> None:
        task = task_of(message)
        if type(message) is Data:
            account = self._accounts.get(message.task)
            if account is None:
                account = self._accounts[message.task] = _Account()
            account.came_items += message.count
            account.came_bytes += size
            self._untaken += message.count
        if task is None or task in self._tasks:
            out.append(Deliver(message, size))
            return
        out.append(Refuse(message, size))
        if type(message) is Data:
            self._took(Took(message.task, message.count, size))

    def _took(self, event: Took) -> None:
        account = self._accounts[event.task]
        account.taken_items += event.items
        account.taken_bytes += event.size
        self._untaken -= event.items
        self._has_more = True
        assert account.taken_items <= account.came_items, "more was taken than came"
        assert account.taken_bytes <= account.came_bytes, "more was taken than came"
        if (
            2 * (account.taken_items - account.told_items) >= self._limits.window_items
            or 2 * (account.taken_bytes - account.told_bytes) >= self._limits.window_bytes
        ):
            self._owed = True

    # What goes out

    def _tell(self, now: float, out: list[ReceiverInstruction]) -> None:
        taken = []
        for task, account in self._accounts.items():
            account.told_items, account.told_bytes = account.taken_items, account.taken_bytes
            taken.append((task, account.taken_items, account.taken_bytes))
        again = self._dropped and not self._unread
        out.append(Tell(self._received, tuple(taken), again))
        self._dropped = self._dropped and not again
        self._told_received = self._received
        self._told_at = now
        self._untold_bytes = 0
        self._has_more = False
        self._owed = False

    def check_invariants(self) -> None:
        """Assert rules 3, 5 and 6 of ``link`` on the state; for tests."""
        assert self._told_received <= self._received
        assert self._unread_bytes == sum(size for _, _, size in self._unread)
        assert self._unread_bytes <= self._limits.unread_bytes_max
        assert not self._unread or self._unread[0][0] > self._placement, "the head could be read"
        accounts = self._accounts.values()
        assert self._untaken == sum(account.came_items - account.taken_items for account in accounts)
        assert self._has_more or all(account.taken_items == account.told_items for account in accounts)
        for task, account in self._accounts.items():
            assert 0 <= account.told_items <= account.taken_items <= account.came_items, task
            assert 0 <= account.told_bytes <= account.taken_bytes <= account.came_bytes, task
