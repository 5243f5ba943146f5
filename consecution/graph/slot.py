"""Our state of a node or source: everything that is ours lives in one private slot.

Rules of this module:
1. A slot is made in ``__new__``, so a user's ``__init__`` need not call ours, and user attributes never change it.
2. Nodes are told apart by identity, never by ``==`` or hash: a ``@dataclass`` node compares equal to another.
3. Links live here; what an expression gives is only a view of them.
4. Once ``frozen_by`` is set, links and name never change again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from consecution.errors import GraphError

from .options import NodeOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .brackets import Bracket
    from .node import Node
    from .view import Chained, Vertex, View

DEFAULT_OUTPUT = "default"
_DEFAULT_OPTIONS = NodeOptions()
_ORDER = itertools.count()  # only compared, never shown: two processes that link alike get the same order


class NodeRuntime(Protocol):
    """What the stage runner gives to a running copy of a node."""

    def push(self, item: Any, output: str, of: Any) -> None:
        """Send ``item`` on; ``of`` names the inputs it was made of (tokens of hold, or an index in a batch)."""

    def hold(self) -> Any:
        """Keep the current item open and give the token that closes it."""

    def release(self, tokens: Iterable[Any]) -> None:
        """Close held items without a push."""

    def fail(self, index: int, error: BaseException) -> None:
        """Fail one item of the batch in work."""

    def now(self) -> float:
        """Give monotonic seconds; only differences matter."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One edge between two vertices, before it is frozen into a Dag."""

    source: Vertex
    target: Node
    output: str
    branch: int | None
    order: int


@dataclass(slots=True, eq=False)
class NodeSlot:
    """All that Consecution knows of one node or source.

    Attributes:
        name: Given by the user, or at the freeze; None before.
        named_after: Function whose name the node takes when it has none; None: its class.
        options: How it is to be run.
        order: Place in the order of linking; None before the first link.
        inputs: Links that end here, in order of linking.
        outputs: Links that begin here, in order of linking.
        declared: Declared output names, and whether each is async.
        branches: Of a Route: the entry vertices of each branch.
        branch_names: Of a Route: the name of each branch's first node, set by the freeze.
        fragment: What the node stands for in an expression when it was built around others (``Route(f, x, y)``).
        brackets: ``<`` that were opened at this vertex and not closed yet.
        chained: What a ``>`` in a chain gave; the next ``<`` of the same chain begins with it.
        frozen_by: Name of the consecutor that froze the graph.
        runtime: Bound by the stage runner in a running copy; None in a template.
    """

    name: str | None = None
    named_after: Callable[..., Any] | None = None
    options: NodeOptions = _DEFAULT_OPTIONS
    order: int | None = None
    inputs: list[Link] = field(default_factory=list)
    outputs: list[Link] = field(default_factory=list)
    keys: set[tuple[int, str, int | None]] = field(default_factory=set)
    declared: dict[str, bool] = field(default_factory=dict)
    branches: list[tuple[Vertex, ...]] = field(default_factory=list)
    branch_names: tuple[str, ...] = ()
    fragment: View | None = None
    brackets: list[Bracket] = field(default_factory=list)
    chained: Chained | None = None
    frozen_by: str | None = None
    runtime: NodeRuntime | None = None

    def push(self, item: Any, output: str = DEFAULT_OUTPUT, *, of: Any = None) -> None:
        """Give an item to the runtime; the default of ``Node.push``."""
        self.running("push").push(item, output, of)

    def running(self, verb: str) -> NodeRuntime:
        """Give the runtime, or say why there is none."""
        if self.runtime is None:
            msg = (
                f"{verb} was called on {self.name or 'a node'}, which is not running: a node object is a template, "
                f"and each run works with copies of it; call {verb} in process, finish, flush or on_timer"
            )
            raise GraphError(msg)
        return self.runtime

    def copied(self) -> NodeSlot:
        """Give the slot of a copy: without links, not frozen, not running."""
        return NodeSlot(
            name=self.name,
            named_after=self.named_after,
            options=self.options,
            declared=dict(self.declared),
            branch_names=self.branch_names,
        )

    def touch(self) -> None:
        """Take a place in the order of linking, once."""
        if self.order is None:
            self.order = next(_ORDER)

    def link(self, source: Vertex, target: Node, output: str, branch: int | None) -> None:
        """Add a link from ``source``, whose slot this is; the same link twice is one."""
        key = (id(target), output, branch)  # the link below keeps the target, so its id stays its own
        if key in self.keys:
            return
        self.keys.add(key)
        self.touch()
        target._slot.touch()
        made = Link(source, target, output, branch, next(_ORDER))
        self.outputs.append(made)
        target._slot.inputs.append(made)
