"""What dead incarnations had in work, by root, until the verdict that takes it along (protocol.md R15).

Rules: an incarnation's suspects are taken once, however many placements repeat them. Invariants: (1) at most
`origins_max` origins are kept, of at most `incarnations_max` incarnations: the oldest go first; (2) `_origins` counts
what is kept. An origin that went is no loss of an item: it only means that one more death is needed to find the guilty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .messages import Cause, Incarnation, Root, Suspects
    from .tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class Blame:
    """What one death says of one root: the items in work, how it died, and whether one item was alone in the slot."""

    indexes: tuple[int, ...]
    crash: Cause
    is_alone: bool


class Suspicion:
    """The suspects that no verdict has taken along yet. Not thread-safe."""

    __slots__ = ("_blames", "_causes", "_deaths", "_origins", "incarnations_max", "origins_max")

    def __init__(self, *, origins_max: int = 100_000, incarnations_max: int = 1_000) -> None:
        self.origins_max = origins_max
        self.incarnations_max = incarnations_max
        self._blames: dict[Root, dict[Incarnation, Blame]] = {}
        self._deaths: dict[Incarnation, list[Root]] = {}
        self._causes: dict[Incarnation, Cause] = {}
        self._origins = 0

    def add(self, suspects: Suspects, judged: Tombstones) -> None:
        """Remember the suspects of a death, except for roots that are judged."""
        if suspects.incarnation in self._deaths:
            return
        by_root: dict[Root, set[int]] = {}
        for root, index in suspects.origins:
            by_root.setdefault(root, set()).add(index)
        is_alone = len(set(suspects.origins)) == 1
        self._deaths[suspects.incarnation] = []
        if not suspects.origins:
            self._causes[suspects.incarnation] = suspects.cause
        for root, indexes in by_root.items():
            if root in judged:
                continue
            blame = Blame(tuple(sorted(indexes)), suspects.cause, is_alone)
            self._blames.setdefault(root, {})[suspects.incarnation] = blame
            self._deaths[suspects.incarnation].append(root)
            self._origins += len(indexes)
        while self._origins > self.origins_max or len(self._deaths) > self.incarnations_max:
            self._forget_oldest()

    def take(self, root: Root) -> list[Blame]:
        """Give what deaths say of a root, in the order in which they became known, and forget it."""
        blames = list(self._blames.pop(root, {}).values())
        self._origins -= sum(len(blame.indexes) for blame in blames)
        return blames

    def crash_of(self, incarnations: Iterable[Incarnation]) -> Cause | None:
        """How the first of them died that crashed with an empty slot; None when none did, as far as is remembered."""
        return next((self._causes[one] for one in sorted(incarnations) if one in self._causes), None)

    def _forget_oldest(self) -> None:
        incarnation = next(iter(self._deaths))
        self._causes.pop(incarnation, None)
        for root in self._deaths.pop(incarnation):
            blame = self._blames.get(root, {}).pop(incarnation, None)
            if blame is not None:
                self._origins -= len(blame.indexes)
                if not self._blames[root]:
                    del self._blames[root]

    def __len__(self) -> int:
        """How many roots are under suspicion."""
        return len(self._blames)

    def check_invariants(self) -> None:
        """Raise AssertionError when an invariant of the module doesn't hold."""
        kept = sum(len(blame.indexes) for blames in self._blames.values() for blame in blames.values())
        assert kept == self._origins, "(2)"
        assert self._origins <= self.origins_max, "(1)"
        assert len(self._deaths) <= self.incarnations_max, "(1)"
        assert self._causes.keys() <= self._deaths.keys()
        assert all(self._blames.values())
