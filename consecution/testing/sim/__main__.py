"""``python -m consecution.testing.sim``: run a seed, make a failing one small, run many for hours."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from consecution.testing.sim.edits import Edits, add_arguments, add_family, edits_of
from consecution.testing.sim.shrink import shrink
from consecution.testing.sim.soak import run_soak
from consecution.testing.sim.world import SimWorld

EXAMPLES = """examples:
  python -m consecution.testing.sim run 17
  python -m consecution.testing.sim run 17 --history
  python -m consecution.testing.sim shrink 17
  python -m consecution.testing.sim soak 100000 --jobs 2
  python -m consecution.testing.sim soak 10000 --family levels
  python -m consecution.testing.sim soak 10000 --family endings
"""


def main(words: list[str] | None = None) -> int:
    """Do what the words say; gives the exit code: 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m consecution.testing.sim",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run one seed, or what is left of it")
    add_arguments(run)
    run.add_argument("--history", action="store_true", help="print what happened")
    small = verbs.add_parser("shrink", help="make a failing seed small")
    add_arguments(small)
    soak = verbs.add_parser("soak", help="run all seeds below a number; goes on where it ended")
    soak.add_argument("seeds", type=int)
    soak.add_argument("--jobs", type=int, default=1)
    add_family(soak)
    soak.add_argument("--file", type=Path, default=None)
    arguments = parser.parse_args(words)
    logging.disable(logging.CRITICAL)  # what virtual processes log
    if arguments.verb == "soak":
        return run_soak(arguments.seeds, family=arguments.family, jobs=arguments.jobs, file=arguments.file)
    edits = edits_of(arguments)
    if arguments.verb == "shrink":
        print(shrink(edits, told=lambda smaller: print(smaller.command(), file=sys.stderr)).command())
        return 0
    return _run(edits, has_history=arguments.history)


def _run(edits: Edits, *, has_history: bool) -> int:
    scenario = edits.scenario()
    if scenario is None:
        print("nothing is left of this seed: a producer has no items, or feeds no node", file=sys.stderr)
        return 2
    world = SimWorld(scenario)
    began = time.monotonic()
    code = 0
    try:
        world.run()
    except AssertionError as error:
        code = 1
        print(f"seed {edits.seed} broke a promise: {error}")
    if has_history:
        print(scenario)
        print("\n".join(world.history))
    finished = list(world.oracle.finished.values())
    print(
        f"seed {edits.seed}: {len(finished)} items, {finished.count('dead')} of them dead letters, "
        f"{world.oracle.verdicts} verdicts, {world.timeline.now:.1f} virtual seconds in "
        f"{time.monotonic() - began:.1f} real ones, trace {world.trace:08x}"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
