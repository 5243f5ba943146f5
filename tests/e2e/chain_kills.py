"""Kill a chain of three consecutors at random moments, again and again, and count what became of each item.

``python -m tests.e2e.chain_kills --kills 30 --mode single``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BAD = 997  # as in chain_flow.py

ROOT = Path(__file__).resolve().parent.parent.parent
FLOW = ROOT / "tests" / "e2e" / "chain_flow.py"
START_S = 30.0
END_S = 120.0


@dataclass(frozen=True, slots=True)
class Chain:
    """One run of the chain as a process of its own.

    Attributes:
        folder: Where it runs: its journals, marks and sink.
        mode: Of the run.
        items: How many numbers enter.
        environment: What it is told beside that.
    """

    folder: Path
    mode: str
    items: int
    environment: dict[str, str]

    def start(self) -> subprocess.Popen[str]:
        """Start it; the caller owns the process."""
        environment = {**os.environ, "FOLDER": str(self.folder), "ITEMS": str(self.items), **self.environment}
        command = [sys.executable, "-m", "consecution", "run", str(FLOW), "--mode", self.mode, "--json", "--quiet"]
        with (self.folder / "errors").open("a") as errors:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def end(self) -> tuple[int, dict[str, Any] | None]:
        """Run it to its end; gives the exit code and the report, None when it was killed."""
        process = self.start()
        out, _ = process.communicate(timeout=END_S)
        return process.returncode, json.loads(out) if out.strip() else None

    def sink(self) -> Counter[int]:
        """How often each number is in the sink."""
        path = self.folder / "sink"
        return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


def missing(chain: Chain, report: dict[str, Any]) -> set[int]:
    """Numbers that are neither in the sink nor dead letters of b."""
    dead = {failure["item"] for failure in report["by_consecutor"]["b"]["failures"]}
    assert all(number % BAD == 0 for number in dead), dead
    return set(range(chain.items)) - chain.sink().keys() - dead


def main() -> None:
    """Kill the whole process at random moments, then let it end, and print what became of the items."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--mode", default="single")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        chain = Chain(Path(name), options.mode, options.items, {})
        kills = 0
        for _ in range(options.kills):
            before = sum(chain.sink().values())
            process = chain.start()
            is_at_work = chance.random() < 0.8  # else it is killed while it starts
            end = time.monotonic() + (START_S if is_at_work else 2.0 * chance.random())
            while process.poll() is None and time.monotonic() < end:
                if is_at_work and sum(chain.sink().values()) > before:
                    break
                time.sleep(0.01)
            time.sleep(0.3 * chance.random())
            if process.poll() is None:
                process.kill()
                kills += 1
            process.communicate()
        code, report = chain.end()
        assert report is not None, (Path(name) / "errors").read_text()[-2000:]
        sink = chain.sink()
        counts = {one: (part["introduced"], part["completed"]) for one, part in report["by_consecutor"].items()}
        print(f"{options.mode}: {kills} kills, exit code {code}, lost {len(missing(chain, report))}, ", end="")
        print(f"twice {sum(sink.values()) - len(sink)} of {options.items}; {counts}")


if __name__ == "__main__":
    main()
