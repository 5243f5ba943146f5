"""A cluster of a test's own: a coordinator and workers as real processes, on loopback or on hosts of its own.

Rules of this module: every process carries the cluster's token in its environment, so that whatever is left behind is
found, whoever started it; only processes with this token are ever signalled. Waiting is on a condition.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from consecution.client import Client, NotDone, Unreachable
from consecution.wire.cluster.to_client import State
from tests.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consecution.wire.cluster.to_client import ProcessStatus, Status

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "CONSECUTION_TEST_CLUSTER"
LOOPBACK = "127.0.0.1"
START_S = 60.0  # a machine with much other work takes long to import


class NotInTime(AssertionError):
    """A condition didn't come true before its deadline."""


@dataclass
class Started:
    """A process that the cluster started.

    Attributes:
        name: For messages.
        popen: Its process; under ``ip netns exec`` too, which executes the command in its place.
        output: File of what it wrote.
    """

    name: str
    popen: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    def said(self, chars_max: int = 4000) -> str:
        """The end of what it wrote."""
        return self.output.read_text(errors="replace")[-chars_max:]


@dataclass
class Cluster:
    """A coordinator and workers.

    Args:
        folder: For data and output.
        network: Hosts in network namespaces; None: all on loopback.

    Attributes:
        token: In the environment of all of its processes.
        address: Of the coordinator.
        workers: By name.
        others: What else was started.
    """

    folder: Path
    network: Any = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    coordinator: Started | None = None
    workers: dict[str, Started] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    others: list[Started] = field(default_factory=list)
    port: int = 0
    ports: Ports = field(default_factory=Ports)
    _client: Client | None = None
    _n_started: int = 0
    _log: list[str] = field(default_factory=list)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- processes ---------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where the coordinator listens."""
        host = LOOPBACK if self.network is None else self.network.address("coordinator")
        return f"tcp://{host}:{self.port}"

    def start_coordinator(self) -> None:
        """Start it, or start it again on the same disk and port."""
        self.port = self.port or self.ports.take(2)
        command = ["coordinator", "--bind", self.address, "--data-dir", str(self.folder / "coordinator")]
        if self.network is not None:
            command.append("--insecure")
        self.coordinator = self._start("coordinator", command)
        self.wait_for(self._answers, START_S, "the coordinator answers")

    def start_worker(self, name: str, slots: int = 2, *arguments: str) -> Started:
        """Start a worker, or start it again on the same disk."""
        self.slots[name] = slots
        folder = self.folder / f"worker-{name}"
        command = ["worker", "--coordinator", self.address, "--name", name, "--slots", str(slots)]
        command += ["--data-dir", str(folder), *arguments]
        if self.network is not None:
            command.append("--insecure")
        self.workers[name] = self._start(name, command)
        return self.workers[name]

    def start_other(self, *arguments: str) -> Started:
        """Start anything else of `consecution`; it is ended with the cluster."""
        self.others.append(self._start("other", arguments))
        return self.others[-1]

    def start(self, *workers: str, slots: int = 2) -> None:
        """Start a coordinator and workers, and wait until they are in."""
        self.start_coordinator()
        for name in workers:
            self.start_worker(name, slots)
        self.wait_for(lambda: self.alive() >= set(workers), START_S, f"workers {workers} are in")

    def alive(self) -> set[str]:
        """Names of the workers that the coordinator hears; one that is silent may not be dead for it yet."""
        return {worker.name for worker in self.client.list().workers if worker.state == "alive"}

    def run(
        self, *arguments: str, host: str = "coordinator", timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of `consecution` to its end, as a user would."""
        return subprocess.run(
            [*self._at(host), sys.executable, "-m", "consecution", *arguments],
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def submit(self, flow: Path, name: str, *arguments: str, **options: object) -> None:
        """Submit a flow; returns when it is accepted."""
        settings = [word for key, value in options.items() for word in ("-D", f"{key}={value}")]
        command = ("submit", str(flow), "--coordinator", self.address, "--name", name, *settings, *arguments)
        done = self.run(*command)
        if done.returncode:
            message = f"submit of {flow} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.report()}"
            raise AssertionError(message)

    def _start(self, name: str, arguments: Sequence[str]) -> Started:
        self._n_started += 1
        output = self.folder / f"{self._n_started:02}-{name}.out"
        self.note(f"start {name}")
        with output.open("wb") as file:
            popen = subprocess.Popen(
                [*self._at(name), sys.executable, "-m", "consecution", *arguments],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Started(name, popen, output)

    def _at(self, host: str) -> list[str]:
        return [] if self.network is None else self.network.enter(host)

    def _environment(self) -> dict[str, str]:
        paths = (ROOT, ROOT / "coordinator", ROOT / "worker")
        return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), TOKEN: self.token}

    # ---- what is asked -----------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """A client; made anew after a restart of the coordinator it goes on."""
        if self._client is None:
            self._client = Client(self.address, timeout_s=5.0)
        return self._client

    def _answers(self) -> bool:
        assert self.coordinator is not None
        if not self.coordinator.is_alive:
            message = f"the coordinator has ended\n{self.coordinator.said()}"
            raise AssertionError(message)
        try:
            self.client.list()
        except Unreachable:
            return False
        return True

    def status(self, name: str) -> Status | None:
        """How a topology stands; None while the coordinator doesn't answer."""
        try:
            return self.client.status(name)
        except Unreachable:
            return None

    def processes(self, name: str, role: str = "executor") -> list[ProcessStatus]:
        """Executors or ackers that run, with their process ids."""
        status = self.status(name)
        return [] if status is None else [one for one in status.processes if one.role == role and one.process]

    def wait_until_over(self, name: str, deadline_s: float = 60.0) -> Status:
        """Wait until a topology is over; gives its last status."""

        def over() -> Status | None:
            status = self.status(name)
            return status if status is not None and status.summary.state.is_over else None

        status: Status = self.wait_for(over, deadline_s, f"{name} is over")
        return status

    def wait_until_flows(self, name: str, completed: int, deadline_s: float = 30.0) -> Status:
        """Wait until so many items are completed."""

        def flows() -> Status | None:
            status = self.status(name)
            if status is not None and status.summary.state is State.FAILED:
                message = f"{name} failed: {status.summary.reason}\n{status.traceback}"
                raise AssertionError(message)
            return status if status is not None and status.summary.completed >= completed else None

        status: Status = self.wait_for(flows, deadline_s, f"{name} has completed {completed:,} items")
        return status

    def wait_for(self, condition: Callable[[], Any], deadline_s: float, what: str) -> Any:
        """The first true answer of a condition."""
        end = time.monotonic() + deadline_s
        while not (answer := condition()):
            if time.monotonic() > end:
                message = f"not within {deadline_s:g} s: {what}\n{self.report()}"
                raise NotInTime(message)
            time.sleep(0.05)
        return answer

    # ---- faults ------------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Keep a line of what was done, for who must repeat it."""
        self._log.append(f"{time.strftime('%H:%M:%S')} {text}")

    def done(self) -> list[str]:
        """What was done, in order; starts at the beginning are left out."""
        return [line for line in self._log if "start" not in line or line not in self._log[:4]]

    def signal(self, pid: int, number: signal.Signals, why: str) -> bool:
        """Send a signal to a process of this cluster, and to no other; False when it has gone meanwhile."""
        if not self._is_ours(pid):
            return False
        self.note(f"{number.name} to {why} (process {pid})")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def kill(self, pid: int, why: str) -> bool:
        """Kill -9."""
        return self.signal(pid, signal.SIGKILL, why)

    def kill_process(self, name: str, role: str, index: int) -> ProcessStatus:
        """Kill -9 an executor or an acker of a topology once it runs; gives what it was.

        It may have none for a moment: its worker reports process ids with its heartbeats, and a run that starts over
        has new ones.
        """

        def running() -> ProcessStatus | None:
            return next((one for one in self.processes(name, role) if one.index == index), None)

        found: ProcessStatus = self.wait_for(running, 10, f"{role}-{index} of {name} runs")
        self.kill(found.process, f"{role}-{index} of {name} on {found.worker}")
        return found

    def kill_worker(self, name: str) -> None:
        """Kill -9 a worker; its children go with it."""
        self.kill(self.workers[name].pid, f"worker {name}")
        self.workers[name].popen.wait(10)

    def kill_coordinator(self) -> None:
        """Kill -9 the coordinator."""
        assert self.coordinator is not None
        self.kill(self.coordinator.pid, "the coordinator")
        self.coordinator.popen.wait(10)

    def kill_all(self) -> None:
        """Kill -9 every process of every role at once; the disks stay."""
        for process in self.living():
            self.kill(process.pid, "all")
        for one in self._all():
            one.popen.wait(10)

    # ---- end ---------------------------------------------------------------------------------------------------------

    def _all(self) -> Iterator[Started]:
        if self.coordinator is not None:
            yield self.coordinator
        yield from self.workers.values()
        yield from self.others

    def _is_ours(self, pid: int) -> bool:
        try:
            marks = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return f"{TOKEN}={self.token}".encode() in marks

    def living(self) -> list[psutil.Process]:
        """All living processes of this cluster, whoever started them."""
        return [process for process in psutil.process_iter() if self._is_ours(process.pid)]

    def stop(self, deadline_s: float = 20.0) -> dict[str, int]:
        """End all with SIGTERM, workers first; gives their exit codes."""
        for worker in self.workers.values():
            if worker.is_alive:
                worker.popen.terminate()
        codes = {name: worker.popen.wait(deadline_s) for name, worker in self.workers.items()}
        if self.coordinator is not None:
            self.coordinator.popen.terminate()
            codes["coordinator"] = self.coordinator.popen.wait(deadline_s)
        return codes

    def close(self) -> None:
        """Kill what still runs, whatever became of it; again while a process that was just killed has made another."""
        if self._client is not None:
            self._client.close()
            self._client = None
        end = time.monotonic() + 20
        while (left := self.living()) and time.monotonic() < end:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=1)
        for one in self._all():
            one.popen.wait(10)
        self.ports.close()

    def report(self) -> str:
        """What was done and said, for a failed test."""
        parts = ["-- done: " + "; ".join(self._log)]
        with contextlib.suppress(NotDone, Unreachable, AssertionError):
            for topology in self.client.list().topologies:
                parts.append(f"-- {topology}")
                status = self.client.status(topology.name)
                parts += [f"   {one}" for one in status.processes]
                parts += [f"   {one}" for one in status.feeds]
                parts += [f"   {text}" for _, text in status.events]
                parts.append(status.traceback)
        parts += [f"-- {one.name} (process {one.pid}):\n{one.said()}" for one in self._all()]
        for log in sorted(self.folder.glob("worker-*/logs/*/*.log")):
            parts.append(f"-- {log.relative_to(self.folder)}:\n{log.read_text(errors='replace')[-2000:]}")
        return "\n".join(parts)
