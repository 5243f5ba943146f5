"""Numbers through a keyed stage of parallelism 4 that writes each to a file of its process.

-D out=DIR  -D items=N  -D pause=SECONDS (of each item, until there is a file DIR/hurry)
"""

import os
import time
from pathlib import Path

from consecution import Consecutor, Map, Node, options

OUT = Path(options["out"])
ITEMS = int(options["items"])
PAUSE_S = float(options["pause"])
HURRY = OUT / "hurry"


def spread(number: int) -> dict[str, int]:
    return {"key": number % 97, "number": number}


class Keep(Node):
    """Writes numbers as they come, unbuffered: a killed process has written what it has done."""

    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, item: dict[str, int]) -> None:
        if PAUSE_S and not HURRY.exists():
            time.sleep(PAUSE_S)
        os.write(self.file, b"%d\n" % item["number"])

    def teardown(self) -> None:
        os.close(self.file)


flow = Consecutor(range(ITEMS) | Map(spread) | Keep("keep", key="key", parallelism=4))
