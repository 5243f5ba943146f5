"""Finds out that a full window doesn't empty, so that a human hears of it and of the place.

Rules of this module: pure; it is told where the run stands and what time it is. One word for each stall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consecution.report import Progress

WINDOW_FULL = "unfinished items: the window is full (pending_max)"
"""What `Progress.waiting_for` says while a producer's window has no room."""


class StallWatch:
    """Watches a run whose window is full.

    Args:
        after_s: Seconds without any outcome after which it is a stall.

    >>> from consecution.report import Progress
    >>> full = Progress(8, 0, 0, 0, 8, 1.0, WINDOW_FULL)
    >>> watch = StallWatch(30.0)
    >>> watch.look(full, 0.0), watch.look(full, 29.0), watch.look(full, 31.0), watch.look(full, 32.0)
    (None, None, 31.0, None)
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._seen: tuple[int, ...] | None = None
        self._since = 0.0
        self._was_told = False

    def look(self, progress: Progress, now: float) -> float | None:
        """Give for how many seconds a full window has had no outcome; None unless that is to be told now."""
        outcomes = (progress.completed, progress.failed, progress.replayed)
        seen = outcomes if progress.waiting_for == WINDOW_FULL else None
        if seen is None or seen != self._seen:
            self._seen, self._since, self._was_told = seen, now, False
            return None
        if self._was_told or now - self._since < self._after_s:
            return None
        self._was_told = True
        return now - self._since


def place_in_words(nodes: Sequence[str], *, is_in_work: bool, queued: int, held: int = 0) -> str | None:
    """Say what keeps items at some nodes; None when nothing does.

    Args:
        nodes: Their names.
        is_in_work: A call of one of them is in work.
        queued: Frames, or items, that wait before them.
        held: Items that one of them holds.

    >>> place_in_words(["parse", "store"], is_in_work=True, queued=3)
    "a call at 'parse' … 'store' is in work, 3 wait before it"
    """
    names = " … ".join(repr(name) for name in dict.fromkeys((nodes[0], nodes[-1]))) if nodes else "a consecutor's end"
    parts = [f"a call at {names} is in work"] if is_in_work else []
    if held:
        parts.append(f"{names} holds {held} of them")
    if queued:
        parts.append(f"{queued} wait before {'it' if parts else names}")
    return ", ".join(parts) or None


def warning(seconds: float, in_flight: int, places: Iterable[str | None]) -> str:
    """What is said of a stall.

    >>> warning(31.0, 8, ["8 wait before 'store'"])
    "the window is full and nothing was finished for 31 s: 8 items are unfinished; 8 wait before 'store'"
    """
    where = "; ".join(filter(None, places)) or "nothing is in work here: they are on their way, or held"
    return f"the window is full and nothing was finished for {seconds:.0f} s: {in_flight} items are unfinished; {where}"
