"""Plant each fault in a copy of the code, and see that a test catches it.

``python -m tests.mutants [--jobs N] [WORD …]``: a WORD selects the faults whose name, promise or file holds it. A fault
is caught when one of the tests that are named for it fails; the first one that did is shown. Exits with 1 when a fault
survives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("consecution", "coordinator", "worker", "tests", "examples", "pyproject.toml", "README.md")
PATIENCE_S = 300.0
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said of a fault: the test that caught it, None for a fault that survived."""

    fault: Fault
    caught_by: str | None
    said: str


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only faults whose name, promise or file holds it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="faults at a time (%(default)s)")
    arguments = parser.parse_args()
    faults = [fault for fault in FAULTS if not arguments.words or _is_meant(fault, arguments.words)]
    if not faults:
        parser.error(f"no fault is named like that; there are {len(FAULTS)}")
    console = Console()
    survived = []
    columns = (TextColumn("mutants"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, Progress(*columns, console=console) as progress:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(max(1, min(arguments.jobs, len(faults)))):
            copies.put(_copy(Path(folder) / str(number)))
        bar = progress.add_task("mutants", total=len(faults))
        with ThreadPoolExecutor(copies.qsize()) as pool:
            for verdict in pool.map(lambda fault: _judge(fault, copies), faults):
                progress.advance(bar)
                caught = verdict.caught_by is not None
                console.print(f"{'caught  ' if caught else 'SURVIVED'} {verdict.fault.name}", highlight=False)
                if caught:
                    console.print(f"         by {verdict.caught_by}", highlight=False, style="dim", soft_wrap=True)
                else:
                    survived.append(verdict)
    for verdict in survived:
        print(f"\nSURVIVED: {verdict.fault.name} ({verdict.fault.promise}) in {verdict.fault.path}\n{verdict.said}")
    print(f"{len(faults) - len(survived)} of {len(faults)} faults were caught")
    return 1 if survived else 0


def _is_meant(fault: Fault, words: list[str]) -> bool:
    text = f"{fault.name} {fault.promise} {fault.path}"
    return any(word in text for word in words)


def _copy(folder: Path) -> Path:
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


def _judge(fault: Fault, copies: SimpleQueue[Path]) -> Verdict:
    """Plant a fault in a copy that nobody uses, run its tests there, and take it out again."""
    copy = copies.get()
    try:
        path = copy / fault.path
        before = path.read_text()
        assert before.count(fault.old) == 1, f"{fault.name}: its text doesn't stand once in {fault.path}"
        path.write_text(before.replace(fault.old, fault.new))
        try:
            return _run(fault, copy)
        finally:
            path.write_text(before)
    finally:
        copies.put(copy)


def _run(fault: Fault, copy: Path) -> Verdict:
    path = os.pathsep.join(str(copy / root) for root in ("", "coordinator", "worker"))
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "--no-header", "--tb=line", "--timeout=60"]
    try:
        done = subprocess.run(
            [*command, *fault.tests],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(fault, None, f"its tests took more than {PATIENCE_S:g} s")
    if done.returncode == 0:
        return Verdict(fault, None, done.stdout[-600:])
    failed = FAILED.search(done.stdout)
    if failed is None:  # pytest-timeout ends the process; anything else is no verdict on the fault
        stuck = "Timeout" in done.stdout + done.stderr
        said = (done.stdout + done.stderr)[-1500:]
        return Verdict(fault, "a test that stood still until its timeout" if stuck else None, said)
    return Verdict(fault, failed.group(1), done.stdout[-600:])


if __name__ == "__main__":
    sys.exit(main())
