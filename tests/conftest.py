"""What all tests share: no test leaves a thread or a process behind, and waiting is on a condition with a deadline."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
LEAK_GRACE_S = 3.0

os.environ.setdefault("CONSECUTION_SPARES", "1")  # workers live for seconds here, too short for six of them


class WaitFor(Protocol):
    """Type of the fixture ``wait_for``."""

    def __call__(self, condition: Callable[[], Any], deadline_s: float = 60.0, what: str = "") -> Any: ...


def _wait_for(condition: Callable[[], Any], deadline_s: float = 60.0, what: str = "") -> Any:
    """Give the first true answer of ``condition``; fail the test when there is none within ``deadline_s`` seconds."""
    end = time.monotonic() + deadline_s
    pause_s = 0.001
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            pytest.fail(f"not within {deadline_s} s: {what or condition}")
        time.sleep(pause_s)
        pause_s = min(0.05, pause_s * 1.5)


@pytest.fixture
def wait_for() -> WaitFor:
    """``wait_for(condition, deadline_s=60, what="…")``: the first true answer of the condition, or a failed test."""
    return _wait_for


def _children() -> set[int]:
    """Ids of this process's children, zombies too; cheap, as it runs round each test."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(int(pid) for pid in task.read_text().split())
        except OSError:  # that thread has just ended
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") or "a zombie"
    except OSError:
        return ""


def _is_ours(thread: threading.Thread) -> bool:
    return thread.is_alive() and not thread.name.startswith("pytest_timeout")


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or a child process behind (after three seconds' grace)."""
    threads_before = set(threading.enumerate())
    children_before = _children()
    yield

    def leaks() -> list[str]:
        left = [f"thread {t.name}" for t in set(threading.enumerate()) - threads_before if _is_ours(t)]
        commands = {pid: _command(pid) for pid in _children() - children_before}
        left += [f"process {pid} ({c})" for pid, c in commands.items() if c and "multiprocessing.resource_" not in c]
        return left

    end = time.monotonic() + LEAK_GRACE_S
    while (left := leaks()) and time.monotonic() < end:
        time.sleep(0.01)
    if left:
        pytest.fail(f"{request.node.nodeid} left behind: {', '.join(sorted(left))}")


class Process:
    """A child process that a test owns. Its output goes to files, so that it never waits for a reader.

    Attributes:
        pid: The operating system's id.
    """

    def __init__(self, command: Sequence[str], folder: Path, *, stdin: Any, cwd: Path, env: Mapping[str, str]) -> None:
        self.command = list(command)
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                self.command, stdin=stdin, stdout=out, stderr=err, cwd=cwd, env=dict(env), start_new_session=True
            )
        self.pid = self._popen.pid

    @property
    def stdin(self) -> Any:
        """The pipe to its stdin, when it was started with ``stdin=subprocess.PIPE``."""
        return self._popen.stdin

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has complained about so far."""
        return self._err.read_text(errors="replace")

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs, minus the signal's number when it was killed."""
        return self._popen.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to it alone."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """Kill -9 it, alone, and wait for its end."""
        self._popen.kill()
        self._popen.wait(30)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for its end and give its exit code; fails the test, with its output, when it doesn't end in time."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.command} still runs after {timeout_s} s\nstdout: {self.stdout}\nstderr: {self.stderr}")

    def clean_up(self) -> None:
        """Kill it and all that it started, and close its pipe."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # a session of its own: the group's id is its pid
        self._popen.wait(30)
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()


class StartProcess(Protocol):
    """Type of the fixture ``process``."""

    def __call__(
        self, *command: str, stdin: Any = ..., cwd: Path | None = ..., env: Mapping[str, str] | None = ...
    ) -> Process: ...


@pytest.fixture
def process(tmp_path: Path) -> Iterator[StartProcess]:
    """``process("prog", "arg", stdin=…, cwd=…, env=…) -> Process``; killed with all its children at teardown.

    Args of the call: ``stdin`` is a file, ``subprocess.PIPE`` or None (empty); ``cwd`` defaults to ``tmp_path``;
    ``env`` is added to this process's environment. ``sys.executable`` finds this checkout's packages.
    """
    started: list[Process] = []
    folders: list[Path] = []

    def start(
        *command: str, stdin: Any = None, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Process:
        folder = Path(tempfile.mkdtemp(prefix="process-"))
        folders.append(folder)
        paths = [str(ROOT), str(ROOT / "coordinator"), str(ROOT / "worker"), os.environ.get("PYTHONPATH", "")]
        full = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(env or {})}
        child = Process(
            command,
            folder,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            cwd=cwd or tmp_path,
            env=full,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.clean_up()
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def consecution(process: StartProcess) -> Callable[..., Process]:
    """``consecution("run", "flow.py", …, stdin=…, cwd=…, env=…) -> Process``: the command line, in its own process."""

    def start(*arguments: str, **keywords: Any) -> Process:
        return process(sys.executable, "-m", "consecution", *arguments, **keywords)

    return start


@pytest.fixture
def ports() -> Iterator[Ports]:
    """``ports.take(count=1)``: a port to bind at, and to bind at again; no client and no other test gets it."""
    with Ports() as taken:
        yield taken


@pytest.fixture
def root() -> Path:
    """The checkout's folder."""
    return ROOT


def skip_or_fail(reason: str) -> None:
    """A missing means skips here and fails where everything must run."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI this must run: {reason}")
    pytest.skip(reason)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder with a disk of its own, of 1 MiB.

    It isn't in `tmp_path`: were this process killed, the disk would stay mounted, and each later run of pytest on this
    machine would fail at its end, when it removes the folders of old runs.
    """
    if os.geteuid() != 0:
        skip_or_fail("mounting a tmpfs needs root")
    disk = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        disk.rmdir()
        skip_or_fail(f"no tmpfs: {mounted.stderr}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()
