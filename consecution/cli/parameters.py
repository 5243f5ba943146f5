"""Arguments and options that several commands share; each has an environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Flow = Annotated[
    str,
    typer.Argument(
        metavar="FLOW",
        envvar="CONSECUTION_FLOW",
        help="Where the flow is: file.py, file.py:object or pkg.module:object.",
        show_default=False,
    ),
]
Define = Annotated[
    list[str] | None,
    typer.Option(
        "--define",
        "-D",
        metavar="KEY=VALUE",
        envvar="CONSECUTION_DEFINE",
        help="An option for the flow, which reads it as options[KEY]. May be repeated.",
        show_default=False,
    ),
]
JournalFolder = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="DIR",
        envvar="CONSECUTION_JOURNAL",
        help="Folder of the journal, instead of ./.consecution/NAME.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", envvar="CONSECUTION_JSON", help="Print the result as JSON on stdout.")]
Traceback = Annotated[
    bool, typer.Option("--traceback", envvar="CONSECUTION_TRACEBACK", help="Show where in the code an error arose.")
]
