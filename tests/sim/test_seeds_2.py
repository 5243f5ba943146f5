from __future__ import annotations

import pytest

from tests.sim.seeds import run_part


@pytest.mark.timeout(600)
def test_no_seed_breaks_a_promise():
    run_part(1)
