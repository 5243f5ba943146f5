"""The run that items are sent to: ``python -m benchmarks.ingest_child KIND FOLDER ITEMS``.

It says ``ready PORT``, and ``done`` when so many items are completed; SIGTERM ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from consecution import Collect, Consecutor, Filter
from consecution.producers import HttpProducer, TcpProducer

if TYPE_CHECKING:
    from consecution.report import Progress

TCP_MODES = {"tcp none": None, "tcp journalled": "journalled", "tcp processed": "processed"}


def main(kind: str, folder: Path, items: int) -> None:
    producer = HttpProducer(0) if kind == "http" else TcpProducer(0, acknowledge=TCP_MODES[kind])  # type: ignore[arg-type]
    flow = producer | Filter(lambda item: item is None, name="nothing") | Collect("answer")
    said: set[str] = set()

    def progress(progress: Progress) -> None:
        if "ready" not in said:
            said.add("ready")
            print(f"ready {producer.address[1]}", flush=True)
        if progress.completed >= items and "done" not in said:
            said.add("done")
            print("done", flush=True)

    Consecutor(flow, "ingest", journal=folder / "journal").run(progress=progress)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
