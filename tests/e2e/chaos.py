"""Do bad things to a cluster, and count every item: ``python -m tests.e2e.chaos [--seed N] [--runs N] [SCENARIO …]``.

Each run starts a coordinator and two workers (each on a host of its own in a network namespace when this process may
make some, else on loopback), lets items flow through a keyed stage of parallelism 4, does what the scenario says, and
checks: every item completed, one outcome each, written at least once, no open tree, no sum of a root that its acker
never heard of unless an acker died, nothing that only the audit found, no process left behind. Once the scenario is
over the flow makes haste. It prints what it did, the duplicates, and how to repeat a run that failed. Needs root for
the scenarios with a network.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.cluster import network, scenarios
from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.outcomes import all_completed, all_written, closed_books, right_totals

FLOWS = Path(__file__).parent / "cluster" / "flows"
HOSTS = ("coordinator", "a", "b", "c")


def main() -> int:
    """Run what the arguments say; 1 when a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(scenarios.SCENARIOS)}")
    parser.add_argument("--seed", type=int, default=None, help="repeats what was done under it")
    parser.add_argument("--runs", type=int, default=1, help="of each scenario; run n has the seed SEED+n")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--pause", type=float, default=0.002, help="seconds for each item in the keyed stage")
    parser.add_argument("--loopback", action="store_true", help="no network namespaces")
    arguments = parser.parse_args()
    names = arguments.scenarios or list(scenarios.SCENARIOS)
    if unknown := sorted(set(names) - set(scenarios.SCENARIOS)):
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(scenarios.SCENARIOS)}")
    has_hosts = not arguments.loopback and network.is_possible()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}, {'network namespaces' if has_hosts else 'loopback'}, {arguments.items:,} items a run")
    failed = 0
    for number in range(arguments.runs):
        for name in names:
            if name in scenarios.ON_HOSTS and not has_hosts:
                print(f"{name:<30} left out: it needs network namespaces")
                continue
            ok = one_run(name, seed + number, arguments.items, arguments.pause, has_hosts=has_hosts)
            if not ok:
                failed += 1
                again = f"python -m tests.e2e.chaos {name} --seed {seed + number} --items {arguments.items}"
                print(f"  again: {again} --pause {arguments.pause}{'' if has_hosts else ' --loopback'}")
    print(f"{failed} failed")
    return 1 if failed else 0


def one_run(name: str, seed: int, items: int, pause_s: float, *, has_hosts: bool) -> bool:
    """One scenario on a cluster of its own; prints what came of it."""
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        out = folder / "out"
        out.mkdir()
        hosts = stack.enter_context(network.Network(HOSTS)) if has_hosts else None
        cluster = stack.enter_context(Cluster(folder, hosts))
        try:
            cluster.start("a", "b")
            has_totals = name in scenarios.WITH_TOTALS
            flow = FLOWS / ("totals.py" if has_totals else "keyed.py")
            cluster.submit(flow, scenarios.NAME, out=out, items=items, pause=pause_s)
            cluster.wait_until_flows(scenarios.NAME, items // 50)
            scenarios.SCENARIOS[name](cluster, random.Random(f"{name} {seed}"))
            then = cluster.status(scenarios.NAME)
            is_late = then is not None and then.summary.state.is_over
            (out / "hurry").touch()
            status = cluster.wait_until_over(scenarios.NAME, 60 + items * pause_s)
            all_completed(status, items)
            again = right_totals(out, items) if has_totals else all_written(out, items)
            cluster.stop()
            closed_books(folder, scenarios.NAME, may_have_orphans=name not in scenarios.WITH_ALL_ACKERS)
            left = cluster.living()
            assert not left, f"left behind: {left}"
        except Exception:  # whatever went wrong: the next run must have its turn
            print(f"{name:<30} seed {seed} FAILED after {time.monotonic() - began:.1f} s")
            print(traceback.format_exc())
            print("  did: " + "; ".join(cluster.done()), flush=True)
            return False
        did = "; ".join(cluster.done())
        if is_late:
            did += " (too late for some of it: the flow had ended before; give more --items)"
        print(
            f"{name:<30} seed {seed} ok in {time.monotonic() - began:.1f} s, {again:,} written again: {did}", flush=True
        )
        return True


if __name__ == "__main__":
    sys.exit(main())
