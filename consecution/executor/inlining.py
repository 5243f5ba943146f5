"""Inlining: the text of a function that is one simple expression, so that a compiled row needs no call for it.

Rules of this module: pure but for the source files that it reads through `linecache`; nothing of the user's is run.
A function is inlined only if the text, compiled anew, gives the very bytecode of the function: where the text came from
needs no trust. Its expression may hold its one argument, constants, operators, comparisons, subscripts, attributes and
displays; no calls, no other names, nothing that makes a scope. So it can be evaluated again to show a failure in
the function's own lines (see `StageRunner`), and nothing that it uses can be changed from outside.

Why: a call costs about as much as such an expression itself.
"""

from __future__ import annotations

import ast
import dis
import inspect
import linecache
import sys
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SOURCE_LINES_MAX = 20_000  # a file is parsed as a whole: about 10 ms for each 1,000 lines
ARGUMENT = "x"

_PARTS = (
    ast.Constant, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop,
    ast.IfExp, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Subscript, ast.Slice, ast.Attribute, ast.JoinedStr,
    ast.FormattedValue, ast.Load,
)  # fmt: skip
_PLAIN = (ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.JoinedStr)
_REFUSED_FLAGS = (
    inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    | inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inlined:
    """A function as an expression.

    Attributes:
        text: One line of Python in which the argument is called ``x``.
        is_plain: The result is surely no generator and no awaitable.
    """

    text: str
    is_plain: bool


def inlined(function: Callable[..., Any]) -> Inlined | None:
    """Give a function as an expression; None when it has to be called.

    >>> inlined(len) is None
    True
    """
    if type(function) is not FunctionType or _is_watched():
        return None
    code = function.__code__
    if (
        code.co_argcount != 1
        or code.co_kwonlyargcount
        or code.co_freevars
        or code.co_cellvars
        or code.co_nlocals != 1
        or code.co_flags & _REFUSED_FLAGS
        or function.__defaults__
    ):
        return None
    for expression in _candidates(code):
        renamed = _renamed(expression, code.co_varnames[0])
        if renamed is None:
            continue
        text = ast.unparse(renamed)
        if "\n" not in text and _is_same(text, code):
            return Inlined(text, isinstance(renamed, _PLAIN))
    return None


def _is_watched() -> bool:
    """Whether a debugger, a profiler or a coverage tool wants to see each call."""
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None and any(monitoring.get_tool(tool) for tool in range(6)):
        return True
    return sys.gettrace() is not None or sys.getprofile() is not None


def _candidates(code: CodeType) -> Iterable[ast.expr]:
    """The bodies of the functions that begin in the code's first line."""
    lines = linecache.getlines(code.co_filename)
    if not code.co_firstlineno <= len(lines) <= SOURCE_LINES_MAX:
        return ()
    try:
        return _bodies("".join(lines)).get(code.co_firstlineno, ())
    except (SyntaxError, ValueError):  # the file isn't what the function was made of any more
        return ()


@lru_cache(maxsize=1)  # the functions of one pipeline mostly stand in one file
def _bodies(source: str) -> dict[int, list[ast.expr]]:
    """The expressions that functions give, by the first line of the function."""
    found: dict[int, list[ast.expr]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node.body)
        elif isinstance(node, ast.FunctionDef) and not node.decorator_list:
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
                found.setdefault(node.lineno, []).append(body[0].value)
    return found


class _Renamer(ast.NodeTransformer):
    def __init__(self, argument: str) -> None:
        self._argument = argument
        self.is_refused = False

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, _PARTS):
            self.is_refused = True
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id != self._argument or not isinstance(node.ctx, ast.Load):
            self.is_refused = True
        return ast.copy_location(ast.Name(ARGUMENT, node.ctx), node)


def _renamed(expression: ast.expr, argument: str) -> ast.expr | None:
    """A copy of an expression with its argument renamed; None when it holds what may not be inlined."""
    renamer = _Renamer(argument)
    copied = ast.parse(ast.unparse(expression), mode="eval").body
    renamed = renamer.visit(copied)
    return None if renamer.is_refused else renamed


def _is_same(text: str, code: CodeType) -> bool:
    """Whether a text compiles to the very same bytecode."""
    made = compile(f"lambda {ARGUMENT}: {text}", code.co_filename, "eval", dont_inherit=True)
    again = next(const for const in made.co_consts if isinstance(const, CodeType))
    return again.co_names == code.co_names and _steps(again) == _steps(code)


def _steps(code: CodeType) -> list[tuple[int, Any]]:
    """What a code does, with constants by type and value: their places in the table may differ."""
    return [(one.opcode, _operand(one)) for one in dis.get_instructions(code)]


def _operand(step: dis.Instruction) -> Any:
    if step.opname.startswith("LOAD_FAST"):
        return None  # there is one variable, under two names
    if "CONST" in step.opname:
        return type(step.argval), repr(step.argval)  # 1, 1.0 and True are equal, and so are 0.0 and -0.0
    return step.argval
