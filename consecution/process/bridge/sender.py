"""One stream of pieces to the producer of another topology: kept until they are journalled there (R21).

Rules of this module: pure.

1. A piece is kept until `Took` says that it is journalled; then whoever handed it over is told, in order.
2. A stream is to one incarnation. To a new one it begins anew, with the first piece that isn't journalled: what the
   old one had journalled and not said is handed over twice, never lost.
3. What is lost with a connection is sent again when the answer to a question says that it didn't come, and only then:
   a target that is held back is silent for as long as it likes. To a question it owes an answer at once: who gives none
   can't be reached.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from consecution.value import value
from consecution.wire.bridge import Ask, Hand, Took

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.guarantee.messages import Incarnation

ASK_S = 1.0
BLOCKED_S = 0.02
BURST_MAX = 64  # pieces at once: in between, what came is heard


@value
class Piece:
    """Items that travel together.

    Attributes:
        items: Packed.
        count: How many.
        taken: Called once they are journalled; None when nobody waits for that.
    """

    items: bytes
    count: int
    taken: Callable[[], None] | None = None


@value
class Pass:
    """Which pass of its run the sender is in; see `Hand`."""

    number: int = 1
    starts_again: bool = False


class Sender:
    """The sending end of one stream. Owned by one thread.

    Args:
        incarnation: Of this process.
        link: Place of the link among those of its consecutor, for messages.

    Attributes:
        target: To whom it sends, or sent last; None before the first.
        place: Of the producer there.
        is_open: A placement names that target.
    """

    def __init__(self, incarnation: Incarnation, link: int) -> None:
        self.link = link
        self.target: Incarnation | None = None
        self.place = 0
        self.is_open = False
        self._incarnation = incarnation
        self._pieces: deque[Piece] = deque()
        self._settled = 0  # number of the piece before the first one that is kept
        self._sent = 0
        self._asked = 0
        self._sent_when_asked = 0
        self._ask_at = math.inf
        self._blocked_until = -math.inf
        self._owed_since: float | None = None
        self._pass = Pass()

    @property
    def is_empty(self) -> bool:
        """Whether all that was handed over is journalled."""
        return not self._pieces

    @property
    def due(self) -> float:
        """When `send` has something to do; infinity for never."""
        if not self.is_open:
            return math.inf
        if self._sent < self._settled + len(self._pieces):
            return self._blocked_until
        return max(self._ask_at, self._blocked_until)

    def place_at(self, target: Incarnation | None, place: int, passed: Pass) -> None:
        """Hear from a placement who journals now what is handed over here, and which pass this run is in."""
        self._pass = passed
        self.is_open = target is not None
        if target is None or (target == self.target and place == self.place):
            return  # who is gone for a moment may be the same one again
        self.target, self.place = target, place
        self._settled = self._sent = self._asked = self._sent_when_asked = 0
        self._ask_at, self._blocked_until = math.inf, -math.inf
        self._owed_since = None

    def unanswered(self, now: float) -> tuple[Incarnation, float, int] | None:
        """Whose answer is owed: (target, for how many seconds, pieces that wait); None when none is."""
        target, since = self.target, self._owed_since
        if target is None or since is None or not self.is_open:
            return None
        return target, now - since, len(self._pieces)

    def add(self, piece: Piece) -> None:
        """Take a piece."""
        self._pieces.append(piece)

    def send(self, now: float) -> list[Hand | Ask]:
        """Give what is due, in send order; each counts as sent unless `blocked` says otherwise."""
        if not self.is_open or self.target is None or now < self._blocked_until:
            return []
        out: list[Hand | Ask] = []
        first = self._sent - self._settled
        for piece in islice(self._pieces, first, first + BURST_MAX):
            self._sent += 1
            out.append(self._hand(self._sent, piece))
        if out:
            self._ask_at = now + ASK_S
        elif now >= self._ask_at:
            self._ask_at = now + ASK_S
            self._asked += 1
            self._owe(now)
            self._sent_when_asked = self._sent
            out.append(Ask(self._incarnation, self.target, self.place, self._asked, self._settled))
        return out

    def _hand(self, number: int, piece: Piece) -> Hand:
        assert self.target is not None
        passed = self._pass
        return Hand(
            self._incarnation, self.target, self.place, number, self._settled, piece.items, passed.number,
            passed.starts_again,
        )  # fmt: skip

    def blocked(self, message: Hand | Ask, now: float) -> None:
        """Hear that the connection takes nothing now, from this message on."""
        self._blocked_until = now + BLOCKED_S
        self._owe(now)
        if isinstance(message, Hand):
            self._sent = min(self._sent, message.number - 1)

    def _owe(self, now: float) -> None:
        if self._owed_since is None:
            self._owed_since = now

    def took(self, took: Took, now: float) -> list[Piece]:
        """Hear how far the stream is.

        Returns:
            Pieces that are journalled now, in order; whoever handed them over is to be told.
        """
        if took.target != self.target or took.sender != self._incarnation or took.place != self.place:
            return []  # of a stream that is over
        self._owed_since = None
        journalled = min(took.journalled, self._sent)  # a target can't have what was never sent to it
        done = [self._pieces.popleft() for _ in range(journalled - self._settled)]
        self._settled = max(self._settled, journalled)
        if took.answers and took.answers == self._asked and took.received < self._sent_when_asked:
            self._sent = max(took.received, self._settled)
        self._ask_at = now + ASK_S if self._pieces else math.inf
        return done

    def check_invariants(self) -> None:
        """Raise AssertionError when its numbers can't be."""
        assert 0 <= self._settled <= self._sent <= self._settled + len(self._pieces)
