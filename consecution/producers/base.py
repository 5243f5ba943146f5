"""Producer: the base of everything that brings items into a pipeline.

Rules of this module:
1. A producer opens nothing before ``open`` and holds nothing after ``close``; ``open`` begins anew each time.
2. ``read`` gives items in one order. Of a re-readable source it gives, from one position, the same items each time.
3. Nothing is ever skipped: a position or a check that doesn't fit the source is a SourceError.
4. ``Read.ended`` is told once, with the last items or after them; then nothing more comes.
5. All methods are called from one thread, but for what a subclass states (`Pusher.push`).
"""

from __future__ import annotations

from abc import ABCMeta
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError
from consecution.graph.naming import check_name, snake_case
from consecution.graph.source import Source
from consecution.producers.generated import GeneratedReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consecution.clock import Clock
    from consecution.producers.inquiries import Inquiries


class SourceClass(StrEnum):
    """What a producer's source promises over a death of its process (protocol.md R17).

    Attributes:
        RE_READABLE: It can be read again from a position; nothing is lost, nothing is written but the position.
        HANDED_OVER: Each item is in the journal, synced, before its sender hears yes.
        FIRE_AND_FORGET: Items are journalled as they are read; what was read and not yet journalled is lost, at most
            one batch.
    """

    RE_READABLE = "re-readable"
    HANDED_OVER = "handed over"
    FIRE_AND_FORGET = "fire and forget"


@dataclass(frozen=True, slots=True)
class Read:
    """What one call of `Producer.read` gave.

    Attributes:
        items: The items, in order; [] when there is nothing yet. A new list, or what nobody can edit, such as a range.
        positions: Of a re-readable source the start position of each item (``open(positions[i], …)`` reads from
            ``items[i]`` on), as long as ``items``; of any other source empty.
        next_position: Where the next read goes on, packable by MessagePack; None when there is no such place. A source
            that is not re-readable may give one too (the last due time of a timed producer): ``open`` gets the newest
            one after a restart, and the items before it come from the journal.
        ended: True once, when no item comes after these.
        keys: Idempotency keys of handed-over items, as long as ``items``; None when there are none. An item whose key
            the journal knows isn't taken again: its sender hears of the first one.
        tokens: What each item was pushed with (`Pusher.push(token=…)`), as long as ``items``; None when there are none.
    """

    items: Sequence[Any]
    positions: Sequence[object] = ()
    next_position: object | None = None
    ended: bool = False
    keys: list[str | None] | None = None
    tokens: list[object] | None = None

    def parted(self, count: int) -> tuple[Read, Read | None]:
        """Give the first ``count`` items, and the rest; whole where its place in the source belongs to all of them.

        >>> Read(["a", "b", "c"], ended=True).parted(2)[1]
        Read(items=['c'], positions=(), next_position=None, ended=True, keys=None, tokens=None)
        """
        if count >= len(self.items) or self.next_position is not None:
            return self, None
        keys, tokens = self.keys, self.tokens
        return Read(
            self.items[:count],
            keys=None if keys is None else keys[:count],
            tokens=None if tokens is None else tokens[:count],
        ), Read(
            self.items[count:],
            ended=self.ended,
            keys=None if keys is None else keys[count:],
            tokens=None if tokens is None else tokens[count:],
        )


NOTHING_YET = Read([])
THE_END = Read([], ended=True)


class ProducerType(ABCMeta):
    """Makes ``Producer(kind="pipe", …)`` give a `PipeProducer`.

    A metaclass does it, because a ``Producer.__new__`` that gives an instance of a subclass runs that subclass's
    ``__init__`` twice.
    """

    def __call__(cls, *args: Any, **options: Any) -> Any:
        """Make a producer; of `Producer` itself the one that ``kind`` names."""
        if cls is not Producer:
            return super().__call__(*args, **options)
        from consecution.producers.kinds import class_of_kind  # the kinds import this module

        return class_of_kind(options.pop("kind", None))(*args, **options)


class Producer(Source, metaclass=ProducerType):
    """The base class of producers; ``Producer(kind="pipe", path)`` makes one of ours.

    A producer of your own is a subclass with a generator ``items(position)``, where ``position`` says how many items
    were given before (0 at first). It must give the same items each time:

    >>> class Countdown(Producer):
    ...     def __init__(self, start):
    ...         self.start = start
    ...
    ...     def items(self, position):
    ...         for number in range(self.start - position, 0, -1):
    ...             yield number
    >>> producer = Countdown(3)
    >>> producer.open(position=1)
    >>> producer.read(items_max=10, wait_s=0.0).items
    [2]
    >>> producer.close()

    What can't be read again says so, then ``position`` is always 0: ``source = SourceClass.FIRE_AND_FORGET``. A source
    with positions of its own (an id, a cursor) overrides ``open``, ``read`` and ``close`` instead, and ``check`` when
    it can tell that it was replaced. `consecution.testing.producer_contract` tests a producer against this contract.

    Attributes:
        kind: One word for what it is; the class's name in snake case unless said.
        source: What it promises over a death; re-readable unless said.
        endless: True when it never ends by itself; the journal of a run with such a producer is kept.
        immutable_items: True when no node can edit its items in place, so that replays need no copy.
        lives_in_caller: True when it can only be read in the process that made it (an iterator, stdin).
        inquiries: What its own threads ask of the journal; None when it has none to ask.
    """

    kind: str = "producer"
    source: SourceClass = SourceClass.RE_READABLE
    endless: bool = False
    immutable_items: bool = False
    lives_in_caller: bool = False
    inquiries: Inquiries | None = None

    _reader: GeneratedReader | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the class its kind, and refuse one that can't be read."""
        super().__init_subclass__(**options)
        if "kind" not in cls.__dict__:
            cls.kind = snake_case(cls.__name__)
        if cls.items is Producer.items and cls.read is Producer.read:
            msg = f"producer class {cls.__name__!r} has neither items(self, position) nor read(self, items_max, wait_s)"
            msg += "; write `def items(self, position)` as a generator of your items"
            raise GraphError(msg)

    @property
    def name(self) -> str | None:
        """Its name in the journal and in reports; None lets the Consecutor name it after its kind."""
        return self._slot.name

    @name.setter
    def name(self, name: str | None) -> None:
        self._slot.name = None if name is None else check_name(name)

    @property
    def label(self) -> str:
        """What it is and what it reads, for messages: ``pipe /var/log/app.log``."""
        return self.name or self.kind

    def items(self, position: int) -> Iterator[Any]:
        """Give the items from the one with number ``position`` on; a subclass writes it as a (async) generator."""
        msg = f"producer {self.label!r} gives its items by read(), not by items()"
        raise NotImplementedError(msg)

    @property
    def listens_on(self) -> str | None:
        """Where senders reach it, as ``host:port``; None when it doesn't listen."""
        return None

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin to read.

        Args:
            position: A position of an earlier `Read`; None for the start of the source.
            check: What ``check(position, …)`` gave when that position was journalled; None when there is nothing to
                compare.

        Raises:
            SourceError: The source can't be opened, isn't as long as ``position``, or isn't the one of ``check``.
        """
        self.close()
        self._reader = GeneratedReader(
            self.items, label=self.label, has_positions=self.source is SourceClass.RE_READABLE
        )
        self._reader.open(position, check)

    def read(self, items_max: int, wait_s: float) -> Read:
        """Give what is there, waiting at most ``wait_s`` seconds for the first item.

        Args:
            items_max: At most so many items, 1 or more.
            wait_s: 0 doesn't wait. A synchronous generator of a user can't be interrupted: it may take longer.

        Raises:
            SourceError: The source can't be read. Items that were read before it have been given.
            UserCodeError: The user's generator raised; the same holds.
        """
        assert self._reader is not None, "read() before open()"
        return Read(*self._reader.read(items_max, wait_s))

    def fileno(self) -> int | None:
        """Give a file descriptor that is readable when ``read`` would give something; None when there is none."""
        return None if self._reader is None else self._reader.fileno()

    def ready_in(self) -> float | None:
        """Give the seconds until ``read`` may give something: 0.0 now, None when only ``fileno`` can tell."""
        return 0.0 if self._reader is None or self._reader.fileno() is None else None

    def tell_time_by(self, clock: Clock) -> None:
        """Go by this clock from the next ``open`` on; a producer that knows no time has nothing to do."""

    def obstacle(self) -> str | None:
        """Say, without opening it, why ``open`` would fail now, such as an absent file; None when nothing is seen."""
        return None

    def waiting_for(self) -> str | None:
        """Say for people what holds the source back, such as an absent server; None when nothing does."""
        return None

    def check(self, position: object, item_below: object = None) -> object | None:
        """Give what identifies the source below ``position``; it is journalled with the position.

        Args:
            position: The start position of the lowest unfinished item; asked for in rising order.
            item_below: The finished item just below it, if the caller still has it as it was read.

        Returns:
            A value that MessagePack packs, for ``open``; None when there is nothing to compare.
        """
        return None if self._reader is None else self._reader.check(position)

    def acknowledge(self, first_seq: int, count: int) -> None:
        """Hear that the next ``count`` items given are taken over, under the numbers from ``first_seq`` on.

        Called for all items of a read, in order, after they are in the journal (handed over: synced): once, or several
        times when some were handed over before under the same idempotency key, and keep their earlier numbers. Now a
        sender may hear yes. What becomes of an item later is told by its Receipt, the Report and the journal.
        """

    def fail(self, count: int, error: Exception) -> None:
        """Hear that the next ``count`` items given could not be taken over: senders must hear no.

        Called when the run ends while what was read still waits for space on the journal's disk.
        """

    def admit(self, is_open: bool) -> None:
        """Hear whether what senders hand over is taken now: not while the run is paused, or drains, or ends."""

    def close(self) -> None:
        """Let go of the source; may be called twice, and before ``open``."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
