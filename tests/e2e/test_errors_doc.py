"""docs/errors.md shows what each mistake prints; this runs every transcript of it and compares.

After a message was changed on purpose, ``UPDATE_DOCS=1 pytest tests/e2e/test_errors_doc.py`` writes the new ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "errors.md"
HOME = "/home/you/shop"
SECTION = re.compile(r"^### (?P<title>.+?)\n(?P<body>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
FLOW = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TRANSCRIPT = re.compile(r"^```text\n(\$ .*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Case:
    title: str
    flow: str
    shown: str

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.shown.splitlines() if line.startswith("$ ")]


def read_cases() -> list[Case]:
    cases = []
    for section in SECTION.finditer(DOC.read_text()):
        transcript = TRANSCRIPT.search(section["body"])
        assert transcript, f"section {section['title']!r} of {DOC} has no transcript"
        flow = FLOW.search(section["body"])
        cases.append(Case(section["title"], flow[1] if flow else "", transcript[1]))
    return cases


CASES = read_cases()


def play(case: Case, folder: Path) -> str:
    """Run the commands of a transcript one after the other and give it as it is now."""
    folder.mkdir()
    if case.flow:
        (folder / "flow.py").write_text(case.flow)
    environment = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
    }
    (folder / "bin").mkdir()
    program = folder / "bin" / "consecution"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m consecution "$@"\n')
    program.chmod(0o755)
    script = "exec 2>&1\n"
    for number, command in enumerate(case.commands):
        script += f"code=$?; printf '\\n\\001%s\\n' {number}; (exit $code)\n{command}\n"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    shown = ""
    for part in done.stdout.split("\n\001")[1:]:
        number, _, output = part.partition("\n")
        shown += f"$ {case.commands[int(number)]}\n" + (f"{output.rstrip()}\n" if output.strip() else "")
    return normal(shown, folder)


def normal(text: str, folder: Path) -> str:
    """Take out what differs from run to run: folders, process ids, times, rates, addresses."""
    text = text.replace(str(folder.resolve()), HOME).replace(str(folder), HOME)
    text = re.sub(r"process \d+ on \S+", "process 4711 on host-a", text)
    text = re.sub(r"process \d+", "process 4711", text)
    text = re.sub(r" in \d+\.\d+ s \([\d,]+/s\)", " in 0.01 s (400/s)", text)
    text = re.sub(r"\(device \d+, inode \d+; before \d+, \d+\)", "(device 8, inode 31; before 8, 17)", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x7f00", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:]+[+-]\d{4}", "2026-01-31T12:00:00+0000", text)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    with ThreadPoolExecutor(4) as pool:
        shown = list(pool.map(lambda pair: play(pair[1], folder / str(pair[0])), enumerate(CASES)))
    if os.environ.get("UPDATE_DOCS"):
        left, made = DOC.read_text(), ""
        for case, now in zip(CASES, shown, strict=True):
            before, _, left = left.partition(f"```text\n{case.shown}```")
            made += f"{before}```text\n{now}```"
        DOC.write_text(made + left)
        pytest.skip(f"wrote {DOC}")
    return {case.title: now for case, now in zip(CASES, shown, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_what_a_mistake_prints_is_what_the_docs_show(played, case):
    assert played[case.title] == case.shown


def test_no_transcript_shows_a_traceback_or_an_internal_line():
    for case in CASES:
        if "--traceback" not in case.shown:
            assert "Traceback" not in case.shown, case.title
        assert "/consecution/" not in case.shown.replace("/.consecution/", ""), case.title
