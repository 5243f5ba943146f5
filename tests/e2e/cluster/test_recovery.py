"""How soon a cluster goes on after a death: the short form of ``python -m tests.e2e.recovery``, with generous bounds.

The bars are in tests/e2e/recovery.py; here a machine may be five times slower, and busy. What must not happen is that
anything waits for a timeout of items (30 s).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e import recovery

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster.harness import Cluster

PATIENCE_S = 10.0


def test_what_an_executor_an_acker_and_a_worker_had_is_replayed_at_once(cluster: Cluster, out: Path) -> None:
    recovery.start(cluster, out, pause_s=0.001, pending=1_000)
    assert recovery.executor_killed(cluster, out) < PATIENCE_S
    assert recovery.acker_killed(cluster, out) < PATIENCE_S
    assert recovery.worker_killed(cluster, out) < recovery.WORKER_S + PATIENCE_S


def test_items_flow_in_each_second_without_a_coordinator(cluster: Cluster, out: Path) -> None:
    recovery.start(cluster, out, pause_s=0, pending=1_000, rate=recovery.RATE)
    _, latencies = recovery.coordinator_down(cluster, out, before_s=0.0, down_s=4.0)
    assert recovery.p99(latencies) < PATIENCE_S
