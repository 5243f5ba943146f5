"""Joined consecutors on a cluster: a topology each, and nothing lost between them, whoever dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State
from tests.e2e.cluster.outcomes import all_written, written

if TYPE_CHECKING:
    from consecution.wire.cluster.to_client import Status
    from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.long_run import long_run

FLOWS = Path(__file__).parent / "flows"
ITEMS = 2_000
PAUSE_S = 0.01  # two tasks do 200 a second until the test says hurry


def start(cluster: Cluster, out: Path, items: int = ITEMS, *, name: str = "joined") -> None:
    """Submit the joined flow and wait until some more of it has come to the end."""
    count = len(written(out))
    cluster.submit(FLOWS / "joined.py", name, out=out, items=items, pause=PAUSE_S)
    cluster.wait_for(lambda: len(written(out)) >= min(items, count + 60), 30, "items come to the end")


def let(cluster: Cluster, out: Path, more: int = 60) -> None:
    """Wait until so many more items are written."""
    count = len(written(out))
    cluster.wait_for(lambda: len(written(out)) >= min(ITEMS, count + more), 30, f"{more} more items are written")


def over(cluster: Cluster, name: str = "joined") -> tuple[Status, Status]:
    front, back = (cluster.wait_until_over(f"{name}.{one}", 60) for one in ("front", "back"))
    return front, back


def all_arrived(cluster: Cluster, out: Path, items: int = ITEMS, *, name: str = "joined") -> int:
    """Every item is completed in front, and all that back took is completed there; gives how many came again."""
    (out / "hurry").touch()
    front, back = (status.summary for status in over(cluster, name))
    assert (front.state, back.state) == (State.FINISHED, State.FINISHED), cluster.report()
    assert (front.introduced, front.completed, front.failed) == (items, items, 0)
    assert back.introduced == back.completed >= items
    all_written(out, items)
    return back.introduced - items


def taker_of(cluster: Cluster, name: str) -> str:
    return next(one.worker for one in cluster.processes(name) if one.feeds)


def test_every_process_on_the_way_is_killed_and_nothing_is_lost(cluster: Cluster, out: Path) -> None:
    """Two consecutors run as two topologies, placed apart; who dies is in the place where it hurts most."""
    cluster.start("a", "b")
    start(cluster, out)
    groups = {one.name: one.group for one in cluster.client.list().topologies}
    assert groups == {"joined.front": "joined", "joined.back": "joined"}
    assert taker_of(cluster, "joined.front") == "a"
    assert {one.worker for one in cluster.processes("joined.back")} == {"a", "b"}
    for victim in ("front", "back"):
        feeder = next(one for one in cluster.processes(f"joined.{victim}") if one.feeds)
        cluster.kill(feeder.process, f"the executor of {victim} with its producer")
        let(cluster, out)
    cluster.kill_coordinator()
    let(cluster, out)
    cluster.start_coordinator()
    for name in ("a", "b"):
        cluster.kill_worker(name)
        cluster.start_worker(name)
        let(cluster, out)
    all_arrived(cluster, out)
    assert cluster.stop() == {"a": 0, "b": 0, "coordinator": 0}


@long_run
def test_a_group_that_was_drained_or_killed_goes_on_when_it_is_submitted_again(cluster: Cluster, out: Path) -> None:
    cluster.start("a", "b")
    start(cluster, out, name="again")
    drained = cluster.run("drain", "again", "--wait", "--coordinator", cluster.address)
    assert drained.returncode == 0, drained.stderr
    front, back = (status.summary for status in over(cluster, "again"))
    assert (front.state, back.state) == (State.DRAINED, State.DRAINED)
    assert front.introduced == front.completed == back.introduced == back.completed == sum(written(out).values())
    start(cluster, out, name="again")
    killed = cluster.run("kill", "again.back", "--wait", "--coordinator", cluster.address)
    assert killed.returncode == 0, killed.stderr
    front, back = (status.summary for status in over(cluster, "again"))
    assert (front.state, back.state) == (State.KILLED, State.KILLED)
    assert front.reason == "again.back, which takes what it hands over, is killed"
    start(cluster, out, name="again")
    all_arrived(cluster, out, name="again")
    cluster.wait_for(lambda: not list(cluster.folder.glob("worker-*/journals/again.front")), 10, "its journal is gone")
    told = cluster.run("status", "again", "--json", "--coordinator", cluster.address)
    assert [one["name"] for one in json.loads(told.stdout)["topologies"]] == ["again.front", "again.back"]


def test_a_sum_behind_one_that_begins_anew_is_right_or_told_as_uncertain(cluster: Cluster, out: Path) -> None:
    """What front pushed before its death comes twice to back, which can't know; what it pushes at its end doesn't."""
    cluster.start("a", "b")
    for pushes in ("all", "end"):
        place = out / pushes
        place.mkdir()
        cluster.submit(FLOWS / "joined_sums.py", pushes, out=place, items=1_000, pause=0.01, pushes=pushes)

    def has_entered() -> bool:
        fronts, back = (cluster.status(f"{one}.front") for one in ("all", "end")), cluster.status("all.back")
        entered = [one is not None and one.summary.in_flight + one.summary.completed > 0 for one in fronts]
        return all(entered) and back is not None and back.summary.introduced > 10

    cluster.wait_for(has_entered, 30, "items flow")
    for pushes in ("all", "end"):
        feeder = next(one for one in cluster.processes(f"{pushes}.front") if one.feeds)
        cluster.kill(feeder.process, f"the executor of {pushes}.front")
    for pushes in ("all", "end"):
        (out / pushes / "hurry").touch()
    lost = {pushes: cluster.wait_until_over(f"{pushes}.back", 60).summary.state_lost for pushes in ("all", "end")}
    assert lost == {"all": {"total"}, "end": frozenset()}, cluster.report()
    (total,) = (out / "end").glob("total-*")
    assert int(total.read_text()) == sum(range(1_000))
