"""A group of joined consecutors as one spec, for drawings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.graph.fingerprint import SPEC_VERSION
from consecution.graph.kinds import is_collect
from consecution.graph.slot import DEFAULT_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.between.links import Link
    from consecution.consecutor import Consecutor
    from consecution.graph import Dag


def group_spec(members: Sequence[Consecutor]) -> dict[str, Any]:
    """Give the spec of a group: its nodes as ``consecutor.node``, with the links between consecutors as edges.

    Args:
        members: Upstream first; of a single one its own spec is given, with the producers that were linked to it.

    Returns:
        As `consecution.graph.fingerprint` has it. Dead letters leave by a node ``consecutor.failed``.
    """
    is_group = len(members) > 1
    nodes: list[dict[str, Any]] = []
    edges: list[list[Any]] = []
    sources: list[list[Any]] = []
    first: dict[int, int] = {}
    for one in members:
        spec = one.dag.spec()
        first[id(one)] = start = len(nodes)
        prefix = f"{one.name}." if is_group else ""
        nodes += [{**node, "name": prefix + node["name"]} for node in spec["nodes"]]
        edges += [[source + start, target + start, output, branch] for source, target, output, branch in spec["edges"]]
        linked = [link.handover for link in one.inputs]
        for producer, places in one.feeds:
            if all(producer is not handover for handover in linked):
                sources.append([type(producer).__name__, [place + start for place in places]])
    for one in members:
        dead_letters: int | None = None
        for link in one.links:
            target = first[id(link.target)] + link.place
            if link.is_failed:
                if dead_letters is None:
                    dead_letters = len(nodes)
                    nodes.append(_dead_letters(one.name))
                edges.append([dead_letters, target, DEFAULT_OUTPUT, None])
                continue
            label = f"{link.output} (async)" if link.is_async else link.output
            edges += [[first[id(one)] + place, target, label, None] for place in pushers_of(one.dag, link)]
    return {
        "version": SPEC_VERSION, "nodes": nodes, "edges": edges, "entries": [], "exits": [], "sources": sources,
    }  # fmt: skip


def pushers_of(dag: Dag, link: Link) -> tuple[int, ...]:
    """Give the places of the nodes whose pushes a link carries."""
    if link.output == DEFAULT_OUTPUT:
        return tuple(place for place in dag.exits if not is_collect(dag.nodes[place]))
    return next(one.nodes for one in dag.declared if one.name == link.output)


def _dead_letters(consecutor: str) -> dict[str, Any]:
    return {
        "name": f"{consecutor}.failed", "kind": "dead letters", "parallelism": 1, "grouping": None, "key": None,
        "ordered": True, "concurrency": 1, "every_s": None, "process_timeout_s": None, "outputs": [], "branches": None,
    }  # fmt: skip
