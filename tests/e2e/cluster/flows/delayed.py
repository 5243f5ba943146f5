"""Numbers of which two damage their process, which dies a little later, by itself.

-D out=DIR  -D items=N  -D entry=NUMBER  (in the executor with the producer)  -D behind=NUMBER  (in another one)
"""

import os
import signal
import threading
import time
from pathlib import Path

from consecution import Consecutor, Map, Node, options

OUT = Path(options["out"])
ITEMS = int(options["items"])
ENTRY = int(options["entry"])
BEHIND = int(options["behind"])
DIES_AFTER_S = 0.3
KNOWN_AFTER_S = 1.0


def damage(number: int) -> None:
    (OUT / f"victim-{number}").write_text(str(os.getpid()))
    threading.Timer(DIES_AFTER_S, os.kill, (os.getpid(), signal.SIGSEGV)).start()


def first(number: int) -> int:
    if number == ENTRY:
        damage(number)
    return number


def second(number: int) -> int:
    if number == BEHIND:
        damage(number)
    return number


def wait(number: int) -> int:
    """The item is still under way when all know that the process is dead which it has damaged."""
    if number in (ENTRY, BEHIND):
        while Path(f"/proc/{(OUT / f'victim-{number}').read_text()}").exists():
            time.sleep(0.02)
        time.sleep(KNOWN_AFTER_S)
    return number


class Write(Node):
    """Writes numbers as they come, unbuffered."""

    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, item: int) -> None:
        os.write(self.file, b"%d\n" % item)

    def teardown(self) -> None:
        os.close(self.file)


flow = Consecutor(
    range(ITEMS)
    | Map(first)
    | Map(second, grouping="shuffle", parallelism=2)
    | Map(wait, grouping="shuffle", parallelism=3)
    | Write("write")
)
