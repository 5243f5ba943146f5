"""Kill what is between two joined topologies, again and again, and count what became of each item.

``python -m tests.e2e.joined_kills [--runs N] [--seed N] [VICTIM …]``

Each victim has a cluster of its own, each run a submission of its own: while items cross from "front" to "back" one
process is killed at a random moment (or a worker's network is cut, where this process may make network namespaces),
what doesn't come back by itself is started again, and the flow makes haste. Then every item must be written, completed
once in front, and all that back took completed there.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from consecution.wire.cluster.to_client import State
from tests.e2e.cluster import network
from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.outcomes import written

if TYPE_CHECKING:
    from collections.abc import Callable

FLOW = Path(__file__).parent / "cluster" / "flows" / "joined.py"
ITEMS = 3_000
PAUSE_S = 0.01
CUT_S = 2.0
HOSTS = ("coordinator", "a", "b")


def front_executor(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 the executor of front: its producer and its door."""
    _kill_feeder(cluster, f"{name}.front")


def back_executor(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 the executor of back that journals what comes over the bridge."""
    _kill_feeder(cluster, f"{name}.back")


def both_executors(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 both, one right after the other."""
    for one in chance.sample(("front", "back"), 2):
        _kill_feeder(cluster, f"{name}.{one}")


def front_acker(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 the acker of front."""
    cluster.kill_process(f"{name}.front", "acker", 0)


def front_worker(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 the worker that runs front, with all that it runs, and start it again."""
    _restart_worker_of(cluster, f"{name}.front", chance)


def back_worker(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 the worker that has back's journal, with all that it runs, and start it again."""
    _restart_worker_of(cluster, f"{name}.back", chance)


def coordinator(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 the coordinator, and an executor of back while it is away; start the coordinator again."""
    feeder = next(one for one in cluster.processes(f"{name}.back") if one.feeds)
    cluster.kill_coordinator()
    cluster.kill(feeder.process, "the executor of back with its producer")
    time.sleep(chance.uniform(0.0, 2.0))
    cluster.start_coordinator()


def everything(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Kill -9 every process at once, and start all again on their disks."""
    cluster.kill_all()
    cluster.start("a", "b", slots=4)


def cut(cluster: Cluster, name: str, chance: random.Random) -> None:
    """Cut the two workers from each other for two seconds."""
    cluster.network.cut("a", "b")
    time.sleep(CUT_S)
    cluster.network.heal("a", "b")


Victim: TypeAlias = "Callable[[Cluster, str, random.Random], None]"
VICTIMS: dict[str, Victim] = {
    one.__name__.replace("_", "-"): one
    for one in (
        front_executor,
        back_executor,
        both_executors,
        front_acker,
        front_worker,
        back_worker,
        coordinator,
        everything,
        cut,
    )
}


def _kill_feeder(cluster: Cluster, topology: str) -> None:
    def running() -> object:
        return next((one for one in cluster.processes(topology) if one.feeds), None)

    feeder = cluster.wait_for(running, 20, f"the producers of {topology} run")
    cluster.kill(feeder.process, f"the executor of {topology} with its producer")


def _restart_worker_of(cluster: Cluster, topology: str, chance: random.Random) -> None:
    worker = next(one.worker for one in cluster.processes(topology) if one.feeds)
    cluster.kill_worker(worker)
    time.sleep(chance.choice((0.0, chance.uniform(0.0, 5.0))))
    cluster.start_worker(worker, cluster.slots[worker])


def one_run(cluster: Cluster, name: str, out: Path, victim: Victim, chance: random.Random) -> int:
    """One submission, one fault; gives how many items came to back more than once.

    Raises:
        AssertionError: Something was lost, or is told wrong.
    """
    out.mkdir()
    cluster.submit(FLOW, name, out=out, items=ITEMS, pause=PAUSE_S)
    cluster.wait_until_flows(f"{name}.back", 50)
    time.sleep(chance.uniform(0.0, 1.0))
    victim(cluster, name, chance)
    count = len(written(out))
    cluster.wait_for(lambda: len(written(out)) >= min(ITEMS, count + 50), 60, "it goes on")
    (out / "hurry").touch()
    front, back = (cluster.wait_until_over(f"{name}.{one}", 90).summary for one in ("front", "back"))
    missing = set(range(ITEMS)) - set(written(out))
    assert not missing, f"{len(missing)} lost, such as {sorted(missing)[:5]}\n{cluster.report()}"
    assert (front.state, back.state) == (State.FINISHED, State.FINISHED), cluster.report()
    assert (front.introduced, front.completed, front.failed) == (ITEMS, ITEMS, 0), front
    assert back.introduced == back.completed, back
    return back.introduced - ITEMS


def main() -> int:
    """Run what the arguments say; 1 when a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("victims", nargs="*", metavar="VICTIM", help=f"of {', '.join(VICTIMS)}")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failed = 0
    for what in arguments.victims or list(VICTIMS):
        if what == "cut" and not network.is_possible():
            print(f"{what:<16} left out: it needs network namespaces")
            continue
        chance = random.Random(f"{what} {arguments.seed}")
        began = time.monotonic()
        again: list[int] = []
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="joined-")))
            hosts = stack.enter_context(network.Network(HOSTS)) if what == "cut" else None
            cluster = stack.enter_context(Cluster(folder, hosts))
            cluster.start("a", "b", slots=4)
            try:
                for number in range(arguments.runs):
                    came_again = one_run(cluster, f"j{number}", folder / f"out-{number}", VICTIMS[what], chance)
                    again.append(came_again)
            except AssertionError as error:
                failed += 1
                print(f"{what:<16} seed {arguments.seed} run {len(again)} FAILED: {error}", flush=True)
        print(
            f"{what:<16} {len(again)} good runs of {ITEMS:,} items in {time.monotonic() - began:.0f} s: lost 0, "
            f"came twice {again}",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
