"""Odd surroundings of a run: more open files than ``select()`` knows numbers for, a folder with a long path."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

FILES = 1100
MANY_FILES = f"""
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

IN_PROCESSES = """
from pathlib import Path
from consecution import Consecutor, Map
from consecution.process import parent

made = []

def folder_for_sockets(folder, real=parent.folder_for_sockets):
    made.append(real(folder))
    return made[-1]

flow = Consecutor(range(100) | Map(str), journal=None)

if __name__ == "__main__":
    parent.folder_for_sockets = folder_for_sockets
    report = flow.run(mode="processes")
    print(made[0].parent, report.completed, sum(folder.exists() for folder in made))
"""


def run(folder, text, **env):
    (folder / "flow.py").write_text(text)
    command = [sys.executable, "flow.py"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False
    )


def test_more_than_a_thousand_open_files_are_no_obstacle(tmp_path):
    if (most := resource.getrlimit(resource.RLIMIT_NOFILE)[1]) != resource.RLIM_INFINITY and most < 4096:
        pytest.skip("this user may not open so many files")
    done = run(tmp_path, MANY_FILES)
    assert done.stdout.splitlines() == ["single 100 100", "threads 100 100", "processes 100 100"], done.stderr


def test_processes_meet_though_the_folder_for_temporary_files_has_a_long_path(tmp_path):
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    done = run(tmp_path, IN_PROCESSES, TMPDIR=str(folder))
    made_in, completed, left = done.stdout.split()
    assert (made_in, completed, left) == ("/tmp", "100", "0"), done.stderr
    assert list(folder.iterdir()) == []
