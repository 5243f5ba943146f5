"""The fixtures that guard all other tests must be able to fail."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

LEAKS = """
import subprocess, sys, threading

def test_thread():
    threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True).start()

def test_process():
    global child
    child = subprocess.Popen(["sleep", "30"])

def test_kill_what_the_last_one_left():
    child.kill()
    child.wait()

def test_clean():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    subprocess.run(["true"], check=True)
"""


def test_a_test_that_leaks_a_thread_or_a_process_fails(tmp_path: Path, root: Path) -> None:
    conftest = (root / "tests" / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(conftest.replace("LEAK_GRACE_S = 3.0", "LEAK_GRACE_S = 0.1"))
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "thread forgotten" in done.stdout
    assert "(sleep 30 )" in done.stdout
    assert "4 passed, 2 errors" in done.stdout


def test_a_process_is_killed_with_its_children_at_teardown(process, wait_for) -> None:  # type: ignore[no-untyped-def]
    shell = process("sh", "-c", "echo ready; sleep 60 & wait")
    wait_for(lambda: shell.stdout == "ready\n")
    assert shell.returncode is None
    shell.clean_up()
    assert shell.returncode == -9


def test_wait_for_fails_at_its_deadline(wait_for) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(pytest.fail.Exception, match="never comes"):
        wait_for(lambda: False, deadline_s=0.01, what="never comes")
