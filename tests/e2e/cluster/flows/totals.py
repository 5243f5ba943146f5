"""A count for each word, kept in memory until the end by a keyed stage of parallelism 4.

-D out=DIR  -D items=N  -D pause=SECONDS (of each item, until there is a file DIR/hurry)
"""

import os
import time
from collections import Counter
from pathlib import Path

from consecution import Consecutor, Map, Node, options

OUT = Path(options["out"])
ITEMS = int(options["items"])
PAUSE_S = float(options["pause"])
HURRY = OUT / "hurry"


def word(number: int) -> str:
    return f"word{number % 97}"


class Count(Node):
    def setup(self) -> None:
        self.counts: Counter[str] = Counter()

    def process(self, item: str) -> None:
        if PAUSE_S and not HURRY.exists():
            time.sleep(PAUSE_S)
        self.counts[item] += 1

    def finish(self) -> None:
        for item in sorted(self.counts):
            self.push((item, self.counts[item]))


class Write(Node):
    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, item: tuple[str, int]) -> None:
        os.write(self.file, f"{item[0]} {item[1]}\n".encode())

    def teardown(self) -> None:
        os.close(self.file)


flow = Consecutor(range(ITEMS) | Map(word) | Count("count", key=lambda item: item, parallelism=4) | Write("write"))
