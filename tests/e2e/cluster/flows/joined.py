"""Two consecutors joined by a blocking output: numbers from "front" to "back", which writes each to a file.

-D out=DIR  -D items=N  -D pause=SECONDS (of each item in "back", until there is a file DIR/hurry)
"""

import os
import time
from pathlib import Path

from consecution import Consecutor, Map, Node, options

OUT = Path(options["out"])
ITEMS = int(options["items"])
PAUSE_S = float(options["pause"])
HURRY = OUT / "hurry"


class Give(Node):
    """Pushes to an output that it declares."""

    def __init__(self) -> None:
        super().__init__("give")
        self.add_output("on")

    def process(self, number: int) -> None:
        self.output["on"].send(number)


class Keep(Node):
    """Writes numbers as they come, unbuffered: a killed process has written what it has done."""

    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, number: int) -> None:
        if PAUSE_S and not HURRY.exists():
            time.sleep(PAUSE_S)
        os.write(self.file, b"%d\n" % number)

    def teardown(self) -> None:
        os.close(self.file)


front = Consecutor(range(ITEMS) | Map(int) | Give(), "front", pending_max=500)
back = Consecutor(Keep("keep", parallelism=2), "back", pending_max=500)
front.output["on"] | back
