"""The entry of executors and ackers: what it loads when, and how it treats who has work to do."""

from __future__ import annotations

import subprocess
import sys

from consecution.process import __main__ as entry

RUN = "import runpy; entry = runpy.run_path({path!r}); "


def told_by(code: str) -> list[str]:
    """What a fresh interpreter prints; it runs the entry by its path, as a parent does."""
    run = subprocess.run(
        [sys.executable, "-c", RUN.format(path=entry.__file__) + code],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return run.stdout.split()


def test_nothing_of_the_library_is_loaded_before_the_entry_says_how() -> None:
    assert told_by("import sys; print(*(name for name in sys.modules if name.startswith('consecution')))") == []


def test_a_spare_loads_behind_others_and_then_runs_as_any_process() -> None:
    code = (
        "import os, sys; before = os.sched_getscheduler(0), os.nice(0); entry['load_behind'](); "
        "print('consecution.process.child' in sys.modules, before == (os.sched_getscheduler(0), os.nice(0)))"
    )
    assert told_by(code) == ["True", "True"]


def test_the_load_itself_has_a_smaller_share() -> None:
    code = (
        "import os; seen = []; call = entry['load_behind']; "
        "call.__globals__['library'] = lambda: seen.append((os.sched_getscheduler(0) == os.SCHED_BATCH, os.nice(0))); "
        "before = os.nice(0); call(); print(seen[0][0], seen[0][1] == min(19, before + entry['BEHIND_BY']))"
    )
    assert told_by(code) == ["True", "True"]
