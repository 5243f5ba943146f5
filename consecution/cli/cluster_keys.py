"""`consecution keys new` and `keys show`: who may talk to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consecution.cli.console import print_json, say, told
from consecution.cli.parameters import Json, Traceback

app = typer.Typer(
    name="keys",
    no_args_is_help=True,
    help="""Make and show the keys of coordinators, workers and clients.

    Examples:

        consecution keys new worker-b.keys >> allowed.txt

        consecution keys show worker-b.keys
    """,
    context_settings={"help_option_names": ["-h", "--help"]},
)

KeyFile = Annotated[
    Path, typer.Argument(metavar="FILE", envvar="CONSECUTION_KEYS", help="File of the keys.", show_default=False)
]


@app.command("new")
@told
def new(
    file: KeyFile,
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE[,ROLE]",
            envvar="CONSECUTION_KEY_ROLE",
            help="For the line that it prints: coordinator, worker, submitter, sender or reader.",
        ),
    ] = "worker",
    traceback: Traceback = False,
) -> None:
    """Make a pair of keys in a file that only you can read, and print its line for the list of allowed keys.

    Examples:
        consecution keys new coordinator.keys --role coordinator

        consecution keys new worker-b.keys >> allowed.txt

        consecution keys new alice.keys --role submitter >> allowed.txt
    """
    from consecution.transport.zeromq.keys import new_keys, write_keys

    roles = [one.strip() for one in role.split(",")]
    known = ("coordinator", "worker", "submitter", "sender", "reader")
    if strange := [one for one in roles if one not in known]:
        message = f"{strange[0]!r} is no role; expected {', '.join(known)}"
        raise typer.BadParameter(message)
    keys = new_keys()
    write_keys(keys, file)
    print(f"{keys.public.decode('ascii')} {','.join(roles)} {file.stem}")
    say(f"wrote {file}; the line on stdout is for the coordinator's list of allowed keys (--allowed)")


@app.command("show")
@told
def show(file: KeyFile, json_: Json = False, traceback: Traceback = False) -> None:
    """Print the public key of a file. The secret one is never shown.

    Examples:
        consecution keys show worker-b.keys
    """
    from consecution.transport.zeromq.keys import key_id, read_keys

    keys = read_keys(file)
    public = keys.public.decode("ascii")
    if json_:
        print_json({"file": str(file), "public": public, "id": key_id(keys.public)})
    else:
        print(public)
