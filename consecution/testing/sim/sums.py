"""Nodes that sum in memory until `finish`: what the sums of the last pass hold, compared with what was completed (R17).

Rules of this module: it sees what nodes say, and looks into no core. A sum lacks nothing that was completed and counts
no item's pass that was given up, unless the run says that this node's state is lost.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from consecution.testing.sim.promises import Promise, Violation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from consecution.testing.sim.oracle import Oracle


class Summed:
    """All sums of a run.

    Args:
        widths: By node, to how many of its tasks each value goes.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        self._widths = widths
        self._counted: dict[str, dict[int, set[int]]] = {}  # by node and running copy: tokens
        self._finished: set[int] = set()
        self._gone: set[int] = set()  # of processes that died when all of theirs had ended
        self._last: frozenset[int] = frozenset()

    def counts(self, copy: int, node: str, tokens: Iterable[int]) -> None:
        """A running copy of a node adds what a value was made of to its sum."""
        self._counted.setdefault(node, {}).setdefault(copy, set()).update(tokens)

    def finishes(self, copy: int) -> None:
        """A running copy gives its sum away."""
        self._finished.add(copy)

    def dies(self, copies: Iterable[int]) -> None:
        """A process died whose tasks had all ended: what these copies gave away stays, unless the run starts over."""
        self._gone.update(copies)

    def starts_over(self) -> None:
        """A pass begins anew: no sum of the one before counts."""
        self._gone.clear()

    def end(self, living: Iterable[int]) -> None:
        """The topology has finished, with these running copies."""
        self._last = frozenset(living) | self._gone

    def check(self, oracle: Oracle, state_lost: Collection[str]) -> None:
        """Compare, when all is over.

        Raises:
            Violation: A sum isn't right, and nobody says so.
        """
        given = Counter(oracle.items.values())  # handed over again after a death before its sender heard yes
        for node, by_copy in sorted(self._counted.items()):
            if node in state_lost:
                continue
            right = set().union(*(tokens for copy, tokens in by_copy.items() if copy in self._last & self._finished))
            anywhere = set().union(*by_copy.values())
            for seq in sorted(seq for seq, outcome in oracle.finished.items() if outcome == "completed"):
                for entry, tokens in oracle.tokens_of(seq):
                    done = [n for n in tokens if oracle.tokens[n].open == 0 and not oracle.tokens[n].is_failed]
                    if not any(n in right or n not in anywhere for n in done):
                        found = f"the sums of {node} lack {seq}, which is completed behind {entry}"
                        raise Violation(Promise.ONE_OUTCOME, found)
                    counted = [n for n in tokens if n in right]
                    if len(counted) > self._widths[entry] * given[oracle.items[seq]]:
                        found = f"the sums of {node} count {seq} {len(counted)} times behind {entry}"
                        raise Violation(Promise.ONE_OUTCOME, found)
