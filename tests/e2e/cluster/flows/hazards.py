"""Numbers, of which one does something bad.

-D out=DIR -D items=N -D bad=N -D what=hang|crash|exit|quit|memory|raise
"""

import ctypes
import os
import sys
import time
from pathlib import Path

from consecution import Consecutor, Node, options

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

    def misbehave(self) -> None:
        if WHAT == "hang":
            while True:
                time.sleep(0.01)
        elif WHAT == "crash":
            ctypes.string_at(0)
        elif WHAT == "exit":
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


flow = Consecutor(range(int(options["items"])) | Keep("keep"), call_timeout_s=1.0, replays_max=1)
