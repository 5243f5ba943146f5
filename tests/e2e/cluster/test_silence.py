"""Who is silent is replaced, and does no harm when it is heard again: stopped processes, cut networks."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.cluster import network
from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.keyed_run import ITEMS, check, start_keyed


def test_a_stopped_executor_is_replaced(cluster: Cluster, out: Path) -> None:
    start_keyed(cluster, out)
    victim = cluster.processes("keyed")[0]
    cluster.signal(victim.process, signal.SIGSTOP, "an executor")

    def is_replaced() -> bool:
        return any(one.index == victim.index and one.process != victim.process for one in cluster.processes("keyed"))

    cluster.wait_for(is_replaced, 15, "it is replaced")
    check(cluster, out)


def test_a_worker_that_was_stopped_with_its_executors_is_fenced_when_it_goes_on(cluster: Cluster, out: Path) -> None:
    """What goes on after it was replaced does no harm.

    1. Worker b and all that it runs are stopped. 2. It is silent, so its work is placed on a. 3. They go on: what they
    still do and say is refused, they learn that they were left out, and exit; the worker joins again.
    """
    start_keyed(cluster, out)
    zombies = [one.process for one in cluster.processes("keyed") if one.worker == "b"]
    assert zombies
    for pid in (cluster.workers["b"].pid, *zombies):
        cluster.signal(pid, signal.SIGSTOP, "worker b or what it runs")
    cluster.wait_for(lambda: "b" not in cluster.alive(), 15, "b is silent")
    cluster.wait_for(lambda: all(one.worker == "a" for one in cluster.processes("keyed")), 15, "all is on a")
    for pid in (*zombies, cluster.workers["b"].pid):
        cluster.signal(pid, signal.SIGCONT, "worker b or what it runs")
    cluster.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in zombies), 15, "they exit")
    cluster.wait_for(lambda: "b" in cluster.alive(), 15, "b is back")
    check(cluster, out)


@pytest.mark.root
def test_a_cut_of_two_seconds_moves_nothing_and_a_longer_one_does(tmp_path: Path, out: Path) -> None:
    if not network.is_possible():
        pytest.skip("needs to make network namespaces")
    hosts = ("coordinator", "a", "b")
    folder = tmp_path / "hosts"
    folder.mkdir()
    with network.Network(hosts) as net, Cluster(folder, net) as cluster:
        start_keyed(cluster, out, 4 * ITEMS)
        before = {one.incarnation for one in cluster.processes("keyed")}
        net.cut("coordinator", "b")
        time.sleep(2.0)  # the fault itself, not a wait for something
        net.heal("coordinator", "b")
        cluster.wait_for(lambda: _is_heard(cluster, "b"), 30, "b is heard again")
        assert {one.incarnation for one in cluster.processes("keyed")} == before
        net.cut("a", "b")
        shown = cluster.wait_for(lambda: cluster.client.status("keyed").stuck, 30, "the status shows what is stuck")
        assert {frozenset((one.worker, one.to_worker)) for one in shown} == {frozenset("ab")}
        cluster.wait_for(
            lambda: len({one.worker for one in cluster.processes("keyed")}) == 1, 30, "one of them gave way"
        )
        net.heal("a", "b")
        assert cluster.run("rebalance", "keyed", "--coordinator", cluster.address).returncode == 0
        cluster.wait_for(
            lambda: len({one.worker for one in cluster.processes("keyed")}) == 2, 30, "both have work again"
        )
        zombies = [one.process for one in cluster.processes("keyed") if one.worker == "b"]
        net.cut("coordinator", "b")
        cluster.wait_for(lambda: "b" not in cluster.alive(), 30, "b is silent")
        cluster.wait_for(lambda: all(one.worker == "a" for one in cluster.processes("keyed")), 30, "all is on a")
        net.heal("coordinator", "b")
        cluster.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in zombies), 30, "the old ones exit")
        check(cluster, out, 4 * ITEMS)
        cluster.stop()
        assert cluster.living() == []


def _is_heard(cluster: Cluster, name: str) -> bool:
    return any(one.name == name and one.heard_s < 1.2 for one in cluster.client.list().workers)
