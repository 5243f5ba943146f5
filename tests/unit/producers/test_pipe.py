"""Files, pipes and stdin, as the operating system gives them."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from consecution.errors import GraphError, SourceError
from consecution.producers import PipeProducer, SourceClass
from consecution.testing.producer_contract import drain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # the test closed it


def test_a_pipe_gives_whole_lines_as_they_come(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    producer = PipeProducer(read_end)
    producer.open()
    assert producer.source is SourceClass.FIRE_AND_FORGET
    assert producer.read(10, 0.0).items == []
    os.write(write_end, b"a\nb\nhal")
    assert producer.read(1, 1.0).items == ["a"]
    assert producer.ready_in() == 0.0
    assert producer.read(10, 1.0).items == ["b"]
    assert producer.ready_in() is None
    assert producer.read(10, 0.0).items == []
    os.write(write_end, b"f\n")
    assert select.select([producer.fileno()], [], [], 1.0)[0]
    read = producer.read(10, 1.0)
    assert (read.items, read.ended) == (["half"], False)
    os.write(write_end, b"last")
    os.close(write_end)
    assert producer.read(10, 1.0).items == []
    read = producer.read(10, 1.0)
    assert (read.items, read.ended) == (["last"], True)
    producer.close()
    os.fstat(read_end)  # the caller's descriptor stays open


def test_a_pipe_is_not_read_beyond_what_is_asked_for(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    os.set_blocking(write_end, False)
    producer = PipeProducer(read_end)
    producer.open()
    os.write(write_end, b"x\n" * 1000)
    assert len(producer.read(10, 1.0).items) == 10
    written = 0
    try:
        while True:
            written += os.write(write_end, b"y" * 4096)
    except BlockingIOError:
        pass
    producer.read(10, 0.0)
    assert select.select([], [write_end], [], 0.0)[1] == []  # held back: the pipe is still full
    producer.close()


def test_stdin_from_a_pipe(process: Any) -> None:
    code = (
        "from consecution.producers import PipeProducer\n"
        "p = PipeProducer(); p.open(); print(p.source.value, p.lives_in_caller)\n"
        "while True:\n"
        "    read = p.read(100, 5.0); print(read.items)\n"
        "    if read.ended: break\n"
    )
    child = process(sys.executable, "-c", code, stdin=subprocess.PIPE)
    child.stdin.write(b"one\ntwo")
    child.stdin.close()
    assert child.wait(30) == 0, child.stderr
    assert child.stdout.splitlines() == ["fire and forget True", "['one']", "['two']"]


def test_stdin_from_a_file_is_re_readable_from_where_it_stands(process: Any, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text("header\none\ntwo\n")
    code = (
        "import os; from consecution.producers import PipeProducer\n"
        "os.lseek(0, 7, os.SEEK_SET)\n"
        "p = PipeProducer(); p.open(); print(p.source.value, list(p.read(9, 0).positions), p.check(11) is not None)\n"
        "p.open(11, p.check(11)); print(p.read(9, 0).items)\n"
    )
    with path.open() as stdin:
        child = process(sys.executable, "-c", code, stdin=stdin)
    assert child.wait(30) == 0, child.stderr
    assert child.stdout.splitlines() == ["re-readable [7, 11] True", "['two']"]


def test_a_fifo_waits_for_its_writer_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    producer = PipeProducer(path)
    producer.open()
    read = producer.read(10, 0.0)
    assert (read.items, read.ended) == ([], False)
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"a\n")
    assert producer.read(10, 1.0).items == ["a"]
    os.close(writer)
    assert producer.read(10, 1.0).ended
    producer.close()


def test_a_socket_is_a_pipe() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"a\nb")
        theirs.shutdown(socket.SHUT_WR)
        assert drain(PipeProducer(ours.fileno())).items == ["a", "b"]


@pytest.mark.parametrize("as_pipe", [False, True])
def test_text_that_is_none_is_an_error_after_the_lines_before_it(
    tmp_path: Path, pipe: tuple[int, int], as_pipe: bool
) -> None:
    data = b"good\nalso\nbad \xff here\nnever\n"
    path = tmp_path / "lines"
    path.write_bytes(data)
    os.write(pipe[1], data)
    producer = PipeProducer(pipe[0] if as_pipe else path)
    producer.open()
    assert producer.read(10, 1.0).items == ["good", "also"]
    for _ in range(2):
        with pytest.raises(SourceError, match=r"byte 14 \(0xff, in the line at byte 10\) is no utf-8 text"):
            producer.read(10, 1.0)
    producer.close()


@pytest.mark.parametrize(
    ("errors", "expected"), [("replace", ["a\ufffdb", "\ufffd"]), ("surrogateescape", ["a\udcffb", "\udcc3"])]
)
def test_error_handlers_make_text_of_any_bytes(tmp_path: Path, errors: str, expected: list[str]) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\xffb\n\xc3\n")
    assert drain(PipeProducer(path, errors=errors)).items == expected


@pytest.mark.parametrize("as_pipe", [False, True])
def test_a_line_that_is_too_long_is_an_error_after_the_lines_before_it(
    tmp_path: Path, pipe: tuple[int, int], as_pipe: bool
) -> None:
    path = tmp_path / "lines"
    data = b"short\n" + b"x" * 50_000 + b"\nnext\n"
    path.write_bytes(data)
    os.write(pipe[1], data)
    producer = PipeProducer(pipe[0] if as_pipe else path, line_bytes_max=1000)
    producer.open()
    assert producer.read(10, 1.0).items == ["short"]
    for _ in range(2):
        with pytest.raises(SourceError, match="the line at byte 6 is longer than 1000 bytes"):
            producer.read(10, 1.0)
    producer.close()


def test_a_line_of_exactly_the_bound_is_right(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 1000 + b"\n" + b"y" * 1001)
    producer = PipeProducer(path, line_bytes_max=1000)
    producer.open()
    assert producer.read(10, 0.0).items == ["x" * 1000]
    with pytest.raises(SourceError, match="the line at byte 1001"):
        producer.read(10, 0.0)
    producer.close()


def test_a_line_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    line = "é" * 400_000
    path.write_text(f"a\n{line}\nb\n")
    assert drain(PipeProducer(path)).items == ["a", line, "b"]


def test_an_endless_line_in_a_pipe_does_not_fill_the_memory(tmp_path: Path) -> None:
    producer = PipeProducer("/dev/zero")
    producer.open()
    for _ in range(16):
        assert producer.read(10, 1.0).items == []
    with pytest.raises(SourceError, match="the line at byte 0 is longer than 1048576 bytes"):
        producer.read(10, 1.0)
    producer.close()


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes("ä\nö\n".encode("latin-1"))
    assert drain(PipeProducer(path, encoding="latin-1")).items == ["ä", "ö"]
    path.write_bytes("表\nソ\n".encode("shift_jis"))
    assert drain(PipeProducer(path, encoding="shift_jis")).items == ["表", "ソ"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "utf-16"}, "lines are cut at the byte 0x0A"),
        ({"encoding": "klingon"}, "unknown encoding"),
        ({"errors": "ignroe"}, "unknown error handler"),
        ({"line_bytes_max": 0}, "expected 1 or more bytes"),
        ({"source": 0, "follow": True}, "only a path can be followed"),
        ({"source": object()}, "expected a path"),
        ({"source": True}, "expected a path"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        PipeProducer(**{"source": "x", **options})


def test_what_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="missing': it can't be opened: No such file"):
        PipeProducer(tmp_path / "missing").open()
    with pytest.raises(SourceError, match="it is a folder"):
        PipeProducer(tmp_path).open()


def test_a_closed_descriptor_is_an_error(pipe: tuple[int, int]) -> None:
    producer = PipeProducer(pipe[0])
    os.close(pipe[0])
    with pytest.raises(SourceError, match="it can't be opened: Bad file descriptor"):
        producer.open()


def test_a_file_read_by_a_for_loop_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb\n")
    with path.open() as file:
        next(file)
        with pytest.raises(GraphError, match=r"take lines off it with readline\(\)"):
            PipeProducer(file)


def test_a_closed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb\n")
    with path.open() as file:
        pass
    with pytest.raises(GraphError, match="it is no open file"):
        PipeProducer(file)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    producer = PipeProducer(path)
    producer.open()
    assert producer.read(1, 0.0).items == ["one"]
    os.truncate(path, 2)
    assert producer.read(1, 0.0).items == ["two"]
    with pytest.raises(SourceError, match="cut to 2 bytes while 8 had been read"):
        producer.read(1, 0.0)
    producer.close()


def test_a_path_is_kept_over_a_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines").write_text("a\n")
    monkeypatch.chdir(tmp_path)
    producer = PipeProducer("lines")
    monkeypatch.chdir("/")
    assert drain(producer).items == ["a"]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb\n")
    before = sorted(os.listdir("/proc/self/fd"))
    for position in (None, 2, 99):
        try:
            drain(PipeProducer(path), position)
        except SourceError:
            assert position == 99
    producer = PipeProducer(path, follow=True)
    drain(producer, items_max=2)
    assert sorted(os.listdir("/proc/self/fd")) == before
