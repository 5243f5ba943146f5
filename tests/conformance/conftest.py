"""The conformance suite: one meaning of a pipeline in every mode.

Rules of this folder: what is run is a function without arguments in ``tests/conformance/flows/``, so that a mode that
loads flows in other processes finds it by its address; it keeps what it gathers by ``collect`` and tells what it did by
``note``. A test takes the fixture `run` and is run in each mode; a difference between modes is a bug.

Mode "sim" is a cluster in virtual time (`consecution.testing.sim.FlowWorld`), so all of it is run always. A further
mode is a name in `MODES` and a class of ``modes.py`` in `run`.

Modes that start processes are slow: only tests with the mark ``every_mode`` are run there, unless EVERY_MODE is set in
the environment. Tests with the mark ``caller_only`` need what a cluster hasn't, a virtual one neither: a caller in
the same process, whose handle pushes, iterates, waits. Tests with the mark ``not_in`` say why one mode can't show them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.modes import ClusterRunner, Runner, SimRunner
from tests.e2e.cluster.harness import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL = ("single", "threads", "processes")
FAR = ("cluster", "sim")
MODES = (*LOCAL, *FAR)
SLOW = ("processes", "cluster")
EVERY = "EVERY_MODE"

collect_ignore = ["flows"]  # each is imported by the test that runs it


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks of this folder."""
    config.addinivalue_line("markers", "every_mode: run in the slow modes too, whatever the environment says")
    config.addinivalue_line("markers", "caller_only(why): can't be run on a cluster, and why")
    config.addinivalue_line("markers", "only(*modes): is about these modes")
    config.addinivalue_line("markers", "not_in(mode, why): can't be run in this mode, and why")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what can't run in a mode, and, unless all is asked for, most of what is slow."""
    here = str(Path(__file__).parent)
    out = [item for item in items if str(item.path).startswith(here) and _is_left_out(item)]
    config.hook.pytest_deselected(items=out)
    left_out = set(out)
    items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    mode = None if callspec is None else callspec.params.get("mode")
    only = item.get_closest_marker("only")
    if mode is not None and only is not None and mode not in only.args:
        return True
    if any(marker.args[0] == mode for marker in item.iter_markers("not_in")):
        return True
    if mode in FAR and item.get_closest_marker("caller_only") is not None:
        return True
    return mode in SLOW and EVERY not in os.environ and item.get_closest_marker("every_mode") is None


@pytest.fixture(scope="session", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Each mode in turn, so that what a mode needs is started once."""
    return str(request.param)


@pytest.fixture(scope="session")
def shared_cluster(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster | None]:
    """One coordinator and one worker for all tests in mode "cluster"; None in other modes."""
    if mode != "cluster":
        yield None
        return
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.start("a", slots=8)
        yield cluster
    assert cluster.living() == []


@pytest.fixture
def run(mode: str, shared_cluster: Cluster | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """``run(flow) -> Report`` in each mode, with a folder of its own as FOLDER and as working directory."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if shared_cluster is not None:
        return ClusterRunner(mode, tmp_path, shared_cluster)
    return SimRunner(mode, tmp_path) if mode == "sim" else Runner(mode, tmp_path)
