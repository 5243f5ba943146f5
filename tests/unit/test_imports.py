"""What a process loads when it starts: an executor is made anew after each death, and waits for its modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

RARE = ("asyncio", "http.client", "ssl", "importlib.metadata", "sqlalchemy", "typer", "consecution.sinks", "csv")


@pytest.mark.parametrize("module", ["consecution", "consecution.process.child"])
def test_what_is_rare_is_loaded_by_those_who_use_it(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {RARE!r} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.split() == []


def test_the_collector_leaves_the_library_alone_and_goes_on() -> None:
    code = (
        "import gc; from consecution.process.__main__ import library; library(); "
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == ["True", "True"]
