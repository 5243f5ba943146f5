"""Roots that are judged, kept for a while so that late sums about them are known for what they are (R11).

Rules: two buckets; a new root goes into the young one. They turn when `period_s` has passed or the young one is full:
the old one is thrown away and the young one becomes old. So a root stays for one period at least, unless there are too
many, and memory is bounded by twice `roots_max`. The old bucket stays longer while the producer of one of its roots may
still send the init, on a link that is stuck: until it has answered a round that was called after the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .messages import Incarnation


class Tombstones:
    """A bounded set that forgets. Not thread-safe.

    Args:
        period_s: How long a bucket stays young.
        roots_max: How many roots fit into a bucket.
    """

    __slots__ = ("_next_turn", "_old", "_old_awaits", "_young", "_young_awaits", "aged", "period_s", "roots_max")

    def __init__(self, *, period_s: float, roots_max: int) -> None:
        self.period_s = period_s
        self.roots_max = roots_max
        self.aged = 0
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._young_awaits: dict[Incarnation, int] = {}  # producer -> the round that it must answer first
        self._old_awaits: dict[Incarnation, int] = {}
        self._next_turn: float | None = None

    def add(self, root: int) -> None:
        """Put a root into the young bucket; also one that is there already, which then stays longer."""
        if len(self._young) >= self.roots_max:
            self._turn()
        self._young.add(root)

    def add_awaiting(self, root: int, producer: Incarnation, round_: int) -> None:
        """As `add`; and what is in its bucket stays until a producer has answered that round, or lives no more."""
        self.add(root)
        self._young_awaits[producer] = round_

    def age(self, now: float, has_answered: Callable[[Incarnation, int], bool] | None = None) -> None:
        """Turn the buckets if their time has come.

        Args:
            now: Monotonic seconds.
            has_answered: Whether a producer has answered a round, or never will; None: nobody is waited for.
        """
        if self._next_turn is None:
            self._next_turn = now + self.period_s
        elif now >= self._next_turn:
            if has_answered is not None and not all(has_answered(*each) for each in self._old_awaits.items()):
                return
            self._next_turn = now + self.period_s
            self._turn()

    def _turn(self) -> None:
        self.aged += len(self._old - self._young)
        self._old, self._young = self._young, set()
        self._old_awaits, self._young_awaits = self._young_awaits, {}

    def __contains__(self, root: int) -> bool:
        return root in self._young or root in self._old

    def __len__(self) -> int:
        return len(self._young | self._old)

    def check_invariants(self) -> None:
        """Raise AssertionError when a bucket is over its bound."""
        assert len(self._young) <= self.roots_max
        assert len(self._old) <= self.roots_max
