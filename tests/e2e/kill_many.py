"""The long form: ``python -m tests.e2e.kill_many [KILLS] [SEED] [KIND …]`` kills each source 20 times."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.killing import (
    KINDS,
    SENT_KINDS,
    SERVED_KINDS,
    UNTOLD_LOST_MAX,
    Toll,
    kill_again_and_again,
    kill_while_nobody_is_told,
    kill_while_others_send,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ITEMS_A_KILL = {
    "file": 2_000,
    "range": 2_000,
    "async": 1_000,
    "stdin": 2_000,
    "iterator": 2_000,
    "pusher": 500,
    "cursor": 2_000,
    "clock": 150,
}  # each push waits for the disk
SENT_A_KILL = 800


def main(kills: int = 20, seed: int = 1, *only: str) -> int:
    print(f"{'source':<15}{'mode':<11}{'kills':>6}{'items':>8}{'lost':>6}{'most':>6}{'twice':>7}{'failed':>8}  report")
    is_right = True
    for mode in ("single", "threads"):
        for kind in chosen(KINDS, only):
            with tempfile.TemporaryDirectory() as folder:
                toll = kill_again_and_again(
                    kind, mode, Path(folder), kills=kills, total=kills * ITEMS_A_KILL[kind], seed=seed
                )
            print(line(toll), flush=True)
            is_right = is_right and not toll.wrong
    for mode in ("single", "threads", "processes"):
        for kind in chosen(SERVED_KINDS if mode == "processes" else SENT_KINDS, only):
            with tempfile.TemporaryDirectory() as folder:
                total = kills * SENT_A_KILL
                toll = kill_while_others_send(kind, mode, Path(folder), kills=kills, total=total, seed=seed)
            print(line(toll), flush=True)
            is_right = is_right and not toll.wrong and not toll.lost
        if chosen(["tcp-untold"], only):
            with tempfile.TemporaryDirectory() as folder:
                toll = kill_while_nobody_is_told(mode, Path(folder), kills=kills, seed=seed)
            print(line(toll), f"(may lose {UNTOLD_LOST_MAX:,} at a kill)", flush=True)
            is_right = is_right and not toll.wrong and toll.lost_most <= UNTOLD_LOST_MAX
    return 0 if is_right else 1


def chosen(kinds: Sequence[str], only: Sequence[str]) -> list[str]:
    return [kind for kind in kinds if not only or kind in only]


def line(toll: Toll) -> str:
    counts = (
        f"{toll.kind:<15}{toll.mode:<11}{toll.kills:>6}{toll.items:>8}{toll.lost:>6}{toll.lost_most:>6}{toll.twice:>7}"
    )
    return f"{counts}{toll.failed:>8}  {'exact' if not toll.wrong else '; '.join(toll.wrong)}"


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3]), *sys.argv[3:]))
