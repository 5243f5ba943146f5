"""Flows of the conformance suite: functions without arguments that give a Consecutor."""

from __future__ import annotations

import fcntl
import os
from ast import literal_eval
from pathlib import Path
from typing import Any

from consecution import Collect, Consecutor, Node, options

GATHERED = "gathered"
"""Option of a flow that runs where no caller can collect: what it gathers goes into files."""


def folder() -> Path:
    """Where a flow writes."""
    return Path(options.get("folder") or os.environ["FOLDER"])


def note(name: str, line: object) -> int:
    """Append a line to a file of the flow's folder, at once; gives how many lines it had before."""
    with (folder() / name).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tasks of other processes write and count too
        file.write(f"{line}\n")
        file.flush()
        file.seek(0)
        return len(file.read().splitlines()) - 1


def cons(dag: object, **options: Any) -> Consecutor:
    """A consecutor without a journal, unless said."""
    options.setdefault("journal", None)
    return Consecutor(dag, "flow", **options)


def collect(name: str, **settings: Any) -> Node:
    """The node that keeps what comes for the test: a Collect, or a sink where no caller can collect."""
    return Gather(name, **settings) if options.get(GATHERED) else Collect(name, **settings)


class Gather(Node):
    """Writes each item as a line of its own, in order of arrival."""

    def setup(self) -> None:
        self._file = (folder() / f"{self.name}.{GATHERED}").open("a", buffering=1)

    def process(self, item: Any) -> None:
        self._file.write(f"{item!r}\n")

    def teardown(self) -> None:
        self._file.close()


def gathered(place: Path) -> dict[str, list[Any]]:
    """What the Gather nodes of a flow wrote, by their names."""
    return {
        path.stem: [literal_eval(line) for line in path.read_text().splitlines()]
        for path in sorted(place.glob(f"*.{GATHERED}"))
    }
