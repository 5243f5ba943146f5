"""Kill -9 a pipeline at random moments, start it again, and count what became of each item."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from consecution.database import Address
from consecution.local.feed import BATCH_MAX as BATCH_MAX
from consecution.producers.tcp import UNTOLD_ITEMS_MAX, UNTOLD_KERNEL_BYTES, UNTOLD_READ_BYTES
from tests.e2e.kill_child import BAD, TICK_S, database, last_of
from tests.e2e.senders import SHOUTER_KERNEL_BYTES, SHOUTER_LINE_BYTES, Rows, Sender, Shouter
from tests.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = ("file", "range", "async", "stdin", "iterator", "pusher", "cursor", "clock")
SENT_KINDS = ("http", "tcp", "tcp-processed")
SERVED_KINDS = (*SENT_KINDS, "cursor", "clock")
CLOCK_LINES = 100  # that a clock writes between two kills

END_S = 60.0


@dataclass(frozen=True, slots=True)
class Toll:
    """What a run with kills came to.

    Attributes:
        kind: Of the source.
        mode: Of the run.
        kills: How often the process was killed.
        items: How many items the source gave (stdin, iterator: were read).
        lost: Items that are neither in the sink nor dead letters.
        lost_most: The most that were lost by one kill.
        twice: Lines of the sink beyond the first of their item.
        introduced: As the last report counts; so are completed and failed.
        completed: Items completed.
        failed: Dead letters.
        wrong: What the report should have said, and doesn't.
    """

    kind: str
    mode: str
    kills: int
    items: int
    lost: int
    lost_most: int
    twice: int
    introduced: int
    completed: int
    failed: int
    wrong: tuple[str, ...]


def kill_again_and_again(kind: str, mode: str, folder: Path, *, kills: int, total: int, seed: int) -> Toll:
    """Run the child, kill it ``kills`` times at random moments, and let it end at last.

    Args:
        kind: One of `KINDS`.
        mode: Of the run.
        folder: Empty.
        kills: How often.
        total: Items.
        seed: Of the moments.

    Returns:
        What became of the items.
    """
    chance = random.Random(seed)
    (folder / "lines").write_text("".join(f"{number}\n" for number in range(total)))
    if kind == "cursor":
        _fill_table(folder, total)
    pipe = Feeder(total) if kind == "stdin" else None
    lasting = 1_000 * total if kind == "clock" else total  # a clock makes up for the time that a slow start takes
    for number in range(kills):
        before = _size(folder / "sink")
        child = _start(kind, mode, folder, lasting, pipe)
        if chance.random() < 0.8:  # else while it starts
            _wait_for_work(child, folder / "sink", before)
        time.sleep(chance.random() * 0.15)
        if child.poll() is not None:
            _, err = child.communicate()
            message = f"the child ended with {child.returncode} before kill {number + 1}: give it more items\n{err}"
            raise AssertionError(message)
        child.kill()
        child.communicate()
    child = _start(kind, mode, folder, total, pipe)
    out, err = child.communicate(timeout=END_S)
    if pipe is not None:
        pipe.close()
    if child.returncode:
        message = f"the last start ended with {child.returncode}\n{err}"
        raise AssertionError(message)
    if kind == "clock":
        return _clock_toll(mode, folder, kills, json.loads(out))
    return _toll(kind, mode, folder, kills, total, json.loads(out))


def _fill_table(folder: Path, total: int) -> None:
    import sqlalchemy

    engine = Address(database(folder)).engine(30.0)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE numbers (id INTEGER PRIMARY KEY)"))
        rows = [{"id": number} for number in range(total)]
        connection.execute(sqlalchemy.text("INSERT INTO numbers VALUES (:id)"), rows)
    engine.dispose()


def _clock_toll(mode: str, folder: Path, kills: int, report: list[Any]) -> Toll:
    """Each due time from the first to the last is in the sink, whenever a process was there, and was made once."""
    introduced, completed, failed, _ = report
    lines = [int(line) for line in (folder / "sink").read_text().split()]
    first = min(lines)
    sink = Counter(round((line - first) / (TICK_S * 1_000_000)) for line in lines)
    missing = sorted(set(range(max(sink) + 1)) - set(sink))
    wrong = []
    if introduced != len(sink) or completed != introduced or failed:
        wrong.append(f"introduced {introduced}, completed {completed}, failed {failed}; {len(sink)} due times")
    return Toll(
        "clock", mode, kills, max(sink) + 1, len(missing), longest_run(missing), len(lines) - len(sink),
        introduced, completed, failed, tuple(wrong),
    )  # fmt: skip


def kill_while_others_send(kind: str, mode: str, folder: Path, *, kills: int, total: int, seed: int) -> Toll:
    """Let others send numbers to a program, each until it is acknowledged, or let it read; kill it meanwhile.

    In mode "processes" every other kill takes only the executor that holds the socket and the journal.

    Args:
        kind: One of `SERVED_KINDS`.
        mode: Of the run.
        folder: Empty.
        kills: How often.
        total: Numbers that are sent.
        seed: Of the moments.

    Returns:
        What became of the numbers.
    """
    chance = random.Random(seed)
    sink = folder / "sink"
    sink.touch()
    ports = Ports()
    port = ports.take()
    source = _source(kind, port, total, folder)
    child = start_server(kind, mode, folder, port)
    try:
        for number in range(kills):
            before = _progress(source, sink)
            if source is not None:
                source.allowed = total * (number + 1) // (kills + 1)
            _wait_until(lambda: child.poll() is not None or _progress(source, sink) > before)  # noqa: B023
            time.sleep(chance.random() * 0.3)
            if child.poll() is not None:
                message = f"the child ended before kill {number + 1}\n{child.communicate()[1]}"
                raise AssertionError(message)
            if mode == "processes" and number % 2:
                _feeder_of(child.pid).kill()
                continue
            child.kill()
            child.communicate()
            child = start_server(kind, mode, folder, port)
        is_sent = _finish(source, sink, total)
        child.terminate()
        out, err = child.communicate(timeout=END_S)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdout, child.stderr):
            assert pipe is not None
            pipe.close()
        if isinstance(source, Sender):
            source.join(0.0)
        ports.close()
    if child.returncode or not is_sent:
        message = f"the last start ended with {child.returncode}, progress {_progress(source, sink)}\n{err}"
        raise AssertionError(message)
    if kind == "clock":
        return _clock_toll(mode, folder, kills, json.loads(out))
    return _toll_of_sent(kind, mode, folder, kills, total, json.loads(out))


def _source(kind: str, port: int, total: int, folder: Path) -> Sender | Rows | None:
    if kind == "clock":
        return None
    return Rows(folder) if kind == "cursor" else Sender(kind, port, total)


def _progress(source: Sender | Rows | None, sink: Path) -> int:
    """How far it has come: what senders were told, else what was written."""
    return len(source.acknowledged) if isinstance(source, Sender) else _size(sink)


def _finish(source: Sender | Rows | None, sink: Path, total: int) -> bool:
    """Let all come, and wait until it is through; False when it isn't in time."""
    if source is None:
        before = _size(sink)
        return _wait_until(lambda: _size(sink) > before + CLOCK_LINES * len("1234567890123456\n"))
    source.allowed = total
    if isinstance(source, Sender):
        return source.join(END_S)
    good = total - len(range(0, total, BAD))
    return _wait_until(lambda: len(set(sink.read_text().split())) >= good)


def kill_while_nobody_is_told(mode: str, folder: Path, *, kills: int, seed: int) -> Toll:
    """Let somebody send to a TCP producer without answers, faster than it is worked on, and kill it meanwhile.

    Args:
        mode: Of the run.
        folder: Empty.
        kills: How often.
        seed: Of the moments.

    Returns:
        What became of the numbers; what was lost by a kill is at most `UNTOLD_LOST_MAX`.
    """
    chance = random.Random(seed)
    ports = Ports()
    port = ports.take()
    shouter = Shouter(port)
    child = start_server("tcp-untold", mode, folder, port)
    try:
        for _ in range(kills):
            before, sent = _size(folder / "sink"), shouter.sent
            _wait_until(lambda: child.poll() is not None or _size(folder / "sink") > before)  # noqa: B023
            _wait_until(lambda: child.poll() is not None or shouter.sent > sent + 2 * UNTOLD_ITEMS_MAX)  # noqa: B023
            time.sleep(chance.random() * 0.2)
            child.kill()
            err = child.communicate()[1]
            assert child.returncode == -signal.SIGKILL, err
            child = start_server("tcp-untold", mode, folder, port)
        sent = shouter.sent  # drained sooner, what the last kill left in the journal would wait for the next start
        _wait_until(lambda: child.poll() is not None or last_of(folder / "sink") > sent)
        shouter.stop()
        child.terminate()
        out, err = child.communicate(timeout=END_S)
    finally:
        shouter.stop()
        child.kill()
        child.communicate()
        ports.close()
    if child.returncode:
        message = f"the last start ended with {child.returncode}\n{err}"
        raise AssertionError(message)
    introduced, completed, failed, letters = json.loads(out)
    sink = Counter(int(line) for line in (folder / "sink").read_text().split())
    missing = sorted(set(range(max(sink))) - set(sink) - set(letters))
    wrong = []
    if introduced != completed + failed or introduced != len(sink) + len(letters):
        wrong.append(f"introduced {introduced}, completed {completed}, failed {failed}; {len(sink)} in the sink")
    return Toll(
        "tcp-untold", mode, kills, shouter.sent, len(missing), longest_run(missing), sum(sink.values()) - len(sink),
        introduced, completed, failed, tuple(wrong),
    )  # fmt: skip


UNTOLD_LOST_MAX = (
    UNTOLD_ITEMS_MAX
    + (UNTOLD_READ_BYTES + 2 * UNTOLD_KERNEL_BYTES + SHOUTER_KERNEL_BYTES) // SHOUTER_LINE_BYTES
    + 2  # halves of messages
)
"""What docs/producers.md promises, in messages of the sender's size: with what its own kernel may keep."""


def last_report(server: subprocess.Popen[str]) -> list[Any]:
    """What a server that was told to end prints: introduced, completed, failed, numbers of the dead letters."""
    out, err = server.communicate(timeout=END_S)
    assert server.returncode == 0, err
    report: list[Any] = json.loads(out)
    return report


def start_server(kind: str, mode: str, folder: Path, port: int) -> subprocess.Popen[str]:
    """Start `kill_server`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.kill_server", kind, str(folder), mode, str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + END_S
    while not (is_so := condition()) and time.monotonic() < end:
        time.sleep(0.002)
    return is_so


def _feeder_of(pid: int) -> psutil.Process:
    """The executor below this process that runs the producer and has the journal: the first one, as its slot says."""
    found: list[psutil.Process] = []

    def look() -> bool:
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(Path(one.path).name == f"host-0-{process.pid}" for one in process.memory_maps()):
                    found.append(process)
        return bool(found)

    _wait_until(look)
    return found[0]


def _toll_of_sent(kind: str, mode: str, folder: Path, kills: int, total: int, report: list[Any]) -> Toll:
    """All that was acknowledged is there; under keys nothing is there twice but in effects."""
    introduced, completed, failed, letters = report
    sink = Counter(int(line) for line in (folder / "sink").read_text().split())
    bad = set(range(0, total, BAD))
    missing = sorted(set(range(total)) - bad - set(sink)) + sorted(bad - set(letters))
    wrong = []
    if introduced != total or introduced != completed + failed:
        wrong.append(f"introduced {introduced}, completed {completed}, failed {failed}; {total} were sent")
    if letters != sorted(bad) or set(sink) & bad:
        wrong.append(f"dead letters {letters}, expected {sorted(bad)}")
    return Toll(
        kind, mode, kills, total, len(missing), longest_run(missing), sum(sink.values()) - len(sink),
        introduced, completed, failed, tuple(wrong),
    )  # fmt: skip


def _start(kind: str, mode: str, folder: Path, total: int, pipe: Feeder | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.kill_child", kind, str(folder), mode, str(total)],
        stdin=subprocess.DEVNULL if pipe is None else pipe.reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _wait_for_work(child: subprocess.Popen[str], sink: Path, before: int) -> None:
    """Wait until it has written something, or has ended."""
    end = time.monotonic() + END_S
    while child.poll() is None and _size(sink) <= before and time.monotonic() < end:
        time.sleep(0.002)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class Feeder:
    """A pipe that stays open over all starts, with a writer at the other end, as in ``tail -f | consecution run``."""

    def __init__(self, total: int) -> None:
        self.reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._write, args=(total,), daemon=True)
        self._thread.start()

    def _write(self, total: int) -> None:
        with os.fdopen(self._writer, "wb", buffering=0) as pipe:
            for start in range(0, total, 100):
                data = "".join(f"{number}\n" for number in range(start, min(total, start + 100))).encode()
                while data:
                    data = data[pipe.write(data) or 0 :]

    def close(self) -> None:
        """Close the reading end; the writer is done by then."""
        self._thread.join(END_S)
        os.close(self.reader)


def _toll(kind: str, mode: str, folder: Path, kills: int, total: int, report: list[Any]) -> Toll:
    introduced, completed, failed, letters = report
    sink = Counter(int(line) for line in (folder / "sink").read_text().split())
    if kind == "iterator":
        given = {int(line) for line in (folder / "read").read_text().split()}
    elif kind == "pusher":
        given = {int(line) for line in (folder / "pushed").read_text().split()}
    else:
        given = set(range(total))
    bad = {number for number in given if number % BAD == 0}
    missing = sorted(given - bad - set(sink)) + sorted(bad - set(letters))
    wrong = []
    if introduced != completed + failed:
        wrong.append(f"introduced {introduced} is not completed {completed} + failed {failed}")
    if kind == "pusher":  # a push that was cut off may have been taken, and is then made again
        if not len(given) <= introduced <= len(given) + kills:
            wrong.append(f"introduced {introduced}, pushed {len(given)}")
    elif kind == "stdin":  # a kill between two reads leaves half a line in the pipe, which counts as an item
        if not 0 <= introduced - (len(given) - len(missing)) <= kills:
            wrong.append(f"introduced {introduced}, given {len(given)}, missing {len(missing)}")
    elif introduced != len(given) - len(missing):
        wrong.append(f"introduced {introduced}, given {len(given)}, missing {len(missing)}")
    if kind != "pusher" and letters != sorted(bad - set(missing)):
        wrong.append(f"dead letters {letters}, expected {sorted(bad - set(missing))}")
    if set(sink) & bad or failed != len(letters):
        wrong.append(f"failed {failed}, letters {letters}, bad ones in the sink {sorted(set(sink) & bad)}")
    return Toll(
        kind, mode, kills, len(given), len(missing), longest_run(missing), sum(sink.values()) - len(sink),
        introduced, completed, failed, tuple(wrong),
    )  # fmt: skip


def longest_run(numbers: list[int]) -> int:
    """How many neighbours were lost together at most: what one kill took."""
    longest = here = 0
    last = None
    for number in sorted(numbers):
        here = here + 1 if last is not None and number == last + 1 else 1
        longest, last = max(longest, here), number
    return longest
