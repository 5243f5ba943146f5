"""A topology changes its parallelism under load: every item once, nothing replayed, each key's items in order."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consecution.client import NotDone
from tests.e2e.cluster.outcomes import all_completed

if TYPE_CHECKING:
    from tests.e2e.cluster.harness import Cluster

FLOWS = Path(__file__).parent / "flows"
ITEMS = 20_000
PAUSE_S = 0.02  # 250 a second at most, until the test says hurry


def lines(out: Path) -> list[tuple[int, int, int]]:
    """(time, key, number) of all that was written, in order of time."""
    found = [tuple(map(int, line.split())) for part in out.glob("part-*") for line in part.read_text().splitlines()]
    return sorted(found)  # type: ignore[arg-type]


def completed(cluster: Cluster) -> int:
    return cluster.wait_until_flows("ordered", 0).summary.completed


def width(cluster: Cluster, node: str) -> int:
    status = cluster.status("ordered")
    return 0 if status is None else status.parallelism.get(node, 0)


def rebalance(cluster: Cluster, *words: str) -> None:
    """As a user does it; it is done when the history says so."""
    before = _changes(cluster)
    done = cluster.run("rebalance", "ordered", *words, "--coordinator", cluster.address)
    assert done.returncode == 0, done.stdout + done.stderr + cluster.report()
    cluster.wait_for(lambda: _changes(cluster) > before, 40, f"rebalance {words} is done")


def _changes(cluster: Cluster) -> int:
    status = cluster.status("ordered")
    return 0 if status is None else sum("another parallelism" in text for _, text in status.events)


def test_nodes_grow_and_shrink_under_load_and_the_new_parallelism_outlives_a_restart(
    cluster: Cluster, out: Path
) -> None:
    cluster.start("a")
    cluster.submit(FLOWS / "ordered.py", "ordered", out=out, items=ITEMS, pause=PAUSE_S)
    cluster.wait_until_flows("ordered", 100)
    cluster.start_worker("b", 3)
    cluster.wait_for(lambda: "b" in cluster.alive(), 20, "b is in")

    before = {one.incarnation for one in cluster.processes("ordered")}
    rebalance(cluster, "keep=5")
    assert width(cluster, "keep") == 5
    after = cluster.processes("ordered")
    assert before < {one.incarnation for one in after}, "whoever was there isn't restarted"
    assert "b" in {one.worker for one in after}, "a worker that joined has got work"
    cluster.wait_until_flows("ordered", completed(cluster) + 100)

    cluster.kill_coordinator()
    cluster.start_coordinator()
    cluster.wait_for(lambda: width(cluster, "keep") == 5, 20, "the restarted coordinator knows the new parallelism")
    with pytest.raises(NotDone, match="has no node 'nope'"):
        cluster.client.rebalance("ordered", {"nope": 2})
    cluster.wait_for(lambda: {"a", "b"} <= cluster.alive(), 20, "both workers are back")

    rebalance(cluster, "keep=1")
    cluster.wait_until_flows("ordered", completed(cluster) + 50)
    until = time.monotonic_ns()  # from here on items of one key come by two ways
    rebalance(cluster, "spread=2")
    done = cluster.run("status", "ordered", "--coordinator", cluster.address)
    assert "parallelism: spread 2 (rebalanced), keep 1 (rebalanced)" in done.stdout, done.stdout + done.stderr

    (out / "hurry").touch()
    status = cluster.wait_until_over("ordered")
    all_completed(status, ITEMS)
    assert status.summary.replayed == 0, cluster.report()
    written = lines(out)
    assert sorted(number for _, _, number in written) == list(range(ITEMS)), "every item once"
    last: dict[int, int] = {}
    for _, key, number in (line for line in written if line[0] < until):
        assert last.get(key, -1) < number, f"key {key}: {number} after {last[key]}"
        last[key] = number
