"""A drain finishes what had entered, also what entered before the process died and was started again."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartProcess, WaitFor

PUSHED = 50
FLOW = f"""
import json, sys, time
from pathlib import Path
from consecution import Consecutor, Map

here, mode, source, start = Path(__file__).parent, *sys.argv[1:]

def work(item):
    if start == "first" and item >= 10:
        (here / "stands").touch()
        time.sleep(60)

cons = Consecutor(range(1_000_000) | Map(work) if source == "read" else Map(work), "again")

if __name__ == "__main__":
    running = cons.start(mode)
    if start == "first":
        for item in range({PUSHED} if source == "pushed" else 0):
            running.push(item)
        time.sleep(60)
    report = running.drain()
    print(json.dumps([report.introduced, report.completed, report.failed]))
"""


@pytest.mark.parametrize("source", ["read", "pushed"])
@pytest.mark.parametrize("mode", ["single", "threads", "processes"])
def test_a_drain_right_after_a_restart_finishes_what_had_entered_before(
    mode: str, source: str, tmp_path: Path, process: StartProcess, wait_for: WaitFor
) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    command = (sys.executable, "flow.py", mode, source)
    first = process(*command, "first")
    wait_for(lambda: (tmp_path / "stands").exists(), 60, "items stand in the node")
    first.kill()
    second = process(*command, "second")
    assert second.wait(60) == 0, second.stderr
    introduced, completed, failed = json.loads(second.stdout)
    least = 11 if source == "pushed" else 0  # what is read again isn't in the journal at once
    assert least <= introduced < 1_000_000, "something is missing, or it read on"
    assert (completed, failed) == (introduced, 0)
