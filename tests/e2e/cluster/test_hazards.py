"""An item that makes its process die is a dead letter, alone; all others come through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State
from tests.e2e.cluster.keyed_run import FLOWS
from tests.e2e.cluster.outcomes import written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster.harness import Cluster


def test_an_item_that_ends_its_process_is_a_dead_letter_alone(cluster: Cluster, out: Path) -> None:
    expected = {
        "hang": "call_timeout_s (1 s); it was in",
        "crash": "SIGSEGV",
        "exit": "exited with code 0",
        "quit": "SystemExit: 0",
    }
    cluster.start("a", slots=len(expected))
    for what in expected:
        (out / what).mkdir()
        cluster.submit(FLOWS / "hazards.py", what, out=out / what, items=500, bad=250, what=what)
    for what, text in expected.items():
        one = cluster.wait_until_over(what).summary
        assert (one.state, one.introduced, one.completed, one.failed) == (State.FINISHED, 500, 499, 1), cluster.report()
        (letter,) = cluster.client.letters(what)
        assert (letter.seq, letter.attempts, letter.item_repr) == (250, 2, "250")
        assert letter.cause is not None
        assert text in f"{letter.cause.exception}: {letter.cause.message}"
        assert what != "hang" or "in misbehave" in letter.cause.traceback
        assert set(written(out / what)) == set(range(500)) - {250}


def test_an_item_that_ends_its_process_is_found_while_nodes_sum(cluster: Cluster, out: Path) -> None:
    """Each death begins the run anew; the producer's new process is told what was in work at the one before."""
    cluster.start("a", "b", slots=1)
    cluster.submit(FLOWS / "hazards.py", "sums", out=out, items=500, bad=250, what="sums")
    status = cluster.wait_until_over("sums")
    one = status.summary
    assert (one.state, one.introduced, one.completed, one.failed) == (State.FINISHED, 500, 499, 1), cluster.report()
    (letter,) = cluster.client.letters("sums")
    assert letter.cause is not None
    assert (letter.seq, letter.attempts) == (250, 2)
    assert "executor-1" in letter.cause.message, letter.cause
    assert "exited with code 0" in letter.cause.message, letter.cause
    assert (out / "total").read_text() == str(sum(range(500)) - 250)
    assert not any("one by one" in text for _, text in status.events), status.events


def test_items_that_let_their_process_die_later_are_dead_letters_alone(cluster: Cluster, out: Path) -> None:
    """No slot names them: after five crashes items go one by one, and the only one under way at a crash is charged."""
    items, entry, behind = 300, 123, 205
    cluster.start("a", "b", slots=3)
    cluster.submit(FLOWS / "delayed.py", "delayed", out=out, items=items, entry=entry, behind=behind)
    status = cluster.wait_until_over("delayed", 150)
    one = status.summary
    assert (one.introduced, one.completed, one.failed) == (items, items - 2, 2), cluster.report()
    assert sorted((one.seq, one.attempts) for one in status.newest_letters) == [(entry, 4), (behind, 4)]
    for letter in status.newest_letters:
        assert letter.cause is not None
        assert "signal 11" in letter.cause.message, letter.cause
    assert any("items go one by one" in text for _, text in status.events), status.events
    assert set(written(out)) >= set(range(items)) - {entry, behind}
