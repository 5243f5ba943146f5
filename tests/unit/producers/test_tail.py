"""Following a file that grows and is rotated."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from consecution.errors import SourceError
from consecution.producers import PipeProducer
from consecution.testing.clock import ManualClock
from consecution.testing.producer_contract import drain, journalled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Log:
    """A log file with its writer, its rotations, and a producer that follows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.producer = self.make()
        self.stamp = 1_000_000_000

    def make(self) -> PipeProducer:
        return PipeProducer(self.path, follow=True, clock=self.clock)

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)
        self.touch(self.path)

    def touch(self, path: Path) -> None:
        """Give the file a time of its own, as if time had passed."""
        self.stamp += 1
        os.utime(path, (self.stamp, self.stamp))

    def rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def shift(self) -> None:
        for number in range(20, 0, -1):
            if self.rotated(number).exists():
                self.rotated(number).rename(self.rotated(number + 1))

    def rename(self) -> None:
        self.shift()
        self.path.rename(self.rotated(1))

    def copy_and_truncate(self) -> None:
        self.shift()
        shutil.copyfile(self.path, self.rotated(1))
        self.touch(self.rotated(1))
        os.truncate(self.path, 0)

    def read(self, wait_s: float = 3.0) -> list[Any]:
        """Give what comes until nothing came for ``wait_s`` seconds of the clock."""
        items: list[Any] = []
        while new := self.producer.read(3, wait_s).items:
            items += new
        return items


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "app.log")
    yield log
    log.producer.close()


def test_it_waits_for_the_file_and_for_the_ends_of_lines(log: Log) -> None:
    log.producer.open()
    assert log.producer.endless
    assert log.read() == []
    log.write("one\ntw")
    assert log.read() == ["one"]
    log.write("o\n")
    assert log.read() == ["two"]
    assert not log.producer.read(1, 0.0).ended


def test_renamed_and_created(log: Log) -> None:
    log.write("a\nb\n")
    log.producer.open()
    assert log.read() == ["a", "b"]
    log.write("c\n")
    log.rename()
    assert log.read() == ["c"]
    log.write("d\n")
    assert log.read() == ["d"]


def test_a_writer_that_keeps_the_renamed_file_open_loses_nothing(log: Log) -> None:
    log.write("a\n")
    log.producer.open()
    assert log.read() == ["a"]
    with log.path.open("a") as late:
        log.rename()
        log.write("new\n")
        assert log.read(0.5) == []  # within the grace: the old file may still grow
        late.write("late\n")
        late.flush()
        assert log.read() == ["late", "new"]


def test_a_last_line_without_its_end_is_the_last_item_of_a_renamed_file(log: Log) -> None:
    log.write("a\nhalf")
    log.producer.open()
    assert log.read() == ["a"]
    log.rename()
    log.write("b\n")
    assert log.read() == ["half", "b"]


def test_two_rotations_between_two_looks(log: Log) -> None:
    log.write("a\n")
    log.producer.open()
    assert log.read() == ["a"]
    log.rename()
    log.write("b\n")
    log.rename()
    log.write("c\n")
    log.rename()
    log.write("d\n")
    assert log.read() == ["b", "c", "d"]


def test_two_rotations_within_one_tick_of_the_file_clock(log: Log) -> None:
    log.write("a\n")
    log.producer.open()
    assert log.read() == ["a"]
    for line in "bcd":
        log.rename()
        log.write(f"{line}\n")
    for path in log.path.parent.iterdir():
        os.utime(path, (5, 5))
    assert log.read() == ["b", "c", "d"]


def test_copied_and_truncated(log: Log) -> None:
    log.write("a\nb\n")
    log.producer.open()
    assert log.read() == ["a", "b"]
    log.write("c\nd\n")
    log.copy_and_truncate()
    log.write("e\n")
    assert log.read() == ["c", "d", "e"]


def test_copied_truncated_and_grown_beyond_what_was_read(log: Log) -> None:
    log.write("a\n")
    log.producer.open()
    assert log.read() == ["a"]
    log.write("b\n")
    log.copy_and_truncate()
    log.write("much longer than before\n" * 3)
    assert log.read() == ["b", *["much longer than before"] * 3]


def test_truncated_without_a_copy_goes_on_at_the_start_and_warns(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    log.write("a\nb\n")
    log.producer.open()
    assert log.read() == ["a", "b"]
    os.truncate(log.path, 0)
    log.write("c\n")
    assert log.read() == ["c"]
    assert "was truncated at offset=4 and no copy" in caplog.text
    log.write("d\n")
    assert log.read() == ["d"]


def test_unrelated_and_compressed_neighbours_are_left_alone(log: Log) -> None:
    for name in ("app.log.bak", "app.log.2.gz", "app.logger", "app.log.swp", "other.log.1"):
        (log.path.parent / name).write_text("wrong\n")
    log.write("a\n")
    log.producer.open()
    assert log.read() == ["a"]
    log.rename()
    log.write("b\n")
    assert log.read() == ["b"]


@pytest.mark.parametrize("rotate", ["rename", "copy_and_truncate"])
def test_a_restart_at_each_place_finds_the_rest_over_rotations(log: Log, rotate: str) -> None:
    log.write("a\nb\n")
    log.producer.open()
    places: list[tuple[str, object, object]] = []

    def read() -> None:
        while (read := log.producer.read(1, 3.0)).items:
            places.append((read.items[0], read.positions[0], log.producer.check(read.positions[0])))

    read()
    log.write("c\n")
    getattr(log, rotate)()
    log.write("d\n")
    read()
    getattr(log, rotate)()
    log.write("e\nf\n")
    read()
    log.producer.close()
    assert "".join(item for item, _, _ in places) == "abcdef"
    getattr(log, rotate)()
    log.write("g\n")
    for place, (_, position, check) in enumerate(places):
        rest = drain(log.make(), journalled(position), journalled(check), items_max=7 - place)
        assert "".join(rest.items) == "abcdefg"[place:]


def test_a_restart_after_the_file_was_compressed_away_is_an_error(log: Log) -> None:
    log.write("a\nb\n")
    log.producer.open()
    first = log.producer.read(1, 0.0)
    check = log.producer.check(first.next_position)
    log.producer.close()
    log.rename()
    log.write("c\n")
    log.rotated(1).rename(log.path.parent / "app.log.1.gz")
    with pytest.raises(SourceError, match="neither there nor among its rotated files"):
        log.producer.open(first.next_position, check)


def test_a_restart_before_the_first_line(log: Log) -> None:
    log.producer.open()
    read = log.producer.read(1, 0.0)
    check = log.producer.check(read.next_position)
    log.producer.close()
    log.write("a\n")
    log.producer.open(journalled(read.next_position), check)
    assert log.read() == ["a"]


def test_a_position_of_a_plain_file_is_refused(log: Log) -> None:
    log.write("a\n")
    with pytest.raises(SourceError, match=r"expected \[generation, offset\]"):
        log.producer.open(2, None)
    with pytest.raises(SourceError, match="expected a byte offset"):
        PipeProducer(log.path).open([0, 2], None)


def test_a_line_that_is_too_long_is_an_error(log: Log) -> None:
    log.write("a\n" + "x" * 2_000_000 + "\n")
    log.producer.open()
    assert log.producer.read(10, 0.0).items == ["a"]
    with pytest.raises(SourceError, match="the line at byte 2 is longer"):
        log.producer.read(10, 0.0)


@pytest.mark.parametrize("rotate", ["rename", "copy_and_truncate"])
def test_a_busy_writer_that_rotates_loses_nothing(tmp_path: Path, rotate: str) -> None:
    """A real writer and real rotations at the same time; the copy holds the writer back, as no file system does."""
    log = Log(tmp_path / "app.log")
    producer = PipeProducer(log.path, follow=True, rotation_grace_s=0.05)
    lines = 3000

    def write() -> None:
        for first in range(0, lines, 100):
            log.write("".join(f"{number}\n" for number in range(first, first + 100)))
            if first % 500 == 400:
                has_begun.wait(10)
                getattr(log, rotate)()

    has_begun = threading.Event()  # of a file that was rotated before the first look nobody knows
    writer = threading.Thread(target=write)
    producer.open()
    writer.start()
    items: list[str] = []
    reads = 0
    while len(items) < lines and reads < 2000:
        items += producer.read(70, 0.02).items
        if items:
            has_begun.set()
        reads += 1
    writer.join()
    producer.close()
    assert items == [str(number) for number in range(lines)]
