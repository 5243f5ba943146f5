"""A sum behind a sum: "front" begins anew after a death, so what it pushed before its end comes twice to "back".

-D out=DIR  -D items=N  -D pause=SECONDS (of each item in "front", until there is a file DIR/hurry)
-D pushes=all (front pushes each item too) or end (only its total)
"""

import os
import time
from pathlib import Path

from consecution import Consecutor, Node, options

OUT = Path(options["out"])
PAUSE_S = float(options["pause"])
HURRY = OUT / "hurry"


class Front(Node):
    def setup(self) -> None:
        self.total = 0

    def process(self, number: int) -> None:
        if PAUSE_S and not HURRY.exists():
            time.sleep(PAUSE_S)
        self.total += number
        if options["pushes"] == "all":
            self.push(number)

    def finish(self) -> None:
        self.push(self.total)


class Back(Node):
    def setup(self) -> None:
        self.total = 0

    def process(self, number: int) -> None:
        self.total += number

    def finish(self) -> None:
        (OUT / f"total-{os.getpid()}").write_text(str(self.total))


front = Consecutor(range(int(options["items"])) | Front("adds"), "front")
back = Consecutor(Back("total"), "back")
front | back
