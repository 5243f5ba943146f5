"""The store: durable, one process at a time, never guessing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest
from consecution_coordinator.events import ForgetTopology, SaveLetters, SaveTopology, SaveWorker, VoidLetters
from consecution_coordinator.kept import Topology, WorkerKept
from consecution_coordinator.store import FILE_NAME, Store

from consecution.errors import ClusterError
from consecution.wire.cluster.from_worker import HostFigures
from consecution.wire.cluster.to_client import State
from consecution.wire.control import Letter
from consecution.wire.plain import encode


def topology(name="flow", **more):
    return Topology(name, 1, 1, "s", State.RUNNING, 5.0, 1, **more)


def save(one, sent=None):
    return SaveTopology(one.name, encode(one), sent)


def letter(seq):
    return Letter("p", seq, b"x", repr(seq), 1, None)


def test_what_is_kept_is_there_after_it_was_opened_again(tmp_path, build):
    sent = build.submit("flow")
    worker = WorkerKept("a", "i", "s", 2, "h", "1", "3.11", HostFigures(2, 3))
    store = Store(tmp_path / "data")
    store.apply([save(topology(), encode(sent)), SaveWorker("a", encode(worker))])
    store.apply([save(topology(number=7))])
    cluster = store.cluster
    store.close()
    again = Store(tmp_path / "data")
    assert again.topologies() == [(topology(number=7), sent)]
    assert again.workers() == [worker]
    assert again.cluster == cluster
    again.close()


def test_letters_come_in_parts_in_order(tmp_path, build):
    store = Store(tmp_path)
    store.apply([save(topology(), encode(build.submit())), SaveLetters("flow", tuple(letter(n) for n in range(250)))])
    store.apply([SaveLetters("other", (letter(999),))])
    assert list(store.letter_keys("other")) == [(letter(999).producer, 999)]
    first, next_ = store.letters("flow", 0)
    second, later = store.letters("flow", next_)
    third, end = store.letters("flow", later)
    assert [one.seq for one in (*first, *second, *third)] == list(range(250))
    assert end is None
    store.apply([VoidLetters("flow")])
    assert store.letters("flow", 0) == ([], None)
    assert len(store.letters("other", 0)[0]) == 1
    store.close()


def test_what_is_forgotten_is_gone_with_its_letters(tmp_path, build):
    store = Store(tmp_path)
    store.apply([save(topology(), encode(build.submit())), SaveLetters("flow", (letter(1),))])
    store.apply([ForgetTopology("flow")])
    assert store.topologies() == []
    assert store.letters("flow", 0) == ([], None)
    store.close()


def test_a_second_coordinator_on_the_same_folder_is_refused_with_the_pid_of_the_first(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ClusterError, match=f"in use by process {os.getpid()}"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()


def test_a_folder_that_can_not_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="--data-dir"):
        Store(tmp_path / "file" / "data")


def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"something else, long enough to be looked at" * 100)
    with pytest.raises(ClusterError, match="can't be used"):
        Store(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"something else")


def test_a_damaged_record_stops_it_with_its_name(tmp_path, build):
    store = Store(tmp_path)
    store.apply([save(topology(), encode(build.submit()))])
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("UPDATE topology SET body = ?", (b"\x93\x01\x02\x03",))
    db.close()
    store = Store(tmp_path)
    with pytest.raises(ClusterError, match="Topology 'flow' can't be read"):
        store.topologies()
    store.close()


def test_a_file_of_another_format_is_refused(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    db.close()
    with pytest.raises(ClusterError, match="has format 99"):
        Store(tmp_path)


def test_what_can_not_be_written_is_an_error_and_nothing_of_it_is_kept(tmp_path, build):
    store = Store(tmp_path)
    store.apply([save(topology(), encode(build.submit()))])
    with pytest.raises(ClusterError, match="can't be written"):
        store.apply([save(topology(number=9)), SaveWorker("a", object())])  # type: ignore[arg-type]
    assert store.topologies()[0][0].number == 0
    store.close()


def test_what_was_applied_survives_a_kill_of_the_process(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from consecution_coordinator.store import Store\n"
        "from consecution_coordinator.events import SaveWorker\n"
        "from consecution_coordinator.kept import WorkerKept\n"
        "from consecution.wire.cluster.from_worker import HostFigures\n"
        "from consecution.wire.plain import encode\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.apply([SaveWorker('a', encode(WorkerKept('a', 'i', 's', 1, 'h', '1', '3', HostFigures(1, 1))))])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=False).returncode == -9
    store = Store(tmp_path)
    assert [worker.name for worker in store.workers()] == ["a"]
    store.close()
