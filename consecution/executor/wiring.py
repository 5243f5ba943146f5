"""The columns of one task: which follow which output, and the outlets of the channels that leave it.

Rules of this module: it moves lists of values between columns; no user code but the copies that branches need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consecution.errors import CapacityError
from consecution.executor.columns import Column
from consecution.executor.outputs import Outlet
from consecution.graph import Route
from consecution.values import ATOMS, copy_items

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.executor.columns import Place
    from consecution.graph import Dag
    from consecution.plan.stages import Plan

OUTPUT_ITEMS_MAX = 1_000_000

OutputKey = tuple[int, str, int | None]


class Wiring:
    """Columns of a task.

    Attributes:
        columns: The column before each node of the stage, by the node's place.
        leaving: The column of each channel that leaves the stage, by its number.
        outlets: Deals a channel's values to tasks, by the channel's number.
        injects: Outputs at which the task's own values enter the stage; `Frame.inject` is a place in this list.
    """

    def __init__(self, dag: Dag, plan: Plan, task: int) -> None:
        stage = plan.stage_of_task(task)
        self.columns: dict[int, Column] = {place: Column() for place in stage.nodes}
        self.leaving: dict[int, Column] = {}
        self.outlets: dict[int, Outlet] = {}
        self._targets: dict[OutputKey, list[Column]] = {}
        self.followers: dict[int, list[int | None]] = {place: [] for place in stage.nodes}
        self.in_degree: dict[int, int] = dict.fromkeys(stage.nodes, 0)
        channels = {(c.source, c.output, c.branch, c.stage): c for c in plan.leaving(stage)}
        for place in stage.nodes:
            for edge in dag.outputs(place):
                key = (place, edge.output, edge.branch)
                targets = self._targets.setdefault(key, [])
                if plan.stage_of[edge.target] == stage.number:
                    targets.append(self.columns[edge.target])
                    self.followers[place].append(edge.target)
                    self.in_degree[edge.target] += 1
                    continue
                self.followers[place].append(None)
                channel = channels[place, edge.output, edge.branch, plan.stage_of[edge.target]]
                column = self.leaving[channel.number] = Column()
                targets.append(column)
                entered = plan.stages[channel.stage]
                options = dag.nodes[entered.head]._slot.options
                self.outlets[channel.number] = Outlet(
                    channel.grouping, entered.tasks, copy=stage.tasks.index(task), key=options.key,
                    node=dag.names[entered.head], node_place=entered.head, owners=entered.owners,
                )  # fmt: skip
        self.injects: list[tuple[int, str]] = [
            (place, output)
            for place in stage.nodes
            if not isinstance(dag.nodes[place], Route)
            for output in sorted({"default"} | {key[1] for key in self._targets if key[0] == place})
        ]

    def replan(self, plan: Plan, task: int) -> None:
        """Deal to the tasks of another plan; what waits in the columns is dealt by it too."""
        stage = plan.stage_of_task(task)
        for channel in plan.leaving(stage):
            entered = plan.stages[channel.stage]
            self.outlets[channel.number].retask(
                channel.grouping, entered.tasks, copy=stage.tasks.index(task), owners=entered.owners
            )

    def has_targets(self, place: int) -> bool:
        """Whether anything follows any output of the node."""
        return any(key[0] == place for key in self._targets)

    def n_branches(self, place: int) -> int:
        """How many branches a Route has; 0 for other nodes."""
        return max((key[2] + 1 for key in self._targets if key[0] == place and key[2] is not None), default=0)

    def deliver(
        self,
        key: OutputKey,
        items: Sequence[Any],
        places: Sequence[Place] | None,
        fail: Callable[[int, BaseException], None],
    ) -> None:
        """Append values to all columns that follow an output; all but one get copies.

        Args:
            key: (node, output, branch).
            items: The values; taken over.
            places: Their places.
            fail: ``fail(position, error)`` for a value that can't be copied.
        """
        targets = self._targets.get(key)
        if not targets or not items:
            return
        if len(targets) > 1:
            self._deliver_copies(targets[1:], items, places, fail)
        targets[0].add(items, places)

    def _deliver_copies(
        self,
        targets: Sequence[Column],
        items: Sequence[Any],
        places: Sequence[Place] | None,
        fail: Callable[[int, BaseException], None],
    ) -> None:
        if ATOMS.issuperset(map(type, items)):
            for column in targets:
                column.add(list(items), places)
            return
        for column in targets:
            copies, kept = copy_items(items, fail)
            if len(kept) == len(items):
                column.add(copies, places)
            else:
                column.add(copies, kept if places is None else [places[position] for position in kept])

    def check_room(self) -> None:
        """Refuse more values than one frame may leave behind (R3).

        Raises:
            CapacityError: More than 1,000,000 values wait to leave the task.
        """
        if sum(len(column.items) for column in self.leaving.values()) > OUTPUT_ITEMS_MAX:
            message = (
                f"more than {OUTPUT_ITEMS_MAX:,} values were pushed to other stages while one frame was in work; "
                "push less for one item, or do without a grouping behind this node"
            )
            raise CapacityError(message)
