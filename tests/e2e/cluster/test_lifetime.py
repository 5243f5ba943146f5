"""A topology and its workers from start to end in good order: it waits, runs, is killed by its user; a worker goes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State
from tests.e2e.cluster.keyed_run import FLOWS, ITEMS, PAUSE_S, check, start_keyed
from tests.e2e.cluster.outcomes import all_completed, all_written, written

if TYPE_CHECKING:
    from tests.e2e.cluster.harness import Cluster


def test_airports_over_a_coordinator_and_two_workers(cluster: Cluster, out: Path, root: Path) -> None:
    cluster.start("a", "b")
    done = cluster.run(
        *("submit", str(root / "examples" / "airports.py"), "--coordinator", cluster.address),
        *("--name", "airports", "-D", f"out={out}", "--wait"),
    )
    assert done.returncode == 0, done.stdout + done.stderr + cluster.report()
    assert len((out / "distances.csv").read_text().splitlines()) == 46
    assert cluster.stop() == {"a": 0, "b": 0, "coordinator": 0}


def test_a_flow_waits_for_slots_and_a_kill_under_load_leaves_nothing_but_its_journal(
    cluster: Cluster, out: Path
) -> None:
    cluster.start()
    cluster.submit(FLOWS / "keyed.py", "keyed", out=out, items=ITEMS, pause=PAUSE_S)
    waiting = cluster.client.status("keyed").summary
    assert waiting.state is State.PENDING
    assert "there is no worker" in waiting.reason
    cluster.start_worker("a", 4)
    cluster.wait_until_flows("keyed", ITEMS // 10)
    children = [one.process for one in cluster.processes("keyed") + cluster.processes("keyed", "acker")]
    assert len(children) == 5
    cluster.client.kill("keyed")
    cluster.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 10, "all of it is gone")
    assert cluster.wait_until_over("keyed").summary.state is State.KILLED
    cluster.wait_for(lambda: not list(cluster.folder.glob("worker-a/work/*/*")), 5, "its folders are gone")
    written_before = len(written(out))
    (out / "hurry").touch()
    cluster.submit(FLOWS / "keyed.py", "keyed", out=out, items=ITEMS, pause=PAUSE_S)
    all_completed(cluster.wait_until_over("keyed"), ITEMS)
    assert all_written(out, ITEMS) <= ITEMS - written_before  # it went on; what had been under way was written again


def test_a_worker_leaves_in_good_order(cluster: Cluster, out: Path) -> None:
    start_keyed(cluster, out)
    os.kill(cluster.workers["b"].pid, signal.SIGTERM)
    assert cluster.workers["b"].popen.wait(20) == 0
    check(cluster, out)
    assert "was killed" not in cluster.workers["b"].said()
