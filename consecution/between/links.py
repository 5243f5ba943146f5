"""Links between consecutors, and the group that they form.

Rules of this module:
1. A link leads from one output of a consecutor to one entry node of another; the same link twice is one.
2. What is refused is refused before anything is linked: cycles, two consecutors of one name, entries that aren't there.
3. Consecutors are told apart by identity; their order in a group is that of the links, ties that of their making.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consecution.errors import GraphError
from consecution.graph.door import Door
from consecution.graph.kinds import is_collect
from consecution.graph.slot import DEFAULT_OUTPUT
from consecution.producers.handover import Handover
from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consecution.consecutor import Consecutor
    from consecution.graph.brackets import Bracket

FAILED = "failed"


@value
class Exit:
    """Where items leave a consecutor.

    Attributes:
        consecutor: The consecutor.
        output: A declared output, or "default" for what its last nodes push.
        is_failed: Its dead letters instead; then ``output`` is "failed".
    """

    consecutor: Consecutor
    output: str = DEFAULT_OUTPUT
    is_failed: bool = False


@value
class Entry:
    """Where items enter a consecutor: at the entry node of this name; None: at the only one."""

    consecutor: Consecutor
    node: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One output of a consecutor, joined to one entry node of another.

    Attributes:
        source: Who pushes.
        output: Which output; see `Exit`.
        is_failed: It carries dead letters, not pushes.
        is_async: Nothing is promised; see `Node.add_async_output`.
        target: Who takes.
        place: The entry node's place in the target's Dag.
        handover: What reads the link for the target.
    """

    source: Consecutor
    output: str
    is_failed: bool
    is_async: bool
    target: Consecutor
    place: int
    handover: Handover

    @property
    def name(self) -> str:
        """How a drawing or a message names where it leads."""
        return f"{self.target.name}.{self.target.dag.names[self.place]}"


@dataclass(slots=True, eq=False)
class Ties:
    """What joins one consecutor to others.

    Attributes:
        inputs: Links that end at it, in order of linking.
        outputs: Links that begin at it, in order of linking.
        brackets: ``<`` that were opened beside it and not closed yet.
    """

    inputs: list[Link] = field(default_factory=list)
    outputs: list[Link] = field(default_factory=list)
    brackets: list[Bracket] = field(default_factory=list)


def doors_of(links: Iterable[Link]) -> list[Door]:
    """Give the doors that a consecutor's Dag gets for a run: one for each link that carries what nodes push."""
    return [Door(link.name, output=link.output, is_async=link.is_async) for link in links if not link.is_failed]


# ---- linking ---------------------------------------------------------------------------------------------------------


def link_all(exits: Sequence[Exit], entries: Sequence[Entry]) -> None:
    """Link each exit to each entry.

    Raises:
        GraphError: See rule 2; nothing was linked.
    """
    wanted = [(one, entry, place_of(entry)) for one in exits for entry in entries]
    for one, entry, _ in wanted:
        _check_exit(one)
        _check_cycle(one.consecutor, entry.consecutor)
    ends = [*(one.consecutor for one in exits), *(entry.consecutor for entry in entries)]
    members = {id(member): member for end in ends for member in group_of(end)}
    _check_names(list(members.values()))
    for one, entry, place in wanted:
        _link(one, entry.consecutor, place)
    if wanted:
        settle_names(group_of(wanted[0][1].consecutor))


def place_of(entry: Entry) -> int:
    """Give the place of the node at which items enter.

    Raises:
        GraphError: There is no such entry, or there are several and none was named.
    """
    consecutor = entry.consecutor
    dag = consecutor.dag
    if entry.node is None:
        return consecutor.only_entry()
    names = [dag.names[place] for place in dag.entries]
    if entry.node not in names:
        listed = ", ".join(map(repr, names))
        message = f"consecutor {consecutor.name} has no entry node {entry.node!r}; expected one of {listed}"
        raise GraphError(message)
    return dag.place(entry.node)


def is_async_output(consecutor: Consecutor, output: str) -> bool:
    """Whether an output of a consecutor is declared as async."""
    return any(one.name == output and one.is_async for one in consecutor.dag.declared)


def _link(one: Exit, target: Consecutor, place: int) -> None:
    ties = one.consecutor._ties
    for known in ties.outputs:
        is_same = (known.output, known.is_failed, known.place) == (one.output, one.is_failed, place)
        if known.target is target and is_same:
            return
    is_async = not one.is_failed and is_async_output(one.consecutor, one.output)
    handover = Handover(f"{one.consecutor.name}.{one.output}")
    made = Link(one.consecutor, one.output, one.is_failed, is_async, target, place, handover)
    ties.outputs.append(made)
    target._ties.inputs.append(made)


def _check_exit(one: Exit) -> None:
    if one.is_failed or one.output != DEFAULT_OUTPUT:
        return
    dag = one.consecutor.dag
    if all(is_collect(dag.nodes[place]) for place in dag.exits):
        names = ", ".join(repr(dag.names[place]) for place in dag.exits)
        message = (
            f"consecutor {one.consecutor.name} ends in {names}, a Collect, which keeps its items, so nothing would go "
            "on; take it out, or link an output that a node declares (add_output)"
        )
        raise GraphError(message)


def _check_cycle(source: Consecutor, target: Consecutor) -> None:
    """Refuse a link that leads back, with the way round."""
    came_from: dict[int, Consecutor | None] = {id(target): None}
    waiting = [target]
    for one in waiting:
        if one is source:
            way = [one.name]
            step = came_from[id(one)]
            while step is not None:
                way.append(step.name)
                step = came_from[id(step)]
            walk = " | ".join([source.name, *reversed(way)])
            message = f"items would go round for ever: {walk}; take out one of these links"
            raise GraphError(message)
        for link in one._ties.outputs:
            if id(link.target) not in came_from:
                came_from[id(link.target)] = one
                waiting.append(link.target)


# ---- groups ----------------------------------------------------------------------------------------------------------


def group_of(consecutor: Consecutor) -> list[Consecutor]:
    """Give all consecutors that are joined with one, itself included, upstream first."""
    found = {id(consecutor): consecutor}
    waiting = [consecutor]
    for one in waiting:
        for other in (*(link.target for link in one._ties.outputs), *(link.source for link in one._ties.inputs)):
            if id(other) not in found:
                found[id(other)] = other
                waiting.append(other)
    left = sorted(found.values(), key=lambda one: one._number)
    ordered: list[Consecutor] = []
    while left:
        placed = {id(one) for one in ordered}
        ready = next(one for one in left if all(id(link.source) in placed for link in one._ties.inputs))
        left.remove(ready)
        ordered.append(ready)
    return ordered


def downstream_of(consecutor: Consecutor) -> list[Consecutor]:
    """Give all that items of a consecutor can reach, without itself, upstream first."""
    reached = {id(consecutor)}
    found = []
    for one in group_of(consecutor):
        if id(one) not in reached and any(id(link.source) in reached for link in one._ties.inputs):
            reached.add(id(one))
            found.append(one)
    return found


def _check_names(members: Sequence[Consecutor]) -> None:
    """Refuse two consecutors of a group that were given the same name: it names their journals and reports."""
    named: dict[str, Consecutor] = {}
    for one in members:
        if one._is_named and named.setdefault(one.name, one) is not one:
            message = (
                f"two consecutors that are to be linked are named {one.name!r}, and journals and reports go by the "
                "name; give one of them another: Consecutor(…, name=…)"
            )
            raise GraphError(message)


def settle_names(members: Sequence[Consecutor]) -> None:
    """Give consecutors without a name of their own one that is theirs alone: the file's stem, then stem-2."""
    taken = {one.name for one in members if one._is_named}
    for one in sorted(members, key=lambda one: one._number):
        if not one._is_named:
            name, number = one._base_name, 1
            while name in taken:
                number += 1
                name = f"{one._base_name}-{number}"
            one.name = name
            taken.add(name)
    for one in members:
        for link in one._ties.outputs:
            link.handover.name = f"{one.name}.{link.output}"
