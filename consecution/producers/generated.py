"""Items of a user's generator function, with positions and checks.

Rules of this module:
1. A position is the number of items given before; ``func(position)`` must give the items from there on.
2. The check is [number, CRC] of an *anchor*: the first or the last item of a read, taken before any node could edit it.
   ``open`` begins at the greatest anchor below the mark, compares, and skips at most one read.
3. An error of the user's code comes after the items that were read before it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.errors import SourceError, UserCodeError, short_repr, user_errors
from consecution.producers.anchors import Anchors
from consecution.producers.pacing import Paced

if TYPE_CHECKING:
    from consecution.producers.awaiting import AsyncFeed


class GeneratedReader:
    """Reads ``func(position)``, a generator, async generator or any iterable.

    Args:
        func: Called once at each open.
        label: Names the producer in messages.
        has_positions: False when the source can't be read again: then ``func(0)`` always, no positions and no checks.
    """

    def __init__(
        self,
        func: Callable[[int], Iterable[Any] | AsyncIterator[Any]],
        *,
        label: str,
        has_positions: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._func = func
        self._label = label
        self._has_positions = has_positions
        self._clock = clock
        self._anchors = Anchors()
        self._feed: Paced | AsyncFeed | None = None
        self._position = 0

    def open(self, position: object | None, check: object | None) -> None:
        """Begin at ``position``; see `Producer.open`."""
        self.close()
        self._anchors = Anchors()
        self._position = 0
        if position is None or not self._has_positions:
            self._feed = self._begin(0)
            return
        target = self._as_number(position)
        anchor = Anchors.parse(check, target, self._label)
        self._position = target if anchor is None else anchor[0]
        self._feed = self._begin(self._position)
        if anchor is not None:
            self._skip_to(max(target, 1), anchor[1])
            self._anchors.keep(*anchor)
            if target == 0:  # the first item was only looked at
                self._feed.close()
                self._position = 0
                self._feed = self._begin(0)

    def read(self, items_max: int, wait_s: float) -> tuple[list[Any], range | tuple[()], int | None, bool]:
        """Give the fields of a `Read`: items, positions, next position, ended."""
        assert self._feed is not None, "read() before open()"
        items, ended = self._feed.read(items_max, wait_s)
        if not self._has_positions:
            return items, (), None, ended
        first = self._position
        self._position += len(items)
        if items:
            self._anchors.note(first, items[0])
            self._anchors.note(self._position - 1, items[-1])
        return items, range(first, self._position), self._position, ended

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when an async generator has an item; None for any other."""
        return None if self._feed is None else self._feed.fileno()

    def check(self, position: object) -> object | None:
        """Give the anchor below ``position``."""
        return self._anchors.below(self._as_number(position)) if self._has_positions else None

    def close(self) -> None:
        """Close the user's generator, whose ``finally`` runs now."""
        if self._feed is not None:
            feed, self._feed = self._feed, None
            feed.close()

    def _begin(self, position: int) -> Paced | AsyncFeed:
        try:
            given: Any = self._func(position)
            if inspect.iscoroutine(given):
                given.close()
                msg = f"producer {self._label!r}: its function is a coroutine and yields nothing; write `yield` in it"
                raise SourceError(msg)
            if isinstance(given, AsyncIterator):
                from consecution.producers.awaiting import AsyncFeed

                return AsyncFeed(given, self._label)
            iterator: Iterator[Any] = iter(given)
        except SourceError:
            raise
        except user_errors() as error:
            raise user_error(self._label, error) from error
        return Paced(iterator, self._label, self._clock)

    def _skip_to(self, target: int, crc: int) -> None:
        """Compare the anchor item, then read on to the target; both lie below the mark."""
        assert self._feed is not None
        is_first = True
        while self._position < target:
            items, ended = self._feed.read(1 if is_first else target - self._position, 1.0)
            if items and is_first:
                Anchors.compare(self._position, items[0], crc, self._label)
                is_first = False
            self._position += len(items)
            if ended and self._position < target:
                msg = (
                    f"producer {self._label!r} ended at item {self._position}, but the journal says that {target} items"
                    " were finished; it must give the same items each time: restore it, or start anew with --fresh"
                )
                raise SourceError(msg)

    def _as_number(self, position: object) -> int:
        if isinstance(position, int) and position >= 0:
            return position
        msg = f"producer {self._label!r}: the journal's position is {short_repr(position)}, expected a number of items"
        raise SourceError(msg + "; start anew with --fresh")


def user_error(label: str, error: BaseException) -> UserCodeError:
    """Give the error that says that the producer's own code raised."""
    msg = f"producer {label!r}: its code raised {type(error).__name__}: {error}; items read before it are kept"
    return UserCodeError(msg, node=label)
