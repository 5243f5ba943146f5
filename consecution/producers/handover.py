"""Handover: what one consecutor takes from an output of another.

Rules of this module:
1. ``offer``, ``offer_async``, ``end`` and ``begin_run`` may be called from any thread; the rest from the reading one.
2. What was offered is kept until it is in the reader's journal (``acknowledge``): a reader that is opened anew gets
   all of it again. Only then its sender is told, so a death in between loses nothing (protocol.md R21).
3. What a door offers is bounded by the door; what comes over an async output is bounded here, and the rest is dropped
   and counted.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from consecution.producers.base import NOTHING_YET, Producer, Read, SourceClass
from consecution.producers.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

ASYNC_ITEMS_MAX = 10_000
KIND = "consecutor"


class Taker(Protocol):
    """What takes items for the next consecutor: its `Handover`, or in another topology a way that leads there."""

    @property
    def name(self) -> str | None:
        """``consecutor.output``."""

    @property
    def waiting_items(self) -> int:
        """How many items were offered and aren't in the reader's journal yet."""

    def offer(self, items: list[Any], taken: Callable[[], None] | None = None) -> None:
        """Hand items over; ``taken`` is called once all of them are in the reader's journal."""

    def offer_async(self, items: list[Any]) -> int:
        """Hand over as many items as there is room for; gives how many were dropped."""


class BoundedTaker(ABC):
    """A `Taker` that lets a bounded number of an async output's items wait; the rest is dropped and counted.

    Args:
        items_max: Items of an async output that may wait.

    Attributes:
        offered: Items that were handed over.
        dropped: Items of an async output that found no room.
    """

    def __init__(self, items_max: int) -> None:
        self.offered = 0
        self.dropped = 0
        self._items_max = items_max
        self._waiting = 0
        self._lock = threading.Lock()

    @abstractmethod
    def _offer(self, items: list[Any], taken: Callable[[], None] | None) -> None:
        """Hand items over; under the lock."""

    @property
    def waiting_items(self) -> int:
        """How many items were offered and aren't in the reader's journal yet."""
        return self._waiting

    def offer_async(self, items: list[Any]) -> int:
        """Hand over as many items as there is room for; gives how many were dropped."""
        with self._lock:
            room = max(0, self._items_max - self._waiting)
            if room:
                self._offer(items[:room], None)
            dropped = max(0, len(items) - room)
            self.dropped += dropped
        return dropped


@dataclass(slots=True, eq=False)
class _Piece:
    items: list[Any]
    taken: Callable[[], None] | None
    sender: object = None
    given: int = 0
    journalled: int = 0


class Handover(BoundedTaker, Producer):
    """Gives what another consecutor's output is pushed.

    Args:
        name: ``consecutor.output``.
        items_max: Items of an async output that may wait.

    Attributes:
        endless: Whether the other consecutor ever ends by itself; told before each run.
        offered: Items that were taken over from its sender, in this run.
        dropped: Items of an async output that found no room, in this run.

    >>> handover = Handover("orders.large")
    >>> handover.open()
    >>> handover.offer(["a", "b"], lambda: print("journalled"))
    >>> handover.read(10, 0.0).items
    ['a', 'b']
    >>> handover.acknowledge(0, 2)
    journalled
    >>> handover.close()
    """

    kind = KIND
    source = SourceClass.HANDED_OVER
    lives_in_caller = True

    def __init__(self, name: str, *, items_max: int = ASYNC_ITEMS_MAX) -> None:
        super().__init__(items_max)
        self.name = name
        self._pieces: deque[_Piece] = deque()
        self._unread = 0
        self._changed = threading.Condition(self._lock)
        self._is_over = False
        self._was_told = False
        self._bell = Bell()  # rings while there is something to read

    # ---- from the other consecutor -------------------------------------------------------------------------------

    def begin_run(self, *, endless: bool) -> None:
        """Forget what an earlier run left behind: its sender has it in its journal.

        Args:
            endless: Whether the sender ever ends by itself.
        """
        with self._changed:
            self.endless = endless
            self.offered = self.dropped = 0
            self._pieces.clear()
            self._waiting = self._unread = 0
            self._is_over = self._was_told = False
            self._bell.hush()

    def offer(self, items: list[Any], taken: Callable[[], None] | None = None, *, sender: object = None) -> None:
        """Hand items over.

        Args:
            items: Taken over; at least one.
            taken: Called from the reading thread once all of them are in the reader's journal.
            sender: Whose they are, for `withdraw`.
        """
        with self._changed:
            self._offer(items, taken, sender)

    def withdraw(self, sender: object) -> int:
        """Forget what a sender offered and nobody has read yet: it is gone, and what it had is offered by another.

        Returns:
            How many items were forgotten. What is being journalled already stays; its sender isn't told.
        """
        forgotten = 0
        with self._changed:
            kept: deque[_Piece] = deque()
            for piece in self._pieces:
                if piece.sender == sender:
                    forgotten += len(piece.items) - piece.given
                    del piece.items[piece.given :]
                    piece.taken = None
                    if not piece.given:
                        continue
                kept.append(piece)
            self._pieces = kept
            self._waiting -= forgotten
            self._unread -= forgotten
            if not self._unread and not self._is_over:
                self._bell.hush()
        return forgotten

    def _offer(self, items: list[Any], taken: Callable[[], None] | None, sender: object = None) -> None:
        self._pieces.append(_Piece(items, taken, sender))
        self.offered += len(items)
        self._waiting += len(items)
        self._unread += len(items)
        self._bell.ring()
        self._changed.notify_all()

    def end(self) -> None:
        """Say that nothing more comes; what waits is still read."""
        with self._changed:
            self._is_over = True
            self._bell.ring()
            self._changed.notify_all()

    # ---- for the reader ------------------------------------------------------------------------------------------

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin to read, with what isn't journalled yet."""
        with self._changed:
            self._was_told = False
            self._unread = self._waiting
            for piece in self._pieces:
                piece.given = piece.journalled
            self._bell.open()
            if self._pieces or self._is_over:
                self._bell.ring()

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """Give what was offered; see `Producer.read`."""
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(lambda: self._unread or self._is_over, wait_s)
            items: list[Any] = []
            for piece in self._pieces:
                if len(items) == items_max:
                    break
                if piece.given < len(piece.items):
                    part = piece.items[piece.given : piece.given + items_max - len(items)]
                    piece.given += len(part)
                    items += part
            self._unread -= len(items)
            ended = self._is_over and not self._unread and not self._was_told
            self._was_told = self._was_told or ended
            if not self._unread:
                self._bell.hush()
        if not items:
            return Read([], ended=True) if ended else NOTHING_YET
        return Read(items, ended=ended)

    def acknowledge(self, first_seq: int, count: int) -> None:
        """Hear that the next ``count`` items are journalled, and tell their senders."""
        told: list[Callable[[], None]] = []
        with self._changed:
            self._waiting -= count
            while count:
                piece = self._pieces[0]
                part = min(count, len(piece.items) - piece.journalled)
                piece.journalled += part
                count -= part
                if piece.journalled == len(piece.items):
                    self._pieces.popleft()
                    if piece.taken is not None:
                        told.append(piece.taken)
        for taken in told:
            taken()

    def fileno(self) -> int | None:
        """Give a pipe that is readable while items wait."""
        return self._bell.fileno()

    def ready_in(self) -> float | None:
        """Give 0.0 while items wait; else only ``fileno`` can tell."""
        with self._changed:
            return 0.0 if self._unread or (self._is_over and not self._was_told) else None

    def close(self) -> None:
        """Stop reading; what isn't journalled is still there for the next ``open``."""
        with self._changed:
            self._bell.close()
