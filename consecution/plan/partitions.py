"""Which task of a keyed stage owns which of its 64 partitions, and who gets what when it has more tasks or fewer.

Rules of this module: pure. A key belongs to a partition for ever; what moves between tasks is partitions, and only as
many as must (design.md section 4, R6).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTITIONS = 64


@dataclass(frozen=True, slots=True)
class StageTasks:
    """The tasks of a stage whose parallelism was changed while it runs.

    Attributes:
        stage: Its number in the plan.
        tasks: Its tasks; their order says which copy each is.
        owners: The task that owns each of the 64 partitions.
    """

    stage: int
    tasks: tuple[int, ...]
    owners: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.tasks or len(self.owners) != PARTITIONS or not set(self.owners) <= set(self.tasks):
            message = f"stage {self.stage}: {len(self.owners)} partitions for tasks {self.tasks}"
            raise ValueError(message)


def dealt(tasks: Sequence[int]) -> tuple[int, ...]:
    """Who owns which partition at first: in turn.

    >>> dealt((7, 8))[:5]
    (7, 8, 7, 8, 7)
    """
    return tuple(tasks[partition % len(tasks)] for partition in range(PARTITIONS))


def moved(owners: Sequence[int], tasks: Sequence[int]) -> tuple[int, ...]:
    """Who owns which partition when a stage has these tasks from now on.

    Each task gets an equal number, or one more; a partition moves only when its owner is gone or has too many.

    Args:
        owners: The task that owns each partition now.
        tasks: Tasks of the stage from now on, at most 64.

    Returns:
        The task that owns each partition from now on.

    >>> now = dealt((0, 1))
    >>> sum(before != after for before, after in zip(now, moved(now, (0, 1, 2, 3))))
    32
    """
    has = Counter(owner for owner in owners if owner in tasks)
    each, more = divmod(PARTITIONS, len(tasks))
    richest = sorted(tasks, key=lambda task: (-has[task], tasks.index(task)))
    room = {task: each + (place < more) for place, task in enumerate(richest)}
    found: list[int | None] = []
    for owner in owners:
        keeps = room.get(owner, 0) > 0
        if keeps:
            room[owner] -= 1
        found.append(owner if keeps else None)
    takers = [task for task in tasks for _ in range(room[task])]
    takers.reverse()
    return tuple(takers.pop() if owner is None else owner for owner in found)
