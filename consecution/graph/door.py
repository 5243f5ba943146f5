"""Doors: where items leave a consecutor for the next one.

A Dag gets a door for each of its outputs that leads to another consecutor, when it is run: a node at the end, in a
stage of its own, which takes what is pushed to that output. A door calls no user code; what becomes of its items is
the executor core's matter (protocol.md R21).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .node import Node
from .slot import DEFAULT_OUTPUT

if TYPE_CHECKING:
    from typing import TypeGuard

GLOBAL = "global"


class Door(Node):
    """The end of one output, behind which the next consecutor begins.

    Args:
        leads_to: ``consecutor.node``, for names and drawings.
        output: The output that it is the end of.
        is_async: Nothing is promised: it never holds anybody back, and drops what the next one has no room for.
    """

    def __init__(self, leads_to: str, *, output: str = DEFAULT_OUTPUT, is_async: bool = False) -> None:
        super().__init__(f"{output} → {leads_to}", grouping=GLOBAL)
        self.output_name = output
        self.is_async = is_async

    def process(self, item: Any) -> None:
        """Do nothing; the executor hands items over in whole frames."""


def is_door(node: Node) -> TypeGuard[Door]:
    """Whether it ends an output."""
    return isinstance(node, Door)
