r"""Bytes into lines, and lines into text; pure.

Rules of this module:
1. A line ends with "\n" and with nothing else; it is given without it. A "\r" before it belongs to the line, and so
   does a NUL byte: nothing of the source is changed.
2. No line is longer than ``line_bytes_max``; a longer one is an error, told after the lines before it.
3. A line that can't be decoded is an error that names its byte; told after the lines before it.
"""

from __future__ import annotations

import codecs
from array import array
from collections import deque
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE_BYTES_MAX = 1 << 20


class LineSplitter:
    r"""Cuts a stream of bytes into lines.

    >>> splitter = LineSplitter()
    >>> splitter.feed(b"one\r\ntw")
    >>> splitter.take(10)
    [b'one\r']
    >>> splitter.feed(b"o")
    >>> splitter.end()
    >>> splitter.take(10)
    [b'two']

    Attributes:
        is_too_long: The line after those that `take` still gives is longer than ``line_bytes_max``.
    """

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self.line_bytes_max = line_bytes_max
        self.is_too_long = False
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []  # pieces of the line that has no end yet
        self._rest_bytes = 0

    def __len__(self) -> int:
        """Give how many whole lines are there."""
        return len(self._lines)

    @property
    def rest_bytes(self) -> int:
        """How many bytes of a line without an end are there."""
        return self._rest_bytes

    def feed(self, data: bytes) -> None:
        """Take the next bytes; ignored after a line that is too long."""
        if self.is_too_long:
            return
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = b"".join([*self._rest, whole[0]])
            self._rest.clear()
            self._rest_bytes = 0
            # One max() for the chunk: a line can only be too long when a chunk or its join is.
            if len(whole[0]) > self.line_bytes_max or len(data) > self.line_bytes_max:
                whole = self._short_ones(whole)
            self._lines.extend(whole)
        if rest and not self.is_too_long:
            self._rest.append(rest)
            self._rest_bytes += len(rest)
            if self._rest_bytes > self.line_bytes_max:
                self.is_too_long = True
                self._rest.clear()

    def end(self) -> None:
        """Take what has no newline as the last line: the stream has ended."""
        if self._rest and not self.is_too_long:
            self._lines.append(b"".join(self._rest))
        self._rest.clear()
        self._rest_bytes = 0

    def take(self, lines_max: int) -> list[bytes]:
        """Give and forget at most ``lines_max`` lines."""
        lines = self._lines
        if len(lines) <= lines_max:
            taken = list(lines)
            lines.clear()
            return taken
        return [lines.popleft() for _ in range(lines_max)]

    def give_back(self, lines: list[bytes]) -> None:
        """Put lines back in front."""
        self._lines.extendleft(reversed(lines))

    def _short_ones(self, whole: list[bytes]) -> list[bytes]:
        for place, line in enumerate(whole):
            if len(line) > self.line_bytes_max:
                self.is_too_long = True
                return whole[:place]
        return whole


class TextLines:
    r"""Lines of bytes as items: text, or the bytes themselves.

    Args:
        encoding: Such as utf-8; None gives bytes. UTF-16 and UTF-32 are refused: their newline is not one byte.
        errors: What becomes of bytes that are no text, as in `bytes.decode`: "strict" is an error, "replace" is none.

    >>> TextLines("utf-8", "strict").items([b"a", b"\xc3\xa9"])
    ['a', 'é']
    """

    def __init__(self, encoding: str | None, errors: str) -> None:
        self.errors = errors
        self.has_mark = False
        self.encoding = encoding
        if encoding is None:
            return
        try:
            codec = codecs.lookup(encoding).name
            codecs.lookup_error(errors)
        except LookupError as error:
            msg = f"PipeProducer(encoding={encoding!r}, errors={errors!r}): {error}; use 'utf-8', or None for bytes"
            raise GraphError(msg) from error
        # A byte order mark belongs to the start of a file, not to each line.
        self.has_mark = codec == "utf-8-sig"
        self.encoding = "utf-8" if self.has_mark else codec
        if "\n".encode(self.encoding) != b"\n":
            msg = f"PipeProducer(encoding={encoding!r}): lines are cut at the byte 0x0A, which is not a newline there"
            msg += "; convert the file to utf-8, or read it yourself with a GeneratorProducer"
            raise GraphError(msg)

    def items(self, lines: list[bytes]) -> list[Any]:
        """Give one item for each line.

        Raises:
            UnicodeDecodeError: A line is no text in this encoding, with ``errors="strict"``.
        """
        if self.encoding is None or not lines:
            return list(lines)
        # One decode for all lines is three times as fast; an error handler may eat a newline, so count.
        text = b"\n".join(lines).decode(self.encoding, self.errors).split("\n")
        if len(text) == len(lines):
            return text
        return [line.decode(self.encoding, self.errors) for line in lines]

    def first_bad(self, lines: list[bytes]) -> tuple[int, UnicodeDecodeError] | None:
        """Give the place of the first line that is no text, and its error; None when all are."""
        if self.encoding is not None:
            for place, line in enumerate(lines):
                try:
                    line.decode(self.encoding, self.errors)
                except UnicodeDecodeError as error:
                    return place, error
        return None


class LineFeed:
    """Lines of one stream as items with the byte offset of each; raises what is wrong after what is right.

    Args:
        label: Names the source in messages.
        offset: Byte offset at which the stream begins.
    """

    def __init__(self, text: TextLines, line_bytes_max: int, label: str, offset: int = 0) -> None:
        self._text = text
        self._label = label
        self._splitter = LineSplitter(line_bytes_max)
        self.offset = offset
        self.feed = self._splitter.feed
        self.end = self._splitter.end

    def __len__(self) -> int:
        """Give how many items are there, or 1 for an error that is due."""
        return len(self._splitter) or int(self._splitter.is_too_long)

    @property
    def is_stuck(self) -> bool:
        """True when a line is too long: no more bytes are taken."""
        return self._splitter.is_too_long

    def begin(self, data: bytes) -> None:
        """Take the first bytes of a file: a byte order mark is no part of its first line."""
        if self._text.has_mark and self.offset == 0 and data.startswith(codecs.BOM_UTF8):
            self.offset = len(codecs.BOM_UTF8)
            data = data[self.offset :]
        self.feed(data)

    @property
    def rest_bytes(self) -> int:
        """How many bytes of a line without an end are there."""
        return self._splitter.rest_bytes

    def take(self, items_max: int) -> tuple[list[Any], Sequence[int]]:
        """Give (items, byte offset of each).

        Raises:
            SourceError: The next line is too long, or is no text.
        """
        lines = self._splitter.take(items_max)
        try:
            items = self._text.items(lines)
        except UnicodeDecodeError:
            lines, items = self._up_to_bad(lines)
        if not lines and self._splitter.is_too_long:
            msg = (
                f"{self._label}: the line at byte {self.offset} is longer than {self._splitter.line_bytes_max} bytes;"
                " if it is right, raise line_bytes_max; lines before it were given"
            )
            raise SourceError(msg)
        offsets = array("q", accumulate(map(len, lines), lambda at, size: at + size + 1, initial=self.offset))
        self.offset = offsets.pop()
        return items, offsets

    def _up_to_bad(self, lines: list[bytes]) -> tuple[list[bytes], list[Any]]:
        found = self._text.first_bad(lines)
        assert found is not None, "a line failed in a join, and alone it did not"
        place, error = found
        if place == 0:
            self._splitter.give_back(lines)
            byte = self.offset + error.start
            msg = (
                f"{self._label}: byte {byte} (0x{lines[0][error.start]:02x}, in the line at byte {self.offset}) is no"
                f" {self._text.encoding} text: {error.reason}; say the right encoding=, or errors='replace', or"
                " encoding=None for bytes; lines before it were given"
            )
            raise SourceError(msg) from error
        self._splitter.give_back(lines[place:])
        good = list(islice(lines, place))
        return good, self._text.items(good)
