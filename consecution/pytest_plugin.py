"""The pytest plugin: what `consecution.testing` has, as fixtures. Installed with the library, it is there by itself.

Rules of this module: nothing of the library is imported before a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.report import Report
    from consecution.testing.clock import ManualClock


@pytest.fixture
def virtual_clock() -> ManualClock:
    """A clock that `run_flow` may run on: ``run_flow(flow, items, clock=virtual_clock)``."""
    from consecution.testing.flows import new_clock

    return new_clock()


@pytest.fixture
def run_flow() -> Callable[..., Report]:
    """`consecution.testing.run_flow`: run a pipeline on a virtual clock."""
    from consecution.testing import run_flow

    return run_flow


@pytest.fixture
def chaos() -> Callable[..., Report]:
    """`consecution.testing.chaos`: run a flow in processes and kill some of them."""
    from consecution.testing import chaos

    return chaos


@pytest.fixture
def assert_all_completed() -> Callable[..., None]:
    """`consecution.testing.assert_all_completed`: check a report."""
    from consecution.testing import assert_all_completed

    return assert_all_completed
