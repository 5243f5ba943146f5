"""A Dag as Mermaid source, which GitHub and many wikis render."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .picture import picture_of

if TYPE_CHECKING:
    from .picture import Drawn, Shape

PLAIN = frozenset(" _-.,:→⇥()\N{MULTIPLICATION SIGN}")
_BRACKETS = {"source": ('(["', '"])'), "route": ('{"', '"}'), "node": ('["', '"]')}


def mermaid(drawn: Drawn) -> str:
    """Give a Dag or its spec as a Mermaid flowchart.

    >>> from consecution.graph import Dag, Map
    >>> print(mermaid(Dag.of(Map(str.strip) | Map(str.upper), "show")))
    flowchart LR
        n0["strip<br/>Map"]
        n1["upper<br/>Map"]
        n0 --> n1
    """
    picture = picture_of(drawn)
    lines = ["flowchart LR"]
    for place, shape in enumerate(picture.shapes):
        opening, closing = _BRACKETS[shape.role]
        lines.append(f"    n{place}{opening}{_label(shape)}{closing}")
    for arrow in picture.arrows:
        label = f'|"{_escape(arrow.label)}"|' if arrow.label else ""
        lines.append(f"    n{arrow.source} -->{label} n{arrow.target}")
    return "\n".join(lines)


def _label(shape: Shape) -> str:
    return "<br/>".join(_escape(part) for part in (shape.name, shape.kind, *shape.notes) if part)


def _escape(text: str) -> str:
    """Write all that Mermaid or HTML could read as syntax as an entity code."""
    return "".join(char if char.isalnum() or char in PLAIN else f"#{ord(char)};" for char in text)
