"""The meaning of ``<`` and ``>``: ``a < [x, y] > d`` is ``a | [x, y] | d``, and everything else is refused.

See brackets.py for how Python evaluates the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, cast

from consecution.errors import GraphError

from .brackets import BRACKETS, Bracket
from .branches import Branches, read_list
from .view import Composable, Vertex, View, check_free, check_targets, describe, join

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .slot import NodeSlot


def less(operand: Composable, right: object) -> View:
    """Give what ``operand < right`` means: the opening of a list, or the close of one that is open.

    Raises:
        GraphError: ``right`` is no list, or is a list that another ``<`` left open.
    """
    if not isinstance(right, (list, tuple)):
        refuse_less(operand, right)
    bracket = BRACKETS.find(right)
    if bracket is None or bracket.opener is operand:
        return _open(operand, right)
    if not bracket.is_marked:
        refuse_unclosed(bracket)
    return _close(operand, bracket)


def _open(operand: Composable, branches: Sequence[object]) -> View:
    holder = operand._slot if isinstance(operand, Vertex) else operand
    chained, opener = None, operand._view()
    if isinstance(holder, View) or isinstance(operand, Vertex):
        chained, holder.chained = holder.chained, None  # type: ignore[union-attr]
    # What a chain gives in its middle dies there; one that lives on was only asked for its truth (``assert view``).
    if chained is not None and chained[0]() is None:
        opener = chained[1]
    content = read_list(branches, describe(operand))
    check_free(vertex for vertex, _ in opener.exits)
    stale = BRACKETS.find(branches)
    if stale is not None:  # the same opener again, after an error in the middle of the first chain
        BRACKETS.forget(stale)
    bracket = Bracket(branches, operand, (opener, content))
    BRACKETS.open(bracket, _slots(opener, content))
    shown = View(opener.entries, opener.exits)
    shown._bracket = bracket
    return shown


def _close(operand: Composable, bracket: Bracket) -> View:
    BRACKETS.forget(bracket)
    closer = operand._view()
    check_targets(closer)
    opener, content = cast("tuple[View, Branches]", bracket.content)
    result = join(join(opener, content.build()), closer)
    result._closer = operand._slot if isinstance(operand, Vertex) else operand  # type: ignore[assignment]
    return result


def _slots(opener: View, content: Branches) -> Iterator[NodeSlot]:
    """Give the slots of what an unclosed ``<`` would have linked."""
    for vertex, _ in opener.exits:
        yield vertex._slot
    waiting = [content]
    for branches in waiting:
        for part in branches.parts:
            if isinstance(part, Branches):
                waiting.append(part)
            elif isinstance(part, Composable):
                view = part._view()
                yield from (vertex._slot for vertex in view.entries)
                yield from (vertex._slot for vertex, _ in view.exits)


def refuse_unclosed(bracket: Bracket) -> NoReturn:
    """Raise for a ``<`` without its ``>``, and forget it."""
    BRACKETS.forget(bracket)
    name, listed = describe(bracket.opener), describe(bracket.branches)
    msg = (
        f"`{name} < {listed}` is not closed; write {name} < {listed} > node, without parentheses "
        f"and not in an assert (pytest takes it apart), "
        f"or {name} | {listed}; "
        f"if {listed} > {name} was meant, write {listed} | {name}"
    )
    raise GraphError(msg)


def refuse_less(operand: Composable, right: object) -> NoReturn:
    """Raise for ``a < x`` without a list."""
    name, other = describe(operand), describe(right)
    following = other if isinstance(right, Composable) or callable(right) else "x"
    msg = (
        f"`{name} < {other}`: `<` opens a list of branches, as in {name} < [x, y] > d; for one node write "
        f"{name} | {following}; after the list write > d, not | d; nodes have no order, so sorted() needs a key"
    )
    raise GraphError(msg)


def refuse_greater(operand: Composable, right: object) -> NoReturn:
    """Raise for a ``>`` that closes nothing."""
    if isinstance(operand, View) and operand._bracket is not None:
        refuse_unclosed(operand._bracket)
    name, other = describe(operand), describe(right)
    msg = (
        f"`{name} > {other}`: `>` only closes a list that `<` opened, as in a < [x, y] > d; write {name} | {other}, "
        f"and for branches a < [x, y] > d or a | [x, y] | d"
    )
    raise GraphError(msg)
