"""What joins an executor to those of other topologies, when its consecutor is one of a group on a cluster (R21).

Rules of this module: used from the executor's main thread. Doors and producers hand over to passages of the bridge;
what comes over the bridge is read by the consecutor's own `Handover` producers. That nothing more comes is a word of
the coordinator, in the placement: the topology before is over.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from consecution.between.runs import prepare_links
from consecution.executor.door import doors_in
from consecution.guarantee.levels import Robustness
from consecution.local.notices import Audience
from consecution.process.bridge.passage import Passage

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.consecutor import Consecutor
    from consecution.guarantee.messages import Incarnation
    from consecution.local.opening import OpenedIntake
    from consecution.plan.stages import Plan
    from consecution.process.bridge.bridge import Bridge
    from consecution.producers.handover import Handover, Taker
    from consecution.wire.placement import Placement

log = logging.getLogger(__name__)

ASYNC_END_S = 10.0
FLUSH_S = 2.0
FLUSH_LOOK_S = 0.01


class Joint:
    """The ways in and out of one executor.

    Args:
        consecutor: Of this topology, as the flow makes it.
        bridge: Started by the owner, and closed by `close`.
        wake: Lets the main thread look again; called from any thread.
    """

    def __init__(self, consecutor: Consecutor, bridge: Bridge, wake: Callable[[], None]) -> None:
        group = consecutor.group_in_order
        prepare_links(group, group[0], group[0].feeds)
        self._consecutor = consecutor
        self._bridge = bridge
        self._passages = [
            Passage(f"{consecutor.name}.{link.output}", partial(bridge.hand, number), is_async=link.is_async)
            for number, link in enumerate(consecutor.links)
        ]
        self._async_doors: dict[int, Taker] = {}
        self._kept_open: dict[int, float] = {}
        self._handovers: dict[int, Handover] = {}
        for place, (producer, _) in enumerate(consecutor.feeds):
            for link in consecutor.inputs:
                if producer is link.handover:
                    self._handovers[place] = link.handover
        has_outcomes = consecutor.robustness is not Robustness.NONE
        ways = list(zip(consecutor.links, self._passages, strict=True))
        self.audience = Audience(
            consecutor.name,
            failed=tuple(way for link, way in ways if link.is_failed),
            batch_ends=tuple(
                way
                for link, way in ways
                if has_outcomes and link.target.batch_ends and not (link.is_failed or link.is_async)
            ),
            wake=wake,
        )

    def doors(self, plan: Plan) -> dict[int, tuple[Taker, bool]]:
        """The tasks of a plan that are doors, with where they lead and whether they are async."""
        ways = [way for link, way in zip(self._consecutor.links, self._passages, strict=True) if not link.is_failed]
        doors = doors_in(self._consecutor.run_dag, plan, ways)
        self._async_doors = {task: way for task, (way, is_async) in doors.items() if is_async}
        return doors

    def kept_open(self, ended: frozenset[int], now: float) -> frozenset[int]:
        """Of the tasks that have ended, those that aren't to be told as ended yet.

        An async door has ended when its last item was handed over. Were the topology over then, nobody would learn any
        more where a consecutor is that isn't ready yet: it stays for what its async outputs still hold, `ASYNC_END_S`
        at most.
        """
        self._kept_open = {
            task: self._kept_open.get(task, now + ASYNC_END_S)
            for task, way in self._async_doors.items()
            if task in ended and way.waiting_items
        }
        return frozenset(task for task, until in self._kept_open.items() if now < until)

    def place(self, placement: Placement) -> None:
        """Take a placement."""
        self._bridge.place(placement)
        for inlet in placement.inlets:
            if inlet.is_over and inlet.place in self._handovers:
                self._handovers[inlet.place].end()

    def opened(self, intake: OpenedIntake) -> None:
        """Let items in: the producers of this process are open."""
        names = {feed.place: feed.name for feed in intake.intake.feeds}
        self._bridge.take_in(self._handovers, lambda place: intake.knows_items_of(names[place]))

    @property
    def dropped(self) -> int:
        """Items of async outputs that found no room."""
        return sum(way.dropped for way in self._passages)

    @property
    def is_doubled(self) -> bool:
        """Whether it took items that may have come before, from a run that began anew."""
        return self._bridge.is_doubled

    def unanswered(self, longer_s: float) -> list[tuple[Incarnation, float, int]]:
        """Processes of other topologies that owe an answer for so many seconds; see `Bridge.unanswered`."""
        return self._bridge.unanswered(longer_s)

    def check(self) -> None:
        """Raise what broke the bridge.

        Raises:
            ClusterError: It broke.
        """
        self._bridge.check()

    def flush(self) -> None:
        """Give what async outputs still hold a little time: after a drain nobody waited for it. The rest is counted."""
        end = time.monotonic() + FLUSH_S
        while any(way.is_async and way.waiting_items for way in self._passages) and time.monotonic() < end:
            time.sleep(FLUSH_LOOK_S)
        for way in self._passages:
            if way.is_async and (lost := way.give_up()):
                log.warning("%s ended with %d items that nobody had taken in time; they are dropped", way.name, lost)

    def close(self) -> None:
        """Close the bridge."""
        self._bridge.close()
