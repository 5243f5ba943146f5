"""Consecutors joined by their outputs: blocking, async and failed ones, named inputs, batch ends, sums at the end."""

from __future__ import annotations

from typing import Any

from consecution import BatchEnd, Consecutor, Map, Node, merge
from tests.conformance.flows import collect

ITEMS = 60


class Sort(Node):
    def __init__(self) -> None:
        super().__init__("sort")
        self.add_output("late")
        self.add_async_output("seen")

    def process(self, number: int) -> None:
        self.async_output["seen"].send(number)
        if number % 3 == 0:
            self.output["late"].send({"n": number})
        else:
            self.push(number)


class Sum(Node):
    def setup(self) -> None:
        self.total = 0

    def process(self, number: int) -> None:
        self.total += number

    def finish(self) -> None:
        self.push(self.total)


def remind(late: dict[str, int]) -> int:
    if late["n"] % 20 == 0:
        raise ValueError("no address")
    return late["n"]


def failed_item(letter: dict[str, Any]) -> tuple[str, str, int, str]:
    return letter["consecutor"], letter["node"], letter["item"]["n"], letter["exception"]


def left(late: dict[str, int]) -> tuple[str, int]:
    return "left", late["n"]


def right(number: int) -> tuple[str, int]:
    return "right", number


def completed(item: object) -> Any:
    return ("end", item.completed, item.failed) if isinstance(item, BatchEnd) else "item"


def joined() -> Consecutor:
    options: dict[str, Any] = {"journal": None, "replays_max": 0}
    first = Consecutor(range(ITEMS) | Sort(), "first", **options)
    total = Consecutor(Sum() | collect("total"), "total", **options)
    reminders = Consecutor(Map(remind) | collect("sent"), "reminders", **options)
    alerts = Consecutor(Map(failed_item) | collect("alerts"), "alerts", **options)
    monitor = Consecutor(collect("seen"), "monitor", **options)
    both = Consecutor(merge(Map(left), Map(right)) | collect("both"), "both", **options)
    ends = Consecutor(Map(completed) | collect("ends"), "ends", batch_ends=True, **options)
    first | total
    first | both.input["right"]
    first.output["late"] | both.input["left"]
    first.output["late"] | reminders
    first.output["late"] | ends
    first.output["seen"] | monitor
    reminders.failed | alerts
    return first


class Opaque:
    """A class that MessagePack can't pack."""


def opaque(number: int) -> object:
    return Opaque() if number == 1 else number


def cant_travel() -> Consecutor:
    first = Consecutor(range(3) | Map(opaque), "first", journal=None, replays_max=0)
    return first | Consecutor(collect("out"), "second", journal=None)
