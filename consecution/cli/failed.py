"""`consecution failed`: what to do with dead letters."""

from __future__ import annotations

import importlib.util
import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from consecution.cli.console import leave, print_json, say, told
from consecution.cli.letters import chosen, folder_of, letters_of, no_letter, plain, row, short_lines, story
from consecution.cli.parameters import Define, Flow, JournalFolder, Json, Traceback

app = typer.Typer(
    no_args_is_help=True,
    help="""Items that failed for good: list them, look at one, replay them after the fix, drop or export them.

    Examples:

        consecution failed list flow.py

        consecution failed show flow.py 3

        consecution failed replay flow.py 3 4

        consecution failed export flow.py --output failed.jsonl
    """,
)

TABLE_COLUMNS_MIN = 60
"""Of a terminal; in a narrower one the columns of a table would have a few characters each."""

Target = Annotated[
    str,
    typer.Argument(
        metavar="FLOW",
        envvar="CONSECUTION_FLOW",
        help="The flow's address, or its consecutor's name. The flow isn't imported.",
        show_default=False,
    ),
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]…", help="Numbers of dead letters.", show_default=False)]
Of = Annotated[
    str | None,
    typer.Option(
        "--of",
        metavar="NAME",
        envvar="CONSECUTION_OF",
        help="Of a group of consecutors, the one whose dead letters are meant.",
        show_default=False,
    ),
]
Every = Annotated[bool, typer.Option("--all", envvar="CONSECUTION_ALL", help="All that stand, instead of numbers.")]


@app.command("list")
@told
def list_(
    flow: Target,
    journal: JournalFolder = None,
    of: Of = None,
    every: Annotated[
        bool,
        typer.Option("--all", envvar="CONSECUTION_ALL", help="Also those that were replayed or dropped."),
    ] = False,
    json_: Json = False,
    traceback: Traceback = False,
) -> None:
    """List the dead letters of a flow.

    Examples:
        consecution failed list flow.py

        consecution failed list flow.py --all --json
    """
    from consecution.journal.sqlite import open_for_reading

    with closing(open_for_reading(folder_of(flow, journal, of))) as opened:
        letters = list(letters_of(opened, is_standing=not every))
    if json_:
        print_json([plain(letter) for letter in letters])
        return
    if not letters:
        say("no dead letters")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if Console().is_terminal else 200)
    if console.width < TABLE_COLUMNS_MIN:
        print("\n".join(line for letter in letters for line in short_lines(letter)))
        return
    table = Table("id", "item", "tries", "node", "cause", "value", "", box=None, pad_edge=False)
    for letter in letters:
        table.add_row(*(Text(cell, overflow="fold") for cell in row(letter)))
    console.print(table)


@app.command()
@told
def show(
    flow: Target,
    dead_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the dead letter.", show_default=False)],
    journal: JournalFolder = None,
    of: Of = None,
    json_: Json = False,
    traceback: Traceback = False,
) -> None:
    """Show one dead letter with its cause and traceback.

    Examples:
        consecution failed show flow.py 3
    """
    from consecution.journal.sqlite import open_for_reading

    with closing(open_for_reading(folder_of(flow, journal, of))) as opened:
        letter = opened.dead_letter(dead_id)
    if letter is None:
        raise no_letter(dead_id, flow)
    if json_:
        print_json(plain(letter))
    else:
        print("\n".join(story(letter)))


@app.command()
@told
def drop(
    flow: Target,
    ids: Ids = None,
    every: Every = False,
    journal: JournalFolder = None,
    of: Of = None,
    traceback: Traceback = False,
) -> None:
    """Give dead letters up. They stay counted as failed, and are no longer listed.

    Examples:
        consecution failed drop flow.py 3 4

        consecution failed drop flow.py --all
    """
    from consecution.journal.sqlite import open_for_editing

    numbers = _numbers(ids, every)
    with closing(open_for_editing(folder_of(flow, journal, of))) as opened:
        count = opened.drop_dead_letters([letter.id for letter in chosen(opened, numbers, flow)])
    say(f"dropped {count}")


@app.command()
@told
def export(
    flow: Target,
    ids: Ids = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", envvar="CONSECUTION_OUTPUT", help="File to write, instead of stdout."),
    ] = None,
    journal: JournalFolder = None,
    of: Of = None,
    traceback: Traceback = False,
) -> None:
    """Write dead letters as JSON lines: item, node, cause, traceback. What JSON doesn't know becomes its repr.

    Examples:
        consecution failed export flow.py | jq .item

        consecution failed export flow.py 3 4 --output failed.jsonl
    """
    from consecution.journal.sqlite import open_for_reading

    with closing(open_for_reading(folder_of(flow, journal, of))) as opened:
        lines = [json.dumps(plain(letter), ensure_ascii=False) for letter in chosen(opened, ids or [], flow)]
    text = "".join(line + "\n" for line in lines)
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
        say(f"wrote {len(lines)} dead letters to {output}")


@app.command()
@told
def replay(
    flow: Flow,
    ids: Ids = None,
    every: Every = False,
    define: Define = None,
    journal: JournalFolder = None,
    of: Of = None,
    json_: Json = False,
    traceback: Traceback = False,
) -> None:
    """Send dead letters through the flow again, after the fix, each as a new item that names the old one.

    Nothing else is read from the flow's sources. Exit code 3 when one fails again.

    Examples:
        consecution failed replay flow.py 3 4

        consecution failed replay flow.py --all -D out=results

        consecution failed replay flow.py --of totals --all
    """
    from consecution.cli.loading import load_flow, member_of
    from consecution.cli.run import tell_report, with_progress
    from consecution.cli.summary import exit_code

    numbers = _numbers(ids, every)
    folder = folder_of(flow, journal, of)
    if _is_only_a_name(flow):
        message = f"{flow!r} is a consecutor's name, but a replay runs the flow's code: give its address (flow.py)"
        raise typer.BadParameter(message)
    loaded = load_flow(flow, define)
    consecutor = loaded.consecutor if of is None else member_of(loaded, of)
    report = with_progress(partial(consecutor.replay_dead, numbers, journal=folder))
    tell_report(loaded, report, flow=flow, journal=journal, define=define, with_json=json_)
    leave(exit_code(report))


def _numbers(ids: list[int] | None, every: bool) -> list[int]:
    """Give the numbers that a command is for; [] stands for all.

    Raises:
        typer.BadParameter: Neither numbers nor --all were given, or both.
    """
    if bool(ids) is every:
        message = "give the numbers of dead letters (`failed list` shows them), or --all"
        raise typer.BadParameter(message)
    return ids or []


def _is_only_a_name(flow: str) -> bool:
    """Whether no file or module could be meant."""
    if not flow.isidentifier():
        return not flow.endswith(".py") and not set(flow) & set("./:")
    return not Path(f"{flow}.py").exists() and importlib.util.find_spec(flow) is None
