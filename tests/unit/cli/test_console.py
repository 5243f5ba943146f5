from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from rich.console import Console

from consecution.cli.console import as_plain, reader_is_gone, told
from consecution.cli.exit_codes import ExitCode
from consecution.errors import GraphError


@dataclass(frozen=True)
class Point:
    x: int
    names: frozenset[str]


def run(body, **options):
    with pytest.raises(typer.Exit) as caught:
        told(body)(**options)
    return ExitCode(caught.value.exit_code)


def raises(error):
    def body(traceback: bool = False) -> None:
        raise error

    return body


def test_a_told_error_has_no_traceback_unless_asked(capsys):
    assert run(raises(GraphError("a cycle: a -> b -> a; break it"))) == ExitCode.BAD_FLOW
    without = capsys.readouterr()
    assert without.out == ""
    assert "error: a cycle: a -> b -> a; break it\n" in without.err
    assert "Traceback" not in without.err
    run(raises(GraphError("a cycle")), traceback=True)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_ends_with_its_own_code(capsys):
    assert run(raises(KeyboardInterrupt())) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "stopped; run it again to go on\n"


def test_what_already_has_an_exit_code_keeps_it():
    assert run(raises(typer.Exit(3))) == ExitCode.SOME_FAILED


def test_a_reader_that_has_gone_is_found_behind_other_errors():
    outer = RuntimeError()
    outer.__cause__ = BrokenPipeError()
    assert reader_is_gone(outer)
    assert not reader_is_gone(RuntimeError())


def test_values_become_what_json_can_hold():
    assert as_plain({"p": Point(1, frozenset({"b", "a"})), 2: (b"x", None)}) == {
        "p": {"x": 1, "names": ["a", "b"]},
        "2": ["b'x'", None],
    }
    assert as_plain(OrderedDict(a=range(3))) == {"a": [0, 1, 2]}
    assert as_plain({"data_dir": Path("/var/lib/consecution")}) == {"data_dir": "/var/lib/consecution"}


def test_a_table_into_a_pipe_whose_reader_left_is_no_bug():
    """Rich makes a SystemExit of it."""

    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    class Quiet(Console):
        def on_broken_pipe(self):
            raise SystemExit(1)  # without Rich's change of this process's stdout

    with pytest.raises(SystemExit) as caught:
        Quiet(file=Gone()).print("a row")
    assert reader_is_gone(caught.value)
    assert not reader_is_gone(SystemExit(1))
