"""Items from outside into a running topology: pushed through the coordinator, or posted to a worker's host."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from consecution.client import Client, NotDone, Unreachable
from consecution.wire.cluster.to_client import State
from tests.e2e.cluster.harness import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOW = Path(__file__).parent / "flows" / "pushed.py"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster on which each test has a topology of its own; nothing of it is killed."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as one:
        one.start("a", slots=12)
        yield one
    assert one.living() == []


def start(cluster: Cluster, out: Path, name: str = "orders", **options: Any) -> None:
    cluster.submit(FLOW, name, out=out, **options)
    runs(cluster, name)


def runs(cluster: Cluster, name: str = "orders", state: State = State.RUNNING) -> None:
    def is_so() -> bool:
        status = cluster.status(name)
        return status is not None and status.summary.state is state

    cluster.wait_for(is_so, 30, f"it is {state.value}")


def written(out: Path) -> list[str]:
    return sorted(line for part in out.glob("part-*") for line in part.read_text().splitlines())


def test_items_are_journalled_when_push_returns_and_their_receipts_tell_the_outcome(shared: Cluster, out: Path) -> None:
    start(shared, out, "receipts")
    receipt = shared.client.push("receipts", {"n": 1})
    assert (receipt.producer, receipt.seq) == ("manual", 0)
    assert receipt.wait(30) == "completed"
    bad = shared.client.push("receipts", "bad")
    assert bad.wait(30) == "failed"
    assert bad.attempts == 2
    assert "ValueError: no good at node 'keep'" in str(bad.error)
    receipts = shared.client.push_all("receipts", range(1200))
    assert [one.seq for one in receipts] == list(range(2, 1202))
    assert shared.client.wait_all(receipts, 60)
    assert {one.outcome for one in receipts} == {"completed"}
    assert written(out) == sorted(["{'n': 1}", *map(str, range(1200))])
    again = shared.client.push("receipts", {"n": 1}, key=receipt.key)
    assert again.seq == receipt.seq
    shared.client.drain("receipts")
    summary = shared.wait_until_over("receipts").summary
    assert (summary.introduced, summary.completed, summary.failed) == (1202, 1201, 1)


def test_the_command_sends_an_item_or_lines_of_stdin(shared: Cluster, out: Path) -> None:
    start(shared, out, "sent")
    done = shared.run("send", "sent", '{"n": 1}', "--coordinator", shared.address, "--wait")
    assert (done.returncode, done.stderr) == (0, "sent: 1 item sent, 1 completed, 0 failed\n")
    lines = b'1\n\n"bad"\n3\n'
    command = [sys.executable, "-m", "consecution", "send", "sent", "-", "-c", shared.address, "--json", "--wait"]
    sent = subprocess.run(command, input=lines, env=shared._environment(), capture_output=True, timeout=60, check=False)
    receipts = json.loads(sent.stdout)
    assert sent.returncode == 3
    assert [one["outcome"] for one in receipts] == ["completed", "failed", "completed"]
    assert receipts[1]["error"].startswith("ValueError: no good")
    wrong = shared.run("send", "sent", "{", "--coordinator", shared.address)
    assert wrong.returncode == 2
    assert "no JSON at line 1, column 2" in wrong.stderr


def test_a_push_is_refused_with_the_reason(shared: Cluster, out: Path, root: Path) -> None:
    with pytest.raises(NotDone, match="there is no topology 'refused'"):
        shared.client.push("refused", 1)
    shared.submit(root / "examples" / "airports.py", "airports", out=out)
    with pytest.raises(NotDone, match="has no Pusher, so nothing can be pushed into it"):
        shared.client.push("airports", 1)
    shared.wait_until_over("airports")
    shared.submit(FLOW, "refused", out=out)
    runs(shared, "refused")
    with pytest.raises(NotDone, match="has no Pusher 'other'; it has 'manual'"):
        shared.client.push("refused", 1, producer="other")
    shared.client.pause("refused")
    runs(shared, "refused", State.PAUSED)
    with pytest.raises(NotDone, match="is paused; `consecution resume refused` first"):
        shared.client.push("refused", 1)
    shared.client.resume("refused")
    assert shared.client.push("refused", 2).wait(30) == "completed"
    shared.client.drain("refused")
    shared.wait_until_over("refused")
    with pytest.raises(NotDone, match=r"is over \(drained\)"):
        shared.client.push("refused", 3)
    assert written(out) == ["2"]


def test_pushes_go_on_over_killed_executors_coordinators_and_workers_and_none_is_lost_or_taken_twice(
    cluster: Cluster, out: Path
) -> None:
    """A client that asks again under its key until it hears yes has pushed each item once.

    1. A client pushes numbers, each under a key, again and again until it is told that the number is journalled.
    2. Meanwhile the executor with the journal, the coordinator, and the worker with the journal are killed in turn.
    3. Each of them is started again (the executor by its worker): each number is counted once.
    """
    cluster.start("a", "b")
    start(cluster, out)
    total = 300
    pushed: dict[int, int] = {}
    allowed = 0
    is_over = threading.Event()
    errors: list[BaseException] = []

    def push() -> None:
        try:
            with Client(cluster.address, timeout_s=2.0) as client:
                number = 0
                while number < total and not is_over.is_set():
                    if number >= allowed:
                        is_over.wait(0.005)
                        continue
                    try:
                        pushed[number] = client.push("orders", number, key=f"n-{number}").seq
                    except (NotDone, Unreachable):
                        continue  # who isn't told yes asks again
                    number += 1
        except BaseException as error:
            errors.append(error)

    def let(count: int, *, waits: bool = True) -> None:
        """Let some more be pushed, and wait until they are."""
        nonlocal allowed
        allowed += count
        if waits:
            cluster.wait_for(lambda: errors or len(pushed) >= allowed, 60, f"{allowed} are pushed")

    client = threading.Thread(target=push, daemon=True)
    client.start()
    try:
        let(total // 6)
        feeder = next(one for one in cluster.processes("orders") if one.feeds)
        let(total // 6, waits=False)
        cluster.kill(feeder.process, "the executor with the journal")
        let(total // 6)
        let(total // 6, waits=False)
        cluster.kill_coordinator()
        cluster.start_coordinator()
        let(total // 6)
        let(total // 6, waits=False)
        cluster.kill_worker(feeder.worker)
        with Client(cluster.address, timeout_s=1.0) as other, pytest.raises((NotDone, Unreachable)):
            other.push("orders", "lost", key="nobody hears yes")
        cluster.start_worker(feeder.worker)
        let(0)
    finally:
        is_over.set()
        client.join(30)
    assert errors == []
    assert len(set(pushed.values())) == total
    cluster.client.drain("orders")
    summary = cluster.wait_until_over("orders").summary
    assert set(map(str, range(total))) <= set(written(out))
    assert summary.introduced == summary.completed
    assert summary.introduced - total in (0, 1)  # "lost" may have been taken, unheard


def test_a_full_pipeline_holds_a_push_back_until_there_is_room(shared: Cluster, out: Path) -> None:
    """64 items may be unfinished, 10,000 wait in the Pusher; the next one hears that there is no room now."""
    start(shared, out, "full", gate="yes")
    assert len(shared.client.push_all("full", range(64))) == 64
    with Client(shared.address, timeout_s=5.0) as hasty, pytest.raises(NotDone, match="its window may be full"):
        hasty.push("full", 64, key="late")
    (out / "open").touch()
    assert shared.client.push("full", 64, key="late").wait(30) == "completed"
    shared.client.drain("full")
    assert shared.wait_until_over("full").summary.completed == 65
    assert len(written(out)) == 65


def test_an_http_producer_listens_on_the_host_of_its_worker_and_answers_503_while_it_is_paused(
    shared: Cluster, out: Path
) -> None:
    port = shared.ports.take()
    start(shared, out, "posted", port=port)

    def post(body: str, path: str = "/items?wait=processed") -> int:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            client.request("POST", path, body, {"Content-Type": "application/json"})
            return client.getresponse().status
        finally:
            client.close()

    assert post('{"n": 1}') == 200
    assert post('"bad"') == 500
    shared.client.pause("posted")
    runs(shared, "posted", State.PAUSED)
    shared.wait_for(lambda: post("2") == 503, 10, "it takes nothing")
    shared.client.resume("posted")
    shared.wait_for(lambda: post("3") == 200, 10, "it takes items again")
    shared.client.drain("posted")
    shared.wait_until_over("posted")
    assert {"3", "{'n': 1}"} <= set(written(out)) <= {"2", "3", "{'n': 1}"}  # "2" came before the pause, or not
