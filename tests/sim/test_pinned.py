"""Every seed that once broke a promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from consecution.testing.sim import Family
from tests.sim.seeds import run_seed

LINES = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
PINNED = [line.partition(" ")[0] for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize("pinned", PINNED)
def test_a_seed_that_once_broke_a_promise(pinned):
    family, _, seed = pinned.rpartition(":")
    run_seed(int(seed), Family(family or Family.REPLAY))
