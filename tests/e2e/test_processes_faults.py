"""Mode "processes": executors, ackers and the calling process are killed, hang or crash; each item has one outcome."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from consecution.journal.sqlite import has_journal

if TYPE_CHECKING:
    from tests.conftest import Process, StartProcess, WaitFor

RECOVERY_MAX_S = 2.0
"""Twice what a machine without other work is held to."""

SCRIPT = Path(__file__).parent / "processes" / "hazards.py"


class Hurt:
    """The script at work.

    Attributes:
        process: The calling process.
        folder: Where its flow writes.
    """

    def __init__(self, process: StartProcess, wait_for: WaitFor, folder: Path, hazard: str, items: int) -> None:
        env = {"HAZARD": hazard, "FOLDER": str(folder), "ITEMS": str(items)}
        self.folder = folder
        self.process: Process = process(sys.executable, str(SCRIPT), env=env)
        self._wait_for = wait_for

    def told(self) -> list[int]:
        """Items that the last node has seen."""
        path = self.folder / "told"
        return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []

    def wait_told(self, count: int) -> None:
        self._wait_for(lambda: len(self.told()) >= count, 30, f"{count} items told\n{self.process.stderr}")

    def children(self, role: str) -> list[psutil.Process]:
        """Its child processes, by what they are: executors have the flow's files open in their slots."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            try:
                maps = {Path(one.path).name for one in child.memory_maps()}
            except psutil.NoSuchProcess:  # it has just ended
                continue
            is_executor = any(name.startswith("host-") for name in maps)
            if is_executor == (role == "executor"):
                found.append(child)
        return sorted(found, key=lambda one: one.pid)

    def executor(self, index: int) -> psutil.Process:
        """The executor of this number, as its crash slot names it."""
        for child in self.children("executor"):
            if any(Path(one.path).name == f"host-{index}-{child.pid}" for one in child.memory_maps()):
                return child
        pytest.fail(f"no executor {index}: {self.process.stderr}")

    def end(self) -> list[str]:
        """Wait for its end; gives the lines that it printed."""
        assert self.process.wait(60) == 0, self.process.stderr
        return self.process.stdout.splitlines()


@pytest.fixture
def hurt(process: StartProcess, wait_for: WaitFor, tmp_path: Path):  # type: ignore[no-untyped-def]
    """``hurt(hazard, items) -> Hurt``."""

    def start(hazard: str, items: int = 2000) -> Hurt:
        return Hurt(process, wait_for, tmp_path, hazard, items)

    return start


def test_a_killed_executor_is_replaced_and_its_items_are_replayed(hurt, wait_for, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The process that stands ready takes its place: what failed is in work again within a second."""
    items = 60_000  # a minute, so that it still runs when a loaded machine has the spare process ready
    run = hurt("caller", items)
    run.wait_told(200)
    wait_for(lambda: len(run.children("executor")) == 4, 20, "the spare process")
    run.executor(1).send_signal(signal.SIGKILL)
    killed_at = time.time()
    begun = wait_for(lambda: sorted(tmp_path.glob("first-*"), key=lambda one: one.stat().st_mtime)[1:], 10, "replays")
    recovered_s = float(begun[0].read_text() or "inf") - killed_at
    assert recovered_s < RECOVERY_MAX_S
    (tmp_path / "hurry").touch()
    assert run.end()[-1] == f"{items} {items} 0 True"
    assert set(run.told()) == set(range(items))


@pytest.mark.parametrize("hazard", ["caller", "journal"])
def test_a_killed_acker_or_intake_loses_nothing(hurt, hazard: str) -> None:  # type: ignore[no-untyped-def]
    run = hurt(hazard)
    run.wait_told(200)
    victim = run.children("acker")[0] if hazard == "caller" else run.executor(0)
    victim.send_signal(signal.SIGKILL)
    assert run.end()[-1] == "2000 2000 0 True"
    assert set(run.told()) == set(range(2000))
    assert "died" in run.process.stderr
    assert not has_journal(run.folder / "journal")


def test_a_stopped_executor_is_replaced_and_does_no_harm(hurt, wait_for) -> None:  # type: ignore[no-untyped-def]
    run = hurt("caller", 2500)
    run.wait_told(50)
    run.executor(1).send_signal(signal.SIGSTOP)
    wait_for(lambda: "stopped for more than" in run.process.stderr, 30, "its replacement")
    assert run.end()[-1] == "2500 2500 0 True"
    assert set(run.told()) == set(range(2500))


@pytest.mark.parametrize(
    ("hazard", "says"),
    [("segfault", "SIGSEGV"), ("loop", "call_timeout_s=1"), ("awaits", "call_timeout_s=1")],
)
def test_an_item_that_takes_its_process_with_it_is_the_only_dead_letter(hurt, hazard: str, says: str) -> None:  # type: ignore[no-untyped-def]
    run = hurt(hazard, 1000)
    lines = run.end()
    assert lines[0] == "1000 999 1 False"
    assert lines[1].startswith("failure 777 1 ")
    assert says in lines[1]
    assert set(run.told()) == set(range(1000)) - {777}
    assert hazard == "awaits" or "in work\n" in run.process.stderr, "the Python stack names the function"


def test_items_beside_each_other_that_take_their_process_with_them_end_no_run(hurt) -> None:  # type: ignore[no-untyped-def]
    """More deaths at once, one after the other, than would end a run whose processes can't start."""
    run = hurt("neighbours", 1000)
    lines = run.end()
    assert lines[0] == "1000 996 4 False"
    assert [line.split()[1:3] for line in lines[1:]] == [[str(item), "1"] for item in range(777, 781)]
    assert set(run.told()) == set(range(1000)) - set(range(777, 781))


def test_an_item_that_takes_its_process_with_it_while_nodes_sum_is_left_out_of_the_sums(hurt) -> None:  # type: ignore[no-untyped-def]
    """Its executor has no producers: those who begin anew are told what was in work there."""
    run = hurt("sums", 1000)
    lines = run.end()
    assert lines[0] == "1000 999 1 False"
    assert lines[1].startswith("failure 777 1 ")
    assert "executor 1 had this item in work when it ended: exited with code 3" in lines[1]
    assert (run.folder / "result").read_text() == str(sum(range(1000)) - 777)


def test_an_item_that_lets_its_process_die_later_is_the_only_dead_letter(hurt) -> None:  # type: ignore[no-untyped-def]
    """No slot names it: after five crashes items go one by one, and the only one under way at a crash is charged."""
    run = hurt("later", 900)
    (run.folder / "hurry").touch()
    lines = run.end()
    assert lines[0] == "900 899 1 False", run.process.stderr
    assert lines[1].startswith("failure 777 1 ")
    assert "exited with code 3" in lines[1]
    assert "items go one by one from now on" in run.process.stderr
    assert set(run.told()) >= set(range(900)) - {777}


def test_sums_in_memory_are_right_after_a_kill(hurt) -> None:  # type: ignore[no-untyped-def]
    run = hurt("total", 2000)
    run.wait_told(100)
    run.executor(1).send_signal(signal.SIGKILL)
    assert run.end()[-1] == "2000 2000 0 True"
    assert (run.folder / "result").read_text() == str(sum(range(2000)))
    assert "starts over" in run.process.stderr
    assert max(Counter(run.told()).values()) > 1


def test_children_end_with_the_process_that_started_them(hurt, wait_for) -> None:  # type: ignore[no-untyped-def]
    run = hurt("caller", 60_000)
    run.wait_told(100)
    children = [child.pid for child in psutil.Process(run.process.pid).children()]
    assert len(children) >= 4
    os.kill(run.process.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(psutil.pid_exists, children)), 10, "the end of all children")
