"""A Dag as SVG, by the layered layout of ``layout``.

Rules of this module: all text is escaped, nothing is fetched, and colours follow the reader's theme.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .layout import BOX_HEIGHT, layout_of
from .picture import picture_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layout import Box
    from .picture import Arrow, Drawn, Shape

CHAR_WIDTH = 7.3  # pixels of one character at 12 px in a monospaced font
_STROKES = {"source": "#2b8a3e", "route": "#b35c00", "node": "#3b6ea5"}


def svg(drawn: Drawn) -> str:
    """Give a Dag or its spec as one ``<svg>`` element.

    >>> from consecution.graph import Dag, Map
    >>> svg(Dag.of(Map(str.strip) | Map(str.upper), "show")).count("<rect")
    2
    """
    picture = picture_of(drawn)
    layout = layout_of([_width(shape) for shape in picture.shapes], picture.arrows)
    boxes = layout.boxes
    width, height = layout.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="12" fill="currentColor">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#888"/></marker></defs>',
    ]
    parts += [
        _arrow(arrow, (boxes[arrow.source], *lanes, boxes[arrow.target]))
        for arrow, lanes in zip(picture.arrows, layout.lanes, strict=True)
    ]
    parts += [_box(shape, box) for shape, box in zip(picture.shapes, boxes, strict=True)]
    return "".join([*parts, "</svg>"])


def _width(shape: Shape) -> float:
    return max(len(shape.name), len(_second_line(shape))) * CHAR_WIDTH + 24


def _second_line(shape: Shape) -> str:
    return " ".join(part for part in (shape.kind, *shape.notes) if part)


def _box(shape: Shape, box: Box) -> str:
    second = _second_line(shape)
    middle = box.x + box.width / 2
    radius = BOX_HEIGHT / 2 if shape.role == "source" else 6
    first_y = box.y + (17 if second else 24)
    parts = [
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{BOX_HEIGHT}" rx="{radius:g}" '
        f'fill="none" stroke="{_STROKES[shape.role]}" stroke-width="1.5"/>',
        f'<text x="{middle:.1f}" y="{first_y:.1f}" text-anchor="middle">{escape(shape.name)}</text>',
    ]
    if second:
        parts.append(
            f'<text x="{middle:.1f}" y="{box.y + 32:.1f}" text-anchor="middle" font-size="10" opacity="0.65">'
            f"{escape(second)}</text>"
        )
    return "".join(parts)


def _arrow(arrow: Arrow, stops: Sequence[Box]) -> str:
    """A line from box to box; through each lane between it runs straight."""
    x, y = stops[0].x + stops[0].width, stops[0].middle
    path = [f"M{x:.1f} {y:.1f}"]
    for stop in stops[1:]:
        bend = (stop.x - x) / 2
        path.append(f"C{x + bend:.1f} {y:.1f} {stop.x - bend:.1f} {stop.middle:.1f} {stop.x:.1f} {stop.middle:.1f}")
        x, y = stop.x + stop.width, stop.middle
        if stop is not stops[-1]:
            path.append(f"H{x:.1f}")
    line = f'<path d="{"".join(path)}" fill="none" stroke="#888" marker-end="url(#tip)"/>'
    if not arrow.label:
        return line
    x, y = stops[-1].x - 12, stops[-1].middle - 5
    return f'{line}<text x="{x:.1f}" y="{y:.1f}" text-anchor="end" font-size="10">{escape(arrow.label)}</text>'
