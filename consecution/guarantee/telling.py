"""What a process has to tell the ackers, until it is told (protocol.md R7, R9).

Rules: pure. What follows on an init or a sum of the same root, with nothing of that root in between, is put into it:
the acker takes one step for both, as it would take two. A sum that says more than a word is never put into an init,
which can't carry it; so no root is judged before a fail that was told ahead of the judging word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import Init, Sum

if TYPE_CHECKING:
    from collections.abc import Sequence


class Telling:
    """Inits and sums on their way to `n_ackers` ackers. Not thread-safe.

    Attributes:
        count: How many wait.
        since: Monotonic seconds at which the first of them came.
        is_awaited: One of them may be the last word of its tree: it names nobody to whom frames of the root went. For
            a tree of which all name somebody there is more to come, so they may wait for company.

    >>> telling = Telling(1)
    >>> telling.add(Init(1, 9, 0b0110, frozenset({7})), now=0.0)
    >>> telling.add(Sum(1, 9, 0b0011, frozenset({8})), now=0.1)
    >>> telling.add(Sum(2, 9, 0b1000), now=0.2)
    >>> [(type(each).__name__, each.root, each.word) for each in telling.take()[0]]
    [('Init', 1, 5), ('Sum', 2, 8)]
    """

    def __init__(self, n_ackers: int) -> None:
        self._n_ackers = n_ackers
        self._waiting: dict[int, list[Init | Sum]] = {}
        self._last: dict[int, int] = {}  # root -> place of the newest of it in the list of its acker
        self.count = 0
        self.since = 0.0
        self.is_awaited = False

    def add(self, message: Init | Sum, now: float) -> None:
        """Let a message wait, by itself or as a part of one that waits."""
        if not self.count:
            self.since = now
        self.is_awaited = self.is_awaited or not message.sent_to
        root = message.root
        waiting = self._waiting.setdefault(root % self._n_ackers, [])
        place = self._last.get(root)
        if place is not None and type(message) is Sum:
            both = _united(waiting[place], message)
            if both is not None:
                waiting[place] = both
                return
        self._last[root] = len(waiting)
        waiting.append(message)
        self.count += 1

    def drop(self, acker: int) -> None:
        """Forget what waits for an acker that died: its roots are replayed."""
        for message in self._waiting.pop(acker, ()):
            self._last.pop(message.root, None)
            self.count -= 1

    def take(self) -> dict[int, list[Init | Sum]]:
        """Give what waits, by acker and in the order in which it is to be told, and forget it."""
        waiting, self._waiting = self._waiting, {}
        self._last.clear()
        self.count = 0
        self.is_awaited = False
        return waiting


def _united(first: Init | Sum, then: Sum) -> Init | Sum | None:
    """One message for two of a root; None when an init can't carry what the sum says."""
    word = first.word ^ then.word
    sent_to = first.sent_to | then.sent_to
    placement = max(first.placement, then.placement)
    if isinstance(first, Init):
        if then.fails or then.dropped or then.reached or then.refused:
            return None
        return Init(first.root, first.producer, word, sent_to, placement)
    return Sum(
        first.root,
        first.producer,
        word,
        sent_to,
        (*first.fails, *then.fails),
        first.dropped + then.dropped,
        first.reached | then.reached,
        first.refused or then.refused,
        placement,
    )


def runs_of_sums(messages: Sequence[Init | Sum]) -> list[Init | tuple[Sum, ...]]:
    """Put sums that follow each other together.

    >>> [len(each) if isinstance(each, tuple) else "init" for each in runs_of_sums(
    ...     [Sum(1, 9, 5), Sum(2, 9, 6), Init(3, 9, 7, frozenset())])]
    [2, 'init']
    """
    runs: list[Init | tuple[Sum, ...]] = []
    sums: list[Sum] = []
    for message in messages:
        if isinstance(message, Sum):
            sums.append(message)
            continue
        if sums:
            runs.append(tuple(sums))
            sums = []
        runs.append(message)
    if sums:
        runs.append(tuple(sums))
    return runs
