"""SequenceProducer: a list, a tuple, a range, or any other sequence.

Rules of this module:
1. Re-readable: a position is the number of items before it.
2. The check is an anchor: of items that no node can edit, the one just below the mark; of others, an item of the last
   read below it, whose CRC was taken before any node could edit it.
3. Items are taken as they are read: a range of 10**12 costs nothing, and a read of it is a range.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from consecution.errors import SourceError, short_repr
from consecution.producers.anchors import Anchors, item_crc
from consecution.producers.base import Producer, Read, SourceClass

if TYPE_CHECKING:
    from collections.abc import Sequence

FIXED_TYPES = (str, bytes, int, float, bool, complex, type(None))


class SequenceProducer(Producer):
    """Gives the items of a sequence.

    >>> producer = SequenceProducer(range(10))
    >>> producer.open()
    >>> producer.read(4, 0.0)
    Read(items=range(0, 4), positions=range(0, 4), next_position=4, ended=False, keys=None, tokens=None)
    >>> producer.close()

    Args:
        rows: Kept, not copied: don't change it while the pipeline runs.
    """

    kind = "sequence"
    source = SourceClass.RE_READABLE
    lives_in_caller = True

    def __init__(self, rows: Sequence[Any], *, name: str | None = None) -> None:
        self.name = name
        self.immutable_items = isinstance(rows, (range, str, bytes))
        # The middle of a deque is far from both ends: a tuple of it is read in one step for each item.
        self._rows: Sequence[Any] = tuple(rows) if isinstance(rows, deque) else rows
        self._anchors = Anchors()
        self._position = 0
        self._has_ended = False

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin at item number ``position``; see `Producer.open`."""
        self._anchors = Anchors()
        self._has_ended = False
        self._position = 0
        if position is None:
            return
        if not isinstance(position, int) or not 0 <= position <= len(self._rows):
            msg = (
                f"producer {self.label!r}: the journal says that {short_repr(position)} items were read before, but the"
                f" sequence has {len(self._rows)}; restore it, or start anew with --fresh"
            )
            raise SourceError(msg)
        anchor = Anchors.parse(check, position, self.label)
        if anchor is not None:
            Anchors.compare(anchor[0], self._rows[anchor[0]], anchor[1], self.label)
            self._anchors.keep(*anchor)
        self._position = position

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """Give the next items; never waits."""
        if self._has_ended:
            return Read([], (), self._position)
        first = self._position
        rows = self._rows
        items: Sequence[Any]
        if type(rows) in (range, list):
            items = rows[first : first + items_max]
        elif isinstance(rows, (range, list, tuple)):
            items = list(rows[first : first + items_max])
        else:  # a user's sequence need not know slices
            items = [rows[place] for place in range(first, min(first + items_max, len(rows)))]
        last = first + len(items)
        self._position = last
        if items and (first == 0 or not self.immutable_items):
            self._anchors.note(first, items[0])
            self._anchors.note(last - 1, items[-1])
        self._has_ended = last >= len(self._rows)
        return Read(items, range(first, last), last, self._has_ended)

    def check(self, position: object, item_below: object = None) -> object | None:
        """Give [number, CRC] of an item below ``position``."""
        assert isinstance(position, int)
        if position == 0:
            return self._anchors.below(0)
        below = self._rows[position - 1]
        if type(below) in FIXED_TYPES:
            crc = item_crc(below)
            return None if crc is None else [position - 1, crc]
        return self._anchors.below(position)

    def close(self) -> None:
        """Nothing is held."""
