"""The graph as plain data, its fingerprint, and what differs between two.

Shape of a spec (all of it packable by MessagePack)::

    {"version": 1,
     "nodes": [{"name", "kind", "parallelism", "grouping", "key", "ordered", "concurrency", "every_s",
                "process_timeout_s", "outputs": [[name, is_async], …], "branches": [key, …] | None}, …],
     "edges": [[source, target, output, branch | None], …],      # in order of linking
     "entries": [place, …], "exits": [place, …],
     "sources": [[kind, [place, …]], …]}
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

from .naming import function_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dag import Dag
    from .node import Node

Spec: TypeAlias = "Mapping[str, Any]"
SPEC_VERSION = 1
USUAL_CAUSES = (
    "the flow was built differently in two processes; usual causes: the order of a set, a random number, the time, "
    "an environment variable"
)


def spec_of(dag: Dag) -> dict[str, Any]:
    """Give a Dag as plain data."""
    return {
        "version": SPEC_VERSION,
        "nodes": [_node_spec(node) for node in dag.nodes],
        "edges": [[edge.source, edge.target, edge.output, edge.branch] for edge in dag.edges],
        "entries": list(dag.entries),
        "exits": list(dag.exits),
        "sources": [[type(source).__name__, list(entries)] for source, entries in dag.sources],
    }


def _node_spec(node: Node) -> dict[str, Any]:
    options = node._slot.options
    return {
        "name": node._slot.name,
        "kind": type(node).__name__,
        "parallelism": options.parallelism,
        "grouping": options.grouping,
        "key": function_name(options.key) if callable(options.key) else options.key,
        "ordered": options.ordered,
        "concurrency": options.concurrency,
        "every_s": None if options.every is None else options.every.total_seconds(),
        "process_timeout_s": options.process_timeout_s,
        "outputs": [[name, is_async] for name, is_async in node._slot.declared.items()],
        "branches": _branch_keys(node),
    }


def _branch_keys(node: Node) -> list[object] | None:
    if not node._is_route:
        return None
    keys = getattr(node, "keys", None)
    if keys is None:
        return list(node._slot.branch_names)
    # The repr of a user's object may hold its address, which differs in each process; its type does not.
    return [key if isinstance(key, (str, int, float)) else f"<{type(key).__name__}>" for key in keys]


def digest(spec: Spec) -> str:
    """Give 32 hexadecimal digits, equal for equal specs on every machine.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    packed = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=list)
    return hashlib.blake2b(packed.encode(), digest_size=16).hexdigest()


def compare(one: Spec, other: Spec) -> str | None:
    """Say what differs first between two specs, by the node's name; None when they are equal.

    Args:
        one: Spec of this process.
        other: Spec of the other.

    Returns:
        One sentence that names the node, and the usual causes.
    """
    if one.get("version") != other.get("version"):
        return f"the specs are of versions {one.get('version')} and {other.get('version')}: run the same Consecution"
    difference = _differing_node(one, other) or _differing_edge(one, other) or _differing_source(one, other)
    return None if difference is None else f"{difference}; {USUAL_CAUSES}"


def _differing_node(one: Spec, other: Spec) -> str | None:
    mine, theirs = one["nodes"], other["nodes"]
    for place, (left, right) in enumerate(zip(mine, theirs, strict=False)):
        if left["name"] != right["name"]:
            return f"node {place} is {left['name']!r} here and {right['name']!r} there"
        for field in left:
            if _plain(left[field]) != _plain(right.get(field)):
                return f"node {left['name']!r} has {field} {left[field]!r} here and {right.get(field)!r} there"
    if len(mine) != len(theirs):
        longer, where = (mine, "here") if len(mine) > len(theirs) else (theirs, "there")
        name = longer[min(len(mine), len(theirs))]["name"]
        return f"node {name!r} is only {where}"
    return None


def _differing_edge(one: Spec, other: Spec) -> str | None:
    names = [node["name"] for node in one["nodes"]]
    mine, theirs = _plain(one["edges"]), _plain(other["edges"])
    for left, right in zip(mine, theirs, strict=False):
        if left != right:
            return (
                f"node {names[left[0]]!r} is linked to {names[left[1]]!r} here, where {names[right[0]]!r} is linked "
                f"to {names[right[1]]!r} there"
            )
    if len(mine) != len(theirs):
        longer, where = (mine, "here") if len(mine) > len(theirs) else (theirs, "there")
        source, target = longer[min(len(mine), len(theirs))][:2]
        return f"node {names[source]!r} is linked to {names[target]!r} only {where}"
    return None


def _differing_source(one: Spec, other: Spec) -> str | None:
    for field in ("entries", "exits", "sources"):
        if _plain(one[field]) != _plain(other[field]):
            return f"the {field} are {one[field]!r} here and {other[field]!r} there"
    return None


def _plain(value: Any) -> Any:
    """Give lists for tuples: a decoder may give either."""
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
