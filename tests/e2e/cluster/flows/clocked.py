"""Numbers through a keyed stage of parallelism 4 that writes each, and when: monotonic nanoseconds, number.

-D out=DIR  -D pause=SECONDS (of each item)  -D pending=N  -D rate=ITEMS_A_SECOND (0: as fast as they are taken)

With a rate, number n is due n / rate seconds after the file DIR/began says; that is the same for a producer that was
placed elsewhere and begins in the middle.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from consecution import Consecutor, GeneratorProducer, Map, Node, options

OUT = Path(options["out"])
PAUSE_S = float(options["pause"])
PENDING = int(options["pending"])
RATE = float(options["rate"])
ITEMS = 10_000_000  # more than any test waits for


def numbers(position: int) -> Iterator[int]:
    began = OUT / "began"
    if not began.exists():
        began.write_text(str(time.monotonic_ns()))
    began_s = int(began.read_text()) / 1e9
    for number in range(position, ITEMS):
        if RATE:
            time.sleep(max(0.0, began_s + number / RATE - time.monotonic()))
        yield number


def spread(number: int) -> dict[str, int]:
    return {"key": number % 97, "number": number}


class Keep(Node):
    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, item: dict[str, int]) -> None:
        if PAUSE_S:
            time.sleep(PAUSE_S)
        os.write(self.file, b"%d %d\n" % (time.monotonic_ns(), item["number"]))

    def teardown(self) -> None:
        os.close(self.file)


flow = Consecutor(
    GeneratorProducer(numbers) | Map(spread) | Keep("keep", key="key", parallelism=4), pending_max=PENDING
)
