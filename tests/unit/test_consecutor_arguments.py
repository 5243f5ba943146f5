"""Arguments of a Consecutor that are of a wrong type: refused where they are written, with what was expected."""

from __future__ import annotations

from typing import Any

import pytest

from consecution import Consecutor, GraphError, Map, Node


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"robustness": "replay"}, "robustness='replay'; expected a Robustness, such as Robustness.REPLAY"),
        ({"replays_max": "3"}, "replays_max='3'; expected a whole number, 0 or more"),
        ({"timeout_s": 0}, "timeout_s=0; expected seconds above 0"),
        ({"pending_max": 0}, "pending_max=0; expected a whole number of items, 1 or more"),
        ({"journal": 5}, "journal=5; expected a folder, or None for no journal"),
        ({"journal": True}, "journal=True; expected a folder, or None for no journal"),
        ({"resume": "end"}, "resume='end'; expected 'start' or 'position'"),
    ],
)
def test_it_is_refused(argument: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        Consecutor([1] | Map(str), **argument)
    assert str(caught.value) == f"Consecutor: {message}"


def test_an_output_of_a_node_that_declares_none_is_told_so() -> None:
    class Sort(Node):
        def process(self, item: object) -> None:
            self.output["late"].send(item)

    report = Consecutor([1] | Sort(), journal=None, replays_max=0).run()
    assert "sort has no output 'late'; it declares none; declare it: self.add_output('late')" in str(report.failures[0])
