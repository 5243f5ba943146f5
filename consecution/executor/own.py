"""A task's own values: what `finish` and timers push for no item (R19).

Rules of this module: the task is their producer. They go out under roots of its own, through its own small window; it
keeps them until their verdict, replays those that fail, and ends only when none is unfinished. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from consecution.executor.frames import Frame
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Init

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consecution.guarantee.changes import Changes
    from consecution.guarantee.messages import Incarnation, Verdict
    from consecution.guarantee.window import Batch, Window

OWN_BATCH_MAX = 256


class OwnValues:
    """The window of a task over its own values.

    Args:
        task: The task's number.
        incarnation: Of the executor: the frames stay in it at first.
        window: Of the task's own; its producer's incarnation is the task's.
        new_id: Gives edge ids.
    """

    def __init__(self, task: int, incarnation: Incarnation, window: Window, new_id: Callable[[], int]) -> None:
        self._task = task
        self._incarnation = incarnation
        self.window = window
        self._new_id = new_id
        self._waiting: deque[tuple[int, Any]] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether all that was pushed has its outcome."""
        return not self._waiting and self.window.is_idle

    @property
    def wants_more(self) -> bool:
        """Whether another batch of finish pushes may be pulled."""
        return len(self._waiting) < OWN_BATCH_MAX and self.window.room() > 0

    def add(self, values: Iterable[tuple[int, Any]]) -> None:
        """Take pushes, as (place of the output, value)."""
        self._waiting.extend(values)

    def settle(self, verdict: Verdict, now: float) -> Changes:
        """Apply a verdict; gives what changed."""
        self.window.settle(verdict, now)
        return self.window.take_changes()

    def frames(self, now: float) -> tuple[list[Frame], list[Init]]:
        """Give the frames, for the task itself, that may go now, with their inits."""
        frames: list[Frame] = []
        inits: list[Init] = []
        for batch in self.window.replays(now):
            self._send(batch, frames, inits)
        while self._waiting and (room := min(self.window.room(), OWN_BATCH_MAX)) > 0:
            output = self._waiting[0][0]
            values: list[tuple[int, Any]] = []
            while self._waiting and self._waiting[0][0] == output and len(values) < room:
                values.append(self._waiting.popleft())
            self._send(self.window.introduce(values, now), frames, inits)
        return frames, inits

    def _send(self, batch: Batch, frames: list[Frame], inits: list[Init]) -> None:
        """Frame a batch; a replayed batch may hold values of several outputs, one frame can't."""
        if self.window.level is Robustness.NONE:
            frames.extend(self._cut(batch, (), ()))
            return
        cut = self._cut(batch, (batch.root,), (self.window.producer,))
        word = 0
        for frame in cut:
            frame.ids = (self._new_id(),)
            word ^= frame.ids[0]
        inits.append(Init(batch.root, self.window.producer, word, frozenset((self._incarnation,))))
        frames.extend(cut)

    def _cut(self, batch: Batch, roots: tuple[int, ...], producers: tuple[int, ...]) -> list[Frame]:
        outputs = list(dict.fromkeys(output for output, _ in batch.items))
        if len(outputs) == 1:
            values = [value for _, value in batch.items]
            return [Frame(self._task, values, roots, (), producers, None, batch.solo, outputs[0])]
        frames = []
        for output in outputs:
            mine = [index for index, (own, _) in enumerate(batch.items) if own == output]
            values = [batch.items[index][1] for index in mine]
            frames.append(Frame(self._task, values, roots, (), producers, list(mine), batch.solo, output))
        return frames
