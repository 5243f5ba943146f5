"""Every seed that once broke a promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.seeds import run_seed

LINES = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
PINNED = [line.partition(" ")[0] for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize("seed", PINNED)
def test_a_seed_that_once_broke_a_promise(seed):
    run_seed(int(seed))
