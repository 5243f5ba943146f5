"""Two joined consecutors that sum in memory, whose executors are killed once each as the environment says.

a passes numbers on and keeps them in memory; b sums. KILL names who dies, at its AT-th item. FINISH says that a pushes
its numbers only from ``finish``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from consecution import Consecutor, Map, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEMS = 600
FOLDER = Path(os.environ["FOLDER"])
KILL = os.environ["KILL"]
AT = 300


class Sums(Node):
    """Sums, and dies once."""

    def __init__(self, who: str) -> None:
        super().__init__(f"sum_{who}")
        self.who = who

    def setup(self) -> None:
        self.numbers: list[int] = []
        self.mark = FOLDER / f"killed-{self.who}"
        self.dies = self.who == KILL and not self.mark.exists()

    def process(self, number: int) -> None:
        self.numbers.append(number)
        if self.dies and len(self.numbers) == AT:
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.who == "a" and "FINISH" not in os.environ:
            self.push(number)

    def finish(self) -> Iterator[int]:
        if self.who == "b":
            yield sum(self.numbers)
        elif "FINISH" in os.environ:
            yield from self.numbers


def write(total: int) -> None:
    (FOLDER / "total").write_text(str(total))


first = Consecutor(range(ITEMS) | Sums("a"), "a", pending_max=64)
second = Consecutor(Sums("b") | Map(write), "b", pending_max=64)
first | second
