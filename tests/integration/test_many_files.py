"""A run beside more open files than ``select()`` knows numbers for, in every local mode."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

FILES = 1100
FLOW = f"""
import resource
from consecution import Collect, Consecutor, GeneratorProducer, Node

async def numbers(position):
    for number in range(position, 100):
        yield number

class Opens(Node):
    def setup(self):
        self.files = [open("/dev/null") for _ in range({FILES})]

    def process(self, item):
        self.push(item)

    def teardown(self):
        for file in self.files:
            file.close()

flow = Consecutor(GeneratorProducer(numbers) | Opens() | Collect("out"), journal=None)

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    files = [open("/dev/null") for _ in range({FILES})]
    for mode in ("single", "threads", "processes"):
        report = flow.run(mode=mode)
        print(mode, report.completed, len(report.collected["out"]))
    for file in files:
        file.close()
"""


def test_more_than_a_thousand_open_files_are_no_obstacle(tmp_path):
    if (most := resource.getrlimit(resource.RLIMIT_NOFILE)[1]) != resource.RLIM_INFINITY and most < 4096:
        pytest.skip("this user may not open so many files")
    (tmp_path / "flow.py").write_text(FLOW)
    run = subprocess.run(
        [sys.executable, "flow.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stdout.splitlines() == ["single 100 100", "threads 100 100", "processes 100 100"], run.stderr
