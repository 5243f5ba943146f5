"""The page docs/testing.md: its files, as they stand there, in a project of a user's own."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Process, StartProcess

FILE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.S)
QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error")

CONFTEST = """
import sys

assert "consecution.pytest_plugin" in sys.modules
assert not {"consecution.testing", "zmq", "sqlalchemy", "typer"} & sys.modules.keys()  # until a fixture is asked for
"""

TEST_BY_HAND = """
def test_an_acker_and_executors_are_killed_several_times():
    from consecution.testing import assert_all_completed, chaos
    from doubling import flow
    report = chaos(flow, kill="any", after=[200, 500, 900], seed=3)
    assert_all_completed(report, items=2000)
    assert set(report.collected["out"]) == {2 * number for number in range(2000)}
"""

TEST_BAD = """
from doubling import flow
from orders import steps

def test_a_lost_item(run_flow, assert_all_completed):
    assert_all_completed(run_flow(steps(), ["anna,12", "bert,oops"]))

def test_killed_too_late(chaos):
    chaos(flow, after=5000, seed=1)

def test_killed_whom(chaos):
    chaos(flow, kill="worker")
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def files_of(root: Path) -> dict[str, str]:
    return dict(FILE.findall((root / "docs" / "testing.md").read_text()))


def pytest_in(process: StartProcess) -> Process:
    return process(sys.executable, "-m", "pytest", *QUIET)


def test_the_files_of_the_page_pass_with_the_installed_plugin(
    process: StartProcess, root: Path, tmp_path: Path
) -> None:
    files = {**files_of(root), "conftest.py": CONFTEST, "test_by_hand.py": TEST_BY_HAND}
    assert len(files) == 9
    write(tmp_path, files)
    run = pytest_in(process)
    assert run.wait(110) == 0, run.stdout + run.stderr
    assert f"{sum(text.count('def test_') for text in files.values())} passed" in run.stdout


def test_tests_that_would_show_nothing_or_a_lost_item_fail_and_say_why(
    process: StartProcess, root: Path, tmp_path: Path
) -> None:
    files = files_of(root)
    files["doubling.py"] = files["doubling.py"].replace("0.001", "0.0")
    write(tmp_path, {"orders.py": files["orders.py"], "doubling.py": files["doubling.py"], "test_bad.py": TEST_BAD})
    run = pytest_in(process)
    assert run.wait(110) == 1
    assert "3 failed" in run.stdout
    for says in (
        "item 1 of items failed at node 'parse': ValueError: could not convert string to float",
        "the flow was over, with 2000 items completed, before a process could be killed after 5000",
        "chaos(kill='worker'): expected one of 'executor', 'acker', 'any'",
    ):
        assert says in run.stdout
