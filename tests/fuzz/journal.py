"""The journal under every truncation, and under bit flips at random: detected or recovered, never silently wrong.

The short form is in tests/unit/journal/test_sqlite_damage.py; this one takes some minutes.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.errors import JournalError
from consecution.journal.sqlite import FILE_NAME
from tests.unit.journal.test_sqlite_damage import WAL, Image, flipped

if TYPE_CHECKING:
    from collections.abc import Iterator


SHM = "/dev/shm"  # in memory it takes a tenth of the time


def damage(flips: int, seed: int) -> int:
    """Do all of it, and print what came of it; gives how many were silently wrong."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=SHM if Path(SHM).is_dir() else None) as folder:
        clean, killed = Image(Path(folder) / "clean", is_clean=True), Image(Path(folder) / "killed", is_clean=False)
        wrong = 0
        kinds = (
            ("the main file cut at every byte", _cuts_of_main(clean)),
            ("the log cut at every byte", _cuts_of_wal(killed)),
            (f"{flips:,} flipped bits in the main file", _flips_of_main(clean, flips, rng)),
            (f"{flips:,} flipped bits in the log", _flips_of_wal(killed, flips, rng)),
        )
        for what, outcomes in kinds:
            counts = {"detected": 0, "recovered": 0, "wrong": 0}
            for number, outcome in enumerate(outcomes, 1):
                counts[outcome] += 1
                if number % 500 == 0 and sys.stderr.isatty():
                    print(f"\r{what}: {number:,}", end="", file=sys.stderr, flush=True)
            wrong += counts["wrong"]
            print(f"{what}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    print(f"seed {seed}: {wrong} silently wrong")
    return wrong


def _cuts_of_main(clean: Image) -> Iterator[str]:
    data = clean.files[FILE_NAME]
    for cut in range(len(data)):
        try:
            clean.look_at(main=data[:cut])
        except JournalError:
            yield "detected"
        else:
            yield "wrong"


def _cuts_of_wal(killed: Image) -> Iterator[str]:
    """A log that was cut gives a state that once was: the newest whose end is in it."""
    data = killed.files[WAL]
    for cut in range(len(data)):
        whole = max((number for number, end in enumerate(killed.ends) if end <= cut), default=-1)
        try:
            told = killed.look_at(wal=data[:cut])
        except JournalError:
            yield "detected"
        else:
            yield "recovered" if whole < 0 or told == killed.pictures[whole] else "wrong"


def _flips_of_main(clean: Image, flips: int, rng: random.Random) -> Iterator[str]:
    data = clean.files[FILE_NAME]
    for _ in range(flips):
        try:
            told = clean.look_at(main=flipped(data, rng.randrange(len(data)), rng.randrange(8)))
        except JournalError:
            yield "detected"
        else:
            yield "recovered" if told == clean.pictures[-1] else "wrong"


def _flips_of_wal(killed: Image, flips: int, rng: random.Random) -> Iterator[str]:
    """What isn't found tells everything; in the last transaction, which nobody was told of, it may be gone."""
    data, last = killed.files[WAL], killed.ends[-2]
    for _ in range(flips):
        place = rng.randrange(len(data))
        try:
            told = killed.look_at(wal=flipped(data, place, rng.randrange(8)))
        except JournalError:
            yield "detected"
        else:
            allowed = killed.pictures[-1:] if place < last else killed.pictures[-2:]
            yield "recovered" if told in allowed else "wrong"
