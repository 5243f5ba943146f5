"""Fixtures for tests with a whole cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.cluster.harness import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


collect_ignore = ["flows"]  # each needs its options to be imported


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster on loopback, not yet started; whatever becomes of it, nothing stays behind."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with Cluster(folder) as one:
        yield one
    assert one.living() == []


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where flows write."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
