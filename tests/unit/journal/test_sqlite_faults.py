"""Full disks, failing fsyncs, killed writers and second processes (fault matrix 20, 22, 24)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from itertools import count, takewhile
from pathlib import Path

import pytest

from consecution.errors import JournalError
from consecution.guarantee.changes import Changes
from consecution.journal.base import Counts, Header, JournalFull, ProducerHeader, ProducerRound, Round
from consecution.journal.slots import CrashSlots, RootTable, read_roots
from consecution.journal.sqlite import (
    FILE_NAME,
    SqliteJournal,
    fresh,
    open_for_editing,
    open_for_reading,
)
from tests.conftest import skip_or_fail

ROOT = Path(__file__).resolve().parents[3]
PIPE = ProducerHeader("pipe", "pipe", "fire and forget")
HEADER = Header("flow")


def completed(count: int) -> Round:
    return Round((ProducerRound("pipe", Changes(completed=[range(count)]), count, (), count),))


# -- full disk ---------------------------------------------------------------------------------------------------------


def fill(disk: Path) -> Path:
    """Take all space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return ballast


def fits(journal: SqliteJournal, seq: int) -> bool:
    try:
        journal.append("pipe", seq, ["x" * 20_000], sync=True)
    except JournalFull:
        return False
    return True


def test_a_full_disk_rolls_back_and_the_same_calls_succeed_when_there_is_space(small_disk):
    journal = SqliteJournal(small_disk / "journal")
    journal.begin(HEADER, [PIPE])
    journal.append("pipe", 0, ["a", "b"], sync=True)
    ballast = fill(small_disk)
    items = ["x" * 100_000, "y"]
    for sync in (True, False):
        with pytest.raises(JournalFull, match="disk is full"):
            journal.append("pipe", 2, items, sync=sync)
    assert [seq for seq, _ in journal.read_entries("pipe")] == [0, 1]
    failures = 0
    for _ in range(3):
        try:
            journal.commit(completed(2))
        except JournalFull:
            failures += 1
            assert journal.counts() == Counts(introduced=2)
        else:
            break
    ballast.unlink()
    if failures == 3:
        journal.commit(completed(2))
    journal.append("pipe", 2, items, sync=True)
    journal.close()
    journal = SqliteJournal(small_disk / "journal")
    restored = journal.begin(HEADER, [PIPE])["pipe"]
    assert (restored.mark, restored.next_seq) == (2, 4)
    assert list(journal.read_entries("pipe")) == [(2, "x" * 100_000), (3, "y")]
    assert journal.counts() == Counts(introduced=4, completed=2)
    journal.close()


def test_items_are_refused_while_there_is_space_for_outcomes_only(small_disk):
    journal = SqliteJournal(small_disk / "journal")
    journal.begin(HEADER, [PIPE])
    journal.append("pipe", 0, ["a", "b"], sync=True)
    ballast = fill(small_disk)
    os.truncate(ballast, ballast.stat().st_size - 100_000)
    with pytest.raises(JournalFull, match="kept for outcomes"):
        journal.append("pipe", 2, ["c"], sync=True)
    journal.commit(completed(2))
    assert journal.counts() == Counts(introduced=2, completed=2)
    ballast.unlink()
    journal.append("pipe", 2, ["c"], sync=True)
    journal.close()


def test_a_writer_killed_on_a_full_disk_leaves_what_was_confirmed(small_disk, tmp_path):
    journal = SqliteJournal(small_disk / "journal")
    journal.begin(HEADER, [PIPE])
    confirmed = sum(1 for _ in takewhile(bool, (fits(journal, seq) for seq in count())))
    assert confirmed > 10
    shutil.copytree(small_disk / "journal", tmp_path / "left", ignore=shutil.ignore_patterns("*-shm"))
    journal.close()
    journal = SqliteJournal(tmp_path / "left")
    assert journal.begin(HEADER, [PIPE])["pipe"].entries == confirmed
    journal.close()


def test_no_space_for_a_new_journal_or_slots_is_said_at_once(small_disk):
    fill(small_disk)
    with pytest.raises(JournalFull):
        SqliteJournal(small_disk / "journal")
    with pytest.raises(JournalFull):
        CrashSlots(small_disk / "slots")


def test_a_root_table_that_cannot_grow_keeps_what_it_has(small_disk):
    table = RootTable(small_disk / "roots")
    fill(small_disk)
    held = 1024  # one page of rows fits before it must grow
    for root in range(held):
        table.put(root, range(root, root + 1))
    with pytest.raises(JournalFull):
        table.put(held, range(held, held + 1))
    table.remove(0)
    with pytest.raises(JournalFull):
        table.put(held, [0, 2])  # one of its two rows would fit
    table.put(0, range(1))
    assert len(table) == held
    assert read_roots(small_disk / "roots") == {root: [root] for root in range(held)}
    table.close()


# -- fsync -------------------------------------------------------------------------------------------------------------

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int count;
int synced(void) { return count; }
static int one(const char *name, int fd) {
    int (*next)(int) = dlsym(RTLD_NEXT, name);
    count++;
    if (getenv("FAIL_FSYNC") && access(getenv("FAIL_FSYNC"), F_OK) == 0) { errno = EIO; return -1; }
    return next(fd);
}
int fsync(int fd) { return one("fsync", fd); }
int fdatasync(int fd) { return one("fdatasync", fd); }
"""

SYNCED = """
import ctypes, pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
from test_sqlite_faults import *
folder = pathlib.Path(sys.argv[1])
synced = ctypes.CDLL(None).synced
journal = SqliteJournal(folder / "journal")
journal.begin(HEADER, [PIPE])
{body}
"""

COUNTED = """
counts = [synced()]
for seq, sync in enumerate((True, True, False, False, True)):
    journal.append("pipe", seq, ["a"], sync=sync)
    counts.append(synced())
journal.commit(completed(5), sync=True); counts.append(synced())
print([after - before for before, after in zip(counts, counts[1:])])
"""

FAILED = """
journal.append("pipe", 0, ["a"], sync=True)
(folder / "fail").touch()
try:
    journal.append("pipe", 1, ["b"], sync=True)
except JournalFull: print("full")
except JournalError as error: print("refused:", error)
(folder / "fail").unlink()
try: journal.append("pipe", 1, ["b"], sync=True)
except JournalError as error: print("then:", error)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        skip_or_fail("watching fsync needs a C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    return folder / "shim.so"


def run_with(shim: Path, folder: Path, body: str) -> str:
    script = SYNCED.format(root=str(ROOT), tests=str(Path(__file__).parent), body=body)
    env = os.environ | {"LD_PRELOAD": str(shim), "FAIL_FSYNC": str(folder / "fail")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sync_transactions_are_fsynced_before_they_return_and_others_cost_no_fsync(shim, tmp_path):
    counts = run_with(shim, tmp_path, COUNTED)
    assert counts.strip() == "[1, 1, 0, 0, 1, 1]"


def test_a_failed_fsync_is_no_full_disk_and_closes_the_journal(shim, tmp_path):
    told = run_with(shim, tmp_path, FAILED)
    assert told.startswith("refused:")
    assert "is closed" in told.splitlines()[1]
    journal = SqliteJournal(tmp_path / "journal")
    assert list(journal.begin(HEADER, [PIPE])) == ["pipe"]
    assert next(journal.read_entries("pipe")) == (0, "a")
    journal.close()


# -- other processes ---------------------------------------------------------------------------------------------------

WRITER = """
import pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
from test_sqlite_faults import *
journal = SqliteJournal(pathlib.Path(sys.argv[1]))
journal.begin(HEADER, [PIPE])
for seq in range(1_000_000):
    journal.append("pipe", seq, [{{"n": seq}}], sync=False)
    if seq % 3 == 2:
        done = Changes(completed=[range(seq - 2, seq)])
        ranges = tuple((first, first + 2) for first in range(3, seq, 3))
        journal.commit(Round((ProducerRound("pipe", done, 2, ranges, seq + 1),)))
    print(seq, flush=True)
"""


class Writer:
    def __init__(self, folder: Path) -> None:
        script = WRITER.format(root=str(ROOT), tests=str(Path(__file__).parent))
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.last = int(self.process.stdout.readline())

    def read_until(self, seq: int) -> None:
        assert self.process.stdout is not None
        while self.last < seq:
            self.last = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        whole = self.process.stdout.read().split("\n")[:-1]
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait()
        if whole:
            self.last = int(whole[-1])


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_loses_nothing_that_was_confirmed(tmp_path, seed):
    writer = Writer(tmp_path)
    writer.read_until(random.Random(seed).randrange(1, 120))
    writer.kill()
    journal = SqliteJournal(tmp_path)
    restored = journal.begin(HEADER, [PIPE])["pipe"]
    assert restored.next_seq in (writer.last + 1, writer.last + 2)
    unfinished = [seq for seq, item in journal.read_entries("pipe") if item == {"n": seq}]
    finished = {seq for start, stop in restored.ranges for seq in range(start, stop)} | set(range(restored.mark))
    assert sorted({*unfinished, *finished}) == list(range(restored.next_seq))
    assert finished.isdisjoint(unfinished)
    assert journal.counts() == Counts(introduced=restored.next_seq, completed=len(finished))
    journal.close()


def test_a_second_process_is_refused_with_the_pid_and_readers_are_welcome(tmp_path):
    writer = Writer(tmp_path)
    try:
        writer.read_until(20)
        for refused in (lambda: SqliteJournal(tmp_path), lambda: fresh(tmp_path), lambda: open_for_editing(tmp_path)):
            with pytest.raises(JournalError, match=f"in use by process {writer.process.pid}; .*--journal DIR"):
                refused()
        reader = open_for_reading(tmp_path)
        first = reader.counts()
        assert first.introduced >= 20
        assert [producer.name for producer in reader.producers()] == ["pipe"]
        writer.read_until(first.introduced + 50)  # the writer is ahead of what was read of it
        reader.load()
        assert reader.counts().introduced > first.introduced
        with pytest.raises(JournalError, match="opened for reading"):
            reader.append("pipe", 10**6, ["a"], sync=False)
        reader.close()
    finally:
        writer.kill()
    reader = open_for_reading(tmp_path)  # after a death, before anybody has recovered it
    assert reader.counts().introduced > writer.last
    reader.close()


def test_the_same_process_cannot_open_a_journal_twice(tmp_path):
    journal = SqliteJournal(tmp_path)
    with pytest.raises(JournalError, match=f"in use by process {os.getpid()}"):
        SqliteJournal(tmp_path)
    journal.close()
    SqliteJournal(tmp_path).close()


def test_a_closed_journal_can_be_read_where_nothing_can_be_written(tmp_path):
    folder = tmp_path / "journal"
    journal = SqliteJournal(folder)
    journal.begin(HEADER, [PIPE])
    journal.append("pipe", 0, ["a"], sync=False)
    journal.close()
    journal.close()
    if os.geteuid() != 0:
        skip_or_fail("reading as another user needs root")
    for path in (tmp_path, *tmp_path.parents):
        if "pytest-" in str(path):  # those that this run of pytest made
            path.chmod(0o755)
    folder.chmod(0o555)
    (folder / FILE_NAME).chmod(0o444)
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "from pathlib import Path\n"
        "from consecution.journal.sqlite import open_for_reading\n"
        f"import os; os.setuid(65534)\n"
        f"journal = open_for_reading(Path({str(folder)!r}))\n"
        "print(list(journal.read_entries('pipe')))\n"
        "journal.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[(0, 'a')]", done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [FILE_NAME, "lock"]


def test_dead_letters_can_be_edited_without_knowing_the_flow(tmp_path):
    from consecution.guarantee.changes import DeadLetter

    journal = SqliteJournal(tmp_path)
    journal.begin(HEADER, [PIPE])
    journal.append("pipe", 0, ["a"], sync=False)
    journal.commit(Round((ProducerRound("pipe", Changes(dead=[DeadLetter(0, 4, None, "a")]), 1, (), 1),)))
    journal.close()
    journal = open_for_editing(tmp_path)
    assert journal.pipeline == "flow"
    assert journal.drop_dead_letters([1]) == 1
    journal.close()
    reader = open_for_reading(tmp_path)
    assert reader.dead_letters() == []
    reader.close()


def test_a_journal_whose_maker_died_before_its_first_begin_holds_nothing_and_can_be_read(tmp_path):
    SqliteJournal(tmp_path).close()
    reader = open_for_reading(tmp_path)
    assert (reader.producers(), reader.dead_letters(), reader.counts()) == ([], [], Counts())
    editor = open_for_editing(tmp_path)
    assert editor.drop_dead_letters([]) == 0
    editor.close()
    writer = SqliteJournal(tmp_path)
    writer.begin(HEADER, [PIPE])
    writer.append("pipe", 0, ["a"], sync=False)
    reader.load()  # a reader that was there before sees what came
    assert (reader.pipeline, reader.counts().introduced) == ("flow", 1)
    writer.close()
    reader.close()
