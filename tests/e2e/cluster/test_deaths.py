"""Whatever of a cluster is killed, every item comes through and is counted once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.e2e.cluster.keyed_run import (
    FLOWS,
    ITEMS,
    PAUSE_S,
    check,
    host_of_the_producer,
    other_worker,
    start_keyed,
    wait_written,
)
from tests.e2e.cluster.outcomes import all_completed, all_written, right_totals, written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster.harness import Cluster


def test_an_executor_an_acker_and_a_worker_are_killed_one_after_the_other(cluster: Cluster, out: Path) -> None:
    start_keyed(cluster, out)
    cluster.kill_process("keyed", "executor", 1)
    wait_written(cluster, out, ITEMS // 5)  # not completed: a large batch is that as a whole, and late
    cluster.kill_process("keyed", "acker", 0)
    wait_written(cluster, out, ITEMS // 4)
    cluster.kill_worker(other_worker(cluster))
    check(cluster, out)


def test_the_worker_of_the_producer_is_killed_and_its_producer_goes_on_elsewhere(cluster: Cluster, out: Path) -> None:
    """Mark and position of the journal on the lost host are at the coordinator too: what is finished isn't repeated."""
    items = 6_000
    start_keyed(cluster, out, items, 0.005)
    finished = cluster.wait_until_flows("keyed", items // 3).summary.completed
    cluster.kill_worker(host_of_the_producer(cluster))
    (out / "hurry").touch()
    all_completed(cluster.wait_until_over("keyed"), items)
    assert all_written(out, items) <= items - finished


def test_the_coordinator_is_killed_and_restarted(cluster: Cluster, out: Path) -> None:
    start_keyed(cluster, out)
    cluster.kill_coordinator()
    count = len(written(out))
    cluster.wait_for(lambda: len(written(out)) > count + ITEMS // 20, 10, "items flow without a coordinator")
    cluster.start_coordinator()
    check(cluster, out)
    logs = [path.read_text() for path in cluster.folder.glob("worker-*/logs/keyed/*.log")]
    assert len(logs) == 5
    assert not [text for text in logs if "start 2" in text]  # it took back what ran, and started none again


def test_all_are_killed_and_restarted(cluster: Cluster, out: Path) -> None:
    start_keyed(cluster, out)
    cluster.kill_all()
    assert cluster.living() == []
    cluster.start("a", "b")
    check(cluster, out)


def test_totals_are_right_after_a_kill_in_the_middle(cluster: Cluster, out: Path) -> None:
    cluster.start("a", "b")
    cluster.submit(FLOWS / "totals.py", "totals", out=out, items=ITEMS, pause=PAUSE_S)
    cluster.wait_until_flows("totals", ITEMS // 4)
    cluster.kill_process("totals", "executor", 1)
    (out / "hurry").touch()
    all_completed(cluster.wait_until_over("totals"), ITEMS)
    right_totals(out, ITEMS)


def test_a_sigterm_to_an_executor_is_a_death_like_any_other(cluster: Cluster, out: Path) -> None:
    start_keyed(cluster, out)
    for role in ("executor", "acker"):
        victim = cluster.processes("keyed", role)[0]
        cluster.signal(victim.process, signal.SIGTERM, role)
    check(cluster, out)
    assert cluster.stop() == {"a": 0, "b": 0, "coordinator": 0}
