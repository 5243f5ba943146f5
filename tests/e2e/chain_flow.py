"""Three consecutors in a chain, each killed once: ``python -m consecution run tests/e2e/chain_flow.py``.

Each number of ``range(ITEMS)`` goes through a, b and c into the file FOLDER/sink, one line each by one system call. The
environment says what dies: KILL is "a", "b" or "c", whose node kills its process with SIGKILL, once, at its AT-th item;
"a,b,c" kills each in turn. A number that can be divided by BAD fails for ever in b.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from consecution import Consecutor, Node

ITEMS = int(os.environ.get("ITEMS", "1500"))
FOLDER = Path(os.environ["FOLDER"])
KILL = os.environ.get("KILL", "").split(",")
AT = int(os.environ.get("AT", "400"))
BAD = 997


class Step(Node):
    """Passes numbers on by an output of its own, and dies once."""

    def __init__(self, who: str) -> None:
        super().__init__(who)
        self.who = who
        self.add_output("on")

    def setup(self) -> None:
        self.count = 0
        self.mark = FOLDER / f"killed-{self.who}"
        self.dies = self.who in KILL and not self.mark.exists()

    def process(self, number: int) -> None:
        self.count += 1
        if self.dies and self.count == AT:
            self.mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        if self.who == "b" and number % BAD == 0:
            message = f"bad {number}"
            raise ValueError(message)
        self.output["on"].send(number)


class Sink(Node):
    def setup(self) -> None:
        self.file = os.open(FOLDER / "sink", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def process(self, number: int) -> None:
        os.write(self.file, f"{number}\n".encode())

    def teardown(self) -> None:
        os.close(self.file)


def build() -> Consecutor:
    """Give the chain, by its last consecutor."""
    options = {"replays_max": 1, "pending_max": 400}
    a = Consecutor(range(ITEMS) | Step("a"), "a", **options)  # type: ignore[arg-type]
    b = Consecutor(Step("b"), "b", **options)  # type: ignore[arg-type]
    last = Step("c")
    c = Consecutor(last.output["on"] | Sink("sink"), "c", **options)  # type: ignore[arg-type]
    return a.output["on"] | b.output["on"] | c


chain = build()
