"""What `make test` leaves out, since another test beside it shows the same in less time."""

from __future__ import annotations

import os

import pytest

long_run = pytest.mark.skipif(
    not os.environ.get("EVERY_MODE"),
    reason="a minute long, and a shorter test stands for it: set EVERY_MODE=1",
)
