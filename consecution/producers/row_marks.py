"""How a query is known to be the one that was read before, though rows come and go.

Rules of this module:
1. A position is the key of the last row before it, as a list; [] is the start. It is the place behind that row.
2. The check has two parts. *Below* the mark: the CRC-32 of a row that was the last of a read. *Above* it: how many rows
   were given after the mark, up to which key, and a sum over their keys. Finished rows are known by their place in that
   order: when one came or went in between, nobody can tell them apart any more.
3. What doesn't fit is a SourceError; no row is skipped because of it.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consecution.errors import CodecError, SourceError, short_repr
from consecution.producers.anchors import item_crc
from consecution.wire.codec import default_codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consecution.producers.paging import Key

PLAIN = frozenset({int, float, str})
SUM_MAX = 2**32


@dataclass(frozen=True, slots=True)
class Above:
    """Rows that follow a position: how many there are, up to which key, and a sum over their keys."""

    last: Key
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class Check:
    """What was journalled with a position.

    Attributes:
        anchor: Key of a row at or below the position, and its CRC-32 (None: it can't be packed); None when no read
            has ended there.
        above: What was given above the position; None when there was nothing.
    """

    anchor: tuple[Key, int | None] | None
    above: Above | None


class RowMarks:
    """What was given and is not known to be finished; used from one thread.

    Args:
        after: Key of the row behind which reading begins; None at the start.
        anchor: Of an earlier check.

    >>> marks = RowMarks(None)
    >>> marks.note([(3,), (5,)], {"id": 5})
    >>> marks.check([3])[2:]
    [[5], 1, 501320820]
    """

    def __init__(self, after: Key | None, anchor: tuple[Key, int | None] | None = None) -> None:
        # One entry for each row, and first one for the place behind which the rows begin: key, rows and sum up to it.
        self._given: deque[tuple[Key | None, int, int]] = deque([(after, 0, 0)])
        self._anchors: deque[tuple[Key, int, int | None]] = deque()
        if anchor is not None:
            self._anchors.append((anchor[0], 0, anchor[1]))

    def note(self, keys: Sequence[Key], last_row: object) -> None:
        """Take note of rows, in order, of which the last one is given as it is compared later."""
        _, count, total = self._given[-1]
        for key in keys:
            count += 1
            total = (total + _key_crc(key)) % SUM_MAX
            self._given.append((key, count, total))
        self._anchors.append((keys[-1], count, item_crc(last_row)))

    def check(self, position: object) -> list[object]:
        """Give the check of a position, and forget what lies below it; asked for in rising order."""
        after = key_of(position, "")
        while self._given[0][0] != after:
            self._given.popleft()
            assert self._given, "a position that was never given, or is forgotten"
        _, count, total = self._given[0]
        while len(self._anchors) > 1 and self._anchors[1][1] <= count:
            self._anchors.popleft()
        anchor: list[object] = [None, None]
        if self._anchors and self._anchors[0][1] <= count:
            anchor = [position_of(self._anchors[0][0]), self._anchors[0][2]]
        last, count_last, total_last = self._given[-1]
        return [*anchor, position_of(last), count_last - count, (total_last - total) % SUM_MAX]


def sum_of(keys: Iterable[Key]) -> tuple[int, int]:
    """Give how many keys there are and their sum, as `Above` has them."""
    count = total = 0
    for key in keys:
        count += 1
        total = (total + _key_crc(key)) % SUM_MAX
    return count, total


def position_of(key: Key | None) -> object:
    """Give the position behind the row with this key; [] for None.

    >>> position_of((3, "a")), position_of(None)
    ([3, 'a'], [])
    """
    if key is None:
        return []
    return list(key) if is_plain(key) else default_codec.pack(list(key))


def is_plain(key: Key) -> bool:
    """Whether the key's values can be written down as they are."""
    return type(key[0]) in PLAIN if len(key) == 1 else all(type(value) in PLAIN for value in key)


def key_of(position: object, label: str) -> Key | None:
    """Give the key of a position; None for the start.

    Raises:
        SourceError: It is no position of a cursor.
    """
    try:
        values: Any = default_codec.unpack(position) if isinstance(position, bytes) else position
        if isinstance(values, (list, tuple)):
            return tuple(values) or None
    except CodecError:
        values = position
    msg = f"{label}: the journal's position is {short_repr(values)}, expected the key of a row; the journal is of"
    raise SourceError(msg + " another kind of source: start anew with --fresh")


def parse_check(check: object, label: str) -> Check:
    """Read a journalled check.

    Raises:
        SourceError: It is none of a cursor.
    """
    if check is None:
        return Check(None, None)
    if isinstance(check, (list, tuple)) and len(check) == 5 and isinstance(check[3], int):
        at, crc, last, count, total = check
        anchor = None if at is None else key_of(at, label)
        above = key_of(last, label)
        return Check(
            None if anchor is None else (anchor, crc),
            Above(above, count, total) if count and above is not None else None,
        )
    msg = f"{label}: the journal's check is {short_repr(check)}, which is none of a query; the journal is of another"
    raise SourceError(msg + " kind of source: start anew with --fresh")


def _key_crc(key: Key) -> int:
    if is_plain(key):  # the usual case, four times as fast
        return zlib.crc32(repr(key).encode())
    return zlib.crc32(default_codec.pack(list(key)))
