"""`consecution`: the command line. It puts the commands together and does nothing itself.

Rules of this package:
    1. Commands only translate: options into calls, results into text, errors into exit codes.
    2. What a command needs is imported inside of it, so that ``--help`` is quick.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import Annotated

import typer

from consecution.cli import cluster_keys, failed
from consecution.cli.check import check
from consecution.cli.cluster import coordinator, worker
from consecution.cli.cluster_control import drain, kill, pause, rebalance, resume
from consecution.cli.cluster_send import send
from consecution.cli.cluster_submit import submit
from consecution.cli.cluster_watch import list_, logs, status
from consecution.cli.console import close_stdout, say
from consecution.cli.exit_codes import ExitCode
from consecution.cli.graph import graph
from consecution.cli.run import run
from consecution.version import VERSION

FRAMED_COLUMNS_MIN = 60

app = typer.Typer(
    name="consecution",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all done, 1 not possible, 2 usage, 3 some items failed, 4 bad flow, 5 cluster unreachable.",
)
app.command()(run)
app.command()(check)
app.command()(graph)
app.add_typer(failed.app, name="failed")
for _command in (coordinator, worker, submit, send, status, pause, resume, drain, kill, rebalance, logs):
    app.command(rich_help_panel="Cluster")(_command)
app.command("list", rich_help_panel="Cluster")(list_)
app.add_typer(cluster_keys.app, name="keys", rich_help_panel="Cluster")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"consecution {VERSION}")
        raise typer.Exit


@app.callback()
def consecution(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Pipelines of Python functions in which no item is lost.

    Examples:
        consecution run examples/airports.py -D out=results

        cat README.md | consecution run examples/wordcount.py

        consecution check flow.py

        consecution failed list flow.py
    """


def main() -> None:
    """Run the command line and end the process with its exit code.

    A stdout whose reader has gone ends it quietly; one that can't be written to (a full disk) is told. Without any
    (``>&-``) there is nothing to flush. Narrow terminals get help without frames, which would cut words off.
    """
    if shutil.get_terminal_size().columns < FRAMED_COLUMNS_MIN:
        app.rich_markup_mode = None
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        close_stdout()
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.flush()
        sys.exit(ExitCode.READER_GONE)
    except OSError as error:  # commands tell their own; this is of what was printed
        close_stdout()
        say(f"error: standard output can't be written to: {error.strerror}; redirect it elsewhere")
        sys.exit(ExitCode.ERROR)
