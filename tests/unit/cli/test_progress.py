from __future__ import annotations

import io
from types import SimpleNamespace

from consecution.cli.progress import LiveProgress, Rate, progress_line


def progress(**changes):
    told = {
        "introduced": 1500,
        "completed": 1000,
        "failed": 0,
        "replayed": 0,
        "in_flight": 500,
        "elapsed_s": 61.7,
        "waiting_for": None,
    }
    return SimpleNamespace(**{**told, **changes})


def test_the_line_tells_what_is_in_done_and_in_flight():
    assert progress_line(progress(), 499.6) == "1:01 · 1,500 in · 1,000 done (500/s) · 500 in flight"


def test_failures_replays_and_waiting_are_told_only_when_there_are_any():
    line = progress_line(progress(failed=2, replayed=3, waiting_for="stdin"), 0.0)
    assert line.endswith("· 2 failed · 3 replayed · waiting for stdin")


def test_the_rate_forgets_what_is_older_than_its_window():
    rate = Rate()
    for second in range(100):
        last = rate.add(float(second), second * 10)
    assert last == 10.0
    assert len(rate._points) <= 4
    assert rate.add(102.0, 990) == 0.0


def test_nothing_is_left_on_a_stderr_that_is_no_terminal(capfd):
    with LiveProgress() as live:
        live.update(progress())
    assert capfd.readouterr().out == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_cursor_is_there_while_the_line_is_shown(monkeypatch):
    """Ctrl-Z gives the terminal back to a shell, and nobody runs the end of the block after a kill -9."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    with LiveProgress():
        shown = terminal.getvalue()
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") > -1
