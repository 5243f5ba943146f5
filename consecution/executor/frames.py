"""Frames: items of one channel sent together to one task, with what the ledger needs to follow them (R8).

Rules of this module: values only. An *origin code* is an int, ``(place of the root in the frame's table) << 32 |
index``; an item made of several others has a tuple of codes. ``origins`` is None while the frame still is the batch:
then item ``i`` has the origin ``(roots[0], i)``. Of what type they are else says `codes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from consecution.guarantee.messages import Incarnation, Origin, Root

INDEX_BITS = 32
INDEX_MASK = (1 << INDEX_BITS) - 1

Code: TypeAlias = "int | tuple[int, ...]"


@dataclass(slots=True)
class Frame:
    """Items of one channel, sent together to one task.

    Attributes:
        task: Number of the task that it is for.
        items: The values: a list, owned by whoever holds the frame, or a range, from a producer in the same process.
        roots: The roots that it descends from; empty at level NONE.
        ids: One edge id for each root.
        producers: Incarnation of each root's producer: to whom the verdict goes.
        origins: One code for each item, or None (see the module's rules).
        solo: The items are alone in their root: holders pass them on as a chunk of their own (R14).
        is_buffer_free: It is known that no bytearray and no memoryview is in them, so that nobody looks for one when
            they are packed.
        inject: Place of the output at which a task's own values enter its stage; None for what came from outside.
    """

    task: int
    items: Sequence[Any]
    roots: tuple[Root, ...] = ()
    ids: tuple[int, ...] = ()
    producers: tuple[Incarnation, ...] = ()
    origins: Sequence[Code] | None = None
    solo: bool = False
    inject: int | None = None
    is_buffer_free: bool = False

    def code(self, place: int) -> Code:
        """Origin code of the item at ``place``."""
        return place if self.origins is None else self.origins[place]

    def origin_pairs(self, codes: Iterable[Code]) -> Iterator[Origin]:
        """Turn codes into (root, index) pairs; a tuple of codes gives several; nothing at level NONE."""
        if not self.roots:
            return
        for code in codes:
            if isinstance(code, tuple):
                for one in code:
                    yield self.roots[one >> INDEX_BITS], one & INDEX_MASK
            else:
                yield self.roots[code >> INDEX_BITS], code & INDEX_MASK

    def indexes_of(self, codes: Iterable[Code]) -> dict[Root, tuple[int, ...]]:
        """Give the indexes that codes name, by root and in order, each once; nothing at level NONE."""
        found: dict[Root, set[int]] = {}
        for root, index in self.origin_pairs(codes):
            found.setdefault(root, set()).add(index)
        return {root: tuple(sorted(indexes)) for root, indexes in found.items()}


@value
class FlushMark:
    """Holders must push what they hold (R18); forwarded once for each (origin, number)."""

    origin: Incarnation
    number: int


@value
class EndMark:
    """The sender, a task or a producer, has ended (R19). ``sender`` is a task number, or -1 - producer's place."""

    sender: int
