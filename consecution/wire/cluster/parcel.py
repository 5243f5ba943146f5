"""The wrapping of every message between a coordinator, its workers and its clients, and the two plain answers.

Rules of this module: a `Parcel` never changes, so that two versions can at least tell each other that they differ.
"""

from __future__ import annotations

import uuid
from typing import TypeVar

from consecution.errors import ProtocolError
from consecution.value import value
from consecution.version import VERSION
from consecution.wire.plain import decode, encode

T = TypeVar("T")

PROTOCOL_VERSION = 1

CHUNK_BYTES = 256 << 10


@value
class Parcel:
    """Round every message. Its fields never change.

    Attributes:
        protocol: `PROTOCOL_VERSION` of the sender.
        library: Version of the sender's library, for people.
        request: Id that an answer repeats; "" where none is expected.
        body: The message, packed.
    """

    protocol: int
    library: str
    request: str
    body: bytes


class OtherVersion(ProtocolError):
    """A peer speaks another version of this protocol.

    Args:
        message: Names both versions.
        request: Id of its question, so that the refusal finds its way.
    """

    def __init__(self, message: str, *, request: str) -> None:
        super().__init__(message)
        self.request = request


def new_request() -> str:
    """Make an id for a question or a submission: 32 random hexadecimal digits."""
    return uuid.uuid4().hex


def pack(message: object, request: str = "") -> bytes:
    """Wrap and pack a message.

    >>> unpack(pack(Done("paused"), "r1"), (Done,))
    ('r1', Done(note='paused'))
    """
    return encode(Parcel(PROTOCOL_VERSION, VERSION, request, encode(message)))


def unpack(data: bytes, kinds: tuple[type[T], ...]) -> tuple[str, T]:
    """Read what `pack` packed.

    Returns:
        The request id and the message.

    Raises:
        OtherVersion: The sender speaks another version.
        ProtocolError: It is none of the expected messages.
    """
    parcel = decode(data, (Parcel,))
    if parcel.protocol != PROTOCOL_VERSION:
        message = (
            f"the other side speaks version {parcel.protocol} of the cluster's protocol (library "
            f"{parcel.library or 'unknown'}), this one version {PROTOCOL_VERSION}; install the same release on both"
        )
        raise OtherVersion(message, request=parcel.request)
    return parcel.request, decode(parcel.body, kinds)


def news_address(coordinator: str, port: int) -> str:
    """Where the coordinator at this address publishes its news.

    >>> news_address("tcp://10.0.0.1:7000", 7001)
    'tcp://10.0.0.1:7001'
    """
    return f"{coordinator.rpartition(':')[0]}:{port}"


@value
class Refused:
    """No, to whatever was asked.

    Attributes:
        reason: What, why and what to do; one or more sentences for people.
        is_final: Asking again gives the same answer; a worker that is refused so exits with the reason.
        kind: "role", "version", "name", "unknown", "request", "capacity" or "state".
    """

    reason: str
    is_final: bool = True
    kind: str = "request"


@value
class Done:
    """Yes, to what has no other answer.

    Attributes:
        note: What happens now, for people.
    """

    note: str = ""
