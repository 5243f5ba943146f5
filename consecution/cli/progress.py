"""The live line of a run, on stderr, when it is a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType


class Progress(Protocol):
    """What the engine tells at most ten times a second."""

    @property
    def introduced(self) -> int: ...  # noqa: D102
    @property
    def completed(self) -> int: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102
    @property
    def replayed(self) -> int: ...  # noqa: D102
    @property
    def in_flight(self) -> int: ...  # noqa: D102
    @property
    def elapsed_s(self) -> float: ...  # noqa: D102
    @property
    def waiting_for(self) -> str | None: ...  # noqa: D102


RATE_WINDOW_S = 2.0


class Rate:
    """Items completed in one second, over the last two seconds.

    >>> rate = Rate()
    >>> [rate.add(now, count) for now, count in [(0.0, 0), (1.0, 500), (2.0, 1000), (4.0, 1000)]]
    [0.0, 500.0, 500.0, 0.0]
    """

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []

    def add(self, now_s: float, completed: int) -> float:
        """Take what is completed by now and give the rate, items a second."""
        self._points.append((now_s, completed))
        while len(self._points) > 2 and now_s - self._points[1][0] >= RATE_WINDOW_S:
            self._points.pop(0)
        first_s, first = self._points[0]
        return (completed - first) / (now_s - first_s) if now_s > first_s else 0.0


def progress_line(progress: Progress, rate: float) -> str:
    """Give the line: what entered, what is done and how fast, what is on its way, what went wrong.

    Args:
        progress: What the engine told.
        rate: Items completed in one second.
    """
    minutes, seconds = divmod(int(progress.elapsed_s), 60)
    parts = [
        f"{minutes}:{seconds:02}",
        f"{progress.introduced:,} in",
        f"{progress.completed:,} done ({rate:,.0f}/s)",
        f"{progress.in_flight:,} in flight",
    ]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.replayed:
        parts.append(f"{progress.replayed:,} replayed")
    if progress.waiting_for:
        parts.append(f"waiting for {progress.waiting_for}")
    return " · ".join(parts)


class LiveProgress:
    """Shows the line and takes it away at the end; a context manager.

    When stdout is a terminal too, rich moves what the flow prints above the line. Call update from one thread.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._rate = Rate()
        self._live = Live(
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=True,
        )

    def __enter__(self) -> LiveProgress:
        self._live.start()
        self._live.console.show_cursor(True)  # whoever stops (Ctrl-Z) or kills the run has a shell with a cursor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show what the engine told."""
        from rich.text import Text

        line = progress_line(progress, self._rate.add(progress.elapsed_s, progress.completed))
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
