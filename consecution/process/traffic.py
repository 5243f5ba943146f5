"""How many frames went and came, without those of the dead: at level NONE nothing else says what is under way (R6).

Rules of this module: pure. The coordinator adds up what all living processes have made and what they have worked on;
the sums agree when nothing is under way between them. So each leaves out what went to a process that is left out now,
whose count of it is gone, and what came from one. What has come and waits is no matter of these counts, but of its
queue.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from consecution.guarantee.messages import Incarnation


class Traffic:
    """Frames between this process and others. Not thread-safe.

    Attributes:
        void: Frames made that nobody living was given.
        foreign: Frames worked on, or refused, that nobody living has made.

    >>> traffic = Traffic()
    >>> traffic.place({1, 2})
    >>> traffic.sent(2), traffic.came(2), traffic.came(1)
    (None, None, None)
    >>> traffic.place({1})
    >>> traffic.void, traffic.foreign
    (1, 1)
    """

    __slots__ = ("_came", "_living", "_sent", "foreign", "void")

    def __init__(self) -> None:
        self.void = 0
        self.foreign = 0
        self._living: frozenset[Incarnation] = frozenset()
        self._sent: Counter[Incarnation] = Counter()
        self._came: Counter[Incarnation] = Counter()

    def place(self, living: Collection[Incarnation]) -> None:
        """Take a placement: who isn't listed is dead, or has left."""
        self._living = frozenset(living)
        self.void += sum(self._sent.pop(gone) for gone in self._sent.keys() - self._living)
        self.foreign += sum(self._came.pop(gone) for gone in self._came.keys() - self._living)

    def sent(self, to: Incarnation | None) -> None:
        """A frame was given to the link to a process; None: nobody runs its task."""
        if to in self._living:
            self._sent[to] += 1
        else:
            self.void += 1

    def came(self, sender: Incarnation) -> None:
        """A frame of another process was worked on, or refused."""
        if sender in self._living:
            self._came[sender] += 1
        else:
            self.foreign += 1
