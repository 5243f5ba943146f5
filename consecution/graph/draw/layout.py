"""Where the shapes of a picture stand: a small layered layout, left to right, each shape behind the last of its inputs.

Rules of this module: pure; shapes have widths and no look. An arrow over several layers is given a lane in each layer
between, so that it crosses no box (Sugiyama, Tagawa and Toda, 1981; order by the mean of the neighbours).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .picture import Arrow

BOX_HEIGHT = 40
LANE_HEIGHT = 10
LAYER_GAP = 70
ROW_GAP = 18
MARGIN = 12
SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Box:
    """Where a shape, or a lane, stands, in pixels from the top left."""

    x: float
    y: float
    width: float
    height: float = BOX_HEIGHT

    @property
    def middle(self) -> float:
        """Its middle, from the top."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by place, and for each arrow its lanes from source to target.

    >>> from .picture import Arrow
    >>> layout = layout_of([50, 50, 50], [Arrow(0, 1), Arrow(1, 2), Arrow(0, 2)])
    >>> [box.x for box in layout.boxes], [len(lanes) for lanes in layout.lanes]
    ([12.0, 132.0, 252.0], [0, 0, 1])
    """

    boxes: list[Box]
    lanes: list[list[Box]]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, margins included."""
        every = [*self.boxes, *(lane for lanes in self.lanes for lane in lanes)]
        width = max((box.x + box.width for box in every), default=0)
        return width + MARGIN, max((box.y + box.height for box in every), default=0) + MARGIN


def layout_of(widths: Sequence[float], arrows: Sequence[Arrow]) -> Layout:
    """Lay out shapes of these widths; places are in topological order."""
    layers = _layers(len(widths), arrows)
    ways: list[list[int]] = []  # for each arrow the places of its lanes, which come behind those of the shapes
    edges: list[tuple[int, int]] = []
    for arrow in arrows:
        between = range(layers[arrow.source] + 1, layers[arrow.target])
        way = list(range(len(layers), len(layers) + len(between)))
        layers.extend(between)
        ways.append(way)
        stops = [arrow.source, *way, arrow.target]
        edges += pairwise(stops)
    boxes = _stand(_order_rows(layers, edges), widths)
    return Layout(boxes[: len(widths)], [[boxes[place] for place in way] for way in ways])


def _layers(count: int, arrows: Sequence[Arrow]) -> list[int]:
    """Give each place its layer; one pass in topological order is enough."""
    layers = [0] * count
    for arrow in sorted(arrows, key=lambda arrow: arrow.source):
        layers[arrow.target] = max(layers[arrow.target], layers[arrow.source] + 1)
    return layers


def _order_rows(layers: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Order each layer by the mean row of its neighbours, in a few sweeps to and fro."""
    rows: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for place, layer in enumerate(layers):
        rows[layer].append(place)
    before: list[list[int]] = [[] for _ in layers]
    behind: list[list[int]] = [[] for _ in layers]
    for source, target in edges:
        before[target].append(source)
        behind[source].append(target)
    height = [0.0] * len(layers)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        neighbours = before if forwards else behind
        for row in rows if forwards else reversed(rows):
            if sweep or row is not rows[0]:
                means = {place: _mean([height[each] for each in neighbours[place]], height[place]) for place in row}
                row.sort(key=means.__getitem__)
            for index, place in enumerate(row):
                height[place] = index - (len(row) - 1) / 2
    return rows


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _stand(rows: Sequence[Sequence[int]], widths: Sequence[float]) -> list[Box]:
    """Give each place its box: layers from the left, each stack in the middle of the height."""
    boxes = [Box(0, 0, 0)] * sum(map(len, rows))
    heights = [[BOX_HEIGHT if place < len(widths) else LANE_HEIGHT for place in row] for row in rows]
    stacks = [sum(row) + ROW_GAP * (len(row) - 1) for row in heights]
    x = float(MARGIN)
    for row, tall, stack in zip(rows, heights, stacks, strict=True):
        layer_width = max((widths[place] for place in row if place < len(widths)), default=0.0)
        y = MARGIN + (max(stacks) - stack) / 2
        for place, height in zip(row, tall, strict=True):
            width = widths[place] if place < len(widths) else layer_width
            boxes[place] = Box(x + (layer_width - width) / 2, y, width, height)
            y += height + ROW_GAP
        x += layer_width + LAYER_GAP
    return boxes
