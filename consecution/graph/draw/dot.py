"""A Dag as Graphviz source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .picture import picture_of

if TYPE_CHECKING:
    from .picture import Drawn

_STYLES = {"source": "shape=cds", "route": "shape=diamond", "node": "shape=box"}


def dot(drawn: Drawn) -> str:
    r"""Give a Dag or its spec as a Graphviz digraph.

    >>> from consecution.graph import Dag, Map
    >>> print(dot(Dag.of(Map(str.strip) | Map(str.upper), "show")))
    digraph {
        rankdir=LR;
        n0 [label="strip\nMap", shape=box];
        n1 [label="upper\nMap", shape=box];
        n0 -> n1;
    }
    """
    picture = picture_of(drawn)
    lines = ["digraph {", "    rankdir=LR;"]
    for place, shape in enumerate(picture.shapes):
        label = "\\n".join(_escape(part) for part in (shape.name, shape.kind, *shape.notes) if part)
        lines.append(f'    n{place} [label="{label}", {_STYLES[shape.role]}];')
    for arrow in picture.arrows:
        label = f' [label="{_escape(arrow.label)}"]' if arrow.label else ""
        lines.append(f"    n{arrow.source} -> n{arrow.target}{label};")
    return "\n".join([*lines, "}"])


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
