"""The long form on a cluster: ``python -m tests.e2e.kill_cluster [KILLS] [SEED] [KIND …]``.

For each kind of producer KILLS times (10) its executor alone, and KILLS times its worker with all that it runs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.e2e.cluster.harness import Cluster
from tests.e2e.cluster.tolls import KINDS, kill_on_cluster
from tests.e2e.kill_many import line

PER_KILL = {"clock-all": 50, "clock-once": 50, "clock-skip": 50}


def main(kills: int = 10, seed: int = 1, *only: str) -> int:
    print(f"{'source':<15}{'mode':<11}{'kills':>6}{'items':>8}{'lost':>6}{'most':>6}{'twice':>7}{'failed':>8}  report")
    is_right = True
    for kind in only or KINDS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "cluster").mkdir()
            (folder / "out").mkdir()
            with Cluster(folder / "cluster") as cluster:
                cluster.start("a", "b", slots=4)
                toll = kill_on_cluster(
                    kind, cluster, folder / "out", "ways", kills=2 * kills, per_kill=PER_KILL.get(kind, 300), seed=seed
                )
            print(line(toll), flush=True)
            may_lose = kind in ("clock-once", "clock-skip")
            is_right = is_right and not toll.wrong and (may_lose or not toll.lost)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3]), *sys.argv[3:]))
