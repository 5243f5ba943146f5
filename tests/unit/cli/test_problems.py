from __future__ import annotations

import os

import pytest

from consecution.cli.exit_codes import ExitCode
from consecution.cli.problems import explain, user_line, user_traceback
from consecution.errors import (
    CapacityError,
    ClusterError,
    GraphError,
    JournalError,
    NoLetter,
    SourceError,
    Unreachable,
    UserCodeError,
)
from consecution.options import Options


def caught(call):
    with pytest.raises(BaseException) as info:
        call()
    return info.value


def compiled(tmp_path, text):
    path = tmp_path / "my_flow.py"
    path.write_text(text)
    return path, compile(text, str(path), "exec")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GraphError("x"), 4),
        (UserCodeError("x", node="n"), 4),
        (SourceError("x"), 1),
        (JournalError("x"), 1),
        (NoLetter("x"), 1),
        (ClusterError("x"), 1),
        (Unreachable("x"), 5),
        (CapacityError("x"), 1),
        (OSError(28, "No space left on device"), 1),
        (RuntimeError("x"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error, code):
    assert explain(error).code == code


def test_an_error_while_loading_is_the_flows_and_names_its_line(tmp_path):
    path, code = compiled(tmp_path, "def half(n):\n    return n / 0\nhalf(1)\n")
    problem = explain(caught(lambda: exec(code, {"__name__": "my_flow"})), loading="my_flow.py")
    assert problem.lines() == [
        "error: my_flow.py can't be loaded: ZeroDivisionError: division by zero",
        f"  where: {path}, line 2, in half: return n / 0",
        "  why:   the flow's own code raised while it was imported",
    ]
    assert problem.code == ExitCode.BAD_FLOW


def test_a_syntax_error_names_the_line_that_python_could_not_read(tmp_path):
    path = tmp_path / "my_flow.py"
    error = caught(lambda: compile("x = 1\nif x\n", str(path), "exec"))
    problem = explain(error, loading="my_flow.py")
    assert problem.where == f"{path}, line 2: if x"
    assert problem.code == ExitCode.BAD_FLOW


def test_a_missing_package_says_to_install_it(tmp_path):
    _, code = compiled(tmp_path, "import not_installed_anywhere\n")
    problem = explain(caught(lambda: exec(code, {})), loading="my_flow.py")
    assert problem.cure == (
        "install 'not_installed_anywhere' into the environment of `consecution`, or put it beside the flow"
    )


def test_a_missing_option_names_the_line_of_the_flow_that_asked(tmp_path):
    path, code = compiled(tmp_path, "folder = options['out']\n")
    problem = explain(caught(lambda: exec(code, {"options": Options()})), loading="my_flow.py")
    assert problem.what == "the flow needs option 'out': give -D out=… (given: none)"
    assert problem.where == f"{path}, line 1: folder = options['out']"
    assert problem.code == ExitCode.BAD_FLOW


def test_an_error_without_a_line_of_the_user_has_no_where():
    assert user_line(SourceError("x")) is None


def test_a_line_that_another_process_told_is_the_users_unless_no_flow_is_to_blame():
    told = 'In the executor:\n  File "/shop/flow.py", line 3, in setup\n    connect()\n'
    for error, where in ((UserCodeError("x"), "/shop/flow.py, line 3, in setup: connect()"), (ClusterError("x"), None)):
        error.add_note(told)
        assert explain(error).where == where


def test_a_line_of_the_standard_library_is_nobodys_where(tmp_path):
    path, code = compiled(tmp_path, "import json\njson.loads('{')\n")
    problem = explain(caught(lambda: exec(code, {})), loading="my_flow.py")
    assert problem.where == f"{path}, line 2: json.loads('{{')"
    assert user_line(caught(lambda: __import__("json").loads("{"))) != problem.where


def test_a_traceback_keeps_the_users_frames_only(tmp_path):
    _, code = compiled(tmp_path, "def ask():\n    return options['out']\nask()\n")
    told = user_traceback(caught(lambda: exec(code, {"options": Options()})))
    assert "my_flow.py" in told
    assert "consecution/options.py" not in told


def test_an_error_of_ours_that_nobody_expected_asks_for_a_report():
    assert "--traceback" in (explain(RuntimeError("x")).cure or "")


@pytest.mark.parametrize(
    ("name", "home"),
    [("StdoutWriter", "consecution.sinks"), ("ManualClock", "consecution.testing"), ("Nothing", None)],
)
def test_a_name_that_is_imported_from_the_wrong_place_is_told_the_right_one(name, home):
    with pytest.raises(ImportError) as caught:
        exec(f"from consecution import {name}")
    cure = explain(caught.value, loading="flow.py").cure
    assert cure == (None if home is None else f"write `from {home} import {name}`")


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("missing/x.svg", "make its folder first"),
        (".", "this is a folder"),
        ("file/x.svg", "only the last name is a file"),
        ("/dev/full", "free some space"),
    ],
)
def test_a_file_of_a_command_that_can_not_be_written_has_a_cure(tmp_path, path, cure):
    (tmp_path / "file").touch()

    def write():
        with (tmp_path / path).open("w") as file:
            try:
                file.write("x" * 100_000)
            except OSError as error:  # a write, unlike an open, doesn't name the file
                raise OSError(error.errno, error.strerror, path) from error

    problem = explain(caught(write))
    assert problem.what.startswith("'/")
    assert "' can't be used: " in problem.what
    assert cure in problem.cure


def test_a_variable_of_the_environment_that_is_not_set_is_told_with_the_command_that_sets_it():
    problem = explain(caught(lambda: os.environ["NO_SUCH_TOKEN"]), loading="flow.py")
    assert problem.cure == "set the environment variable: export NO_SUCH_TOKEN=…"
    assert explain(caught(lambda: {}["NO_SUCH_TOKEN"]), loading="flow.py").cure is None


def test_a_dead_letter_that_is_not_there_is_no_fault_of_the_journal():
    assert explain(NoLetter("no dead letter 3")).lines() == ["error: no dead letter 3"]
