"""Outputs of a node as objects: ``self.downstream.send(item)``, ``self.output["a"].send(item)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.errors import GraphError

from .view import View, describe

if TYPE_CHECKING:
    from .node import Node


class Downstream:
    """What follows a node."""

    __slots__ = ("send",)

    def __init__(self, node: Node) -> None:
        self.send = node.push
        """Push an item to the next nodes."""


class Outputs:
    """The declared outputs of a node, by name."""

    __slots__ = ("_is_async", "_node")

    def __init__(self, node: Node, is_async: bool) -> None:
        self._node = node
        self._is_async = is_async

    def __getitem__(self, name: str) -> OutputPort:
        """Give one output.

        Raises:
            GraphError: The node declares no such output of this kind.
        """
        declared = self._node._slot.declared
        if declared.get(name) is not self._is_async:
            verb = "add_async_output" if self._is_async else "add_output"
            same = sorted(known for known, is_async in declared.items() if is_async is self._is_async)
            other = "async_output" if declared.get(name) else "output"
            cure = f"write {other}[{name!r}]" if name in declared else f"declare it: self.{verb}({name!r})"
            msg = (
                f"{describe(self._node)} has no {'async ' if self._is_async else ''}output {name!r}; "
                f"{f'expected one of {same}' if same else 'it declares none'}; {cure}"
            )
            raise GraphError(msg)
        return OutputPort(self._node, name)


class OutputPort(View):
    """One declared output: sends items while running, and links like a view before."""

    __slots__ = ("_name", "_node")

    def __init__(self, node: Node, name: str) -> None:
        super().__init__((node,), ((node, name),))
        self._node = node
        self._name = name

    def send(self, item: Any) -> None:
        """Push an item to this output."""
        self._node.push(item, self._name)
