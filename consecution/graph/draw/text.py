"""A Dag for a terminal, in the manner of ``git log --graph``: one line for each node, lanes for what is under way.

▶ Rows
│
● parse          Map
├─╮
● │ to_database
│ ● to_file
├─╯
● report         Collect
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .picture import Picture, Shape, picture_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .picture import Arrow, Drawn

SYMBOLS = {"source": "▶", "route": "◆", "node": "●"}


def text(drawn: Drawn) -> str:
    """Draw a Dag or its spec in lines of text.

    Returns:
        Lines without a newline at the end; ``▶`` is a producer, ``◆`` a route, ``●`` any other node.

    >>> from consecution.graph import Dag, Map
    >>> print(text(Dag.of([" a "] | Map(str.strip) | [Map(str.upper), Map(str.lower)] | Map(print), "show")))
    ▶   Rows
    │
    ●   strip  Map
    ├─╮
    ● │ upper  Map
    │ ● lower  Map
    ├─╯
    ●   print  Map
    """
    return "\n".join(_Canvas(picture_of(drawn)).lines())


class _Canvas:
    """Rows of a drawing in the making: ``lanes`` holds the target of each arrow under way, by column."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._targets = picture.targets()
        self._open_inputs = [0] * len(picture.shapes)
        for arrow in picture.arrows:
            self._open_inputs[arrow.target] += 1
        self._lanes: list[int | None] = []
        self._rows: list[tuple[str, int | None]] = []
        self._last_column: int | None = None

    def lines(self) -> list[str]:
        """Draw all, and give the lines."""
        starts = [place for place, inputs in enumerate(self._open_inputs) if not inputs]
        starts.reverse()
        for _ in self._picture.shapes:
            place = self._next_ready()
            self._draw(starts.pop() if place is None else place)
        graph_chars = max((len(row) for row, _ in self._rows), default=0)
        captions = _captions(self._picture.shapes, self._targets)
        return [
            row.rstrip() if place is None else f"{row:<{graph_chars}} {captions[place]}".rstrip()
            for row, place in self._rows
        ]

    def _next_ready(self) -> int | None:
        """Give the node of the leftmost lane whose inputs are all drawn: it keeps a branch in one piece."""
        return next((place for place in self._lanes if place is not None and not self._open_inputs[place]), None)

    def _draw(self, place: int) -> None:
        columns = [column for column, target in enumerate(self._lanes) if target == place]
        column = columns[0] if columns else self._free_column(0)
        if len(columns) > 1:
            self._row(self._branching(columns, "┴", "╯"))
            for joined in columns[1:]:
                self._lanes[joined] = None
        elif self._last_column == column:
            self._row(self._cells())
        self._lanes[column] = place
        cells = self._cells()
        cells[2 * column] = SYMBOLS[self._picture.shapes[place].role]
        self._rows.append(("".join(cells).rstrip(), place))
        self._last_column = column
        self._leave(place, column)

    def _leave(self, place: int, column: int) -> None:
        """Open a lane for each arrow that begins here."""
        arrows = self._targets[place]
        self._lanes[column] = arrows[0].target if arrows else None
        columns = [column]
        for arrow in arrows:
            self._open_inputs[arrow.target] -= 1
            if arrow is not arrows[0]:
                columns.append(self._free_column(column + 1))
                self._lanes[columns[-1]] = arrow.target
        if len(columns) > 1:
            self._row(self._branching(sorted(columns), "┬", "╮"))
        while self._lanes and self._lanes[-1] is None:
            self._lanes.pop()

    def _row(self, cells: list[str]) -> None:
        self._rows.append(("".join(cells).rstrip(), None))
        self._last_column = None

    def _free_column(self, start: int) -> int:
        for column in range(start, len(self._lanes)):
            if self._lanes[column] is None:
                return column
        self._lanes.append(None)
        while len(self._lanes) <= start:
            self._lanes.append(None)
        return len(self._lanes) - 1

    def _cells(self) -> list[str]:
        cells = [" "] * (2 * len(self._lanes))
        for column, target in enumerate(self._lanes):
            if target is not None:
                cells[2 * column] = "│"
        return cells

    def _branching(self, columns: Sequence[int], middle: str, last: str) -> list[str]:
        """Give the row in which lanes part or join; a lane that is only crossed stays a plain ``│``."""
        cells = self._cells()
        for cell in range(2 * columns[0] + 1, 2 * columns[-1]):
            if cells[cell] == " ":
                cells[cell] = "─"
        for column in columns[1:-1]:
            cells[2 * column] = middle
        cells[2 * columns[0]], cells[2 * columns[-1]] = "├", last
        return cells


def _captions(shapes: Sequence[Shape], targets: Sequence[Sequence[Arrow]]) -> list[str]:
    """Give the text beside each node: name, kind and notes in columns."""
    name_chars = max((len(shape.name) for shape in shapes), default=0)
    kind_chars = max((len(shape.kind) for shape in shapes), default=0)
    captions = []
    for shape, arrows in zip(shapes, targets, strict=True):
        notes = [*shape.notes, *(f"{arrow.label} → {shapes[arrow.target].name}" for arrow in arrows if arrow.label)]
        captions.append(f"{shape.name:<{name_chars}}  {shape.kind:<{kind_chars}}  {'  '.join(notes)}".rstrip())
    return captions
