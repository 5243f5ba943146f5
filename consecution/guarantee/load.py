"""Items that travel or wait together in a producer's window, with their pristine values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Snapshot(Protocol):
    """The values of a batch as they were introduced: nodes may change the items that they get.

    Attributes:
        is_buffer_free: It was seen that no bytearray and no memoryview is in them.
    """

    is_buffer_free: bool

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        ...

    def restore(self) -> list[Any]:
        """Give all items, fresh."""
        ...

    def one(self, index: int) -> Any:
        """Give one item, fresh."""
        ...


class NoSnapshot:
    """Stands for values that nobody will ask for: at level CONFIRM nothing is replayed and no item is shown."""

    is_buffer_free = False
    size = 0

    def restore(self) -> list[Any]:
        """Give nothing."""
        return []

    def one(self, index: int) -> None:
        """Give None."""


class Load:
    """Items that share one root, or wait for one.

    Attributes:
        seqs: Their sequence numbers, in batch order.
        snapshot: Values of the batch that they came from.
        picks: Place of each in the snapshot; None when they are all of it, in order.
        attempts: Attempts counted against the item; 0 for items that have none.
        is_suspect: Whether a process died with the item in work.
        losses: How often the items were lost, but for what attempts of other items explain.
        charges: How many attempts its window had charged for deaths when it last counted a loss, or made the load.
        is_alone: Nothing else of its window is out while it is.
        size: Bytes that count against the window's bound while it is out.
    """

    __slots__ = ("attempts", "charges", "is_alone", "is_suspect", "losses", "picks", "seqs", "size", "snapshot")

    def __init__(
        self,
        seqs: Sequence[int],
        snapshot: Snapshot,
        picks: tuple[int, ...] | None = None,
        losses: int = 0,
        attempts: int = 0,
        is_suspect: bool = False,
        charges: int = 0,
    ) -> None:
        self.seqs = seqs
        self.snapshot = snapshot
        self.picks = picks
        self.losses = losses
        self.attempts = attempts
        self.is_suspect = is_suspect
        self.charges = charges
        self.is_alone = False
        self.size = 0

    @property
    def is_solo(self) -> bool:
        """Whether this is one item that must travel alone until its outcome (R14)."""
        return self.attempts > 0 or self.is_suspect

    def items(self) -> list[Any]:
        """Give the items, fresh."""
        if self.picks is None:
            return self.snapshot.restore()
        return [self.snapshot.one(place) for place in self.picks]

    def one(self, index: int) -> Any:
        """Give the item at an index of this load, fresh."""
        return self.snapshot.one(index if self.picks is None else self.picks[index])

    def part(self, indexes: Sequence[int]) -> Load:
        """Give a load of some of the items, with the same losses; the values are shared."""
        places = tuple(indexes) if self.picks is None else tuple(self.picks[index] for index in indexes)
        seqs = tuple(self.seqs[index] for index in indexes)
        return Load(seqs, self.snapshot, places, self.losses, charges=self.charges)

    def lose(self, charges: int) -> None:
        """Count a loss.

        Args:
            charges: How many attempts its window has charged for deaths. Each explains one loss: when an item pays for
                each death, the others needn't wait longer and longer. Losses that nobody pays for add up.
        """
        self.losses = max(0, self.losses - (charges - self.charges)) + 1
        self.charges = charges


def ranges_of(seqs: Sequence[int]) -> list[range]:
    """Give ascending numbers as ranges.

    >>> ranges_of((1, 2, 3, 7, 9, 10))
    [range(1, 4), range(7, 8), range(9, 11)]
    """
    if isinstance(seqs, range):
        return [seqs] if seqs else []
    found: list[range] = []
    for seq in seqs:
        if found and found[-1].stop == seq:
            found[-1] = range(found[-1].start, seq + 1)
        else:
            found.append(range(seq, seq + 1))
    return found
