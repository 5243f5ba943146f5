"""IterableProducer: an iterator that can be read once.

Rules of this module: fire and forget. What the iterator gave and the journal did not get yet is lost when the process
dies; after a restart a new iterator is read from its beginning and nothing of it is skipped, for nobody can know what
it stands for. What can be read again should be a list, a `GeneratorProducer` or a producer class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.clock import SYSTEM_CLOCK, Clock
from consecution.producers.base import NOTHING_YET, Producer, Read, SourceClass
from consecution.producers.pacing import Paced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class IterableProducer(Producer):
    """Gives the items of a generator or another iterator, reading it in the calling thread.

    A fast iterator is read in large batches, a slow one item by item. A read waits for the iterator's next item,
    however long that takes: an iterator can't be interrupted.

    Args:
        iterable: Read once; a second run finds what the first one left.
    """

    kind = "iterable"
    source = SourceClass.FIRE_AND_FORGET
    lives_in_caller = True

    def __init__(self, iterable: Iterable[Any], *, name: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = name
        self._iterable = iterable
        self._iterator: Iterator[Any] | None = None
        self._clock = clock
        self._paced: Paced | None = None

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin, or go on, with the iterator; a position means nothing to it."""
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        self._paced = Paced(self._iterator, self.label, self._clock)

    def read(self, items_max: int, wait_s: float = 0.0) -> Read:
        """Give at least one item, or the end; see `Producer.read`."""
        assert self._paced is not None, "read() before open()"
        items, ended = self._paced.read(items_max)
        return Read(items, ended=ended) if items or ended else NOTHING_YET

    def close(self) -> None:
        """Stop reading; the iterator stays open, for it is the caller's."""
        self._paced = None
