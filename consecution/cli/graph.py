"""`consecution graph`: draw a flow."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consecution.cli.console import say, told
from consecution.cli.loading import load_flow
from consecution.cli.parameters import Define, Flow, Traceback

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.graph.draw.picture import Drawn


class Format(StrEnum):
    """How a graph is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


@told
def graph(
    flow: Flow,
    define: Define = None,
    format_: Annotated[
        Format, typer.Option("--format", "-f", envvar="CONSECUTION_FORMAT", help="How to draw it.")
    ] = Format.TEXT,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", envvar="CONSECUTION_OUTPUT", help="File to write, instead of stdout."),
    ] = None,
    traceback: Traceback = False,
) -> None:
    """Draw the graph of a flow, with all consecutors that are joined to it. Nothing is run.

    Examples:
        consecution graph flow.py

        consecution graph flow.py --format svg --output flow.svg

        consecution graph flow.py -f dot | dot -Tpng > flow.png
    """
    from consecution.between.drawing import group_spec

    loaded = load_flow(flow, define)
    members = loaded.consecutor.group_in_order
    drawing = drawer(format_)(group_spec(members) if len(members) > 1 else members[0].dag).rstrip("\n")
    if output is None:
        print(drawing if format_ is not Format.TEXT else fitting(drawing, sys.stdout.encoding))
        return
    output.write_text(drawing + "\n", encoding="utf-8")
    say(f"wrote {output}")


_PLAIN = str.maketrans(
    {**dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+"), "─": "-", "│": "|", "▶": ">", "◀": "<", "●": "*", "◆": "#", "…": "..."}
)


def fitting(drawing: str, encoding: str) -> str:
    """Give a drawing in letters that a terminal has; in the C locale lines are made of - and |.

    >>> print(fitting("a ──▶ b", "ascii"))
    a --> b
    """
    try:
        drawing.encode(encoding)
    except UnicodeEncodeError:
        return drawing.translate(_PLAIN)
    return drawing


def drawer(format_: Format) -> Callable[[Drawn], str]:
    """Give the function that draws in a format."""
    from consecution.graph import draw

    table: dict[Format, Callable[[Drawn], str]] = {
        Format.TEXT: draw.text,
        Format.MERMAID: draw.mermaid,
        Format.DOT: draw.dot,
        Format.SVG: draw.svg,
    }
    return table[format_]
