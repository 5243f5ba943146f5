"""Standard output, and what happens when its reader leaves."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from consecution.sinks import OutputClosed, SinkError, StdoutWriter


def test_formats(capsys: pytest.CaptureFixture[str]) -> None:
    StdoutWriter().process_batch(["a", 2, "two\nlines", "end\n"])
    StdoutWriter(format="jsonl").process_batch([{"a": "é"}])
    table = StdoutWriter(format="csv")
    table.process_batch([{"a": 1}])
    table.process_batch([{"a": 2}])
    assert capsys.readouterr().out == 'a\n2\ntwo\nlines\nend\n{"a":"é"}\na\n1\n2\n'


def test_a_bad_item_prints_nothing_of_its_frame(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match="which JSON has not"):
        StdoutWriter(format="jsonl").process_batch([1, {2}, 3])
    assert capsys.readouterr().out == ""


def test_a_frame_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []

    class Out:
        write = staticmethod(writes.append)
        flush = staticmethod(lambda: writes.append("flush"))

    monkeypatch.setattr(sys, "stdout", Out)
    StdoutWriter().process_batch(["a", "b"])
    assert writes == ["a\nb\n", "flush"]


def test_a_reader_that_leaves_is_output_closed_and_exits_quietly() -> None:
    code = (
        "import sys; from consecution.sinks import StdoutWriter, OutputClosed\n"
        "w = StdoutWriter(); w.setup(); closed = 0\n"
        "for n in range(3):\n"
        "    sys.stdin.readline()\n"
        "    try: w.process_batch(['x' * 100])\n"
        "    except OutputClosed: closed += 1\n"
        "w.teardown(); sys.stderr.write(f'closed {closed}')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"x" * 100 + b"\n"
        child.stdout.close()
        child.stdin.write(b"\n\n")
        child.stdin.close()
        assert child.stderr.read() == b"closed 2"  # and not a word of Python's own
        assert child.wait(30) == 0


def test_output_closed_is_no_sink_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> Any:
            raise BrokenPipeError

        def flush(self) -> None:
            raise AssertionError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(OutputClosed, match="closed by its reader"):
        StdoutWriter().process_batch(["a"])


def test_a_process_without_a_standard_output_is_told_before_any_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SinkError, match="the process has no standard output; redirect it"):
        StdoutWriter().setup()
