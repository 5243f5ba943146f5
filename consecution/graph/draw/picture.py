"""What all drawings share: a graph reduced to labels and arrows.

Rules of this module:
1. A picture is made of a Dag or of its spec, which may have come from another process: no text is trusted.
2. Producers are vertices too, before the nodes; places in a picture count them in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from consecution.graph.naming import snake_case

if TYPE_CHECKING:
    from consecution.graph.dag import Dag

    Drawn: TypeAlias = "Dag | Mapping[str, Any]"


TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Shape:
    """One vertex.

    Attributes:
        name: What it is called.
        kind: Class of the node, or "" when its name says the same.
        notes: What else is to be known: copies, grouping, declared outputs.
        role: "source", "route" or "node".
    """

    name: str
    kind: str
    notes: tuple[str, ...]
    role: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """One edge between places of a picture; ``label`` is the branch's key or the output's name, or ""."""

    source: int
    target: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph as it is drawn; arrows of equal ends are one, their labels joined."""

    shapes: tuple[Shape, ...]
    arrows: tuple[Arrow, ...]

    def targets(self) -> list[list[Arrow]]:
        """Give the arrows that begin at each place, in order."""
        found: list[list[Arrow]] = [[] for _ in self.shapes]
        for arrow in self.arrows:
            found[arrow.source].append(arrow)
        return found


def picture_of(drawn: Drawn) -> Picture:
    """Reduce a Dag or a spec to what is drawn."""
    spec = drawn if isinstance(drawn, Mapping) else drawn.spec()
    sources, nodes = spec["sources"], spec["nodes"]
    shift = len(sources)
    labels: dict[tuple[int, int], list[str]] = {}
    for place, (_, entries) in enumerate(sources):
        for entry in entries:
            labels.setdefault((place, entry + shift), [])
    for source, target, output, branch in spec["edges"]:
        found = labels.setdefault((source + shift, target + shift), [])
        label = _label(nodes[source], nodes[target], output, branch)
        if label and label not in found:
            found.append(label)
    shapes = [Shape(_clean(kind), "", (), "source") for kind, _ in sources]
    return Picture(
        shapes=(*shapes, *(_shape(node) for node in nodes)),
        arrows=tuple(Arrow(source, target, ", ".join(found)) for (source, target), found in labels.items()),
    )


def _shape(node: Mapping[str, Any]) -> Shape:
    name, kind = _clean(node["name"]), _clean(node["kind"])
    notes = []
    if node["parallelism"] > 1:
        notes.append(f"{TIMES}{node['parallelism']}")
    if node["key"] is not None:
        notes.append(f"by {_clean(node['key'])}")
    if node["grouping"] not in (None, "key"):
        notes.append(_clean(node["grouping"]))
    notes.extend(f"⇥ {_clean(output)}{' (async)' if is_async else ''}" for output, is_async in node["outputs"])
    return Shape(
        name=name,
        kind="" if name == snake_case(kind) else kind,
        notes=tuple(notes),
        role="route" if node["branches"] is not None else "node",
    )


def _label(source: Mapping[str, Any], target: Mapping[str, Any], output: str, branch: int | None) -> str:
    if branch is None:
        return "" if output == "default" else _clean(output)
    keys = source["branches"] or []
    key = keys[branch] if branch < len(keys) else branch
    return "" if key == target["name"] else _clean(key)


def _clean(text: object) -> str:
    """Give text that can't steer a terminal and is legal in XML."""
    return "".join(char if char.isprintable() else "\ufffd" for char in str(text))
