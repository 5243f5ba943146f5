"""The ``<`` and ``>`` of ``a < [x, y] > d``: which list is open, and who may close it.

Python evaluates ``a < L > d`` as ``(a < L) and (L > d)``, and the second asks ``d.__lt__(L)``, since a list can't
be compared with a node. So both sides see ``__lt__`` with the same list L. Between the two, Python asks the truth
of what ``a < L`` gave, and it asks that only in a chain: that marks the list, and only a marked one can be closed.

Rules of this module:
1. A bracket keeps its list itself: the id of a list that is gone may belong to another.
2. Nothing is linked before the close; an open bracket is remembered by its opener and its branches.
3. What is refused or reported as unclosed is forgotten, so that a notebook goes on with a clean book.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BRACKETS_MAX = 10_000


class Remembers(Protocol):
    """What remembers the open brackets beside it: the slot of a node, the ties of a consecutor."""

    brackets: list[Bracket]


@dataclass(slots=True, eq=False)
class Bracket:
    """One ``opener < branches`` that waits for its ``> closer``.

    Attributes:
        branches: The list itself, kept so that its identity stays its own.
        opener: What stood on the left of ``<``.
        content: What the opener's layer read from the list when it was opened.
        is_marked: True once Python asked for the truth of the opening: it stands in a chain.
        slots: Slots that remember this bracket until it is closed.
    """

    branches: Sequence[object]
    opener: object
    content: object = None
    is_marked: bool = False
    slots: list[Remembers] = field(default_factory=list)


class Brackets:
    """The open brackets, found by the identity of their list."""

    def __init__(self) -> None:
        self._open: dict[int, Bracket] = {}

    def __len__(self) -> int:
        return len(self._open)

    def find(self, branches: Sequence[object]) -> Bracket | None:
        """Give the open bracket of this very list, or None."""
        return self._open.get(id(branches))

    def marked(self) -> Bracket | None:
        """Give the bracket whose chain Python evaluates now, the innermost one; None outside of any chain."""
        return next((one for one in reversed(self._open.values()) if one.is_marked), None)

    def open(self, bracket: Bracket, slots: Iterable[Remembers] = ()) -> None:
        """Remember a bracket; when the book is full, its oldest is forgotten."""
        while len(self._open) >= BRACKETS_MAX:
            self.forget(next(iter(self._open.values())))
        self._open[id(bracket.branches)] = bracket
        for slot in slots:
            if not any(known is bracket for known in slot.brackets):
                slot.brackets.append(bracket)
                bracket.slots.append(slot)

    def forget(self, bracket: Bracket) -> None:
        """Take a bracket out of the book and out of the slots that remember it."""
        if self._open.get(id(bracket.branches)) is bracket:
            del self._open[id(bracket.branches)]
        for slot in bracket.slots:
            slot.brackets = [known for known in slot.brackets if known is not bracket]
        bracket.slots.clear()


BRACKETS = Brackets()
