"""Errors as a reader of a terminal needs them: what, where, why, what to do; no traceback unless it is asked for.

Rules of this module:
    1. Where an error arose is told in the user's code: frames of Consecution and of the standard library are left out.
    2. Nothing here prints; `explain` gives a value, and the value its lines.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path

from consecution.cli.exit_codes import ExitCode
from consecution.errors import (
    ClusterError,
    ConsecutionError,
    GraphError,
    JournalError,
    NoLetter,
    SourceError,
    Unreachable,
    UserCodeError,
)

_OURS = str(Path(__file__).resolve().parents[1])
_OUR_SERVICES = frozenset({"consecution_coordinator", "consecution_worker"})
_STANDARD = sysconfig.get_path("stdlib")


@dataclass(frozen=True, slots=True)
class Problem:
    """One error, told.

    Attributes:
        what: What happened, in one or more sentences; our own errors also say here what to do.
        where: File, line and source line in the user's code; None when no line of theirs is to blame.
        why: Whose fault it is; None when it is plain.
        cure: What to do, when ``what`` doesn't say it.
        code: With which code the command ends.
    """

    what: str
    where: str | None
    why: str | None
    cure: str | None
    code: ExitCode

    def lines(self) -> list[str]:
        """Give the lines to print."""
        told = [f"error: {self.what}"]
        for word, text in (("where", self.where), ("why", self.why), ("to do", self.cure)):
            if text is not None:
                told.append(f"  {word + ':':<7}{text}")
        return told


_WHY: dict[type[BaseException], tuple[str | None, ExitCode]] = {
    GraphError: ("the graph or the flow is wrong (GraphError); nothing has run", ExitCode.BAD_FLOW),
    UserCodeError: ("the flow's own code raised (UserCodeError)", ExitCode.BAD_FLOW),
    SourceError: ("a source can't be read, or isn't the one of the last run (SourceError)", ExitCode.ERROR),
    NoLetter: (None, ExitCode.ERROR),
    JournalError: ("the journal can't be used (JournalError); nothing in it was overwritten", ExitCode.ERROR),
    Unreachable: ("no cluster can be reached (Unreachable)", ExitCode.UNREACHABLE),
    ClusterError: (None, ExitCode.ERROR),
}


def explain(error: BaseException, *, loading: str | None = None) -> Problem:
    """Tell an error.

    Args:
        error: What was caught.
        loading: Address of the flow, while it was being loaded: then an error that isn't ours is the flow's.
    """
    where = user_line(error)
    if where is None and not isinstance(error, ClusterError):  # no line of a flow is to blame for that
        where = _line_in_notes(error)
    for kind, (why, code) in _WHY.items():
        if isinstance(error, kind):
            cause = error.__cause__
            if cause is not None and where is None:
                where = user_line(cause)
            return Problem(str(error), where, why, None, code)
    if isinstance(error, ConsecutionError):
        return Problem(str(error), where, getattr(error, "why", type(error).__name__), None, ExitCode.ERROR)
    name = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if loading is not None:
        why = "the flow's own code raised while it was imported"
        return Problem(f"{loading} can't be loaded: {name}", where, why, _cure(error), ExitCode.BAD_FLOW)
    if isinstance(error, OSError):
        what = name if error.filename is None else f"{str(error.filename)!r} can't be used: {error.strerror}"
        return Problem(what, where, None, _FILE_CURES.get(error.errno or 0), ExitCode.ERROR)
    cure = "if no line of yours is to blame, this is a bug of Consecution: run again with --traceback and report it"
    return Problem(name, where, None, cure, ExitCode.ERROR)


def user_line(error: BaseException) -> str | None:
    """Give ``file, line N, in function: source`` of the innermost line of the user's code; None without one.

    Lines of installed packages count as the user's only when nothing nearer is there.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}, line {error.lineno}: {(error.text or '').strip()}".rstrip(": ")
    frames = user_frames(error)
    near = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    if not near:
        return None
    last = near[-1]
    place = "" if last.name == "<module>" else f", in {last.name}"
    return f"{last.filename}, line {last.lineno}{place}: {last.line or ''}".rstrip(": ")


_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>\S+)\n\s*(?P<source>.*)')


def _line_in_notes(error: BaseException) -> str | None:
    """Give the innermost line of the user's code of a traceback that another process told; None without one."""
    found = [match for note in getattr(error, "__notes__", ()) for match in _FRAME.finditer(note)]
    near = [match for match in found if not _is_of_others(match["file"])]
    if not near:
        return None
    place = "" if near[-1]["name"] == "<module>" else f", in {near[-1]['name']}"
    return f"{near[-1]['file']}, line {near[-1]['line']}{place}: {near[-1]['source'].strip()}"


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Give the frames of an error's traceback that are the user's, outermost first (rule 1)."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_of_others(frame.filename)]


def _is_of_others(file: str) -> bool:
    path = Path(file)
    if file.startswith((_OURS, "<frozen")) or path.parent.name == "bin" or path.parent.name in _OUR_SERVICES:
        return True
    return file.startswith(_STANDARD) and "site-packages" not in file


def user_traceback(error: BaseException) -> str:
    """Give a traceback that holds the user's frames only; the whole one when it has none of theirs."""
    frames = user_frames(error)
    if not frames:
        return "".join(traceback.format_exception(error))
    told = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    return "".join([*told, *traceback.format_exception_only(error)])


_FILE_CURES = {
    errno.EACCES: "give a file in a folder where you may write, or have its owner let you in",
    errno.EROFS: "give a file on a disk that isn't mounted read-only",
    errno.ENOENT: "make its folder first, or give another file",
    errno.EISDIR: "give a file; this is a folder",
    errno.ENOTDIR: "give a path in which only the last name is a file",
    errno.ENOSPC: "free some space, or give a file on another disk",
}

_BAD_LINK = re.compile(r"unsupported operand type\(s\) for [|<>]: '(\w+)' and '(\w+)'")
_BAD_IMPORT = re.compile(r"cannot import name '(\w+)' from 'consecution'")
_HOMES = ("consecution.sinks", "consecution.producers", "consecution.errors", "consecution.testing")
_LINK_CURES = {
    "type": "a class is no node: write Name() to make one",
    "function": "between a list and a function Python can't know that a graph is meant: write rows | Map(function)",
    "builtin_function_or_method": "write rows | Map(function)",
}


def _home_of(name: str) -> str | None:
    """The module that a public name of ours is imported from."""
    return next((home for home in _HOMES if hasattr(importlib.import_module(home), name)), None)


def _is_of_environment(error: KeyError) -> bool:
    """Whether ``os.environ[name]`` raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename in (os.__file__, "<frozen os>")


def _cure(error: BaseException) -> str | None:
    bad_link = _BAD_LINK.match(str(error)) if isinstance(error, TypeError) else None
    if bad_link is not None:
        return next((_LINK_CURES[operand] for operand in bad_link.groups()[::-1] if operand in _LINK_CURES), None)
    if isinstance(error, ModuleNotFoundError):
        return f"install {error.name!r} into the environment of `consecution`, or put it beside the flow"
    unknown = _BAD_IMPORT.match(str(error)) if isinstance(error, ImportError) else None
    if unknown is not None and (home := _home_of(unknown[1])) is not None:
        return f"write `from {home} import {unknown[1]}`"
    if isinstance(error, KeyError) and _is_of_environment(error):
        return f"set the environment variable: export {error.args[0]}=…"
    if isinstance(error, SyntaxError):
        return "repair the line"
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return "don't leave the interpreter while the flow is imported"
    return None
