"""The worker's folder, its logs and its code."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from typing import TYPE_CHECKING

import pytest
from consecution_worker.code_store import CodeRefused, CodeStore
from consecution_worker.data_dir import LOG_FOLDERS_MAX, DataDir
from consecution_worker.leftovers import note_files
from consecution_worker.task_log import TaskLog

from consecution.errors import ClusterError
from consecution.wire.bundle import Bundle, make_bundle
from consecution.wire.cluster.to_worker import BundleInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[DataDir]:
    one = DataDir(tmp_path / "data", "w1")
    yield one
    one.close()


def test_a_second_worker_on_one_folder_is_refused_by_the_name_of_the_first(data_dir: DataDir) -> None:
    with pytest.raises(ClusterError, match=rf"in use by worker 'w1' \(process {os.getpid()}\).*another --data-dir"):
        DataDir(data_dir.path, "w2")


def test_the_folder_is_free_again_after_its_worker(data_dir: DataDir) -> None:
    data_dir.close()
    DataDir(data_dir.path, "w2").close()


def test_a_folder_that_cant_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match=r"can't be written \(File exists\).*--data-dir"):
        DataDir(tmp_path / "file", "w1")


def test_the_identity_stays_with_the_folder(data_dir: DataDir) -> None:
    first = data_dir.identity()
    assert len(first) == 32
    data_dir.close()
    again = DataDir(data_dir.path, "w2")
    assert again.identity() == first
    again.close()


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "..", ".", "a/b", "", "\0"])
def test_no_name_leads_out_of_the_folder(data_dir: DataDir, name: str) -> None:
    for path in (data_dir.log(name, name), data_dir.journal(name, name), data_dir.bundle(name)):
        assert data_dir.path in path.parents
        assert ".." not in path.parts
    assert data_dir.in_work(name, name, 1).is_dir()


def test_clean_up_removes_what_a_killed_agent_left_and_keeps_what_is_needed(data_dir: DataDir) -> None:
    slot = data_dir.in_work("flow", "executor-0", 1) / "slot"
    slot.write_bytes(b"x")
    half = data_dir.bundles / "abc.part"
    half.write_bytes(b"x")
    whole = data_dir.bundle("abc")
    whole.mkdir()
    journal = data_dir.journal("flow", "feeds")
    journal.mkdir()
    data_dir.clean_up()
    assert [path.exists() for path in (slot, half, whole, journal)] == [False, False, True, True]


def test_logs_of_old_topologies_go_first(data_dir: DataDir) -> None:
    for number in range(LOG_FOLDERS_MAX + 2):
        TaskLog(data_dir.log(f"flow{number}", "executor-0"), 100)
        os.utime(data_dir.log(f"flow{number}", "executor-0").parent, (number, number))
    data_dir.clean_up()
    assert len(list(data_dir.logs.iterdir())) == LOG_FOLDERS_MAX
    assert not (data_dir.logs / "flow1").exists()


def test_code_that_nobody_runs_is_removed_after_a_while(data_dir: DataDir) -> None:
    for name in ("used", "old", "new"):
        data_dir.bundle(name).mkdir()
    os.utime(data_dir.bundle("old"), (0, 0))
    os.utime(data_dir.bundle("used"), (0, 0))
    assert data_dir.remove_bundles(frozenset({"used"}), 3600.0) == ["old"]
    assert data_dir.bundle("used").is_dir()
    assert data_dir.bundle("new").is_dir()


def test_code_stays_when_a_flow_wrote_results_beside_it(data_dir: DataDir, caplog: pytest.LogCaptureFixture) -> None:
    """As ``submit flow.py -D out=results`` does: the relative path begins in the worker's copy of the flow's folder."""
    for name in ("left", "wrote"):
        folder = data_dir.bundle(name)
        folder.mkdir()
        (folder / "flow.py").write_text("pass")
        note_files(folder)
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "flow.pyc").write_bytes(b"")
    (data_dir.bundle("wrote") / "results").mkdir()
    (data_dir.bundle("wrote") / "results" / "distances.csv").write_text("km")
    for name in ("left", "wrote"):
        os.utime(data_dir.bundle(name), (0, 0))
    assert data_dir.remove_bundles(frozenset(), 3600.0) == ["left"]
    assert data_dir.remove_bundles(frozenset(), 3600.0) == []
    (said,) = [record.getMessage() for record in caplog.records]
    assert "wrote stays: a flow wrote there by a relative path (results/distances.csv); move it" in said
    assert (data_dir.bundle("wrote") / "results" / "distances.csv").read_text() == "km"


def test_the_folder_of_a_reaped_process_goes_with_that_of_its_topology(data_dir: DataDir) -> None:
    first, second = data_dir.in_work("flow", "executor-0", 1), data_dir.in_work("flow", "executor-1", 1)
    data_dir.remove_work(first)
    assert second.is_dir()
    data_dir.remove_work(second)
    assert list(data_dir.work.iterdir()) == []


def test_a_journal_that_nobody_needs_goes_with_the_folder_of_its_topology(data_dir: DataDir) -> None:
    for name in ("flow.1.g0.t1", "flow.2.g0.t1"):
        data_dir.journal("flow", name).mkdir()
    data_dir.remove_journal("flow", "flow.1.g0.t1")
    data_dir.remove_journal("flow", "../../lock")
    assert [path.name for path in (data_dir.journals / "flow").iterdir()] == ["flow.2.g0.t1"]
    assert (data_dir.path / "lock").exists()
    data_dir.remove_journal("flow", "flow.2.g0.t1")
    assert list(data_dir.journals.iterdir()) == []


# ---- logs ------------------------------------------------------------------------------------------------------------


def test_a_log_is_rotated_under_its_writer(tmp_path: Path) -> None:
    log = TaskLog(tmp_path / "logs" / "executor-0.log", 10)
    descriptor = log.open()
    os.write(descriptor, b"0123456789abc")
    assert log.rotate()
    os.write(descriptor, b"new")
    os.close(descriptor)
    assert log.path.read_bytes() == b"new"
    assert (tmp_path / "logs" / "executor-0.log.1").read_bytes() == b"3456789abc"
    assert not log.rotate()


def test_the_end_of_a_log_and_what_came_since(tmp_path: Path) -> None:
    log = TaskLog(tmp_path / "a.log", 100)
    assert log.tail(10) == ""
    log.write("one")
    size = log.size()
    log.write("two")
    assert log.tail(4) == "two\n"
    assert log.tail(100, since=size) == "-- two\n"
    assert log.tail(100, since=1000) == "-- one\n-- two\n"  # it was rotated in between


def test_a_log_is_read_in_parts(tmp_path: Path) -> None:
    log = TaskLog(tmp_path / "a.log", 100)
    log.path.write_bytes(b"0123456789")
    assert log.part(-4, 2) == ("67", 8)
    assert log.part(8, 100) == ("89", 10)
    assert log.part(10, 100) == ("", 10)
    assert log.part(11, 3) == ("012", 3)


# ---- code ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(data_dir: DataDir) -> CodeStore:
    return CodeStore(data_dir)


@pytest.fixture
def code(tmp_path: Path) -> Bundle:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "flow.py").write_text("x = 1")
    return make_bundle(tmp_path / "code")


def test_code_comes_in_parts_is_checked_and_stays(store: CodeStore, data_dir: DataDir, code: Bundle) -> None:
    info = BundleInfo(code.sha256, len(code.data))
    assert not store.has(info)
    assert store.add(code.sha256, code.data[:50], is_last=False) is None
    folder = store.add(code.sha256, code.data[50:], is_last=True)
    assert folder is not None
    assert (folder / "flow.py").read_text() == "x = 1"
    assert store.has(info)
    assert [path.name for path in data_dir.bundles.iterdir()] == [code.sha256]


def test_code_with_another_checksum_is_refused_and_nothing_stays(
    store: CodeStore, data_dir: DataDir, code: Bundle
) -> None:
    info = BundleInfo(code.sha256, len(code.data))
    store.has(info)
    with pytest.raises(CodeRefused, match="SHA-256"):
        store.add(code.sha256, code.data[:-1] + b"X", is_last=True)
    assert list(data_dir.bundles.iterdir()) == []
    assert not store.has(info)


def test_code_that_climbs_out_is_refused_and_nothing_stays(store: CodeStore, data_dir: DataDir) -> None:
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../evil.py", "x = 1")
    name = hashlib.sha256(evil.getvalue()).hexdigest()
    store.has(BundleInfo(name, len(evil.getvalue())))
    with pytest.raises(CodeRefused, match="outside of its folder"):
        store.add(name, evil.getvalue(), is_last=True)
    assert list(data_dir.bundles.iterdir()) == []
    assert not (data_dir.path / "evil.py").exists()


def test_a_second_try_begins_from_the_first_part(store: CodeStore, code: Bundle) -> None:
    info = BundleInfo(code.sha256, len(code.data))
    store.has(info)
    store.add(code.sha256, code.data[:50], is_last=False)
    assert not store.has(info)
    assert store.add(code.sha256, code.data, is_last=True) is not None
