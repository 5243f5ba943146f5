"""Memory stays flat with a sink a hundred times slower than its producer; the benchmark "slow-sink" runs for longer."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import StartProcess

GROWN_MAX_MIB = 8.0
"""What the allocator may still leave scattered; the producer could make ten times as much in a second."""
RESIDENT_MAX_MIB = 160.0


@pytest.mark.parametrize(("level", "seconds"), [("NONE", 4.0), ("REPLAY", 8.0)])
def test_no_process_grows_while_a_sink_is_a_hundred_times_slower_than_its_producer(
    process: StartProcess, level: str, seconds: float
) -> None:
    case = json.dumps({"seconds": seconds, "level": level})
    run = process(sys.executable, "-m", "benchmarks.slow_sink", case)
    assert run.wait(90) == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert len(found["mib"]) >= 5, "three executors, an acker and the caller"
    for name, (early, late) in found["mib"].items():
        assert late - early <= GROWN_MAX_MIB, f"{name} grew from {early:.1f} to {late:.1f} MiB"
        assert 0 < late < RESIDENT_MAX_MIB, f"{name} takes {late:.1f} MiB"
    assert found["in_flight"] > 0 or level == "NONE"
