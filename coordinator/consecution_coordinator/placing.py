"""Where tasks, producers and processes are put: round robin over slots, with what talks to each other kept near.

Rules of this module: pure functions of their arguments; ties are broken by number and name, so that the same cluster
always gives the same answer.

1. Tasks of one stage are spread evenly over the executors; a task goes to the least loaded one, and of those to one
   that already has a task that it talks to. A door goes where most of
   those are that push to it, and counts for nothing.
2. Executors take slots round robin over the workers, the one with most free slots first; neighbours by number, which
   talk to each other by rule 1, share a worker.
3. All producers run in one executor, the one with most tasks of entry stages: they share a journal and its commits.
4. Ackers take no slot; they are spread evenly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from consecution.wire.cluster.from_client import PlanFacts


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker has to offer.

    Attributes:
        name: Of the worker.
        slots: Executors that it takes.
        used: Executors that it has.
    """

    name: str
    slots: int
    used: int

    @property
    def free(self) -> int:
        """Slots that are left; never below 0."""
        return max(0, self.slots - self.used)


@dataclass(frozen=True, slots=True)
class Share:
    """What one executor gets."""

    tasks: tuple[int, ...]
    feeds: tuple[int, ...]


def share_out(plan: PlanFacts, executors: int) -> list[Share]:
    """Give tasks and producers to executors (rules 1 and 3).

    Args:
        plan: Stages and producers.
        executors: How many; at least 1. More than there are tasks stay without one.

    Returns:
        One share for each executor.
    """
    tasks: list[list[int]] = [[] for _ in range(executors)]
    stages_at: list[set[int]] = [set() for _ in range(executors)]
    sent_by: dict[int, set[int]] = {}
    for stage in plan.stages:
        for target in stage.feeds_stages:
            sent_by.setdefault(target, set()).add(stage.number)
    where: dict[int, int] = {}
    doors: list[tuple[int, int]] = []
    for stage in plan.stages:
        near = sent_by.get(stage.number, set())
        if stage.is_door:
            pushers = Counter(where[task] for task in _tasks_of(plan, sorted(near)))
            doors.append((min(range(executors), key=lambda e: (-pushers[e], e)), stage.first))
            continue
        here = [0] * executors
        for task in range(stage.first, stage.first + stage.parallelism):
            home = min(range(executors), key=lambda e: (here[e], len(tasks[e]), not (near & stages_at[e]), e))
            here[home] += 1
            tasks[home].append(task)
            where[task] = home
        for home, held in enumerate(here):
            if held:
                stages_at[home].add(stage.number)
    for home, task in doors:
        tasks[home].append(task)
        where[task] = home
    entries = [task for feed in plan.feeds for task in _tasks_of(plan, feed.stages)]
    count = Counter(where[task] for task in entries)
    home = min(range(executors), key=lambda e: (-count[e], e))
    feeds = [tuple(feed.place for feed in plan.feeds) if e == home else () for e in range(executors)]
    return [Share(tuple(own), fed) for own, fed in zip(tasks, feeds, strict=True)]


def deal_more(tasks_of: Mapping[int, list[int]], stage: Sequence[int], more: Sequence[int]) -> None:
    """Give new tasks of a stage to executors: to whoever has fewest of that stage, then fewest of all.

    Args:
        tasks_of: The tasks of each executor, by its number; the new ones are added.
        stage: Tasks of that stage that there are already.
        more: The new ones.
    """
    own = set(stage)
    for task in more:
        home = min(tasks_of, key=lambda one: (sum(task in own for task in tasks_of[one]), len(tasks_of[one]), one))
        own.add(task)
        tasks_of[home].append(task)


def take_away(tasks_of: Mapping[int, list[int]], stage: Sequence[int], fewer: int) -> list[int]:
    """Take tasks of a stage from executors: from whoever has most of that stage, then fewest of all, so that it ends.

    Args:
        tasks_of: The tasks of each executor, by its number; those that are taken are removed.
        stage: Tasks of that stage.
        fewer: How many are taken; none when negative.

    Returns:
        Those that were taken.
    """
    left = set(stage)
    gone: list[int] = []
    while len(gone) < fewer:
        home = max(tasks_of, key=lambda one: (len(left & set(tasks_of[one])), -len(tasks_of[one]), one))
        task = max(left & set(tasks_of[home]))
        left.remove(task)
        tasks_of[home].remove(task)
        gone.append(task)
    return gone


def _tasks_of(plan: PlanFacts, stages: Sequence[int]) -> Iterator[int]:
    for stage in plan.stages:
        if stage.number in stages:
            yield from range(stage.first, stage.first + stage.parallelism)


def seats_for(rooms: Sequence[Room], executors: int) -> list[str]:
    """Give each executor a worker (rule 2).

    Args:
        rooms: All workers that take work.
        executors: How many; beyond the free slots they are spread evenly all the same.

    Returns:
        The worker of each executor, in order; [] when there is no worker.
    """
    counts = spread(rooms, executors)
    order = sorted(rooms, key=lambda room: (-counts[room.name], room.name))
    return [room.name for room in order for _ in range(counts[room.name])]


def spread(rooms: Sequence[Room], executors: int) -> dict[str, int]:
    """How many of ``executors`` each worker gets: one at a time to whoever has most free slots left."""
    counts = {room.name: 0 for room in rooms}
    if not rooms:
        return counts
    for _ in range(executors):
        best = min(rooms, key=lambda room: (room.used + counts[room.name] - room.slots, room.name))
        counts[best.name] += 1
    return counts


def best_room(rooms: Sequence[Room], near: Mapping[str, int]) -> str | None:
    """Where one more executor goes: a free slot first, near its topology next; None without a worker.

    Args:
        rooms: All workers that take work.
        near: How many processes of its topology each worker runs.
    """
    if not rooms:
        return None
    return min(
        rooms, key=lambda room: (room.free == 0, room.used - room.slots, -near.get(room.name, 0), room.name)
    ).name


def acker_room(rooms: Sequence[Room], ackers: Mapping[str, int]) -> str | None:
    """Where one more acker goes (rule 4); None without a worker.

    Args:
        rooms: All workers that take work.
        ackers: How many ackers each runs.
    """
    if not rooms:
        return None
    return min(rooms, key=lambda room: (ackers.get(room.name, 0), room.used, room.name)).name
