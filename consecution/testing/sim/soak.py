"""Runs seeds for hours: a bar, where it stands, and for each seed that fails the one command that repeats it.

Rules of this module: a shell. Where a soak stands is in a file, so that a soak that was ended goes on; what failed
stays in that file until it is removed.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consecution.testing.sim.edits import Edits
from consecution.testing.sim.scenario import Family, scenario_of
from consecution.testing.sim.shrink import failure_of, shrink

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = Path(".sim-soak.json")
CHUNK = 25


@dataclass(slots=True)
class Soak:
    """Where a soak stands.

    Attributes:
        file: Where it is kept.
        next: All seeds below it were run.
        seconds: Real seconds spent so far.
        items: Items of all runs so far.
        faults: Faults that struck them; not counted: lost packets, and items that do harm.
        failed: Seed to how it failed.
    """

    file: Path
    next: int = 0
    seconds: float = 0.0
    items: int = 0
    faults: int = 0
    failed: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Soak:
        """Go on with what a file says; begin anew without one."""
        if not file.is_file():
            return cls(file)
        plain = json.loads(file.read_text())
        failed = {int(seed): how for seed, how in plain["failed"].items()}
        return cls(file, plain["next"], plain["seconds"], plain["items"], plain["faults"], failed)

    def add(self, chunk: Chunk, took_s: float) -> None:
        """A chunk was run, and all seeds below it."""
        self.next, self.seconds = chunk.end, self.seconds + took_s
        self.items, self.faults = self.items + chunk.items, self.faults + chunk.faults
        self.failed |= chunk.failed

    def write(self) -> None:
        """Keep it, whole or not at all."""
        half = self.file.with_suffix(".part")
        plain = {name: getattr(self, name) for name in ("next", "seconds", "items", "faults", "failed")}
        half.write_text(json.dumps(plain, indent=1) + "\n")
        half.rename(self.file)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some seeds that were run.

    Attributes:
        end: The first seed behind them.
        items: Of all of them.
        faults: Likewise.
        failed: Seed to how it failed.
    """

    end: int
    items: int
    faults: int
    failed: dict[int, str]


def state_file(family: str) -> Path:
    """Where it is kept how far a family is, in the working directory."""
    return STATE if family == Family.REPLAY.value else STATE.with_name(f"{STATE.stem}-{family}.json")


def run_chunk(family: str, first: int, count: int) -> Chunk:
    """Run some seeds of a family."""
    logging.disable(logging.CRITICAL)  # what thousands of virtual processes log
    seeds = range(first, first + count)
    scenarios = [scenario_of(seed, Family(family)) for seed in seeds]
    found = {seed: failure_of(Edits(seed, family)) for seed in seeds}
    return Chunk(
        seeds.stop,
        sum(len(scenario.flow.items) for scenario in scenarios),
        sum(len(scenario.faults) for scenario in scenarios),
        {seed: how for seed, how in found.items() if how is not None},
    )


def run_soak(
    seeds: int,
    *,
    family: str = Family.REPLAY.value,
    jobs: int = 1,
    file: Path | None = None,
    shrinks: bool = True,
) -> int:
    """Run all seeds below a number that a soak before hasn't run.

    Args:
        seeds: How many in all.
        family: Of which family.
        jobs: Processes at once.
        file: Where it is kept how far it is; None: in the working directory, for each family apart.
        shrinks: Make each failing one small.

    Returns:
        The exit code: 1 when a seed failed, in this soak or an earlier one of the same file.
    """
    console = Console()
    soak = Soak.read(file or state_file(family))
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[how]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("seeds", total=seeds, completed=soak.next, how="")
        for chunk, took_s in _chunks(family, soak.next, seeds, jobs):
            soak.add(chunk, took_s)
            soak.write()
            rate = soak.next / soak.seconds if soak.seconds else 0.0
            told = f"{rate:.1f} a second, {soak.items:,} items, {soak.faults:,} faults, {len(soak.failed)} failed"
            progress.update(bar, completed=soak.next, how=told)
            for seed, how in sorted(chunk.failed.items()):
                console.print(f"seed {seed} breaks promise {how}: {Edits(seed, family).command()}", soft_wrap=True)
    for seed, how in sorted(soak.failed.items()) if shrinks else ():
        if failure_of(Edits(seed, family)) is None:
            console.print(f"seed {seed} ({how}) breaks no promise any more")
            continue
        small = shrink(Edits(seed, family))
        console.print(f"seed {seed} ({how}), made small: {small.command()}", soft_wrap=True)
    counts = f"{soak.items:,} items, {soak.faults:,} faults, {len(soak.failed)} failed, {soak.seconds:,.0f} s"
    console.print(f"{soak.next:,} seeds, {counts}", soft_wrap=True)
    return 1 if soak.failed else 0


def _chunks(family: str, first: int, seeds: int, jobs: int) -> Iterator[tuple[Chunk, float]]:
    """Run chunks; gives each, in order, with the real seconds since the one before."""
    began = time.monotonic()
    if jobs == 1:
        for start in range(first, seeds, CHUNK):
            chunk = run_chunk(family, start, min(CHUNK, seeds - start))
            began, before = time.monotonic(), began
            yield chunk, began - before
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: dict[Future[Chunk], int] = {}
        done: dict[int, Chunk] = {}
        start = first
        while start < seeds or waiting:
            while start < seeds and len(waiting) < 2 * jobs:
                waiting[pool.submit(run_chunk, family, start, min(CHUNK, seeds - start))] = start
                start += CHUNK
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                done[waiting.pop(future)] = future.result()
            while first in done:  # in order, so that a soak that is ended has run all below its mark
                chunk = done.pop(first)
                first = chunk.end
                began, before = time.monotonic(), began
                yield chunk, began - before
