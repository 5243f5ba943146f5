"""Crashes of which nobody knows the guilty item: when there are many, items go one by one.

Rules of this module: pure. A process that an item has damaged may die a while later, with any other item in work, or
none. Then its slot doesn't name the guilty one, and everything that was under way is replayed, the guilty one among it.
One by one (R15), an item either is completed before its process dies, and is replayed no more, or is the only one under
way at the crash, and is charged.

What doesn't count: a crash with one item in the slot, which is charged for it; a process that says itself why it ends,
that was never listed, or that somebody killed.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from consecution.journal.slots import ALL
from consecution.wire.placement import Role

if TYPE_CHECKING:
    from consecution.wire.cluster.from_worker import ChildExit
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk

BY_SOMEBODY = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, None)


def is_unexplained(exit_: ChildExit) -> bool:
    """Whether a process crashed and nobody knows of which item."""
    is_crash = exit_.was_wanted and not exit_.broke and exit_.code not in BY_SOMEBODY
    if exit_.id.role != Role.EXECUTOR.value or not is_crash:
        return False
    is_one = len(exit_.runs) == 1 and exit_.runs[0][2] == 1 and exit_.runs[0][2] != ALL
    return exit_.is_cut or not is_one


def count(course: Course, exit_: ChildExit, desk: Desk) -> None:
    """Count an unexplained crash of a listed process."""
    kept = course.kept
    is_soon = desk.wall - kept.crashed_at < desk.limits.careful_s
    kept.crashes = kept.crashes + 1 if is_soon else 1
    kept.crashed_at = desk.wall
    if kept.crashes >= desk.limits.careful_after and not kept.is_careful and course.has_journal:
        kept.is_careful = True
        course.tell_history(
            f"executors crashed {kept.crashes} times, the last time {exit_.id.role}-{exit_.id.index}, and no item was "
            "found guilty: items go one by one from now on; the log of the producers' executor names those that were "
            "under way each time",
            desk,
            is_warning=True,
        )


def watch(course: Course, desk: Desk) -> None:
    """Let items go in batches again when nothing has crashed for long."""
    kept = course.kept
    if kept.is_careful and desk.wall - kept.crashed_at >= desk.limits.careful_s:
        kept.is_careful, kept.crashes = False, 0
        course.has_news = True
        course.tell_history(f"nothing crashed for {desk.limits.careful_s:g} s: items go in batches again", desk)
