"""Flows with dead letters; what is broken is fixed by a file named "fixed" in the flow's folder."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from consecution import Consecutor, Map, Pusher
from tests.conformance.flows import collect, folder, note

if TYPE_CHECKING:
    from collections.abc import Iterator


def odd_ones_fail(item: int) -> int:
    note("seen", item)
    if (folder() / "kills").exists() and item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if item % 2 and not (folder() / "fixed").exists():
        raise ValueError(f"odd {item}")
    return item


class Keeps(Map):
    """A sink that doesn't accumulate."""

    def process(self, item: Any) -> None:
        note("kept", item)


def of(rows: Any, **options: Any) -> Consecutor:
    options.setdefault("replays_max", 0)
    options.setdefault("journal", folder() / "journal")
    return Consecutor(rows | Map(odd_ones_fail) | Keeps(abs), "flow", **options)


def numbers() -> Consecutor:
    return of(list(range(10)))


def iterator() -> Consecutor:
    return of(iter(range(10)))


def pushed() -> Consecutor:
    return of(Pusher(name="hand"))


def unpackable() -> Consecutor:
    def items() -> Iterator[Any]:
        yield 2
        yield object()
        yield 4
        yield object

    return of(items())


def unpackable_and_killed() -> Consecutor:
    """Brings its items once, over all starts; item 3 kills the process while the file "kills" is there."""
    items = [*range(0, 80, 2), 3, object(), 4] if note("starts", "") == 0 else []
    return of(iter(items), replays_max=3)


def collected() -> Consecutor:
    dag: Any = list(range(10)) | Map(odd_ones_fail) | collect("out")
    return Consecutor(dag, "flow", replays_max=0, journal=folder() / "journal")
