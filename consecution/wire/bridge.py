"""What executors of two joined topologies tell each other (R21); see docs/adr/0016.

Rules of this module: values only, packed by ``consecution.wire.plain``; the items are packed by the codec. All is said
within one *stream*: from one incarnation, over one link between consecutors, to one incarnation. A stream is no link:
what is lost with a connection is found by `Ask`, and who takes may forget a stream, since each word says where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from consecution.errors import ProtocolError
from consecution.value import value
from consecution.wire.plain import decode, encode

if TYPE_CHECKING:
    from consecution.guarantee.messages import Incarnation


@value
class Hand:
    """Items for the producer of another topology.

    Attributes:
        sender: Whose they are.
        target: Who journals them.
        place: Of the producer in the target's plan.
        number: Of this piece in its stream, from 1.
        settled: All pieces up to this number need no word any more.
        items: Packed.
        pass_number: Of the sender's run (R17).
        starts_again: The sender pushed to this link in an earlier pass, or may have.
    """

    sender: int
    target: int
    place: int
    number: int
    settled: int
    items: bytes
    pass_number: int = 1
    starts_again: bool = False


@value
class Ask:
    """Ask how far a stream is; goes the way of the pieces, behind them.

    Attributes:
        sender: Of the stream.
        target: Who is asked.
        place: Of the producer there.
        number: Of the question.
        settled: As in `Hand`.
    """

    sender: int
    target: int
    place: int
    number: int
    settled: int


@value
class Took:
    """How far a stream is.

    Attributes:
        sender: Of the stream: to whom this goes.
        target: Who says it.
        place: Of the producer.
        received: All pieces up to this number came.
        journalled: All pieces up to this number are in the journal, synced.
        answers: Number of the `Ask` that this answers; 0 when nobody asked.
    """

    sender: int
    target: int
    place: int
    received: int
    journalled: int
    answers: int = 0


Crossing: TypeAlias = Hand | Ask | Took


def pack_crossing(message: Crossing) -> bytes:
    """Give a message as bytes."""
    return encode(message)


def read_crossing(data: bytes, kinds: tuple[type[Crossing], ...]) -> Crossing:
    """Read a message of one of these kinds.

    Raises:
        ProtocolError: It is none of them, or its numbers can't be.

    >>> read_crossing(pack_crossing(Ask(7, 9, 0, 1, 0)), (Hand, Ask)).number
    1
    """
    message = decode(data, kinds)
    numbers = (message.place, message.received, message.journalled) if isinstance(message, Took) else (
        message.place, message.number - 1, message.settled,
    )  # fmt: skip
    if min(numbers) < 0 or not (_is_incarnation(message.sender) and _is_incarnation(message.target)):
        text = f"a {type(message).__name__} whose numbers can't be: {numbers}"
        raise ProtocolError(text)
    return message


def _is_incarnation(number: Incarnation) -> bool:
    return 0 < number < 1 << 64
