"""Tells of a call of user code that doesn't come back, with the Python stack of what it does.

Rules of this module: a thread of its own looks on a few times a second and touches nothing; the thread that it watches
pays nothing for it. The engine can't do this: in mode "single" its own thread is the one that hangs.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.local.stall import place_in_words
from consecution.local.working import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from consecution.local.working import Working

log = logging.getLogger(__name__)

LOOK_S = 0.5
_OURS = str(Path(__file__).resolve().parent.parent)


class CallWatch:
    """Watches what threads work on, from `start` to `stop`. Each call is told once.

    Args:
        workings: By the id of the thread that works.
        after_s: Seconds after which a call is told.
    """

    def __init__(self, workings: Mapping[int, Working], after_s: float) -> None:
        self._watched = [(thread, working, Watch(working)) for thread, working in workings.items()]
        self._after_s = after_s
        self._look_s = min(LOOK_S, after_s / 4)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consecution-calls", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when its thread has ended."""
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        told: set[int] = set()
        looked_at = time.monotonic()
        while not self._is_over.wait(self._look_s):
            now = time.monotonic()
            if now - looked_at > 10 * self._look_s + 1.0:  # the process was stopped, or the machine slept: begin anew
                self._watched = [(thread, working, Watch(working)) for thread, working, _ in self._watched]
            looked_at = now
            for thread, working, watch in self._watched:
                if watch.oldest_s() < self._after_s:
                    told.discard(thread)
                elif thread not in told:
                    told.add(thread)
                    self._tell(thread, working)

    def _tell(self, thread: int, working: Working) -> None:
        oldest = working.oldest_awaited
        if oldest is not None and working.awaited_s(time.monotonic()) >= self._after_s:
            text = "an item is awaited at %r for more than %g s; with process_timeout_s= it would be given up"
            log.warning(text, oldest[1], self._after_s)
            return
        runner, frame = working.runner, sys._current_frames().get(thread)
        if runner is None or frame is None:
            return  # it came back a moment ago
        place = place_in_words(runner.names, is_in_work=True, queued=0)
        log.warning("%s for more than %g s; it is here now:\n%s", place, self._after_s, stack_of(frame))


def stack_of(frame: FrameType) -> str:
    """Give the lines of a thread's stack that are the user's; all of them where none is."""
    stack = traceback.extract_stack(frame)
    last_of_ours = max((place for place, one in enumerate(stack) if one.filename.startswith(_OURS)), default=-1)
    return "".join(traceback.format_list(stack[last_of_ours + 1 :] or stack)).rstrip()
