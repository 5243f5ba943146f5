"""Runs seeds in tests; the seeds of `make test` are dealt to three files, so that they run on all cores."""

from __future__ import annotations

import pytest

from consecution.testing.sim import Family, SimWorld, Violation, scenario_of
from consecution.testing.sim.edits import Edits

SEEDS = 500
PARTS = 3


def run_part(part: int) -> None:
    """Run one part of the seeds; the first that fails says how it is repeated."""
    for seed in range(SEEDS * part // PARTS, SEEDS * (part + 1) // PARTS):
        run_seed(seed)


def run_seed(seed: int, family: Family = Family.REPLAY) -> SimWorld:
    world = SimWorld(scenario_of(seed, family))
    try:
        world.run()
    except (Violation, AssertionError) as error:
        newest = "\n".join(list(world.history)[-40:])
        pytest.fail(f"seed {seed}: {error}\n{newest}\nrepeat it: {Edits(seed, family.value).command()}")
    return world
