"""Crashes of which nobody knows the guilty item, counted for each topology; see `consecution.guarantee.crashes`.

Rules of this module: pure. What doesn't count either: a process that says itself why it ends, or that was never listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.guarantee.crashes import Crashes, is_unexplained_end
from consecution.wire.placement import Role

if TYPE_CHECKING:
    from consecution.wire.cluster.from_worker import ChildExit
    from consecution_coordinator.course import Course
    from consecution_coordinator.desk import Desk
    from consecution_coordinator.kept import Topology


def is_unexplained(exit_: ChildExit) -> bool:
    """Whether a process crashed and nobody knows of which item."""
    if exit_.id.role != Role.EXECUTOR.value or not exit_.was_wanted or exit_.broke:
        return False
    return is_unexplained_end(exit_.code, exit_.runs, is_cut=exit_.is_cut)


def count(course: Course, exit_: ChildExit, desk: Desk) -> None:
    """Count an unexplained crash of a listed process."""
    kept, limits = course.kept, desk.limits
    crashes = _crashes_of(kept)
    begins = crashes.crashed(
        desk.wall, may_care=course.has_journal, after=limits.careful_after, quiet_s=limits.careful_s
    )
    kept.crashes, kept.crashed_at, kept.is_careful = crashes.count, crashes.at, crashes.is_careful
    if begins:
        course.tell_history(
            f"executors crashed {crashes.count} times, the last time {exit_.id.role}-{exit_.id.index}, and no "
            "item was found guilty: items go one by one from now on, and no timer fires; the log of the producers' "
            "executor names those that were under way each time",
            desk,
            is_warning=True,
        )


def watch(course: Course, desk: Desk) -> None:
    """Let items go in batches again when nothing has crashed for long."""
    kept, quiet_s = course.kept, desk.limits.careful_s
    crashes = _crashes_of(kept)
    if crashes.look(desk.wall, quiet_s=quiet_s):
        kept.crashes, kept.is_careful = crashes.count, crashes.is_careful
        course.has_news = True
        course.tell_history(f"nothing crashed for {quiet_s:g} s: items go in batches again", desk)


def _crashes_of(kept: Topology) -> Crashes:
    return Crashes(kept.crashes, kept.crashed_at, kept.is_careful)
