"""Loading the flow that a command was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from consecution.cli.console import talk
from consecution.errors import GraphError
from consecution.flow import FlowAddress, load, parse_address
from consecution.options import fill_options, parse_options

if TYPE_CHECKING:
    from consecution.consecutor import Consecutor


@dataclass(frozen=True, slots=True)
class LoadedFlow:
    """A flow that was imported.

    Attributes:
        address: Where it is.
        consecutor: What it is; with all that are connected to it, it runs as one.
    """

    address: FlowAddress
    consecutor: Consecutor


def member_of(loaded: LoadedFlow, name: str) -> Consecutor:
    """Give one consecutor of a flow's group by its name.

    Raises:
        GraphError: There is none of that name; lists those that there are.
    """
    members = loaded.consecutor.group_in_order
    for one in members:
        if one.name == name:
            return one
    names = ", ".join(repr(one.name) for one in members)
    message = f"{loaded.address} has no consecutor {name!r}; expected one of {names}"
    raise GraphError(message)


def load_flow(flow: str, define: list[str] | None) -> LoadedFlow:
    """Fill the options and import a flow.

    Args:
        flow: Its address, as the user wrote it.
        define: The ``key=value`` words of ``-D``.

    Raises:
        typer.BadParameter: A word of ``-D`` is no pair.
        GraphError: There is no such flow, or its graph is wrong.
        Exception: Whatever the flow's own code raised.
    """
    from consecution.consecutor import Consecutor

    try:
        fill_options(parse_options(define or []))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    address = parse_address(flow)
    talk.loading = flow
    consecutor = load(address, Consecutor, lambda one: one.group)
    talk.loading = None
    return LoadedFlow(address, consecutor)
