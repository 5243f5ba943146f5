"""What clients push, or post, into a file of each process; "bad" fails.

-D out=DIR  -D port=PORT (also listens there, on the host of the worker)  -D gate=yes (holds items until DIR/open)
"""

import os
import time
from pathlib import Path

from consecution import Consecutor, Map, Node, Pusher, merge, options
from consecution.producers import HttpProducer

OUT = Path(options["out"])
PORT = int(options.get("port", "0"))
HAS_GATE = options.get("gate") == "yes"


class Keep(Node):
    """Writes items as they come, unbuffered."""

    def setup(self) -> None:
        self.file = os.open(OUT / f"part-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def process(self, item: object) -> None:
        while HAS_GATE and not (OUT / "open").exists():
            time.sleep(0.01)
        if item == "bad":
            message = "no good"
            raise ValueError(message)
        os.write(self.file, f"{item}\n".encode())

    def teardown(self) -> None:
        os.close(self.file)


first = Pusher() | Map(lambda item: item, name="pushed")
entries = [first, HttpProducer(PORT) | Map(lambda item: item, name="posted")] if PORT else [first]
flow = Consecutor(
    (merge(*entries) if PORT else first) | Keep("keep", grouping="shuffle"), replays_max=1, pending_max=64
)
