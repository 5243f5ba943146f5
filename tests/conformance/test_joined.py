"""Outputs between consecutors mean the same in every mode; on a cluster each consecutor is a topology."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.flows import joined
from tests.conformance.flows.joined import ITEMS

if TYPE_CHECKING:
    from tests.conformance.modes import Runner

LATE = [number for number in range(ITEMS) if number % 3 == 0]
OTHERS = [number for number in range(ITEMS) if number % 3]
BAD = [number for number in LATE if number % 20 == 0]


@pytest.mark.every_mode
@pytest.mark.not_in("sim", "what joins topologies are bridges, with sockets and threads of their own")
def test_every_kind_of_output_gives_what_was_pushed_to_it(run: Runner) -> None:
    report = run(joined.joined)
    gathered = {name: sorted(items) for name, items in report.collected.items() if name != "ends"}
    assert gathered == {
        "total": [sum(OTHERS)],
        "sent": [number for number in LATE if number not in BAD],
        "alerts": [("reminders", "remind", number, "ValueError") for number in BAD],
        "seen": list(range(ITEMS)),
        "both": sorted([("left", number) for number in LATE] + [("right", number) for number in OTHERS]),
    }
    ends = report.collected["ends"]
    assert ends.count("item") == len(LATE)
    told = [one for one in ends if one != "item"]
    assert (sum(one[1] for one in told), sum(one[2] for one in told)) == (ITEMS, 0)
    assert {name: (one.introduced, one.completed, one.failed) for name, one in report.by_consecutor.items()} == {
        "first": (ITEMS, ITEMS, 0),
        "total": (len(OTHERS), len(OTHERS), 0),
        "reminders": (len(LATE), len(LATE) - len(BAD), len(BAD)),
        "alerts": (len(BAD), len(BAD), 0),
        "monitor": (ITEMS, ITEMS, 0),
        "both": (ITEMS, ITEMS, 0),
        "ends": (len(LATE) + len(told), len(LATE) + len(told), 0),
    }
    assert report.is_finished
    assert not report.state_lost


@pytest.mark.every_mode
@pytest.mark.only("processes", "cluster")
def test_an_item_that_cant_travel_fails_where_it_was_pushed(run: Runner) -> None:
    report = run(joined.cant_travel)
    assert {name: (one.completed, one.failed) for name, one in report.by_consecutor.items()} == {
        "first": (2, 1),
        "second": (2, 0),
    }
    (failure,) = report.failures
    assert failure.item == 1
    assert failure.cause is not None
    assert failure.cause.node == "opaque"
    assert sorted(report.collected["out"]) == [0, 2]
