"""A small cluster as a user runs it: coordinator, workers and clients as processes of their own."""

from __future__ import annotations

import json
import os
import signal

import pytest

from consecution.client import Client
from consecution.wire.cluster.to_client import State

FLOW = """
import time
from pathlib import Path

from consecution import Consecutor, Map, Node, options


class Pair(Node):
    def process(self, item):
        time.sleep(0.005)
        self.push(item)


def write(item):
    print("wrote", item, flush=True)
    with Path(options["out"]).open("a") as file:
        file.write(f"{item}\\n")
    return item


def check(item):
    if item == int(options.get("bad", "-1")):
        raise ValueError("a bad one")
    return item


flow = Consecutor(
    list(range(int(options.get("n", "200"))))
    | Pair(parallelism=2, grouping="shuffle")
    | Map(check, parallelism=2, grouping="shuffle")
    | Map(write, grouping="global"),
    "numbers",
)
"""


class Cluster:
    """Starts the processes of a cluster and asks it."""

    def __init__(self, consecution, wait_for, folder, port):
        self._run, self._wait_for, self.folder = consecution, wait_for, folder
        self.bind = f"tcp://127.0.0.1:{port}"
        self.out = folder / "out.txt"
        self.coordinator = self.address = self.client = None

    def start(self):
        file = self.folder / "address"
        file.unlink(missing_ok=True)
        self.coordinator = self._run(
            "coordinator", "--bind", self.bind, "--data-dir", "coordinator", "--address-file", file
        )
        self._wait_for(lambda: file.exists() or self.coordinator.returncode is not None, 20, "the coordinator starts")
        assert file.exists(), self.coordinator.stderr
        self.address = file.read_text().strip()
        if self.client is None:
            self.client = Client(self.address, timeout_s=10)

    def worker(self, name, slots=2):
        words = ("--name", name, "--slots", str(slots), "--data-dir", f"w-{name}")
        worker = self._run("worker", "-c", self.address, *words)
        self.wait_worker(name)
        return worker

    def wait_worker(self, name):
        def is_alive():
            return (name, "alive") in {(one.name, one.state) for one in self.client.list().workers}

        self._wait_for(is_alive, 30, f"worker {name}")

    def ask(self, *words, code=0):
        """By the command line."""
        asked = self._run(*words, "--coordinator", self.address)
        assert asked.wait(60) == code, asked.stderr
        return asked

    def submit(self, *words, code=0):
        return self.ask("submit", "flow/flow.py", "-D", f"out={self.out}", *words, code=code)

    def status(self):
        return self.client.status("numbers")

    def wait_state(self, *states, deadline_s=60):
        return self._wait_for(
            lambda: (status := self.status()).summary.state in states and status, deadline_s, f"state {states}"
        )

    def wait_lines(self, count):
        self._wait_for(lambda: len(self.lines()) >= count, 30, f"{count} lines")

    def lines(self):
        return [int(line) for line in self.out.read_text().split()] if self.out.exists() else []


@pytest.fixture
def cluster(consecution, wait_for, tmp_path, ports):
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "flow.py").write_text(FLOW)
    made = Cluster(consecution, wait_for, tmp_path, ports.take(2))
    made.start()
    yield made
    made.client.close()


def test_submit_wait_runs_a_flow_over_two_workers_to_its_end(cluster):
    cluster.worker("a")
    cluster.worker("b")
    done = cluster.submit("--wait", "--json", "-D", "bad=7", code=3)
    result = json.loads(done.stdout)
    assert (result["state"], result["introduced"], result["completed"], result["failed"]) == ("finished", 200, 199, 1)
    assert "199 completed" in done.stderr
    assert "ValueError: a bad one" in done.stderr
    assert sorted(set(cluster.lines())) == [n for n in range(200) if n != 7]
    letters = [json.loads(line) for line in cluster.ask("status", "numbers", "--failed").stdout.splitlines()]
    assert [(one["producer"], one["seq"], one["attempts"]) for one in letters] == [("sequence", 7, 4)]
    logs = [cluster.ask("logs", "numbers", str(index), "--kib", "64").stdout for index in range(4)]
    assert sum("wrote 199" in text for text in logs) == 1
    listing = json.loads(cluster.ask("list", "--json").stdout)
    assert [(one["name"], one["state"]) for one in listing["topologies"]] == [("numbers", "finished")]
    assert sorted((one["name"], one["slots"]) for one in listing["workers"]) == [("a", 2), ("b", 2)]
    shown = cluster.ask("list").stdout + cluster.ask("status", "numbers").stdout
    for word in ("numbers", "finished", "a bad one", "history:", "was submitted"):
        assert word in shown


def test_a_flow_that_the_workers_can_not_load_fails_with_its_traceback(cluster):
    (cluster.folder / "flow" / "flow.py").write_text(
        FLOW + '\nif "consecution/process" in " ".join(__import__("sys").orig_argv):\n    import nothing_of_that_name\n'
    )
    cluster.worker("a")
    done = cluster.submit("--wait", code=4)
    assert "nothing_of_that_name" in done.stderr
    assert "Traceback" in cluster.ask("status", "numbers").stdout


def test_a_killed_executor_and_a_killed_worker_cost_nothing_but_time(cluster):
    cluster.worker("a", slots=2)
    cluster.submit("-D", "n=100000", "--slots", "2")
    cluster.wait_state(State.RUNNING)
    b = cluster.worker("b", slots=4)
    cluster.client.rebalance("numbers")
    cluster.wait_lines(50)
    running = cluster.status()
    victim = next(one for one in running.processes if one.role == "executor" and one.worker == "a")
    os.kill(victim.process, signal.SIGKILL)
    cluster.wait_lines(len(cluster.lines()) + 100)
    assert sum(one.restarts for one in cluster.status().processes) >= 1
    b.kill()
    reached = len(cluster.lines())
    cluster.wait_lines(reached + 200)
    cluster.client.drain("numbers")
    status = cluster.wait_state(State.DRAINED)
    summary = status.summary
    # The dead host may have written more than its last report said; what it read beyond that is read again later.
    assert summary.introduced == summary.completed > 0
    assert set(range(summary.completed)) <= set(cluster.lines())
    assert (summary.failed, status.audits_fired) == (0, 0)


def test_a_killed_coordinator_takes_the_running_cluster_back_without_touching_it(cluster):
    cluster.worker("a", slots=2)
    cluster.submit("-D", "n=100000")
    before = cluster.wait_state(State.RUNNING)
    cluster.wait_lines(50)
    cluster.coordinator.kill()
    cluster.wait_lines(len(cluster.lines()) + 50)
    cluster.start()
    cluster.wait_worker("a")
    cluster.wait_lines(len(cluster.lines()) + 50)
    after = cluster.status()
    assert [one.process for one in before.processes] == [one.process for one in after.processes]
    assert after.number == before.number
    cluster.client.drain("numbers")
    summary = cluster.wait_state(State.DRAINED).summary
    assert (summary.completed, summary.replayed) == (summary.introduced, 0)
    assert sorted(cluster.lines()) == list(range(summary.introduced))


def test_pause_resume_drain_and_a_second_submission_that_goes_on(cluster):
    cluster.worker("a", slots=2)
    cluster.submit("-D", "n=100000")
    cluster.wait_state(State.RUNNING)
    cluster.wait_lines(50)
    cluster.ask("pause", "numbers")
    cluster.wait_state(State.PAUSED)
    cluster.ask("resume", "numbers")
    cluster.wait_state(State.RUNNING)
    assert "drained" in cluster.ask("drain", "numbers", "--wait").stderr
    reached = cluster.lines()
    assert sorted(reached) == list(range(len(reached)))
    cluster.submit("-D", "n=100000")
    cluster.wait_lines(len(reached) + 50)
    cluster.ask("kill", "numbers", "--wait")
    again = cluster.lines()[len(reached) :]
    assert min(again) == len(reached), f"what was finished isn't read again: {again[:10]}, {cluster.status()}"


def test_a_worker_that_is_told_to_end_hands_its_work_over_and_ends_with_0(cluster):
    a = cluster.worker("a", slots=3)
    cluster.submit("-D", "n=100000", "--slots", "3")
    cluster.wait_state(State.RUNNING)
    cluster.worker("b", slots=3)
    cluster.wait_lines(50)
    a.send_signal(signal.SIGTERM)
    assert a.wait(20) == 0, a.stderr
    assert {one.worker for one in cluster.status().processes} == {"b"}
    cluster.wait_lines(len(cluster.lines()) + 50)
    cluster.client.drain("numbers")
    summary = cluster.wait_state(State.DRAINED).summary
    assert (summary.completed, summary.failed) == (summary.introduced, 0)
    assert sorted(set(cluster.lines())) == list(range(summary.introduced))


def test_the_coordinator_ends_with_0_on_sigterm(cluster):
    cluster.coordinator.send_signal(signal.SIGTERM)
    assert cluster.coordinator.wait(10) == 0


def test_exit_codes_and_messages_of_what_does_not_work(cluster, consecution):
    nobody = consecution("list", "-c", "tcp://127.0.0.1:9", "--timeout", "0.5")
    assert nobody.wait() == 5
    assert "no coordinator answered" in nobody.stderr
    assert cluster.ask("status", "nothing", code=1).stderr.startswith("error: there is no topology 'nothing'")
    taken = consecution("coordinator", "--bind", cluster.address, "--data-dir", "other")
    assert taken.wait() == 1
    assert "choose a free port" in taken.stderr
    in_use = consecution("coordinator", "--bind", "tcp://127.0.0.1:*", "--data-dir", "coordinator")
    assert in_use.wait() == 1
    assert "in use by process" in in_use.stderr
    open_to_all = consecution("coordinator", "--bind", "tcp://0.0.0.0:*", "--data-dir", "other")
    assert open_to_all.wait() == 1
    assert "--insecure" in open_to_all.stderr


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("flow = Consecutor(PipeProducer() | Map(str))", "only this process has"),
        ("flow = Consecutor(iter([1]) | Map(str))", "only this process has"),
        ("flow = Consecutor(Map(str))", "has no producer"),
        ("flow = Consecutor([1] | Map(str)", "can't be loaded"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
    ],
)
def test_what_can_not_be_submitted_is_refused_here_with_exit_code_4(consecution, tmp_path, body, part):
    (tmp_path / "flow.py").write_text(f"from consecution import *\n{body}\n")
    refused = consecution("submit", "flow.py", "-c", "tcp://127.0.0.1:9")
    assert refused.wait() == 4, refused.stderr
    assert part in refused.stderr


def test_keys_are_made_and_shown_and_never_overwritten(consecution, tmp_path):
    made = consecution("keys", "new", "alice.keys", "--role", "submitter,reader")
    assert made.wait() == 0, made.stderr
    public, roles, name = made.stdout.split()
    assert (len(public), roles, name) == (40, "submitter,reader", "alice")
    assert (tmp_path / "alice.keys").stat().st_mode & 0o777 == 0o600
    shown = consecution("keys", "show", "alice.keys")
    assert shown.wait() == 0
    assert shown.stdout.strip() == public
    again = consecution("keys", "new", "alice.keys")
    assert again.wait() != 0
    assert "not overwritten" in again.stderr
    (tmp_path / "alice.keys").chmod(0o644)
    assert consecution("keys", "show", "alice.keys").wait() != 0
