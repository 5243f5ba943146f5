"""Numbers through two stages that may be rescaled; the second writes what it took, and when, to a file of each task.

-D out=DIR  -D items=N  -D pause=SECONDS (of each item, until there is a file DIR/hurry)
"""

import os
import time
from itertools import count
from pathlib import Path

from consecution import Consecutor, Map, Node, options

OUT = Path(options["out"])
ITEMS = int(options["items"])
PAUSE_S = float(options["pause"])
HURRY = OUT / "hurry"
copies = count()


def spread(number: int) -> dict[str, int]:
    return {"key": number % 97, "number": number}


class Keep(Node):
    """Writes key, number and time of each item, unbuffered."""

    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}-{next(copies)}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, item: dict[str, int]) -> None:
        if PAUSE_S and not HURRY.exists():
            time.sleep(PAUSE_S)
        os.write(self.file, b"%d %d %d\n" % (time.monotonic_ns(), item["key"], item["number"]))

    def teardown(self) -> None:
        os.close(self.file)


flow = Consecutor(range(ITEMS) | Map(spread, name="spread") | Keep("keep", key="key", parallelism=2), pending_max=100)
