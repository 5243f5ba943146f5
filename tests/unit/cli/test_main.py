"""The command line as a whole: every option has a variable, every command an example, every way out a code."""

from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner

from consecution.cli.main import app

COMMAND = typer.main.get_command(app)


def all_commands(command, path=()):
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from all_commands(child, (*path, name))


LEAVES = dict(all_commands(COMMAND))


def run(*arguments, **keywords):
    return CliRunner().invoke(app, list(arguments), **keywords)


def test_the_commands_are_those_of_the_contract():
    assert {" ".join(path) for path in LEAVES} >= {
        "run",
        "check",
        "graph",
        "failed list",
        "failed show",
        "failed replay",
        "failed drop",
        "failed export",
    }


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_has_an_environment_variable(path):
    for parameter in LEAVES[path].params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.envvar, f"{parameter.opts} of {path}"
            assert re.fullmatch("CONSECUTION_[A-Z_]+", str(parameter.envvar))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_help_of_every_command_ends_in_an_example_of_it(path):
    result = run(*path, "--help", env={"COLUMNS": "200"})
    assert result.exit_code == 0
    examples = re.findall(rf"consecution {' '.join(path)} ", result.stdout.partition("Examples:")[2])
    assert examples


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "x.py", "--mode", "moon"], ["nonsense"], ["run", "x.py", "--workers", "0"]]
)
def test_a_wrong_command_line_ends_with_2(arguments):
    assert run(*arguments).exit_code == 2


def test_a_define_that_is_no_pair_ends_with_2(tmp_path):
    result = run("run", "x.py", "-D", "out")
    assert result.exit_code == 2
    assert "expected key=value" in result.stderr


def test_a_flow_that_is_not_there_ends_with_4():
    result = run("check", "nowhere.py")
    assert result.exit_code == 4
    assert "no flow file 'nowhere.py'" in result.stderr


def test_a_flow_that_raises_ends_with_4_and_its_line(tmp_path):
    (tmp_path / "flow_that_raises.py").write_text("x = 1\ny = x / 0\n")
    result = run("graph", str(tmp_path / "flow_that_raises.py"))
    assert result.exit_code == 4
    assert "line 2: y = x / 0" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_version_is_told():
    assert re.match(r"consecution \d+\.\d+|consecution, from a checkout", run("--version").stdout)
