"""``a < [x, y] > d`` between consecutors: what ``a`` gives goes to x and y, and what they give to d.

How Python evaluates the chain is told in graph/brackets.py; here the same book is kept for consecutors. One thing is
different. In ``a < L > c.output["o"] | d`` Python links ``c.output["o"] | d`` first, which gives d; but what x and y
give must go into c. It is linked while L is open and marked, so the opening takes down where that path begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from consecution.between.joinable import Joinable, Reach, Several, name_of, read_list
from consecution.between.links import link_all
from consecution.errors import GraphError
from consecution.graph.brackets import Bracket, Brackets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.between.links import Entry
    from consecution.consecutor import Consecutor

JOINTS = Brackets()


@dataclass(slots=True, eq=False)
class Opening:
    """What an open ``<`` is about.

    Attributes:
        opener: Where its left side gives.
        branches: The list's.
        path: What was linked since it was marked: where that begins, and what it gave.
    """

    opener: Reach
    branches: Several
    path: tuple[tuple[Entry, ...], Joinable] | None = None


class Opened(Joinable):
    """What ``a < [x, y]`` gives until ``> d`` closes it."""

    __slots__ = ("_bracket",)

    def __init__(self, bracket: Bracket) -> None:
        self._bracket = bracket

    def __bool__(self) -> bool:
        """Be true; Python asks only inside of a chain, and that marks it as one."""
        self._bracket.is_marked = True
        return True

    @property
    def reach(self) -> Reach:
        """Refuse: it isn't closed."""
        refuse_unclosed(self._bracket)

    @property
    def label(self) -> str:
        """As it is written."""
        return f"{name_of(self._bracket.opener)} < {name_of(self._bracket.branches)}"


def less(operand: Joinable, right: object) -> Joinable:
    """Give what ``operand < right`` means: the opening of a list, or the close of one that is open.

    Raises:
        GraphError: ``right`` is no list, or is a list that another ``<`` left open.
    """
    if not isinstance(right, (list, tuple)):
        name, other = operand.label, name_of(right)
        message = (
            f"`{name} < {other}`: `<` opens a list, as in a < [b, c] > d; for one consecutor write {name} | {other}; "
            "after the list write > d, not | d; consecutors have no order, so sorted() needs a key"
        )
        raise GraphError(message)
    bracket = JOINTS.find(right)
    if bracket is None:
        return _open(operand, right)
    if not bracket.is_marked:
        refuse_unclosed(bracket)
    return _close(operand, bracket)


def _open(operand: Joinable, right: list[object] | tuple[object, ...]) -> Opened:
    opening = Opening(operand.reach, Several(read_list(right, f"{operand.label} <")))
    bracket = Bracket(right, operand, opening)
    JOINTS.open(bracket, (one._ties for one in _members(opening)))
    return Opened(bracket)


def _members(opening: Opening) -> Iterable[Consecutor]:
    for reach in (opening.opener, opening.branches.reach):
        yield from (one.consecutor for one in reach.exits)


def _close(operand: Joinable, bracket: Bracket) -> Joinable:
    JOINTS.forget(bracket)
    opening = bracket.content
    assert isinstance(opening, Opening)
    entries = operand.reach.entries
    if opening.path is not None and opening.path[1] is operand:
        entries = opening.path[0]
    between = opening.branches.reach
    link_all(opening.opener.exits, between.entries)
    link_all(between.exits, entries)
    return operand._given


def note_link(left: Joinable, reach: Reach, given: Joinable) -> None:
    """Take down, for an opening that waits for its ``>``, where what was just linked begins."""
    opening = JOINTS.marked()
    if opening is None:
        return
    assert isinstance(opening.content, Opening)
    path = opening.content.path
    begins = path[0] if path is not None and path[1] is left else reach.entries
    opening.content.path = (begins, given)


def refuse_unclosed(bracket: Bracket) -> NoReturn:
    """Raise for a ``<`` without its ``>``, and forget it."""
    JOINTS.forget(bracket)
    name, listed = name_of(bracket.opener), name_of(bracket.branches)
    message = (
        f"`{name} < {listed}` is not closed; write {name} < {listed} > d, without parentheses and not in an assert, "
        f"or {name} | {listed} | d"
    )
    raise GraphError(message)


def refuse_greater(operand: Joinable, right: object) -> NoReturn:
    """Raise for a ``>`` that closes nothing."""
    if isinstance(operand, Opened):
        refuse_unclosed(operand._bracket)
    name, other = operand.label, name_of(right)
    message = (
        f"`{name} > {other}`: `>` only closes a list that `<` opened, as in a < [b, c] > d; write {name} | {other}"
    )
    raise GraphError(message)
