"""docker/ and compose.yaml on a real Docker engine: `make compose-test`.

No image registry is needed: the base image is built from Debian's packages once, and stays in the engine by its name.
Containers, networks, volumes and the image of the test are removed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from consecution.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.ports import Ports

ROOT = Path(__file__).resolve().parents[2]
BASE = "consecution-test-base:bookworm"
CONTEXT = ("consecution", "coordinator", "worker", "docker", "examples")
FILES = ("LICENSE", "README.md", "pyproject.toml", "compose.yaml", ".dockerignore")
COUNT = "import sqlite3; print(sqlite3.connect('/results/distances.db').execute('select count(*) from distances').fetchone()[0])"  # noqa: E501

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        "CONSECUTION_TEST_DOCKER" not in os.environ, reason="takes minutes: `make compose-test` runs it"
    ),
]


class Compose:
    """A compose project of the test's own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.context = folder, folder / "context"
        self.project = f"consecution-test-{secrets.token_hex(4)}"
        self.image = f"{self.project}:latest"
        self.port = port
        self.command = ["docker", "compose"] if _works("docker", "compose", "version") else ["docker-compose"]
        self.env = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "CONSECUTION_BASE": BASE,
            "CONSECUTION_IMAGE": self.image,
            "CONSECUTION_PORT": str(self.port),
            "CONSECUTION_SLOTS": "2",
        }

    def run(self, *command: str, timeout_s: float = 120.0) -> str:
        """Run to the end; output goes to a file, since containers may keep a pipe open."""
        output = self.folder / "command.out"
        with output.open("wb") as file:
            done = subprocess.run(
                command, cwd=self.context, env=self.env, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, timeout=timeout_s, check=False, start_new_session=True,
            )  # fmt: skip
        said = output.read_text(errors="replace")
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{said[-4000:]}"
        return said

    def compose(self, *arguments: str, timeout_s: float = 120.0) -> str:
        return self.run(*self.command, *arguments, timeout_s=timeout_s)

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def make_context(self) -> None:
        self.context.mkdir()
        for name in CONTEXT:
            shutil.copytree(ROOT / name, self.context / name, ignore=shutil.ignore_patterns("__pycache__", "*.whl"))
        for name in FILES:
            shutil.copy(ROOT / name, self.context)
        wheels = str(self.context / "docker" / "wheels")
        self.run(sys.executable, "-m", "pip", "--quiet", "wheel", "--wheel-dir", wheels, ".[examples]", timeout_s=300)

    def close(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", timeout_s=180)
        subprocess.run(["docker", "rmi", self.image], capture_output=True, check=False)
        self.run("docker", "image", "prune", "--force", "--filter", "label=consecution.stage=build")


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def wait_for(condition: Callable[[], Any], deadline_s: float, what: str) -> Any:
    end = time.monotonic() + deadline_s
    while not (answer := condition()):
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.02)
    return answer


@pytest.fixture
def compose(tmp_path: Path, ports: Ports) -> Iterator[Compose]:
    if not _works("docker", "info"):
        pytest.skip("NO DOCKER ENGINE RUNS HERE: docker/ and compose.yaml are not tested")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the base image has Python 3.11, and wheels are built by the Python that runs the test")
    made = Compose(tmp_path, ports.take(2))
    made.make_context()
    if not _works("docker", "image", "inspect", BASE):
        if os.geteuid() or not shutil.which("debootstrap"):
            pytest.skip(f"NO BASE IMAGE {BASE}: docker/make-base builds it, as root and with debootstrap")
        made.run("docker/make-base", BASE, timeout_s=600)
    made.compose("build", timeout_s=600)
    try:
        yield made
    finally:
        made.close()


def test_airports_on_three_worker_containers_of_which_one_is_killed(compose: Compose) -> None:
    compose.compose("up", "-d", "--no-build", "--scale", "worker=3", timeout_s=180)
    coordinator = compose.containers("coordinator")[0]
    workers = {
        wait_for(lambda one=one: compose.run("docker", "exec", one, "cat", "/tmp/worker-name"), 30, "a name"): one
        for one in compose.containers("worker")
    }
    assert sorted(workers) == ["worker-1", "worker-2", "worker-3"]
    keys = compose.folder / "keys"
    compose.run("docker", "cp", f"{coordinator}:/keys/coordinator/keys", str(keys))
    public = compose.run("docker", "exec", coordinator, "cat", "/keys/public/coordinator.key").strip().encode()
    with Client(f"tcp://127.0.0.1:{compose.port}", keys=keys, coordinator_key=public, timeout_s=10) as client:
        wait_for(lambda: sum(one.state == "alive" for one in client.list().workers) == 3, 60, "three workers are in")
        submit = [*compose.command, "run", "--rm", "client", "submit", "airports.py", "--name", "airports"]
        with (compose.folder / "submit.out").open("wb") as output:
            waiting = subprocess.Popen(
                [*submit, "-D", "out=/results", "--wait"], cwd=compose.context, env=compose.env,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            wait_for(lambda: client.list().topologies or waiting.poll() is not None, 120, "airports is submitted")
            status = wait_for(lambda: _placed(client), 60, "an executor of airports runs")
            victim = next(one.worker for one in status.processes if one.role == "executor" and one.process)
            assert not status.summary.state.is_over
            compose.run("docker", "kill", "--signal", "KILL", workers[victim])
            code = waiting.wait(120)
        finally:
            if waiting.poll() is None:
                waiting.kill()
        assert code == 0, (compose.folder / "submit.out").read_text() + compose.compose("logs")
        assert client.status("airports").summary.completed == 10
        print(*(text for _, text in client.status("airports").events), sep="\n")
    other = next(one for name, one in workers.items() if name != victim)
    assert compose.run("docker", "exec", other, "python3", "-c", COUNT).strip() == "45"
    for container in (coordinator, other):
        uid = compose.run("docker", "exec", container, "id", "-u").strip()
        assert uid == "10001"
        wait_for(lambda one=container: _health(compose, one) == "healthy", 60, "its health check")


def _placed(client: Client) -> Any:
    status = client.status("airports")
    found = any(one.role == "executor" and one.process for one in status.processes)
    return status if found or status.summary.state.is_over else None


def _health(compose: Compose, container: str) -> str:
    return compose.run("docker", "inspect", "--format", "{{.State.Health.Status}}", container).strip()
