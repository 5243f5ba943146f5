"""Receipts: what a caller of ``push`` waits on.

Rules of this module: a receipt is told in two steps, by the engine's thread and after the commit: journalled, then
its outcome. Waiting is thread-safe.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from consecution.errors import ConsecutionError, UserCodeError
from consecution.producers.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from consecution.guarantee.changes import Changes
    from consecution.guarantee.messages import Cause
    from consecution.journal.base import Outcome

OPEN, COMPLETED, FAILED = "open", "completed", "failed"


class Receipt(Token):
    """What became of one pushed item; awaitable. Thread-safe.

    Attributes:
        producer: Name of the producer that took it; "" before it is journalled.
        seq: Its number there, -1 before it is journalled; with ``producer`` the name under which the journal keeps its
            outcome.
        outcome: "open", "completed" or "failed".
        attempts: Attempts counted against it, once it has failed.
        error: Why it failed, as a `UserCodeError`; None otherwise.
    """

    __slots__ = ("_callbacks", "_done", "_lock", "_taken", "attempts", "error", "outcome", "producer", "seq")

    def __init__(self) -> None:
        self.producer = ""
        self.seq = -1
        self.outcome = OPEN
        self.attempts = 0
        self.error: ConsecutionError | None = None
        self._lock = threading.Lock()
        self._taken = threading.Event()
        self._done = threading.Event()
        self._callbacks: list[Callable[[], None]] = []

    def wait(self, timeout: float | None = None) -> str:
        """Wait for the outcome.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            "completed" or "failed"; see `error` for why.

        Raises:
            TimeoutError: It is still open; the item goes on, and may be waited for again.
        """
        if not self._done.wait(timeout):
            message = (
                f"item {self.seq} of producer {self.producer!r} is still open after {timeout} s; it goes on: wait again"
            )
            raise TimeoutError(message)
        return self.outcome

    def __await__(self) -> Generator[Any, None, str]:
        """Wait in an event loop; gives the outcome."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        def tell() -> None:
            loop.call_soon_threadsafe(wake)

        with self._lock:
            if self._done.is_set():
                return self.outcome
            self._callbacks.append(tell)
        yield from future
        return self.outcome

    def __repr__(self) -> str:
        """Say where the item stands."""
        return f"<receipt of item {self.seq} of {self.producer or 'no producer yet'}: {self.outcome}>"

    def _journalled(self, producer: str, seq: int) -> None:
        self.producer, self.seq = producer, seq
        self._taken.set()

    def _wait_taken(self, timeout_s: float) -> bool:
        """Wait until the item is in the journal, or will never be."""
        return self._taken.wait(timeout_s)

    def _settled(self, state: str, attempts: int, cause: Cause | None) -> None:
        self._tell(state, attempts, error_of(cause) if state == FAILED else None)

    def _abandoned(self, error: ConsecutionError) -> None:
        self._tell(OPEN, 0, error)

    def _tell(self, outcome: str, attempts: int, error: ConsecutionError | None) -> None:
        with self._lock:
            self.outcome, self.attempts, self.error = outcome, attempts, error
            callbacks, self._callbacks = self._callbacks, []
            self._done.set()
        self._taken.set()
        for callback in callbacks:
            callback()


class Receipts:
    """Who waits for the outcomes of a run, by producer and seq. Used from the engine's thread."""

    def __init__(self) -> None:
        self._open: dict[str, dict[int, list[Token]]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        """How many are open."""
        return self._waiting

    def journalled(self, producer: str, first_seq: int, tokens: Sequence[object]) -> None:
        """Tell the pushers of a batch that it is in the journal."""
        for seq, token in enumerate(tokens, first_seq):
            if isinstance(token, Token):
                self._wait(producer, seq, token)

    def repeated(self, producer: str, known: Outcome, token: object) -> None:
        """Tell a pusher that its item was handed over before, and what became of it if that is known."""
        if not isinstance(token, Token):
            return
        if known.state == OPEN:
            self._wait(producer, known.seq, token)
        else:
            token._journalled(producer, known.seq)
            token._settled(known.state, known.attempts, known.cause)

    def _wait(self, producer: str, seq: int, token: Token) -> None:
        self._open.setdefault(producer, {}).setdefault(seq, []).append(token)
        self._waiting += 1
        token._journalled(producer, seq)

    def settle(self, producer: str, changes: Changes) -> None:
        """Tell outcomes; the caller has committed them."""
        mine = self._open.get(producer)
        if not mine:
            return
        for seqs in changes.completed:
            for seq in seqs:
                for token in mine.pop(seq, ()):
                    self._waiting -= 1
                    token._settled(COMPLETED, 0, None)
        for letter in changes.dead:
            for token in mine.pop(letter.seq, ()):
                self._waiting -= 1
                token._settled(FAILED, letter.attempts, letter.cause)

    def abandon(self, error: ConsecutionError) -> None:
        """The run was stopped: say so to all who wait. Their items stay in the journal and go on at the next start."""
        for mine in self._open.values():
            for tokens in mine.values():
                for token in tokens:
                    token._abandoned(error)
            mine.clear()
        self._waiting = 0


def error_of(cause: Cause | None) -> UserCodeError:
    """A cause as an exception."""
    if cause is None:
        return UserCodeError("the item failed; robustness CONFIRM keeps no causes: use TRACK or REPLAY to know why")
    where = f" on {cause.host}" if cause.host else ""
    what = f"{cause.exception}: {cause.message} at node {cause.node!r}{where}; the value was {cause.value}"
    message = f"{what}\n{cause.traceback}"
    return UserCodeError(message.rstrip(), node=cause.node, item=cause.value)
