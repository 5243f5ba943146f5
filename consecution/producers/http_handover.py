"""The items of one request: what became of them so far, and waiting for it.

Rules of this module: lives in the server's loop, but for its tokens, which hear from the run's thread and post words.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.producers.tokens import Token

if TYPE_CHECKING:
    from consecution.errors import ConsecutionError
    from consecution.guarantee.messages import Cause
    from consecution.producers.looping import Post


@dataclass(frozen=True, slots=True)
class Settled:
    """An item of a request has its outcome.

    Attributes:
        handover: The request's.
        place: Which of its items.
        attempts: How often it was tried, when it failed.
        cause: Why it failed.
        is_failed: It is a dead letter.
        is_abandoned: The run ended before.
    """

    handover: Handover
    place: int
    attempts: int = 0
    cause: Cause | None = None
    is_failed: bool = False
    is_abandoned: bool = False


class Handover:
    """The items of one request.

    Attributes:
        seqs: Numbers of those that are in the journal, in the order of the request.
        n_refused: How many won't be taken.
        reason: Why the run refused them; "" when they were taken back.
        n_open: How many have no outcome that was heard of.
        failures: Place in the request to (attempts, cause), of those that are dead letters.
    """

    def __init__(self, count: int, post: Post) -> None:
        self.seqs: list[int] = []
        self.n_refused = 0
        self.reason = ""
        self.n_open = count
        self.failures: dict[int, tuple[int, Cause | None]] = {}
        self._count = count
        self._post = post
        self._taken = asyncio.Event()
        self._done = asyncio.Event()

    def tokens(self) -> list[Awaited]:
        """What hears of each item's outcome."""
        return [Awaited(self, place, self._post) for place in range(self._count)]

    def journalled(self, first_seq: int, count: int) -> None:
        """Hear that the next ``count`` items are in the journal."""
        self.seqs += range(first_seq, first_seq + count)
        self._look()

    def refused(self, count: int, reason: str) -> None:
        """Hear that ``count`` items won't be taken."""
        self.n_refused += count
        self.reason = reason
        self._look()

    def _look(self) -> None:
        if len(self.seqs) + self.n_refused >= self._count:
            self._taken.set()

    def settled(self, word: Settled) -> None:
        """Hear the outcome of an item."""
        if not word.is_abandoned:
            self.n_open -= 1
        if word.is_failed:
            self.failures[word.place] = word.attempts, word.cause
        if not self.n_open or word.is_abandoned:
            self._done.set()

    async def wait_taken(self, timeout_s: float) -> bool:
        """Wait until each item is journalled or refused; False when the time is up."""
        try:
            await asyncio.wait_for(self._taken.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def wait_settled(self, timeout_s: float, ending: asyncio.Event) -> None:
        """Wait until each item has its outcome, or the time is up, or the server ends."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._done, ending)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class Awaited(Token):
    """Hears of one item of a request."""

    __slots__ = ("_handover", "_place", "_post")

    def __init__(self, handover: Handover, place: int, post: Post) -> None:
        self._handover = handover
        self._place = place
        self._post = post

    def _settled(self, state: str, attempts: int, cause: Cause | None) -> None:
        self._post.send(Settled(self._handover, self._place, attempts, cause, is_failed=state == "failed"))

    def _abandoned(self, error: ConsecutionError) -> None:
        self._post.send(Settled(self._handover, self._place, is_abandoned=True))
