"""Anchors: how a re-read source is known to be the one that was read before.

Rules of this module:
1. An anchor is [number, CRC-32 of the packed item]; it is taken before any node can edit the item.
2. An item that can't be packed makes no anchor; a source without anchors has no check.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from typing import Any

from consecution.errors import CodecError, SourceError, short_repr
from consecution.wire.codec import default_codec


def item_crc(item: Any) -> int | None:
    """Give the CRC-32 of the item as it travels; None when it can't be packed.

    >>> item_crc("a") == item_crc("a"), item_crc("a") == item_crc("b")
    (True, False)
    """
    try:
        return zlib.crc32(default_codec.pack(item))
    except CodecError:
        return None


class Anchors:
    """Anchors in rising order; those below the lowest one still asked for are forgotten."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._crcs: list[int] = []

    def note(self, number: int, item: Any) -> None:
        """Take an anchor, if the item can be packed and its number is a new one."""
        if self._numbers and number <= self._numbers[-1]:
            return
        crc = item_crc(item)
        if crc is not None:
            self.keep(number, crc)

    def keep(self, number: int, crc: int) -> None:
        """Take an anchor whose CRC is known."""
        self._numbers.append(number)
        self._crcs.append(crc)

    def below(self, position: int) -> list[int] | None:
        """Give the greatest anchor below ``position`` and forget smaller ones; None when there is none.

        Nothing lies below the start: there the first item itself is the anchor, once it was read.
        """
        if position == 0:
            return [0, self._crcs[0]] if self._numbers[:1] == [0] else None
        place = bisect_left(self._numbers, position) - 1
        if place < 0:
            return None
        del self._numbers[:place], self._crcs[:place]
        return [self._numbers[0], self._crcs[0]]

    def above(self, position: int) -> list[int] | None:
        """Give the lowest anchor above ``position``; None when there is none."""
        place = bisect_right(self._numbers, position)
        return [self._numbers[place], self._crcs[place]] if place < len(self._numbers) else None

    @staticmethod
    def parse(check: object, position: int, label: str) -> tuple[int, int] | None:
        """Read a journalled check.

        Raises:
            SourceError: It is not an anchor at or below ``position``.
        """
        if check is None:
            return None
        if isinstance(check, (list, tuple)) and len(check) == 2 and all(isinstance(part, int) for part in check):
            number, crc = check
            if 0 <= number < position or number == position == 0:
                return number, crc
        msg = f"producer {label!r}: the journal's check is {short_repr(check)}, expected [number, CRC] of an item below"
        msg += f" {position}; the journal is of another kind of source: start anew with --fresh"
        raise SourceError(msg)

    @staticmethod
    def compare(number: int, item: Any, crc: int, label: str) -> None:
        """Raise a SourceError unless ``item`` is the one that the journal knows."""
        if item_crc(item) == crc:
            return
        msg = (
            f"producer {label!r}: item {number} is now {short_repr(item)}, which is not the item that was read before;"
            " its source was changed below the place where the run stopped, nothing was read; restore the source, or"
            " start anew with --fresh"
        )
        raise SourceError(msg)
