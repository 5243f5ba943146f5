"""Numbers, of which one does something bad.

-D out=DIR -D items=N -D bad=N -D what=hang|crash|exit|quit|memory|raise|sums (it exits, where there is no producer)
"""

import ctypes
import os
import sys
import time
from pathlib import Path

from consecution import Consecutor, Map, Node, options

OUT = Path(options["out"])
BAD = int(options["bad"])
WHAT = options["what"]


class Keep(Node):
    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.hoard: list[bytes] = []

    def process(self, number: int) -> None:
        if number == BAD:
            self.misbehave()
        os.write(self.file, b"%d\n" % number)
        if WHAT == "sums":
            self.push(number)

    def misbehave(self) -> None:
        if WHAT == "hang":
            while True:
                time.sleep(0.01)
        elif WHAT == "crash":
            ctypes.string_at(0)
        elif WHAT in ("exit", "sums"):
            os._exit(0)
        elif WHAT == "quit":
            sys.exit(0)
        elif WHAT == "memory":
            while True:
                self.hoard.append(os.urandom(1 << 20))
                time.sleep(0.002)
        message = "no"
        raise ValueError(message)

    def teardown(self) -> None:
        os.close(self.file)


class Total(Node):
    def setup(self) -> None:
        self.total = 0

    def process(self, number: int) -> None:
        self.total += number

    def finish(self) -> None:
        (OUT / "total").write_text(str(self.total))


numbers = range(int(options["items"]))
dag = numbers | Map(abs) | Keep("keep", grouping="shuffle") | Total() if WHAT == "sums" else numbers | Keep("keep")
flow = Consecutor(dag, call_timeout_s=1.0, replays_max=1)
