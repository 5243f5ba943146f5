"""Every producer on a cluster: where it listens, what `status` says of it, and what a death of its worker does.

The long form, with many kills, is ``python -m tests.e2e.kill_cluster``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.cluster.tolls import FLOW, executor_of_feed, kill_on_cluster, written
from tests.e2e.senders import Rows, Sender

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.long_run import long_run


@pytest.fixture
def pair(cluster: Cluster) -> Cluster:
    """A cluster with two workers."""
    cluster.start("a", "b", slots=4)
    return cluster


@pytest.mark.parametrize(
    "kind", ["http", pytest.param("tcp-processed", marks=long_run), pytest.param("cursor", marks=long_run), "clock-all"]
)
def test_whatever_is_killed_all_that_was_taken_comes_through_once(pair: Cluster, out: Path, kind: str) -> None:
    """What was acknowledged, and what can be read again, has one outcome each (R17).

    1. Items come in, and the worker with the producer is killed -9; it is started again.
    2. Items go on, and the executor with the producer is killed.
    3. All that was sent is in the sink or a dead letter, and is counted once.
    """
    toll = kill_on_cluster(kind, pair, out, f"killed-{kind}", kills=2, per_kill=50 if "clock" in kind else 200, seed=4)
    assert toll.wrong == ()
    assert toll.lost == 0


def status_of(cluster: Cluster, name: str) -> dict[str, Any]:
    done = cluster.run("status", name, "--json", "--coordinator", cluster.address)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_status_says_where_a_producer_listens_and_what_waits_for_a_host_that_is_gone(pair: Cluster, out: Path) -> None:
    """A sender finds the host by `status`; what was handed over waits for the host whose disk has it (R17).

    1. A TcpProducer takes items on a worker's host, and says where.
    2. The worker is killed. Its producer starts nowhere else: `status` says for whom it waits, with how many items, and
       what to do.
    3. The worker is started again on its disk: it takes items again, and nothing is lost.
    """
    port = pair.ports.take()
    pair.submit(FLOW, "waits", out=out, kind="tcp", port=port)
    sender = Sender("tcp", port, 400)
    try:
        sender.allowed = 200
        pair.wait_for(lambda: len(sender.acknowledged) == 200, 60, "200 are journalled")
        worker = executor_of_feed(pair, "waits").worker
        shown = pair.run("status", "waits", "--coordinator", pair.address).stdout
        assert f"listens on 127.0.0.1:{port}" in " ".join(shown.split())
        (feed,) = status_of(pair, "waits")["feeds"]
        assert feed["listens_on"] == f"127.0.0.1:{port}"
        pair.kill_worker(worker)
        pair.wait_for(lambda: status_of(pair, "waits")["feed_homes"], 30, "it waits for its host")
        shown = " ".join(pair.run("status", "waits", "--coordinator", pair.address).stdout.split())
        assert f"waits for worker {worker}, whose disk holds the journal of what was handed over" in shown
        assert f"wait in its journal on the disk of worker {worker} (host 127.0.0.1)" in shown
        assert "Start that worker again with its name and --data-dir." in shown
        assert "`consecution kill waits`, then submit again with --fresh" in shown
        pair.start_worker(worker, pair.slots[worker])
        sender.allowed = 400
        assert sender.join(60), pair.report()
    finally:
        sender.join(0.0)
    pair.wait_until_flows("waits", 399, 60)
    pair.client.drain("waits")
    summary = pair.wait_until_over("waits").summary
    assert (summary.introduced, summary.completed, summary.failed) == (400, 399, 1)
    assert set(written(out)) == set(range(1, 400))


@long_run
def test_a_cursor_goes_on_elsewhere_when_its_worker_is_gone(pair: Cluster, out: Path) -> None:
    """What can be read again waits for nobody: the coordinator keeps the position."""
    rows = Rows(out)
    rows.allowed = 300
    pair.submit(FLOW, "moves", out=out, kind="cursor")
    pair.wait_until_flows("moves", 299, 60)
    worker = executor_of_feed(pair, "moves").worker
    pair.kill_worker(worker)
    rows.allowed = 600
    pair.wait_until_flows("moves", 599, 60)
    assert executor_of_feed(pair, "moves").worker != worker
    pair.client.drain("moves")
    assert pair.wait_until_over("moves").summary.introduced == 600
    assert set(written(out)) == set(range(1, 600))
