"""Roots that are judged, kept for a while so that late sums about them are known for what they are (R11).

Rules: two buckets; a new root goes into the young one. They turn when `period_s` has passed or the young one is full:
the old one is thrown away and the young one becomes old. So a root stays for one period at least, unless there are too
many, and memory is bounded by twice `roots_max`.
"""

from __future__ import annotations


class Tombstones:
    """A bounded set that forgets. Not thread-safe.

    Args:
        period_s: How long a bucket stays young.
        roots_max: How many roots fit into a bucket.
    """

    __slots__ = ("_next_turn", "_old", "_young", "aged", "period_s", "roots_max")

    def __init__(self, *, period_s: float, roots_max: int) -> None:
        self.period_s = period_s
        self.roots_max = roots_max
        self.aged = 0
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._next_turn: float | None = None

    def add(self, root: int) -> None:
        """Put a root into the young bucket; also one that is there already, which then stays longer."""
        if len(self._young) >= self.roots_max:
            self._turn()
        self._young.add(root)

    def age(self, now: float) -> None:
        """Turn the buckets if their time has come."""
        if self._next_turn is None:
            self._next_turn = now + self.period_s
        elif now >= self._next_turn:
            self._next_turn = now + self.period_s
            self._turn()

    def _turn(self) -> None:
        self.aged += len(self._old - self._young)
        self._old, self._young = self._young, set()

    def __contains__(self, root: int) -> bool:
        return root in self._young or root in self._old

    def __len__(self) -> int:
        return len(self._young | self._old)

    def check_invariants(self) -> None:
        """Raise AssertionError when a bucket is over its bound."""
        assert len(self._young) <= self.roots_max
        assert len(self._old) <= self.roots_max
