"""Dag: the frozen graph, which plan and runner read.

Rules of this module:
1. A Dag never changes, and the nodes in it can't be linked or named any more.
2. A node's place is its id: topological order, ties by order of linking, so every process counts alike.
3. Nothing is named or frozen unless the whole graph is sound.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError

from .fingerprint import digest
from .kinds import is_collect
from .naming import base_name, unique_names
from .slot import DEFAULT_OUTPUT
from .view import describe
from .walk import Found, collect, start_vertices, topological

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .door import Door
    from .node import Node
    from .source import Source


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge between two places.

    Attributes:
        source: Place of the node that pushes.
        target: Place of the node that takes.
        output: Output of the source; "default" unless a declared one was linked.
        branch: Index among a Route's branches; None for other sources.
    """

    source: int
    target: int
    output: str = DEFAULT_OUTPUT
    branch: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A declared output of the whole graph: the places of the nodes that push to it."""

    name: str
    is_async: bool
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Dag:
    """A frozen graph of nodes. Make one by ``Dag.of``; safe to read from any thread.

    Attributes:
        nodes: Templates in topological order; a node's index is its place.
        names: Unique name of each node.
        edges: In order of linking.
        entries: Places that producers feed, or that have no input.
        exits: Places whose "default" pushes leave the graph.
        sources: Producers that were linked in the expression, each with the places that it feeds.
        declared: Declared outputs, in order of the places that declare them.
        fingerprint: 32 hexadecimal digits; equal for two processes that built the same graph.

    >>> from consecution.graph import Map
    >>> dag = Dag.of(Map(str.strip) | [Map(str.upper), Map(str.lower)], "shout")
    >>> dag.names, [(edge.source, edge.target) for edge in dag.edges]
    (('strip', 'upper', 'lower'), [(0, 1), (0, 2)])
    """

    nodes: tuple[Node, ...]
    names: tuple[str, ...]
    edges: tuple[Edge, ...]
    entries: tuple[int, ...]
    exits: tuple[int, ...]
    sources: tuple[tuple[Source, tuple[int, ...]], ...]
    declared: tuple[Output, ...]
    fingerprint: str = field(init=False)
    _inputs: tuple[tuple[Edge, ...], ...] = field(init=False, repr=False)
    _outputs: tuple[tuple[Edge, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inputs: list[list[Edge]] = [[] for _ in self.nodes]
        outputs: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            inputs[edge.target].append(edge)
            outputs[edge.source].append(edge)
        object.__setattr__(self, "_inputs", tuple(map(tuple, inputs)))
        object.__setattr__(self, "_outputs", tuple(map(tuple, outputs)))
        object.__setattr__(self, "fingerprint", digest(self.spec()))

    @classmethod
    def of(cls, thing: object, owner_name: str) -> Dag:
        """Freeze the whole connected graph of a node or an expression.

        Args:
            thing: A node, a view of linked ones, a producer with something linked to it, or one function.
            owner_name: Name of the consecutor, for the message to whoever links a frozen node.

        Returns:
            The Dag; the graph may already be frozen by another.

        Raises:
            GraphError: A cycle, a name used twice, a ``<`` that is not closed, a route to nowhere, a node that
                can't process, something that is no node.
        """
        from .validate import check_graph

        found = collect(start_vertices(thing, owner_name))
        check_graph(found, owner_name)
        nodes = topological(found.nodes)
        names = unique_names([node._slot.name for node in nodes], (base_name(node._slot, type(node)) for node in nodes))
        _freeze(nodes, names, found, owner_name)
        return _build(cls, nodes, names, found)

    def with_doors(self, doors: Sequence[Door]) -> Dag:
        """Give this Dag with a door at the end of each of these outputs, behind all of its nodes.

        Args:
            doors: Fresh ones; a Dag takes them over. "default" is the output of each node that nothing follows.

        Returns:
            A Dag whose first nodes, edges and places are this one's.
        """
        if not doors:
            return self
        nodes, edges = list(self.nodes), list(self.edges)
        names = unique_names(
            [*self.names, *(None for _ in doors)],
            [*self.names, *(str(door._slot.name) for door in doors)],
        )
        declared = {one.name: one.nodes for one in self.declared}
        for door, name in zip(doors, names[len(nodes) :], strict=True):
            door._slot.name = name
            door._slot.frozen_by = door._slot.frozen_by or name
            sources = self.exits if door.output_name == DEFAULT_OUTPUT else declared[door.output_name]
            edges += [
                Edge(source, len(nodes), door.output_name) for source in sources if not is_collect(self.nodes[source])
            ]
            nodes.append(door)
        passing = {edge.source for edge in edges if edge.output == DEFAULT_OUTPUT}
        return Dag(
            nodes=tuple(nodes),
            names=tuple(names),
            edges=tuple(edges),
            entries=self.entries,
            exits=tuple(place for place in range(len(nodes)) if place not in passing),
            sources=self.sources,
            declared=self.declared,
        )

    def inputs(self, place: int) -> tuple[Edge, ...]:
        """Give the edges that end at a place, in order of linking."""
        return self._inputs[place]

    def outputs(self, place: int) -> tuple[Edge, ...]:
        """Give the edges that begin at a place, in order of linking."""
        return self._outputs[place]

    def place(self, name: str) -> int:
        """Give the place of a node by its name.

        Raises:
            GraphError: No node has this name; the message lists all.
        """
        try:
            return self.names.index(name)
        except ValueError:
            msg = f"no node is named {name!r}; expected one of {', '.join(map(repr, self.names[:50]))}"
            raise GraphError(msg) from None

    def spec(self) -> dict[str, Any]:
        """Give the graph as plain data that MessagePack can pack; see fingerprint.py for its shape."""
        from .fingerprint import spec_of

        return spec_of(self)

    def text(self) -> str:
        """Draw the graph for a terminal."""
        from .draw import text

        return text(self)

    def __str__(self) -> str:
        return self.text()

    def _repr_svg_(self) -> str:
        from .draw import svg

        return svg(self)


def _freeze(nodes: list[Node], names: list[str], found: Found, owner_name: str) -> None:
    for node, name in zip(nodes, names, strict=True):
        slot = node._slot
        slot.name = name
        slot.frozen_by = slot.frozen_by or owner_name
        slot.chained = None
    for node in nodes:
        if node._is_route:
            slot = node._slot
            slot.branch_names = tuple(describe(entries[0]) for entries in slot.branches)
    for source in found.sources:
        source._slot.frozen_by = source._slot.frozen_by or owner_name


def _build(cls: type[Dag], nodes: list[Node], names: list[str], found: Found) -> Dag:
    place = {id(node): index for index, node in enumerate(nodes)}
    links = sorted((link for node in nodes for link in node._slot.outputs), key=lambda link: link.order)
    edges = tuple(Edge(place[id(link.source)], place[id(link.target)], link.output, link.branch) for link in links)
    sources = tuple(
        (source, tuple(place[id(link.target)] for link in source._slot.outputs)) for source in found.sources
    )
    fed = {entry for _, entries in sources for entry in entries}
    targets = {edge.target for edge in edges}
    passing = {edge.source for edge in edges if edge.output == DEFAULT_OUTPUT}
    return cls(
        nodes=tuple(nodes),
        names=tuple(names),
        edges=edges,
        entries=tuple(i for i in range(len(nodes)) if i in fed or i not in targets),
        exits=tuple(i for i in range(len(nodes)) if i not in passing),
        sources=sources,
        declared=_declared(nodes),
    )


def _declared(nodes: list[Node]) -> tuple[Output, ...]:
    found: dict[str, tuple[bool, list[int]]] = {}
    for index, node in enumerate(nodes):
        for name, is_async in node._slot.declared.items():
            found.setdefault(name, (is_async, []))[1].append(index)
    return tuple(Output(name, is_async, tuple(places)) for name, (is_async, places) in found.items())
