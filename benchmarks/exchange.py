"""What the flows and the bare programs over processes share: their cases, their items and their answers.

Rules of this module: no Consecution, no sockets: a bare program's process stays as small as it is.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

W3, W2, LATENCY = "w3", "w2", "latency"
BARE = "bare"
W3_NAME = "consecution"


@dataclass(frozen=True, slots=True)
class Distributed:
    """What one run over processes measures.

    Attributes:
        workload: "w3", "w2" or "latency".
        level: Name of the robustness; "bare" for the program without Consecution.
        items: Dicts, or lines.
        rate: Items a second, for "latency".
        pending: The consecutor's pending_max; None for its default.
    """

    workload: str
    level: str = BARE
    items: int = 1_000_000
    rate: float = 1000.0
    pending: int | None = None


def rename(item: dict[str, Any]) -> dict[str, Any]:
    """Do the trivial work of one step of W3."""
    return {"id": item["id"], "name": item["name"], "v": item["v"] + 1}


def w3_total(items: int) -> int:
    """Give the sum of ``v`` behind three steps."""
    return items * (items - 1) // 2 + 3 * items


def rows(items: int, position: int = 0) -> Iterator[dict[str, Any]]:
    """Make the items of W3; the name of the first is the time."""
    if position == 0:
        yield {"id": 0, "name": repr(time.monotonic()), "v": 0}
    for number in range(max(1, position), items):
        yield {"id": number, "name": W3_NAME, "v": number}


def ticks(items: int, rate: float) -> Iterator[dict[str, Any]]:
    """Make the items of the latency run, each at its time."""
    start = time.monotonic() + 0.1
    for number in range(items):
        left_s = start + number / rate - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        yield tick(number)


def tick(number: int) -> dict[str, Any]:
    """Make an item that says when it was made."""
    return {"id": number, "name": W3_NAME, "v": time.monotonic()}


def touch(item: dict[str, Any]) -> dict[str, Any]:
    """Do the trivial work of one step of the latency run."""
    return {"id": item["id"], "name": item["name"], "v": item["v"]}


def cpu_s() -> float:
    """Processor seconds of this process's children that have ended, their start included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
