"""What is done to a running cluster, and what must be true afterwards. Seeded: the same seed does the same.

Rules of this module: a scenario starts nothing of its own; it is given a cluster on which items flow, and a source of
randomness. Whatever it does, every item must be completed, once, and nothing be left behind.
"""

from __future__ import annotations

import signal
import time
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.e2e.cluster.harness import Cluster

NAME = "keyed"
SHORT_CUT_S = 2.0
LONG_CUT_S = 8.0
RESETS_S = 10.0
DOWN_S = 10.0


def kill_executor(cluster: Cluster, rng: random.Random) -> None:
    """Kill -9 an executor at a random moment."""
    _pause(rng)
    _kill_one(cluster, rng, "executor")


def kill_acker(cluster: Cluster, rng: random.Random) -> None:
    """Kill -9 an acker."""
    _pause(rng)
    _kill_one(cluster, rng, "acker")


def kill_worker(cluster: Cluster, rng: random.Random) -> None:
    """Kill -9 a worker, whose children go with it; start it again after a while."""
    _pause(rng)
    name = rng.choice(sorted(cluster.workers))
    cluster.kill_worker(name)
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0.0, 6.0))
        cluster.start_worker(name, cluster.slots[name])


def kill_coordinator(cluster: Cluster, rng: random.Random) -> None:
    """Kill -9 the coordinator and start it again after ten seconds."""
    _pause(rng)
    cluster.kill_coordinator()
    time.sleep(DOWN_S)
    cluster.start_coordinator()


def kill_all(cluster: Cluster, rng: random.Random) -> None:
    """Kill -9 every process of every role at once; start all again on their disks."""
    _pause(rng)
    cluster.kill_all()
    time.sleep(rng.uniform(0.0, 2.0))
    cluster.start_coordinator()
    for name, slots in sorted(cluster.slots.items()):
        cluster.start_worker(name, slots)


def kill_coordinator_and_worker(cluster: Cluster, rng: random.Random) -> None:
    """Kill -9 the coordinator and a worker together; start both again."""
    _pause(rng)
    name = rng.choice(sorted(cluster.workers))
    cluster.kill_coordinator()
    cluster.kill_worker(name)
    time.sleep(rng.uniform(0.0, 4.0))
    cluster.start_coordinator()
    cluster.start_worker(name, cluster.slots[name])


def stop_worker(cluster: Cluster, rng: random.Random) -> None:
    """SIGSTOP a worker with all that it runs, until its work is elsewhere; then SIGCONT: its late words are refused."""
    _pause(rng)
    name = rng.choice(sorted(cluster.workers))
    pids = [one.process for one in _all(cluster) if one.worker == name]
    for pid in (cluster.workers[name].pid, *pids):
        cluster.signal(pid, signal.SIGSTOP, f"{name} or what it runs")
    cluster.wait_for(lambda: _is_elsewhere(cluster, name), 30, f"what {name} ran is placed elsewhere")
    time.sleep(rng.uniform(0.0, 3.0))
    for pid in (*pids, cluster.workers[name].pid):
        cluster.signal(pid, signal.SIGCONT, f"{name} or what it runs")


def stop_executor(cluster: Cluster, rng: random.Random) -> None:
    """SIGSTOP an executor until it is replaced."""
    _pause(rng)
    victim = rng.choice(cluster.processes(NAME) or [None])  # type: ignore[list-item]
    if victim is not None:
        cluster.signal(victim.process, signal.SIGSTOP, f"executor-{victim.index}")


def stop_agent(cluster: Cluster, rng: random.Random) -> None:
    """SIGSTOP a worker, but not what it runs, until that is placed elsewhere: what was left out is fenced, and ends."""
    _pause(rng)
    name = rng.choice(sorted(cluster.workers))
    zombies = _pids_on(cluster, name)
    cluster.signal(cluster.workers[name].pid, signal.SIGSTOP, f"{name}, whose executors go on")
    cluster.wait_for(lambda: _is_elsewhere(cluster, name), 30, f"what {name} ran is placed elsewhere")
    cluster.signal(cluster.workers[name].pid, signal.SIGCONT, name)
    cluster.wait_for(lambda: not any(map(_exists, zombies)), 15, f"what {name} ran has ended")


def cut_short(cluster: Cluster, rng: random.Random) -> None:
    """Cut each pair of hosts for two seconds, one after the other: nothing moves, nothing is replayed."""
    for one, other in _pairs(cluster, rng):
        _pause(rng)
        before = _incarnations(cluster), _replayed(cluster)
        _cut(cluster, one, other, SHORT_CUT_S)
        cluster.wait_for(lambda: cluster.alive() >= set(cluster.workers), 5, "all are heard")
        time.sleep(1.5)  # what a death would have changed is told by now
        after = _incarnations(cluster), _replayed(cluster)
        assert after == before or _is_over(cluster), f"something moved: {before}, {after}\n{cluster.report()}"


def cut_long(cluster: Cluster, rng: random.Random) -> None:
    """Cut each pair of hosts for eight seconds, one after the other: what can't be reached is placed elsewhere.

    Between two workers, both of which the coordinator hears, that is what one of them ran; the status shows the link.
    """
    for one, other in _pairs(cluster, rng):
        _pause(rng)
        if "coordinator" not in (one, other):
            _cut_workers(cluster, one, other)
        else:
            cut_off = one if other == "coordinator" else other
            zombies = _pids_on(cluster, cut_off)
            _cut(cluster, one, other, LONG_CUT_S)
            if not _is_over(cluster):
                cluster.wait_for(
                    lambda host=cut_off: _is_elsewhere(cluster, host), 5, f"what {cut_off} ran is elsewhere"
                )
                cluster.wait_for(lambda pids=zombies: not any(map(_exists, pids)), 15, f"what {cut_off} ran has ended")
                cluster.wait_for(lambda host=cut_off: host in cluster.alive(), 15, f"{cut_off} is back")
        if _is_over(cluster):
            return
        done = cluster.run("rebalance", NAME, "--coordinator", cluster.address)  # each host has work for the next cut
        cluster.note(f"rebalance: {done.returncode} {done.stdout.strip()}{done.stderr.strip()}")
        cluster.wait_for(lambda: _is_over(cluster) or not _is_moving(cluster), 30, "the move is done")


def _cut_workers(cluster: Cluster, one: str, other: str) -> None:
    began_s = time.monotonic()
    zombies = {host: _pids_on(cluster, host) for host in (one, other)}
    cluster.note(f"cut {one} from {other}")
    cluster.network.cut(one, other)
    if all(zombies.values()):
        cluster.wait_for(lambda: _is_over(cluster) or _shows(cluster, one, other), 10, "the status shows the link")
        cluster.wait_for(lambda: any(_is_elsewhere(cluster, host) for host in (one, other)), 5, "one of them gave way")
        cluster.note("one of them gave way")
        gone = next(host for host in (one, other) if _is_elsewhere(cluster, host))
        cluster.wait_for(lambda: not any(map(_exists, zombies[gone])), 15, f"what {gone} ran has ended")
    time.sleep(max(0.0, began_s + LONG_CUT_S - time.monotonic()))
    cluster.network.heal(one, other)


def _shows(cluster: Cluster, one: str, other: str) -> bool:
    status = cluster.status(NAME)
    return status is not None and any({link.worker, link.to_worker} == {one, other} for link in status.stuck)


def _is_moving(cluster: Cluster) -> bool:
    return any(one.state in ("moving", "waiting", "ordered", "starting", "born") for one in _all(cluster))


def resets(cluster: Cluster, rng: random.Random) -> None:
    """Reset connections again and again for ten seconds."""
    end = time.monotonic() + RESETS_S
    cluster.note("resets")
    while time.monotonic() < end:
        one, other = rng.sample(cluster.network.hosts, 2)
        cluster.network.reset(one, other)
        time.sleep(rng.uniform(0.02, 0.2))


def join_and_leave(cluster: Cluster, rng: random.Random) -> None:
    """Let a worker join and take work, then let another one leave."""
    _pause(rng)
    cluster.start_worker("c")
    cluster.wait_for(lambda: "c" in cluster.alive(), 15, "c is in")
    done = cluster.run("rebalance", NAME, "--coordinator", cluster.address)
    cluster.note(f"rebalance: {done.returncode} {done.stdout.strip()}{done.stderr.strip()}")
    time.sleep(rng.uniform(0.5, 2.0))
    cluster.signal(cluster.workers["b"].pid, signal.SIGTERM, "b: it leaves")
    assert cluster.workers["b"].popen.wait(30) == 0


def rolling_restart(cluster: Cluster, rng: random.Random) -> None:
    """Restart each worker in good order, as for a new kernel, and the coordinator last: nothing dies of it."""
    _pause(rng)
    cluster.start_worker("c")
    cluster.wait_for(lambda: "c" in cluster.alive(), 15, "c is in")
    for name in sorted(cluster.workers):
        replayed = _replayed(cluster)
        cluster.signal(cluster.workers[name].pid, signal.SIGTERM, f"{name}: it is restarted")
        assert cluster.workers[name].popen.wait(30) == 0
        assert _replayed(cluster) == replayed or _is_over(cluster), cluster.report()
        cluster.start_worker(name, cluster.slots[name])
        cluster.wait_for(lambda name=name: name in cluster.alive(), 15, f"{name} is back")
    assert cluster.coordinator is not None
    cluster.signal(cluster.coordinator.pid, signal.SIGTERM, "the coordinator: it is restarted")
    assert cluster.coordinator.popen.wait(30) == 0
    cluster.start_coordinator()


def rescale(cluster: Cluster, rng: random.Random) -> None:
    """Change the parallelism of both stages again and again; now and then something dies meanwhile."""
    cluster.start_worker("c")
    cluster.wait_for(lambda: "c" in cluster.alive(), 15, "c is in")
    for _ in range(rng.randint(3, 5)):
        node = rng.choice(("keep", "keep", "spread"))
        words = ("rebalance", NAME, f"{node}={rng.randint(1, 8)}")
        done = cluster.run(*words, "--coordinator", cluster.address)
        cluster.note(f"{' '.join(words)}: {done.returncode} {done.stdout.strip()}{done.stderr.strip()}")
        time.sleep(rng.uniform(0.0, 3.0))
        what = rng.choice(("executor", "acker", "coordinator", ""))
        if what == "coordinator":
            cluster.kill_coordinator()
            cluster.start_coordinator()
        elif what:
            _kill_one(cluster, rng, what)
        time.sleep(rng.uniform(0.0, 3.0))


def several(cluster: Cluster, rng: random.Random) -> None:
    """Kill executors, ackers and workers again and again."""
    for _ in range(rng.randint(3, 6)):
        time.sleep(rng.uniform(0.2, 2.0))
        what = rng.choice(("executor", "executor", "acker", "worker"))
        if what == "worker":
            name = rng.choice(sorted(cluster.workers))
            if cluster.workers[name].is_alive:
                cluster.kill_worker(name)
            cluster.start_worker(name, cluster.slots[name])
        else:
            _kill_one(cluster, rng, what)


def kill_totals(cluster: Cluster, rng: random.Random) -> None:
    """Kill -9 an executor, an acker or a worker while words are counted in memory."""
    what = rng.choice(("executor", "acker", "worker"))
    {"executor": kill_executor, "acker": kill_acker, "worker": kill_worker}[what](cluster, rng)


Scenario: TypeAlias = "Callable[[Cluster, random.Random], None]"
SCENARIOS: dict[str, Scenario] = {
    one.__name__.replace("_", "-"): one
    for one in (
        kill_executor,
        kill_acker,
        kill_worker,
        kill_coordinator,
        kill_all,
        kill_coordinator_and_worker,
        kill_totals,
        stop_worker,
        stop_agent,
        stop_executor,
        cut_short,
        cut_long,
        resets,
        join_and_leave,
        rolling_restart,
        rescale,
        several,
    )
}
ON_HOSTS = frozenset({"cut-short", "cut-long", "resets"})
WITH_TOTALS = frozenset({"kill-totals"})
WITH_ALL_ACKERS = frozenset(  # no acker dies in these
    {"kill-executor", "kill-coordinator", "stop-executor", "cut-short", "resets", "join-and-leave", "rolling-restart"}
)


def _pause(rng: random.Random) -> None:
    time.sleep(rng.uniform(0.0, 3.0))


def _all(cluster: Cluster) -> list:  # type: ignore[type-arg]
    return cluster.processes(NAME) + cluster.processes(NAME, "acker")


def _incarnations(cluster: Cluster) -> set[int]:
    return {one.incarnation for one in _all(cluster)}


def _pids_on(cluster: Cluster, worker: str | None) -> list[int]:
    return [one.process for one in _all(cluster) if one.worker == worker]


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _replayed(cluster: Cluster) -> int:
    status = cluster.status(NAME)
    return 0 if status is None else status.summary.replayed


def _is_elsewhere(cluster: Cluster, name: str) -> bool:
    found = _all(cluster)
    return (bool(found) and all(one.worker != name for one in found)) or _is_over(cluster)


def _is_over(cluster: Cluster) -> bool:
    status = cluster.status(NAME)
    return status is not None and status.summary.state.is_over


def _kill_one(cluster: Cluster, rng: random.Random, role: str) -> None:
    found = cluster.processes(NAME, role)
    if found:
        victim = rng.choice(found)
        cluster.kill(victim.process, f"{role}-{victim.index} on {victim.worker}")


def _pairs(cluster: Cluster, rng: random.Random) -> list[tuple[str, str]]:
    """Each pair of the hosts that were there from the start, in a random order."""
    pairs = list(combinations(("coordinator", *sorted(cluster.workers)), 2))
    rng.shuffle(pairs)
    return pairs


def _cut(cluster: Cluster, one: str, other: str, for_s: float) -> None:
    cluster.note(f"cut {one} from {other} for {for_s:g} s")
    cluster.network.cut(one, other)
    time.sleep(for_s)
    cluster.network.heal(one, other)
