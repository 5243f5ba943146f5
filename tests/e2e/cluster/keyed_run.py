"""Numbers through a keyed stage on two workers, slowly until a test says hurry: time to do something to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.cluster.outcomes import all_completed, all_written, written

if TYPE_CHECKING:
    from tests.e2e.cluster.harness import Cluster

FLOWS = Path(__file__).parent / "flows"
ITEMS = 2_000
PAUSE_S = 0.02  # four tasks do 200 a second until the test says hurry: time enough to kill somebody


def start_keyed(cluster: Cluster, out: Path, items: int = ITEMS, pause_s: float = PAUSE_S) -> None:
    """Start the keyed flow on two workers and wait until some of it is done."""
    cluster.start("a", "b")
    cluster.submit(FLOWS / "keyed.py", "keyed", out=out, items=items, pause=pause_s)
    cluster.wait_until_flows("keyed", items // 10)


def wait_written(cluster: Cluster, out: Path, count: int) -> None:
    """Wait until so many numbers are written."""
    cluster.wait_for(lambda: len(written(out)) >= count, 30.0, f"{count:,} numbers are written")


def check(cluster: Cluster, out: Path, items: int = ITEMS) -> None:
    """Every item is completed, once, and nothing is left."""
    (out / "hurry").touch()
    all_completed(cluster.wait_until_over("keyed"), items)
    all_written(out, items)


def host_of_the_producer(cluster: Cluster) -> str:
    return next(one.worker for one in cluster.processes("keyed") if one.feeds)


def other_worker(cluster: Cluster) -> str:
    return next(name for name in sorted(cluster.workers) if name != host_of_the_producer(cluster))
