"""Files that are closed when they are full or old, by one atomic rename."""

from __future__ import annotations

import fcntl
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from consecution import Consecutor
from consecution.errors import GraphError
from consecution.sinks import FileWriter
from consecution.sinks.rotation import Rotation, next_name
from consecution.testing.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S = 3600.0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines_of(folder: Path) -> list[str]:
    """All lines, in the order in which they were written."""
    paths = [*sorted(folder.glob("out-*")), *folder.glob("out.*")]
    return [line for path in paths for line in path.read_text().splitlines()]


def test_a_file_is_closed_before_it_grows_beyond_its_size(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "out.txt", rotate_bytes=20)
    writer.setup()
    for number in range(10):
        writer.process_batch([f"line {number}"])  # 7 bytes
    writer.teardown()
    assert names(tmp_path) == [*(f"out-{number:06d}.txt" for number in (1, 2, 3, 4)), "out.txt"]
    assert {path.stat().st_size for path in tmp_path.glob("out-*")} == {14}
    assert lines_of(tmp_path) == [f"line {number}" for number in range(10)]


def test_a_frame_is_never_split(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "out", rotate_bytes=10)
    writer.setup()
    writer.process_batch(["a"])
    writer.process_batch(["b" * 30, "c"])
    writer.process_batch(["d"])
    writer.teardown()
    assert names(tmp_path) == ["out", "out-000001", "out-000002"]
    assert (tmp_path / "out-000002").read_text() == "b" * 30 + "\nc\n"


def test_each_csv_file_has_its_header(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "out.csv", format="csv", rotate_bytes=12)
    writer.setup()
    for number in range(4):
        writer.process_batch([{"a": number, "b": number}])
    writer.teardown()
    assert [path.read_text() for path in sorted(tmp_path.glob("out-*"))] == ["a,b\n0,0\n1,1\n"]
    assert (tmp_path / "out.csv").read_text() == "a,b\n2,2\n3,3\n"


def test_a_new_period_begins_a_new_file_also_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(time=10 * HOUR_S + 1)
    path = tmp_path / "out.txt"

    def write(*lines: str) -> None:
        writer = FileWriter(path, rotate_every=timedelta(hours=1), clock=clock)
        writer.setup()
        for line in lines:
            writer.process_batch([line])
            os.utime(path, (clock.time(), clock.time()))
        writer.teardown()

    write("10:00", "10:00 too")
    clock.advance(HOUR_S - 2)
    write("10:59")
    clock.advance(1.5)
    write("11:00")
    clock.advance(5 * HOUR_S)
    write("16:00")
    assert [file.read_text() for file in sorted(tmp_path.glob("out-*"))] == ["10:00\n10:00 too\n10:59\n", "11:00\n"]
    assert path.read_text() == "16:00\n"


def test_an_idle_file_is_closed_by_the_timer_when_its_period_is_over(tmp_path: Path) -> None:
    clock = ManualClock(time=HOUR_S * 2)
    path = tmp_path / "out.txt"
    writer = FileWriter(path, rotate_every=timedelta(hours=1), clock=clock)
    assert writer._slot.options.every == timedelta(seconds=60)
    writer.setup()
    writer.process_batch(["x"])
    os.utime(path, (clock.time(), clock.time()))
    writer.on_timer()
    assert names(tmp_path) == ["out.txt"]
    clock.advance(HOUR_S)
    writer.on_timer()
    assert names(tmp_path) == ["out-000001.txt", "out.txt"]
    assert path.read_text() == ""
    clock.advance(HOUR_S)
    writer.on_timer()
    assert names(tmp_path) == ["out-000001.txt", "out.txt"]  # an empty file is not worth a name
    writer.teardown()


@pytest.mark.parametrize("mode", ["single", "threads", "processes"])
def test_an_idle_file_is_closed_in_a_run_without_data(tmp_path: Path, process: Any, wait_for: Any, mode: str) -> None:
    (tmp_path / "flow.py").write_text(
        "import sys\nfrom datetime import timedelta\nfrom consecution import Consecutor, PipeProducer\n"
        "from consecution.sinks import FileWriter\n"
        "flow = Consecutor(PipeProducer('in.txt', follow=True)"
        " | FileWriter('out.txt', grouping='shuffle', rotate_every=timedelta(seconds=1)), journal=None)\n"
        "flow.run(sys.argv[1])\n"
    )
    (tmp_path / "in.txt").write_text("one\n")
    child = process(sys.executable, "flow.py", mode)
    closed = tmp_path / "out-000001.txt"
    wait_for(closed.exists, 60, "the file's last name")
    assert closed.read_text() == "one\n"
    child.kill()


def test_tasks_that_share_a_file_rotate_it_together(tmp_path: Path) -> None:
    def task(name: int) -> None:
        writer = FileWriter(tmp_path / "out.txt", rotate_bytes=500)
        writer.setup()
        for number in range(200):
            writer.process_batch([f"{name} {number} {'x' * 20}"])
        writer.teardown()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(task, range(4)))
    lines = lines_of(tmp_path)
    assert Counter(line.split(" x")[0] for line in lines) == Counter(f"{n} {m}" for n in range(4) for m in range(200))
    for name in range(4):
        assert [int(line.split()[1]) for line in lines if line.startswith(f"{name} ")] == list(range(200))
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 500


def test_a_file_that_another_task_filled_during_a_rotation_is_rotated_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between giving the old file its last name and locking the new one, others write there."""
    one, other = (FileWriter(tmp_path / "out.txt", rotate_bytes=100) for _ in range(2))
    for writer in (one, other):
        writer.setup()
    one.process_batch(["1" * 90])
    lock, calls = fcntl.flock, []

    def flock(fd: int, how: int) -> None:
        if fd == one._fd:
            calls.append(fd)
            if len(calls) == 3:  # the old file, the old one again, and now the new one
                other.process_batch(["2" * 90])
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    one.process_batch(["3" * 90])
    for writer in (one, other):
        writer.teardown()
    assert lines_of(tmp_path) == ["1" * 90, "2" * 90, "3" * 90]
    assert names(tmp_path) == ["out-000001.txt", "out-000002.txt", "out.txt"]


def test_a_kill_at_any_moment_leaves_whole_lines_and_names_go_on(tmp_path: Path, process: Any, wait_for: Any) -> None:
    code = (
        "import sys; from consecution.sinks import FileWriter\n"
        "w = FileWriter(sys.argv[1], rotate_bytes=300); w.setup()\n"
        "start = int(sys.argv[2])\n"
        "for n in range(start, start + 10**9): w.process_batch([f'{n} is whole'])\n"
    )
    folder = tmp_path / "files"
    folder.mkdir()
    for start in range(3):
        before = len(names(folder))
        child = process(sys.executable, "-c", code, str(folder / "out.txt"), str(start * 10**9))
        wait_for(lambda before=before: len(names(folder)) > before + 20, 30, "20 rotations")
        child.kill()
    writer = FileWriter(folder / "out.txt", rotate_bytes=300)
    writer.setup()
    writer.process_batch(["0 is whole"])
    writer.teardown()
    assert all(line.endswith(" is whole") for line in lines_of(folder))
    numbers = [int(line.split()[0]) for line in lines_of(folder)][:-1]
    assert numbers == sorted(set(numbers))
    closed = [name for name in names(folder) if name.startswith("out-")]
    assert closed == [f"out-{number:06d}.txt" for number in range(1, len(closed) + 1)]


def test_a_rotating_writer_without_a_period_needs_no_timer(tmp_path: Path) -> None:
    report = Consecutor(["a", "b"] | FileWriter(tmp_path / "out.txt", rotate_bytes=10**6), "x", journal=None).run()
    assert report.completed == 2
    assert (tmp_path / "out.txt").read_text() == "a\nb\n"


def test_sizes_and_ages() -> None:
    assert not Rotation(100, 60.0).is_due(0, 0.0, now=1e9, more=1000)  # an empty file is never closed
    assert not Rotation(100, None).is_due(100, 0.0, now=1e9, more=0)  # the timer adds nothing
    assert not Rotation(None, 60.0).is_due(1, 60.0, now=119.9, more=1)
    assert Rotation(None, 60.0).is_due(1, 60.0, now=120.0, more=1)
    assert Rotation(None, 60.0).is_due(1, 120.0, now=119.0, more=1)  # a clock that was set back


def test_names_leave_other_files_alone() -> None:
    assert next_name("/x/a.b/out.log", ["out-000002.log", "out-0003.log", "xout-000009.log", "out-000008.log.gz"]) == (
        "/x/a.b/out-000003.log"
    )


@pytest.mark.parametrize(
    "options", [{"rotate_bytes": 0}, {"rotate_bytes": True}, {"rotate_every": 5}, {"rotate_every": timedelta(0)}]
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match="expected a number of bytes above 0, and a timedelta of a second or more"):
        FileWriter("out", **options)
