"""What comes from executors of topologies before this one, for the producers of this process (R21).

Rules of this module: pure.

1. A stream's pieces are taken in order, each once; what comes out of order is dropped, and asked for by its sender.
2. A stream that isn't known begins behind what its sender says is settled. So a stream may be forgotten: then nothing
   is lost, and what was on its way may be taken twice.
3. Who takes items of two passes of a run that began anew has some of them twice; sums of them aren't certain (R17).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.value import value
from consecution.wire.bridge import Ask, Hand, Took

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.guarantee.messages import Incarnation

STREAMS_MAX = 1024


@dataclass(slots=True, eq=False)
class Stream:
    """One sender's pieces for one producer.

    Attributes:
        sender: Whose.
        place: The producer's.
        received: Newest number that came in order.
        journalled: Newest number that is in the journal.
        route: Where words to the sender go: the way of its newest message.
        waiting: Numbers that were taken and aren't in the journal yet.
    """

    sender: Incarnation
    place: int
    received: int
    journalled: int
    route: bytes
    waiting: deque[int] = field(default_factory=deque)


@value
class Given:
    """A piece for a producer of this process; `Receiver.journalled` is told its stream once it is in the journal."""

    stream: Stream
    items: bytes


@value
class Say:
    """Send this word that way."""

    route: bytes
    took: Took


class Receiver:
    """The receiving end of all streams of a process. Owned by one thread.

    Args:
        incarnation: Of this process.
        places: Producers of this process that other topologies hand over to.
        knew: Of these, gives whether its journal knew items before this start.

    Attributes:
        is_doubled: Items came that may have come before, from a run that began anew (rule 3).
        ignored: Messages for others, or for producers that aren't here.
    """

    def __init__(
        self, incarnation: Incarnation, places: frozenset[int], knew: Callable[[int], bool] = lambda place: False
    ) -> None:
        self.is_doubled = False
        self.ignored = 0
        self._incarnation = incarnation
        self._places = places
        self._knew = knew
        self._streams: dict[tuple[Incarnation, int], Stream] = {}
        self._passes: dict[int, int] = {}
        self._listed: dict[int, frozenset[Incarnation]] = {}

    def hear(self, route: bytes, message: Hand | Ask) -> list[Given | Say]:
        """Take a message.

        Args:
            route: The way back.
            message: What came.

        Returns:
            What to give to a producer, and what to answer.
        """
        if message.target != self._incarnation or message.place not in self._places:
            self.ignored += 1
            return []
        stream = self._stream(message, route)
        stream.route = route
        if isinstance(message, Ask):
            return [Say(route, self._took(stream, message.number))]
        if message.number != stream.received + 1:
            return []
        stream.received += 1
        stream.waiting.append(message.number)
        self._note_pass(message)
        return [Given(stream, message.items)]

    def journalled(self, stream: Stream) -> Say:
        """Hear that the oldest piece of a stream that waits is in the journal; what to tell its sender."""
        stream.journalled = stream.waiting.popleft()
        return Say(stream.route, self._took(stream, 0))

    def place(self, place: int, senders: frozenset[Incarnation]) -> list[Stream]:
        """Hear who hands over to a producer now.

        Returns:
            Streams of those who did, and are gone: what of them isn't read yet is handed over again by others.
        """
        gone = self._listed.get(place, frozenset()) - senders
        self._listed[place] = senders
        ended = [self._streams.pop((sender, place), None) for sender in sorted(gone)]
        return [stream for stream in ended if stream is not None]

    def _stream(self, message: Hand | Ask, route: bytes) -> Stream:
        key = message.sender, message.place
        stream = self._streams.pop(key, None)
        if stream is None:
            stream = Stream(*key, message.settled, message.settled, route)
            if len(self._streams) >= STREAMS_MAX:
                del self._streams[next(iter(self._streams))]  # the one that was silent for longest
        self._streams[key] = stream
        return stream

    def _note_pass(self, hand: Hand) -> None:
        """Rule 3."""
        first = self._passes.get(hand.place)
        if first is None:
            self._passes[hand.place] = hand.pass_number
            self.is_doubled = self.is_doubled or (hand.starts_again and self._knew(hand.place))
        elif first != hand.pass_number:
            self.is_doubled = True

    def _took(self, stream: Stream, answers: int) -> Took:
        return Took(stream.sender, self._incarnation, stream.place, stream.received, stream.journalled, answers)

    def check_invariants(self) -> None:
        """Raise AssertionError when a stream's numbers can't be."""
        assert len(self._streams) <= STREAMS_MAX
        for stream in self._streams.values():
            assert stream.journalled <= stream.received
            assert list(stream.waiting) == list(range(stream.received - len(stream.waiting) + 1, stream.received + 1))
            assert not stream.waiting or stream.waiting[0] == stream.journalled + 1
