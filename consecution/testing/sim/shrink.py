"""Makes the run that broke a promise as small as it can: fewer faults, items and nodes, while it still breaks it.

Rules of this module: a smaller run counts only if it breaks the same promise in the same way; nothing else is kept of
the first one. It tries in rounds until nothing can be taken away any more, or its time is over.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from consecution.testing.sim.promises import Violation
from consecution.testing.sim.world import SimWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consecution.testing.sim.edits import Edits

SHRINK_S = 120.0


def failure_of(edits: Edits) -> str | None:
    """How a run fails: its promise, or the kind of error; None when it doesn't, or is no run."""
    scenario = edits.scenario()
    if scenario is None:
        return None
    try:
        SimWorld(scenario).run()
    except Violation as violation:
        return violation.promise.value
    except Exception as error:  # a bug of any kind is a failure of the run
        return type(error).__name__
    return None


def shrink(
    edits: Edits,
    *,
    fails: Callable[[Edits], str | None] = failure_of,
    time_s: float = SHRINK_S,
    told: Callable[[Edits], None] = lambda edits: None,
) -> Edits:
    """Make a failing run smaller.

    Args:
        edits: What fails.
        fails: Says how a run fails.
        time_s: After this many real seconds the smallest one so far is given.
        told: Called with each smaller one.

    Returns:
        The smallest run that fails in the same way.

    Raises:
        ValueError: It doesn't fail.
    """
    how = fails(edits)
    if how is None:
        message = f"seed {edits.seed} breaks no promise; there is nothing to shrink"
        raise ValueError(message)
    end = time.monotonic() + time_s
    found = True
    while found:
        found = False
        for smaller in _smaller(edits):
            if time.monotonic() > end:
                return edits
            if fails(smaller) == how:
                edits, found = smaller, True
                told(edits)
                break
    return edits


def _smaller(edits: Edits) -> Iterator[Edits]:
    """Runs that are a little smaller, those that save most first."""
    scenario = edits.scenario()
    assert scenario is not None, "it has run"
    everything = range(len(scenario.faults)) if edits.faults is None else edits.faults
    for kept in _parts(tuple(everything)):
        yield replace(edits, faults=kept)
    for kept in _parts(tuple(item.number for item in scenario.flow.items)):
        yield replace(edits, items=kept)
    for node in reversed(scenario.flow.nodes):
        yield replace(edits, without=(*edits.without, node.name))
    if not edits.calm:
        yield replace(edits, calm=True)
    if scenario.n_executors > 1:
        yield replace(edits, executors=scenario.n_executors - 1)
    if scenario.n_ackers > 1:
        yield replace(edits, ackers=1)
    if scenario.n_hosts > 1:
        yield replace(edits, hosts=scenario.n_hosts - 1)
    for node in scenario.flow.nodes:
        if node.name not in edits.plain:
            yield replace(edits, plain=(*edits.plain, node.name))
    for item in scenario.flow.items:
        if item.kind != "good":
            yield replace(edits, good=(*edits.good, item.number))


def _parts(kept: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Leave parts out: all, halves, quarters, …, single ones.

    >>> list(_parts((1, 2)))
    [(), (2,), (1,)]
    """
    size = len(kept)
    while size:
        for start in range(0, len(kept), size):
            yield kept[:start] + kept[start + size :]
        size //= 2
