"""chaos: run a flow in real processes, and kill some of them on the way.

Rules of this module: only processes that the run itself started are killed. What is chosen by chance comes from a seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from typing import TYPE_CHECKING

from consecution.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consecution.consecutor import Consecutor
    from consecution.report import Report
    from consecution.running import Running

ROLES = {"executor": ("executor",), "acker": ("acker",), "any": ("executor", "acker")}
LOOK_S = 0.002


class Missed(AssertionError):
    """The flow was over before all was killed, or didn't end in time."""


def chaos(
    consecutor: Consecutor,
    *,
    kill: str = "executor",
    after: int | Sequence[int] = 100,
    seed: int = 0,
    workers: int | None = None,
    flow: str | None = None,
    deadline_s: float = 120.0,
) -> Report:
    """Run a flow in mode "processes", kill -9 a process each time that so many items are completed, and let it end.

    Args:
        consecutor: With producers that end. It must be found by its address, as for ``run(mode="processes")``.
        kill: "executor", "acker" or "any".
        after: Completed items after which one is killed; several numbers kill several times.
        seed: Chooses whom; the moment is the machine's.
        workers: Executors; None: one for each core, at least two.
        flow: The flow's address, when the consecutor isn't a global of a module.
        deadline_s: Real seconds after which the run is stopped.

    Returns:
        The report: with REPLAY every item is completed, or failed by its own fault.

    Raises:
        Missed: An AssertionError: the flow was over before all was killed, or didn't end within ``deadline_s``.
        GraphError: An argument is wrong, or the flow can't be run so.
    """
    if kill not in ROLES:
        message = f"chaos(kill={kill!r}): expected one of {', '.join(map(repr, ROLES))}"
        raise GraphError(message)
    if any(producer.endless for producer in consecutor.producers):
        message = f"chaos: {consecutor.name} has a producer that doesn't end; give it one that does"
        raise GraphError(message)
    moments = sorted([after] if isinstance(after, int) else after)
    chance = random.Random(seed)
    end = time.monotonic() + deadline_s
    running = consecutor.start("processes", workers, journal=None, flow=flow)
    try:
        for moment in moments:
            _wait_for(running, moment, end)
            _kill_one(running, ROLES[kill], chance, moment)
        while not running.is_over:
            _check_time(running, end)
            time.sleep(LOOK_S)
    except BaseException:
        running.stop()
        raise
    return running.end()


def _wait_for(running: Running, completed: int, end: float) -> None:
    while running.progress.completed < completed:
        if running.is_over:
            break
        _check_time(running, end)
        time.sleep(LOOK_S)


def _kill_one(running: Running, roles: Sequence[str], chance: random.Random, moment: int) -> None:
    victims = sorted((role, index, pid) for role, index, pid in running.processes if role in roles)
    if running.is_over or not victims:
        message = (
            f"the flow was over, with {running.progress.completed} items completed, before a process could be killed "
            f"after {moment}: kill earlier (after=…), or give it more items or slower ones"
        )
        raise Missed(message)
    _, _, pid = chance.choice(victims)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _check_time(running: Running, end: float) -> None:
    if time.monotonic() > end:
        message = f"the flow did not end in time; it stood at {running.progress}"
        raise Missed(message)
