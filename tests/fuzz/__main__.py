"""`python -m tests.fuzz`: fuzz for as long as one likes; what is found is kept in the corpus.

With atheris (`pip install 'consecution[fuzz]'`) `--atheris TARGET` lets coverage lead; all further words go to it, such
as -max_total_time=60.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback


def main(words: list[str]) -> int:
    """Run; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--seconds", type=float, default=60.0, help="in all (60)")
    parser.add_argument("--seed", type=int, default=None, help="of the generator; printed, so that it can be repeated")
    parser.add_argument("--keep-seeds", action="store_true", help="write the valid inputs into the corpus, and end")
    parser.add_argument("--journal", action="store_true", help="damage a journal in every way, and end")
    parser.add_argument("--flips", type=int, default=1000, help="flipped bits for --journal (1000)")
    parser.add_argument("--atheris", metavar="TARGET", help="let coverage lead")
    asked, rest = parser.parse_known_args(words)
    logging.disable(logging.CRITICAL)
    if asked.atheris is not None:
        return by_coverage(asked.atheris, rest)
    from tests.fuzz import seeds
    from tests.fuzz.targets import TARGETS

    if asked.keep_seeds:
        for target, data in seeds.seeds():
            seeds.keep(target, data)
        return 0
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    if asked.journal:
        from tests.fuzz.journal import damage

        return 1 if damage(asked.flips, seed) else 0
    targets = asked.target or sorted(TARGETS)
    if strangers := set(targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(strangers))}; there are {', '.join(sorted(TARGETS))}")
    return by_chance(targets, asked.seconds, seed)


def by_chance(targets: list[str], seconds: float, seed: int) -> int:
    """Change inputs of the corpus; each target gets the same time."""
    from tests.fuzz import seeds
    from tests.fuzz.mutate import mutated
    from tests.fuzz.targets import TARGETS

    print(f"fuzzing {', '.join(targets)} for {seconds:g} s; repeat with --seed {seed}")
    found = 0
    for target in targets:
        inputs = seeds.kept(target)
        rng = random.Random(f"{seed} {target}")
        end = time.monotonic() + seconds / len(targets)
        count = 0
        while time.monotonic() < end:
            data = mutated(rng.choice(inputs), inputs, rng)
            count += 1
            try:
                TARGETS[target](data)
            except Exception:
                found += 1
                print(f"\n{target}: kept in {seeds.keep(target, data, 'found')}")
                traceback.print_exc()
                if found >= 10:
                    return 1
            if count % 200 == 0 and sys.stderr.isatty():
                print(f"\r{target}: {count:,} inputs", end="", file=sys.stderr, flush=True)
        print(f"{target}: {count:,} inputs, {found} found so far")
    return 1 if found else 0


def by_coverage(target: str, words: list[str]) -> int:
    """Let atheris lead, through the modules that read bytes; it ends by its own options, or with a find."""
    try:
        import atheris  # type: ignore[import-not-found]
    except ImportError:
        print("atheris isn't installed: pip install 'consecution[fuzz]'", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["consecution.wire", "consecution.transport"]):
        from tests.fuzz import seeds
        from tests.fuzz.targets import TARGETS

    atheris.Setup([sys.argv[0], str(seeds.CORPUS / target), *words], TARGETS[target])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
