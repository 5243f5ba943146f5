"""A cluster as users start it: every process is real, and anything may be killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from consecution.wire.cluster.to_client import State
from tests.e2e.cluster import network
from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.outcomes import all_completed, all_written, right_totals, written

FLOWS = Path(__file__).parent / "flows"
ITEMS = 2_000
PAUSE_S = 0.02  # four tasks do 200 a second until the test says hurry: time enough to kill somebody


def keyed(cluster: Cluster, out: Path, items: int = ITEMS, pause_s: float = PAUSE_S) -> None:
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


def test_airports_over_a_coordinator_and_two_workers(cluster: Cluster, out: Path, root: Path) -> None:
    cluster.start("a", "b")
    done = cluster.run(
        *("submit", str(root / "examples" / "airports.py"), "--coordinator", cluster.address),
        *("--name", "airports", "-D", f"out={out}", "--wait"),
    )
    assert done.returncode == 0, done.stdout + done.stderr + cluster.report()
    assert len((out / "distances.csv").read_text().splitlines()) == 46
    assert cluster.stop() == {"a": 0, "b": 0, "coordinator": 0}


def test_an_executor_an_acker_and_a_worker_are_killed_one_after_the_other(cluster: Cluster, out: Path) -> None:
    keyed(cluster, out)
    cluster.kill_process("keyed", "executor", 1)
    wait_written(cluster, out, ITEMS // 5)  # not completed: a large batch is that as a whole, and late
    cluster.kill_process("keyed", "acker", 0)
    wait_written(cluster, out, ITEMS // 4)
    cluster.kill_worker(_other(cluster))
    check(cluster, out)


def test_the_worker_of_the_producer_is_killed_and_its_producer_goes_on_elsewhere(cluster: Cluster, out: Path) -> None:
    """Mark and position of the journal on the lost host are at the coordinator too: what is finished isn't repeated."""
    items = 6_000
    keyed(cluster, out, items, 0.005)
    finished = cluster.wait_until_flows("keyed", items // 3).summary.completed
    cluster.kill_worker(_host_of_the_producer(cluster))
    (out / "hurry").touch()
    all_completed(cluster.wait_until_over("keyed"), items)
    assert all_written(out, items) <= items - finished


def _host_of_the_producer(cluster: Cluster) -> str:
    return next(one.worker for one in cluster.processes("keyed") if one.feeds)


def _other(cluster: Cluster) -> str:
    return next(name for name in sorted(cluster.workers) if name != _host_of_the_producer(cluster))


def test_the_coordinator_is_killed_and_restarted(cluster: Cluster, out: Path) -> None:
    keyed(cluster, out)
    cluster.kill_coordinator()
    count = len(written(out))
    cluster.wait_for(lambda: len(written(out)) > count + ITEMS // 20, 10, "items flow without a coordinator")
    cluster.start_coordinator()
    check(cluster, out)
    logs = [path.read_text() for path in cluster.folder.glob("worker-*/logs/keyed/*.log")]
    assert len(logs) == 5
    assert not [text for text in logs if "start 2" in text]  # it took back what ran, and started none again


def test_all_are_killed_and_restarted(cluster: Cluster, out: Path) -> None:
    keyed(cluster, out)
    cluster.kill_all()
    assert cluster.living() == []
    cluster.start("a", "b")
    check(cluster, out)


def test_a_stopped_executor_is_replaced(cluster: Cluster, out: Path) -> None:
    keyed(cluster, out)
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
    keyed(cluster, out)
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


def test_totals_are_right_after_a_kill_in_the_middle(cluster: Cluster, out: Path) -> None:
    cluster.start("a", "b")
    cluster.submit(FLOWS / "totals.py", "totals", out=out, items=ITEMS, pause=PAUSE_S)
    cluster.wait_until_flows("totals", ITEMS // 4)
    cluster.kill_process("totals", "executor", 1)
    (out / "hurry").touch()
    all_completed(cluster.wait_until_over("totals"), ITEMS)
    right_totals(out, ITEMS)


def test_an_item_that_ends_its_process_is_a_dead_letter_alone(cluster: Cluster, out: Path) -> None:
    expected = {
        "hang": "call_timeout_s (1 s); it was in",
        "crash": "SIGSEGV",
        "exit": "exited with code 0",
        "quit": "SystemExit: 0",
    }
    cluster.start("a", slots=len(expected))
    for what in expected:
        (out / what).mkdir()
        cluster.submit(FLOWS / "hazards.py", what, out=out / what, items=500, bad=250, what=what)
    for what, text in expected.items():
        one = cluster.wait_until_over(what).summary
        assert (one.state, one.introduced, one.completed, one.failed) == (State.FINISHED, 500, 499, 1), cluster.report()
        (letter,) = cluster.client.letters(what)
        assert (letter.seq, letter.attempts, letter.item_repr) == (250, 2, "250")
        assert letter.cause is not None
        assert text in f"{letter.cause.exception}: {letter.cause.message}"
        assert what != "hang" or "in misbehave" in letter.cause.traceback
        assert set(written(out / what)) == set(range(500)) - {250}


def test_items_that_let_their_process_die_later_are_dead_letters_alone(cluster: Cluster, out: Path) -> None:
    """No slot names them: after five crashes items go one by one, and the only one under way at a crash is charged."""
    items, entry, behind = 300, 123, 205
    cluster.start("a", "b", slots=3)
    cluster.submit(FLOWS / "delayed.py", "delayed", out=out, items=items, entry=entry, behind=behind)
    status = cluster.wait_until_over("delayed", 150)
    one = status.summary
    assert (one.introduced, one.completed, one.failed) == (items, items - 2, 2), cluster.report()
    assert sorted((one.seq, one.attempts) for one in status.newest_letters) == [(entry, 4), (behind, 4)]
    for letter in status.newest_letters:
        assert letter.cause is not None
        assert "signal 11" in letter.cause.message, letter.cause
    assert any("items go one by one" in text for _, text in status.events), status.events
    assert set(written(out)) >= set(range(items)) - {entry, behind}


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


def test_a_sigterm_to_an_executor_is_a_death_like_any_other(cluster: Cluster, out: Path) -> None:
    keyed(cluster, out)
    for role in ("executor", "acker"):
        victim = cluster.processes("keyed", role)[0]
        cluster.signal(victim.process, signal.SIGTERM, role)
    check(cluster, out)
    assert cluster.stop() == {"a": 0, "b": 0, "coordinator": 0}


def test_a_worker_leaves_in_good_order(cluster: Cluster, out: Path) -> None:
    keyed(cluster, out)
    os.kill(cluster.workers["b"].pid, signal.SIGTERM)
    assert cluster.workers["b"].popen.wait(20) == 0
    check(cluster, out)
    assert "was killed" not in cluster.workers["b"].said()


@pytest.mark.root
def test_a_cut_of_two_seconds_moves_nothing_and_a_longer_one_does(tmp_path: Path, out: Path) -> None:
    if not network.is_possible():
        pytest.skip("needs to make network namespaces")
    hosts = ("coordinator", "a", "b")
    folder = tmp_path / "hosts"
    folder.mkdir()
    with network.Network(hosts) as net, Cluster(folder, net) as cluster:
        keyed(cluster, out, 4 * ITEMS)
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
