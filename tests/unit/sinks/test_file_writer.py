"""Files that are whole after a kill, a full disk, and another run."""

from __future__ import annotations

import csv
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import pytest

from consecution.errors import GraphError
from consecution.sinks import FileWriter, SinkError

if TYPE_CHECKING:
    from pathlib import Path


class Pair(NamedTuple):
    a: int
    b: str


@dataclass
class Point:
    a: int
    b: str


def write(writer: FileWriter, *frames: list[Any]) -> None:
    writer.setup()
    try:
        for frame in frames:
            writer.process_batch(frame)
    finally:
        writer.teardown()


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(FileWriter(path), ["a", "", "ends with a newline\n", 3, None, b"bytes", "é"], ["next"])
    write(FileWriter(path), ["another run"])
    assert path.read_text().split("\n") == [
        *["a", "", "ends with a newline", "3", "None", "bytes", "é", "next", "another run", ""]
    ]


def test_bytes_that_were_no_text_go_out_as_they_came(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(FileWriter(path), [b"a\xffb".decode("utf-8", "surrogateescape")])
    assert path.read_bytes() == b"a\xffb\n"


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "out"
    items = [{"n": 1, "t": "zwei\nZeilen"}, [1, (2, 3)], "s", None, Point(1, "x"), date(2026, 1, 2), Decimal("1.50")]
    items += [datetime(2026, 1, 2, 3, 4), UUID(int=7)]
    write(FileWriter(path, format="jsonl"), items)
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        *[{"n": 1, "t": "zwei\nZeilen"}, [1, [2, 3]], "s", None, {"a": 1, "b": "x"}, "2026-01-02", "1.50"],
        *["2026-01-02T03:04:00", str(UUID(int=7))],
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("out.csv", b"id\n7\n"),
        ("out.jsonl", b'{"id":7}\n'),
        ("out.NDJSON", b'{"id":7}\n'),
        ("out.txt", b"{'id': 7}\n"),
        ("csv", b"{'id': 7}\n"),
    ],
)
def test_the_name_says_the_format(tmp_path: Path, name: str, written: bytes) -> None:
    write(FileWriter(tmp_path / name), [{"id": 7}])
    assert (tmp_path / name).read_bytes() == written


def test_a_format_that_is_said_goes_before_the_name(tmp_path: Path) -> None:
    write(FileWriter(tmp_path / "out.jsonl", format="lines"), ['{"id": 7}'])
    assert (tmp_path / "out.jsonl").read_text() == '{"id": 7}\n'


def test_jsonl_with_fields(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(FileWriter(path, format="jsonl", fields=["b", "a"]), [{"a": 1, "b": 2, "c": 3}, Pair(4, "x")])
    assert path.read_text() == '{"b":2,"a":1}\n{"b":"x","a":4}\n'


def test_csv_has_its_header_once_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(FileWriter(path, format="csv"), [{"a": 1, "b": 'x "y", z'}], [Point(2, "two\nlines"), Pair(3, "")])
    write(FileWriter(path, format="csv"), [{"b": "other order", "a": 4}])
    write(FileWriter(path, format="csv", fields=["a", "b"]), [(5, None)])
    write(FileWriter(path, format="csv"), [])
    assert rows_of(path) == [
        ["a", "b"],
        ["1", 'x "y", z'],
        ["2", "two\nlines"],
        ["3", ""],
        ["4", "other order"],
        ["5", ""],
    ]


def test_csv_fields_choose_and_rows_without_names_have_no_header(tmp_path: Path) -> None:
    chosen, plain = tmp_path / "chosen", tmp_path / "plain"
    write(FileWriter(chosen, format="csv", fields=["b"]), [{"a": 1, "b": 2}])
    assert rows_of(chosen) == [["b"], ["2"]]
    write(FileWriter(plain, format="csv"), [(1, 2)], [[3, "lone\rreturn"]])
    assert rows_of(plain) == [["1", "2"], ["3", "lone\rreturn"]]


def test_csv_of_another_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(FileWriter(path, format="csv"), [{"a": 1}])
    with pytest.raises(SinkError, match="has the columns a, but the items have b"):
        write(FileWriter(path, format="csv", fields=["b"]))
    with pytest.raises(SinkError, match="has the columns a, but the items have a, b"):
        write(FileWriter(path, format="csv"), [{"a": 1, "b": 2}])


BAD_ITEMS = {
    "a newline inside a line": ("lines", None, "a\nb", "holds a newline"),
    "a lone surrogate": ("lines", None, "\ud800", "surrogates not allowed"),
    "NaN": ("jsonl", None, float("nan"), "not JSON compliant"),
    "a set": ("jsonl", None, {1}, "is a set, which JSON has not"),
    "a field missing": ("csv", None, {"a": 1}, "has no field 'b'"),
    "a field too many": ("csv", None, {"a": 1, "b": 2, "c": 3}, "has the fields c, which the first item had not"),
    "a short row": ("csv", ["a", "b"], (1,), "has 1 values; expected 2: a, b"),
    "no row": ("csv", ["a", "b"], 3, "is a int; expected a dict"),
}


@pytest.mark.parametrize(("format", "fields", "bad", "message"), BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_a_bad_item_leaves_nothing_of_its_frame(
    tmp_path: Path, format: str, fields: list[str] | None, bad: object, message: str
) -> None:
    path = tmp_path / "out"
    good: Any = {"a": 1, "b": 2} if format == "csv" else "good"
    writer = FileWriter(path, format=format, fields=fields)
    writer.setup()
    writer.process_batch([good])
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError), match=message):
        writer.process_batch([good, bad, good])
    assert path.read_bytes() == before
    writer.process_batch([good])  # as the runner does, each alone
    assert len(path.read_bytes()) > len(before)
    writer.teardown()


@pytest.mark.parametrize(
    ("format", "whole", "torn"),
    [
        ("lines", b"one\ntwo\n", b"thr"),
        ("jsonl", b'{"a":1}\n', b'{"a":'),
        ("csv", b'a,b\n1,"x\ny"\n', b"2,"),
        ("csv", b'a,b\n1,"x\ny"\n', b'2,"in quotes\n'),
        ("csv", b'a,b\n1,"x"""\n', b'2,"a ""quoted"" word\nand '),
        ("lines", b"", b"only a torn line"),
        ("csv", b"", b"a,"),
    ],
)
def test_a_torn_tail_is_moved_aside(tmp_path: Path, format: str, whole: bytes, torn: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(whole + torn)
    write(FileWriter(path, format=format), [{"a": 9, "b": 9}])
    fresh = tmp_path / "fresh"
    write(FileWriter(fresh, format=format), [{"a": 9, "b": 9}])
    new = fresh.read_bytes().removeprefix(b"a,b\n" if whole else b"")
    assert path.read_bytes() == whole + new
    assert (tmp_path / "out.torn").read_bytes() == torn + b"\n"
    if format == "csv":
        assert rows_of(path)[0] == ["a", "b"]
        assert rows_of(path)[-1] == ["9", "9"]


def test_a_torn_tail_that_a_full_disk_cannot_keep_stays_where_it_is(small_disk: Path) -> None:
    path = small_disk / "out"
    before = b"one\n" + b"t" * 700_000
    path.write_bytes(before)
    with pytest.raises(SinkError, match="can't be mended: No space left on device; nothing was cut off it"):
        write(FileWriter(path), ["two"])
    assert path.read_bytes() == before
    assert (small_disk / "out.torn").read_bytes() == b"", "the next try finds the space of this one"


def test_a_large_csv_with_quotes_over_chunks_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "out"
    rows = b"".join(b'%d,"a ""b""\n c"\n' % n for n in range(120_000))
    path.write_bytes(b"a,b\n" + rows + b'7,"torn\n')
    assert path.stat().st_size > 2 << 20
    write(FileWriter(path, format="csv"), [(1, 2)])
    assert path.read_bytes() == b"a,b\n" + rows + b"1,2\n"


def test_a_whole_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"a\n")
    write(FileWriter(path), ["b"])
    assert path.read_bytes() == b"a\nb\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_is_killed_anywhere_leaves_no_half_line(process: Any, wait_for: Any, tmp_path: Path) -> None:
    path = tmp_path / "out"
    code = (
        "import sys; from consecution.sinks import FileWriter\n"
        "w = FileWriter(sys.argv[1]); w.setup()\n"
        "frame = [str(n) * 50 for n in range(1000, 9000)]\n"
        "while True: w.process_batch(frame)\n"
    )
    whole = {str(n) * 50 for n in range(1000, 9000)}
    for _ in range(3):
        size = path.stat().st_size if path.exists() else 0
        child = process(sys.executable, "-c", code, str(path))
        wait_for(lambda size=size: path.exists() and path.stat().st_size > size + 1_000_000)
        child.kill()
    write(FileWriter(path), ["1000" * 50])
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    assert set(lines) <= whole


def test_a_torn_line_of_another_task_is_mended_before_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "out"
    writer = FileWriter(path)
    writer.setup()
    writer.process_batch(["a"])
    with path.open("ab") as dead:
        dead.write(b"whole\nhal")
    writer.process_batch(["b"])
    writer.teardown()
    assert path.read_bytes() == b"a\nwhole\nb\n"


def test_tasks_that_share_a_file_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    def task(name: int) -> None:
        write(FileWriter(path, format="csv"), *([{"task": name, "n": n, "x": "y" * 3000}] for n in range(100)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(task, range(4)))
    rows = rows_of(path)
    assert rows[0] == ["task", "n", "x"]
    assert sorted((int(task), int(n)) for task, n, _ in rows[1:]) == [(t, n) for t in range(4) for n in range(100)]


def test_a_full_disk_leaves_nothing_of_the_frame(process: Any, tmp_path: Path) -> None:
    path = tmp_path / "out"
    code = (
        "import sys, resource, signal; from consecution.sinks import FileWriter, SinkError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "w = FileWriter(sys.argv[1]); w.setup(); w.process_batch(['first'])\n"
        "try: w.process_batch(['x' * 20_000])\n"
        "except SinkError as error: print(error)\n"
        "w.process_batch(['last']); w.teardown()\n"
    )
    child = process(sys.executable, "-c", code, str(path))
    assert child.wait(30) == 0, child.stderr
    assert "File too large; nothing of the frame is in the file" in child.stdout
    assert path.read_text() == "first\nlast\n"


def test_append_false_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old\n")
    write(FileWriter(path, append=False), ["new"])
    assert path.read_text() == "new\n"


def test_a_file_that_was_emptied_by_somebody_gets_its_header_again(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    writer = FileWriter(path, format="csv")
    writer.setup()
    writer.process_batch([{"a": 1}])
    os.truncate(path, 0)
    writer.process_batch([{"a": 2}])
    writer.teardown()
    assert rows_of(path) == [["a"], ["2"]]


def test_what_is_no_regular_file_is_just_written(tmp_path: Path) -> None:
    write(FileWriter("/dev/null"), ["a"])
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write(FileWriter(fifo, fsync=False), ["a", "b"])
    assert os.read(reader, 100) == b"a\nb\n"
    os.close(reader)


def test_fsync(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(FileWriter(path, fsync=True), ["a"])
    assert path.read_text() == "a\n"


def test_a_missing_folder_is_an_error_at_setup(tmp_path: Path) -> None:
    with pytest.raises(
        SinkError, match="can't be opened: No such file or directory; expected a file in a folder that exists"
    ):
        FileWriter(tmp_path / "no" / "out").setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xml"}, "expected a format of 'lines', 'csv', 'jsonl'"),
        ({"format": "lines", "fields": ["a"]}, "only csv and jsonl have fields"),
        ({"format": "csv", "fields": "ab"}, "expected a list of different names"),
        ({"format": "csv", "fields": ["a", "a"]}, "expected a list of different names"),
        ({"format": "csv", "fields": []}, "expected a list of different names"),
        ({"append": False, "parallelism": 2}, "each task would empty the file"),
        ({"path": sys.stdout}, r"use StdoutWriter\(\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        FileWriter(**{"path": "x", **options})
