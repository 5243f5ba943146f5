"""What `import consecution` gives, and what it must not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import consecution

PUBLIC = {
    "BatchEnd",
    "Broadcast",
    "CapacityError",
    "Chunk",
    "Collect",
    "ConsecutionError",
    "Consecutor",
    "CursorProducer",
    "Filter",
    "FlatMap",
    "GeneratorProducer",
    "GraphError",
    "HttpProducer",
    "IntervalProducer",
    "Map",
    "Merge",
    "Node",
    "PipeProducer",
    "Producer",
    "Pusher",
    "Report",
    "Robustness",
    "Route",
    "ScheduledProducer",
    "TcpProducer",
    "TimedProducer",
    "broadcast",
    "merge",
    "options",
    "route",
}


def test_the_public_names_are_there():
    assert {name for name in PUBLIC if not hasattr(consecution, name)} == set()


@pytest.mark.parametrize(
    "heavy", ["zmq", "typer", "click", "rich", "sqlalchemy", "airportsdata", "starlette", "uvicorn"]
)
def test_importing_the_library_loads_no_heavy_package(heavy, root):
    code = f"import sys, consecution; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_importing_the_library_starts_nothing(root):
    code = "import threading, consecution; raise SystemExit(threading.active_count() - 1)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
