"""Kill -9 the executor of a producer, and its worker, on a cluster while items come in; count what became of each."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consecution.wire.cluster.to_client import State
from tests.e2e.killing import Toll, longest_run
from tests.e2e.senders import Rows, Sender

if TYPE_CHECKING:
    from consecution.wire.cluster.to_client import ProcessStatus, Status
    from tests.e2e.cluster.harness import Cluster

FLOW = Path(__file__).parent / "flows" / "ways.py"
BAD, TICK_S = 997, 0.02  # as the flow has them
KINDS = ("http", "tcp", "tcp-processed", "cursor", "clock-all", "clock-once", "clock-skip")
DEADLINE_S = 60.0


def kill_on_cluster(
    kind: str, cluster: Cluster, out: Path, name: str, *, kills: int, per_kill: int, seed: int, workers: bool = True
) -> Toll:
    """Submit a flow with a producer, kill its executor and its worker in turn, and let it end at last.

    Args:
        kind: One of `KINDS`.
        cluster: With two workers; those that were killed are started again.
        out: Empty.
        name: Of the topology.
        kills: How often; the worker every other time.
        per_kill: Numbers that are sent between two kills.
        seed: Of the moments.
        workers: Kill workers too.

    Returns:
        What became of the numbers.
    """
    chance = random.Random(seed)
    total = per_kill * (kills + 1)
    port = cluster.ports.take()
    source: Any = None
    if kind == "cursor":
        source = Rows(out)
    what, _, missed = kind.partition("-") if kind.startswith("clock") else (kind, "", "")
    cluster.submit(FLOW, name, out=out, kind=what, port=port, **({"missed": missed} if missed else {}))
    if what not in ("cursor", "clock"):
        source = Sender(kind, port, total)
    for number in range(kills):
        before = len(written(out))
        if source is not None:
            source.allowed = per_kill * (number + 1)
        cluster.wait_for(lambda: len(written(out)) > before, DEADLINE_S, "items flow")  # noqa: B023
        time.sleep(chance.random() * 0.3)
        if workers and number % 2 == 0:
            kill_worker_of_feed(cluster, name, away_s=chance.choice((0.0, 5.0)))
        else:
            victim = executor_of_feed(cluster, name)
            cluster.kill(victim.process, f"the executor with the producer, on {victim.worker}")
    before = len(written(out))
    if source is not None:
        source.allowed = total
        is_sent = source.join(DEADLINE_S)
        assert is_sent, cluster.report()
        status = cluster.wait_until_flows(name, total - (total - 1) // BAD - 1, DEADLINE_S)
    else:
        cluster.wait_for(lambda: len(written(out)) > before + per_kill, DEADLINE_S, "the clock goes on")
    cluster.client.drain(name)
    status = cluster.wait_until_over(name, DEADLINE_S)
    assert status.summary.state is not State.FAILED, cluster.report()
    letters = cluster.client.letters(name)
    return toll(kind, kills, total, written(out), status, [letter.seq for letter in letters])


def toll(kind: str, kills: int, total: int, found: list[int], status: Status, letters: list[int]) -> Toll:
    """Count."""
    one = status.summary
    sink = Counter(found)
    wrong = []
    if one.introduced != one.completed + one.failed or one.in_flight:
        wrong.append(f"introduced {one.introduced}, completed {one.completed}, failed {one.failed}")
    if kind.startswith("clock"):
        first = min(sink)
        ticks = sorted(round((due - first) / (TICK_S * 1000)) for due in sink)
        missing = sorted(set(range(ticks[-1] + 1)) - set(ticks))
        items = ticks[-1] + 1
        if one.introduced != len(sink):
            wrong.append(f"introduced {one.introduced}, due times {len(sink)}")
    else:
        bad = set(range(0, total, BAD))
        missing = sorted(set(range(total)) - bad - set(sink))
        items = total
        if set(sink) & bad or one.failed != len(bad) or one.introduced != total or len(letters) != len(bad):
            wrong.append(f"failed {one.failed}, letters {letters}, expected {len(bad)}; introduced {one.introduced}")
    return Toll(
        kind, "cluster", kills, items, len(missing), longest_run(missing), sum(sink.values()) - len(sink),
        one.introduced, one.completed, one.failed, tuple(wrong),
    )  # fmt: skip


def written(out: Path) -> list[int]:
    """What is in the sink; a line that a kill has cut short is none."""
    return [int(line) for part in out.glob("part-*") for line in part.read_bytes().split(b"\n")[:-1]]


def executor_of_feed(cluster: Cluster, name: str) -> ProcessStatus:
    """The executor that runs the producer, once it runs."""

    def runs() -> ProcessStatus | None:
        return next((one for one in cluster.processes(name) if one.feeds and one.worker), None)

    found: ProcessStatus = cluster.wait_for(runs, DEADLINE_S, "the executor with the producer runs")
    return found


def kill_worker_of_feed(cluster: Cluster, name: str, *, away_s: float) -> str:
    """Kill -9 the worker with the producer, and start it again after a while; gives its name."""
    worker = executor_of_feed(cluster, name).worker
    cluster.kill_worker(worker)
    time.sleep(away_s)
    cluster.start_worker(worker, cluster.slots[worker])
    cluster.wait_for(lambda: worker in cluster.alive(), DEADLINE_S, f"{worker} is back")
    return worker
