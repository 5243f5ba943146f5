"""Which accumulating nodes a failed item may have reached before it failed (R17), and how much holders hold.

Rules of this module: pure; it looks at the graph alone.

An item that failed at node n can't have reached the accumulating node A when every path to A goes through n, and
nothing between the producer and n makes several values of one item, or one outcome of several items: then what failed
at n is all there was of the item.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING

from consecution.graph import Broadcast, Chunk, Filter, Map, Merge, Route
from consecution.graph.kinds import is_accumulating, items_held_max

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.graph import Dag

PENDING_MIN = 32_768
PENDING_MIN_OVER_PROCESSES = 65_536  # several processes work on what is in the window
PENDING_TIMES = 4


def exposure(dag: Dag) -> Callable[[str], frozenset[str]]:
    """Give the function from a node's name to the accumulating nodes that a replay after a failure there passes again.

    A name that is no node (a producer's) gives all accumulating nodes.
    """
    accumulating = frozenset(place for place, node in enumerate(dag.nodes) if is_accumulating(node))
    everything = frozenset(dag.names[place] for place in accumulating)
    places = {name: place for place, name in enumerate(dag.names)}

    @cache
    def exposed(name: str) -> frozenset[str]:
        place = places.get(name)
        if place is None or not everything:
            return everything
        above = _above(dag, place)
        if not all(_keeps_items_whole(dag, one) for one in above) or any(
            _is_everywhere(dag, one) for one in (place, *above)
        ):
            return everything
        beyond = _reached_without(dag, place)
        return frozenset(dag.names[one] for one in accumulating if one in beyond or one == place)

    return exposed


def _keeps_items_whole(dag: Dag, place: int) -> bool:
    """Whether a node makes at most one value of each item for each follower, and no value of several outcomes."""
    node = dag.nodes[place]
    if isinstance(node, Map):
        return not (inspect.isgeneratorfunction(node.func) or inspect.isasyncgenfunction(node.func))
    return isinstance(node, (Filter, Route, Broadcast, Merge, Chunk))


def _is_everywhere(dag: Dag, place: int) -> bool:
    """Whether each value comes to all tasks of a node: the others may have passed on what failed in one."""
    return dag.nodes[place]._slot.options.grouping == "all"


def _above(dag: Dag, place: int) -> set[int]:
    """All nodes on paths to ``place``, without it."""
    seen: set[int] = set()
    stack = [place]
    while stack:
        for edge in dag.inputs(stack.pop()):
            if edge.source not in seen:
                seen.add(edge.source)
                stack.append(edge.source)
    return seen


def _reached_without(dag: Dag, place: int) -> set[int]:
    """All nodes that an item can reach without passing ``place``."""
    seen = {entry for entry in dag.entries if entry != place}
    stack = list(seen)
    while stack:
        for edge in dag.outputs(stack.pop()):
            if edge.target != place and edge.target not in seen:
                seen.add(edge.target)
                stack.append(edge.target)
    return seen


def items_held(dag: Dag) -> int:
    """How many items all holders of all tasks can keep open together; a holder behind a holder multiplies."""
    weight = [1] * len(dag.nodes)
    total = 0
    for place, node in enumerate(dag.nodes):
        above = max((weight[edge.source] for edge in dag.inputs(place)), default=1)
        held = items_held_max(node)
        weight[place] = above * max(1, held)
        if held:
            total += weight[place] * node.options.parallelism
    return total


def pending_default(dag: Dag, *, over_processes: bool = False) -> int:
    """The default of ``pending_max``: 32,768 items, or four times what the holders can keep open (R16).

    Args:
        dag: The graph.
        over_processes: Tasks run in other processes than the producer: 65,536 items in place of 32,768.
    """
    return max(PENDING_MIN_OVER_PROCESSES if over_processes else PENDING_MIN, PENDING_TIMES * items_held(dag))
