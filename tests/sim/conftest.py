from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def quiet():
    """What processes log in thousands of virtual runs is nobody's news."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)
