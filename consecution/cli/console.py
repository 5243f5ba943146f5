"""How the commands talk: results to stdout, everything else to stderr, and a way out that leaves no traceback.

Rules of this module:
    1. Stdout belongs to the flow and to what was asked for; progress, summaries and errors go to stderr.
    2. A closed stdout ends the command quietly, wherever it is noticed.
"""

from __future__ import annotations

import functools
import inspect
import io
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import typer

from consecution.cli.exit_codes import ExitCode
from consecution.cli.problems import explain, user_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


FLOWS_OWN = ("run", "replay")
"""Commands whose stdout is the flow's own."""


class Talk:
    """What one command was told about talking; set by the command before anything can fail.

    Attributes:
        with_traceback: Print the user's part of a traceback below each error.
        loading: Address of the flow that is being loaded now; None at other times.
    """

    def __init__(self) -> None:
        self.with_traceback = False
        self.loading: str | None = None


talk = Talk()


def say(line: str = "") -> None:
    """Print one line to stderr."""
    print(line, file=sys.stderr)


def print_json(value: object) -> None:
    """Print one JSON object, or a list, on one line of stdout; what JSON doesn't know becomes its repr."""
    print(json.dumps(value, default=repr, ensure_ascii=False))


def leave(code: ExitCode) -> NoReturn:
    """End the command."""
    raise typer.Exit(int(code))


def fail(error: BaseException) -> NoReturn:
    """Tell an error and end the command with its code."""
    problem = explain(error, loading=talk.loading)
    for line in problem.lines():
        say(line)
    if talk.with_traceback:
        say()
        say(user_traceback(error) if talk.loading else "".join(traceback.format_exception(error)))
    leave(problem.code)


def reader_is_gone(error: BaseException) -> bool:
    """Say whether an error means that what read our stdout has gone."""
    while True:
        if isinstance(error, BrokenPipeError):
            return True
        # Rich, which prints tables, ends the process when it notices.
        before = error.__context__ if isinstance(error, SystemExit) else error.__cause__
        if before is None:
            return False
        error = before


def close_stdout() -> None:
    """Let go of a stdout that nobody reads, so that the interpreter doesn't complain when it flushes at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: every error of it is told, and ends the process with the code that it deserves.

    Its docstring becomes its help, whose paragraphs the terminal wraps.
    """

    @functools.wraps(command)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> R:
        talk.with_traceback = bool(options.get("traceback", False))
        talk.loading = None
        if command.__name__ not in FLOWS_OWN and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: what is shown must not fail in the C locale
        try:
            result = command(*arguments, **options)
            if sys.stdout is not None:
                sys.stdout.flush()
        except typer.Exit:
            raise
        except (typer.BadParameter, typer.Abort):
            raise  # typer prints these
        except KeyboardInterrupt:
            say("stopped; run it again to go on")
            leave(ExitCode.INTERRUPTED)
        except BaseException as error:
            if reader_is_gone(error):
                close_stdout()
                leave(ExitCode.READER_GONE)
            fail(error)
        return result

    wrapped.__doc__ = joined_lines(command.__doc__ or "")
    return wrapped


def joined_lines(text: str) -> str:
    r"""Give a docstring with each paragraph on one line, and its examples as paragraphs of their own.

    >>> joined_lines("One\nparagraph.\n\nExamples:\n    run it")
    'One paragraph.\n\nExamples:\n\n    run it'
    """
    paragraphs = inspect.cleandoc(text).replace("Examples:\n ", "Examples:\n\n ").split("\n\n")
    return "\n\n".join(one.replace("\n", " ") for one in paragraphs)


def as_plain(value: Any) -> Any:
    """Give a value that JSON can hold: dataclasses and mappings as objects, sets as sorted lists, paths as text.

    All else is its repr.
    """
    import dataclasses
    from collections.abc import Mapping, Sequence, Set

    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_plain(inner) for key, inner in value.items()}
    if isinstance(value, Set):
        return sorted((as_plain(inner) for inner in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [as_plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    return repr(value)
