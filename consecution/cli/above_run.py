"""What a flow's file does while it is imported: each executor imports it, so each does it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from consecution.cli.findings import Finding, Modes, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RUNS = ("run", "consume", "start")
_OPENERS = ("connect", "create_engine", "open", "urlopen")


def check_file(path: Path) -> Iterator[Finding]:
    """Find statements of a file's top level that do something, rather than define it.

    Statements below the first ``.run()``, ``.consume()`` or ``.start()`` are not looked at: the import ends there.

    Args:
        path: A file that Python could import.
    """
    for statement in ast.parse(path.read_bytes(), str(path)).body:
        call = _ending_call(statement)
        if call is not None:
            return
        told = _told(statement)
        if told is not None:
            yield Finding(
                Severity.WARNING,
                Modes.PROCESSES,
                f"{path.name}, line {statement.lineno}",
                f"{told}: it happens in each executor, since each imports the flow",
                "move it into a node's setup(), below run(), or under `if __name__ == '__main__':`",
            )


def _ending_call(statement: ast.stmt) -> ast.Call | None:
    """The call of run, consume or start in a statement of the top level, with or without a name for its answer."""
    value = statement.value if isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)) else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _RUNS:
        return value
    return None


def _told(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(value=ast.Call(func=function)):
            return f"`{ast.unparse(function)}(…)` is called"
        case ast.For() | ast.While() | ast.With() | ast.AsyncFor() | ast.AsyncWith():
            return f"a `{type(statement).__name__.lower()}` block runs"
        case ast.Assign(value=ast.Call(func=function)) | ast.AnnAssign(value=ast.Call(func=function)):
            name = ast.unparse(function)
            if name.rpartition(".")[2] in _OPENERS:
                return f"`{name}(…)` opens something"
    return None
