r"""How items and answers are written on a TCP connection; pure.

Rules of this module:
1. A format cuts a stream into messages, makes an item of each, and writes answers. Each message has a number, from 1
   for each connection; a blank line of JSON is none.
2. Answers name the number: ``ok 3``, ``failed 3 why``, ``error 4 why`` as lines, or as MessagePack ``["ok", 3]``.
   An error with number 0 is about the connection, which is closed after it.

| format | a message is | an item is |
|---|---|---|
| text | a line that ends with "\n" | the text without it |
| json | such a line | the value of its JSON |
| msgpack | four bytes of length, the highest first, then so many bytes | the value of its MessagePack |
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import Any

import msgpack  # type: ignore[import-untyped]

from consecution.errors import CodecError, GraphError, short_repr
from consecution.producers.json_items import Bad, item_of_json
from consecution.producers.lines import LineSplitter
from consecution.wire.codec import unpack

LENGTH = struct.Struct(">I")
REASON_CHARS_MAX = 500


class Format(ABC):
    """Of one connection."""

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    @abstractmethod
    def take(self, messages_max: int) -> list[bytes]:
        """Give whole messages."""

    @property
    @abstractmethod
    def is_too_long(self) -> bool:
        """Whether the message after those that `take` gives is longer than it may be."""

    @property
    @abstractmethod
    def rest_bytes(self) -> int:
        """How many bytes of a message without an end are there."""

    @abstractmethod
    def item(self, message: bytes) -> Any:
        """Make an item of a message.

        Raises:
            Bad: It is none.
        """

    @abstractmethod
    def ok(self, first: int, count: int) -> bytes:
        """Say yes to ``count`` messages, one by one."""

    @abstractmethod
    def no(self, word: str, number: int, reason: str) -> bytes:
        """Say "failed" or "error" to one message."""


class LineFormat(Format):
    """What the formats of lines have in common."""

    def __init__(self, message_bytes_max: int) -> None:
        super().__init__(message_bytes_max)
        self._splitter = LineSplitter(message_bytes_max)

    def feed(self, data: bytes) -> None:
        """See `Format.feed`."""
        self._splitter.feed(data)

    def take(self, messages_max: int) -> list[bytes]:
        """See `Format.take`."""
        return self._splitter.take(messages_max)

    @property
    def is_too_long(self) -> bool:
        """See `Format.is_too_long`."""
        return self._splitter.is_too_long and not len(self._splitter)

    @property
    def rest_bytes(self) -> int:
        """See `Format.rest_bytes`."""
        return self._splitter.rest_bytes

    def ok(self, first: int, count: int) -> bytes:
        """See `Format.ok`."""
        return b"".join([b"ok %d\n" % number for number in range(first, first + count)])

    def no(self, word: str, number: int, reason: str) -> bytes:
        """See `Format.no`."""
        line = " ".join(reason.split())[:REASON_CHARS_MAX]
        return f"{word} {number} {line}\n".encode(errors="replace")


class TextFormat(LineFormat):
    r"""Lines of UTF-8 text.

    >>> text = TextFormat(100)
    >>> text.feed(b"one\ntw")
    >>> [text.item(message) for message in text.take(10)], text.rest_bytes, text.ok(1, 1)
    (['one'], 2, b'ok 1\n')
    """

    def item(self, message: bytes) -> Any:
        """See `Format.item`."""
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            reason = f"byte {error.start} (0x{message[error.start]:02x}) of the line is no UTF-8 text: {error.reason}"
            raise Bad(reason) from error


class JsonFormat(LineFormat):
    r"""Lines of JSON.

    >>> lines = JsonFormat(100)
    >>> lines.feed(b'{"a": 1}\n\n2\n')
    >>> [lines.item(message) for message in lines.take(10)]
    [{'a': 1}, 2]
    """

    def take(self, messages_max: int) -> list[bytes]:
        """See `Format.take`; blank lines are left out."""
        return [line for line in super().take(messages_max) if line and not line.isspace()]

    def item(self, message: bytes) -> Any:
        """See `Format.item`."""
        return item_of_json(message)


class MsgpackFormat(Format):
    r"""MessagePack behind four bytes of length.

    >>> packed = MsgpackFormat(100)
    >>> packed.feed(LENGTH.pack(1) + b"\x07" + LENGTH.pack(9))
    >>> [packed.item(message) for message in packed.take(10)], packed.rest_bytes
    ([7], 4)
    """

    def __init__(self, message_bytes_max: int) -> None:
        super().__init__(message_bytes_max)
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """See `Format.feed`."""
        self._data += data

    def take(self, messages_max: int) -> list[bytes]:
        """See `Format.take`."""
        messages: list[bytes] = []
        data, at = self._data, 0
        while len(messages) < messages_max and len(data) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(data, at)
            if size > self._message_bytes_max or len(data) - at < LENGTH.size + size:
                break
            at += LENGTH.size
            messages.append(bytes(data[at : at + size]))
            at += size
        del data[:at]
        return messages

    @property
    def is_too_long(self) -> bool:
        """See `Format.is_too_long`."""
        return len(self._data) >= LENGTH.size and LENGTH.unpack_from(self._data)[0] > self._message_bytes_max

    @property
    def rest_bytes(self) -> int:
        """See `Format.rest_bytes`."""
        return len(self._data)

    def item(self, message: bytes) -> Any:
        """See `Format.item`."""
        try:
            return unpack(message)
        except CodecError as error:
            raise Bad(str(error)) from error

    def ok(self, first: int, count: int) -> bytes:
        """See `Format.ok`."""
        return b"".join([_framed(["ok", number]) for number in range(first, first + count)])

    def no(self, word: str, number: int, reason: str) -> bytes:
        """See `Format.no`."""
        return _framed([word, number, reason[:REASON_CHARS_MAX]])


def _framed(value: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(value, unicode_errors="replace")
    return LENGTH.pack(len(packed)) + packed


FORMATS: dict[str, type[Format]] = {"text": TextFormat, "json": JsonFormat, "msgpack": MsgpackFormat}


def format_named(name: object) -> type[Format]:
    """Give a format.

    Raises:
        GraphError: There is none of that name.
    """
    found = FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        msg = f"TcpProducer(format={short_repr(name)}): expected one of {', '.join(map(repr, FORMATS))}"
        raise GraphError(msg)
    return found
