"""Packets: what one ZeroMQ message holds between two incarnations (R1, R2, R4).

Rules of this module: pure; a fixed header comes first and is read first. Nothing is addressed to a name or a port,
only to an incarnation: a process that was started on a reused port sees that a packet isn't for it. All messages of a
packet were sent under one placement, and their numbers follow each other.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

from consecution.errors import ProtocolError
from consecution.value import value
from consecution.wire.messages import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.guarantee.messages import Incarnation
    from consecution.wire.messages import Message

MAGIC = b"CSEQ"
VERSION = 1
MESSAGES_MAX = 4096
"""Most messages in a packet."""
TASKS_MAX = 65_536
"""Most tasks of which a position tells."""

MESSAGES, POSITION, QUESTION = 1, 2, 3
_AGAIN = 1

# magic, version, kind, flags, nothing, count, then sender, its birth, target, placement, number, received
_HEADER = struct.Struct(">4sBBBBIQQQQQQ")
HEADER_BYTES = _HEADER.size
_TAKEN = struct.Struct(">IQQ")


@value
class Header:
    """Who speaks to whom, and what each knows.

    Attributes:
        sender: Incarnation that sent the packet.
        birth: Number of the first placement that lists it.
        target: Incarnation that it is for.
        placement: Number of the placement under which the messages were sent.
        number: Number of the first message; 0 without messages.
        received: The sender has taken all messages from the target up to this number.
    """

    sender: Incarnation
    birth: int
    target: Incarnation
    placement: int = 0
    number: int = 0
    received: int = 0


@value
class Messages:
    """Messages ``header.number``, ``header.number + 1`` … each with its size in bytes, which is what credit counts."""

    header: Header
    messages: tuple[tuple[Message, int], ...]


@value
class Position:
    """How far the receiver of a link is (R3): all counts run from the link's beginning.

    Attributes:
        header: ``header.received`` is the position in numbers.
        taken: (task, items, bytes) that were taken out of the task's queue into work, or refused.
        again: What follows ``header.received`` was dropped unread and must be sent again.
    """

    header: Header
    taken: tuple[tuple[int, int, int], ...]
    again: bool


@value
class Question:
    """The sender of a link asks for the position."""

    header: Header


Packet = Messages | Position | Question


def pack_messages(header: Header, parts: Sequence[bytes], count: int) -> bytes:
    """Build a packet of ``count`` encoded messages, given in parts."""
    return b"".join((_pack_header(header, MESSAGES, 0, count), *parts))


def pack_position(header: Header, taken: Sequence[tuple[int, int, int]], *, again: bool) -> bytes:
    """Build a packet that tells a position."""
    head = _pack_header(header, POSITION, _AGAIN if again else 0, len(taken))
    return head + b"".join(_TAKEN.pack(*one) for one in taken)


def pack_question(header: Header) -> bytes:
    """Build a packet that asks for the position."""
    return _pack_header(header, QUESTION, 0, 0)


def _pack_header(header: Header, kind: int, flags: int, count: int) -> bytes:
    return _HEADER.pack(
        MAGIC,
        VERSION,
        kind,
        flags,
        0,
        count,
        header.sender,
        header.birth,
        header.target,
        header.placement,
        header.number,
        header.received,
    )


Opening: TypeAlias = tuple[Header, int, int, int]
"""What a packet begins with: its header, its kind, its flags, and how many entries it has."""


def read_opening(data: bytes) -> Opening:
    """Read what a packet begins with.

    Raises:
        ProtocolError: Not a packet of Consecution, or one of another version (both are named).
    """
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        msg = f"{len(data)} bytes that are no Consecution packet: is the sender a Consecution process?"
        raise ProtocolError(msg)
    _, version, kind, flags, nothing, count, *fields = _HEADER.unpack_from(data)
    if version != VERSION:
        msg = (
            f"a peer speaks version {version} of the protocol, this process version {VERSION}: "
            "install the same release of consecution on all hosts"
        )
        raise ProtocolError(msg)
    if nothing or flags & ~_AGAIN:
        msg = "a packet has flags that this version doesn't know"
        raise ProtocolError(msg)
    return Header(*fields), kind, flags, count


def read_packet(data: bytes, opening: Opening | None = None) -> Packet:
    """Read a whole packet.

    Args:
        data: Its bytes.
        opening: What `read_opening` gave for them, when it was asked already.

    Raises:
        ProtocolError: For whatever is wrong with the bytes; none of its messages may be used then.
    """
    header, kind, flags, count = opening or read_opening(data)
    if kind == MESSAGES:
        return Messages(header, _read_messages(data, header, count))
    if kind == POSITION:
        if count > TASKS_MAX or len(data) != HEADER_BYTES + count * _TAKEN.size:
            msg = f"a position of {count} tasks has {len(data)} bytes"
            raise ProtocolError(msg)
        return Position(header, tuple(_TAKEN.iter_unpack(memoryview(data)[HEADER_BYTES:])), bool(flags & _AGAIN))
    if kind == QUESTION and len(data) == HEADER_BYTES and not count:
        return Question(header)
    msg = f"a packet of unknown kind {kind}"
    raise ProtocolError(msg)


def _read_messages(data: bytes, header: Header, count: int) -> tuple[tuple[Message, int], ...]:
    if not 1 <= count <= MESSAGES_MAX or not header.number or header.number + count > 1 << 63:
        msg = f"a packet claims {count} messages from number {header.number}"
        raise ProtocolError(msg)
    if count == 1:
        message, end = decode(data, HEADER_BYTES)
        if end == len(data):
            return ((message, end - HEADER_BYTES),)
    messages = []
    offset = HEADER_BYTES
    for _ in range(count):
        message, end = decode(data, offset)
        messages.append((message, end - offset))
        offset = end
    if offset != len(data):
        msg = f"{len(data) - offset} bytes follow the last message of a packet"
        raise ProtocolError(msg)
    return tuple(messages)
