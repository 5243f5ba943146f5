"""From a producer's batch to frames: the walk of R7, with credit.

Rules of this module: pure; ids come from the caller. It deals a batch to the tasks that the producer feeds, and keeps
what they have no credit for. Marks keep their order behind frames (R18, R20).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from consecution.executor.causes import cause_of
from consecution.executor.core import CREDIT_ITEMS
from consecution.executor.frames import Frame
from consecution.executor.outputs import Outlet
from consecution.guarantee.messages import Fail, Init, Sum
from consecution.values import ATOMS, copy_items

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.executor.columns import Place
    from consecution.executor.events import Message
    from consecution.graph import Dag
    from consecution.guarantee.messages import Cause, Incarnation
    from consecution.guarantee.window import Batch
    from consecution.plan.stages import Plan


class RemoteLink(Protocol):
    """The way from a producer to tasks in other processes."""

    def is_remote(self, task: int) -> bool:
        """Whether the task isn't run by this process."""

    def has_credit(self, task: int) -> bool:
        """Whether its owner gives credit; False while nobody runs it."""

    def prepare(self, frame: Frame) -> tuple[list[Frame], list[tuple[int, Exception]]]:
        """Pack a frame; gives what to send, and the indexes in the batch of the items that can't travel, and why."""


class Sending:
    """What one producer sends.

    Args:
        dag: The graph.
        plan: Its plan.
        producer: The producer's place among ``plan.feeds``.
        incarnation: The producer's.
        new_id: Gives edge ids.
        incarnation_of: Gives the incarnation of the executor that runs a task.
        credit_items: How many items may be under way to one task.
        link: The way to tasks in other processes; None when there are none.

    Attributes:
        targets: Tasks that it feeds.
        failures: Of items that could not leave, at level NONE, where no sum can carry them.
        made: Frames that it has made, in all.
    """

    def __init__(
        self,
        dag: Dag,
        plan: Plan,
        producer: int,
        incarnation: Incarnation,
        *,
        new_id: Callable[[], int],
        incarnation_of: Callable[[int], Incarnation | None],
        credit_items: int = CREDIT_ITEMS,
        link: RemoteLink | None = None,
    ) -> None:
        self._producer = producer
        self.targets = plan.downstream_of_producer(producer)
        self._incarnation = incarnation
        self._new_id = new_id
        self._incarnation_of = incarnation_of
        self._credit_items = credit_items
        self._link = link
        self._names = dag.names
        self.failures: list[Cause] = []
        self.made = 0
        self._node_of: dict[int, str] = {}
        self._outlets: list[Outlet] = []
        for channel in plan.of_producer(producer):
            stage = plan.stages[channel.stage]
            self._node_of.update(dict.fromkeys(stage.tasks, dag.names[stage.head]))
            self._outlets.append(
                Outlet(
                    channel.grouping,
                    stage.tasks,
                    copy=0,
                    key=dag.nodes[stage.head]._slot.options.key,
                    node=dag.names[stage.head],
                    node_place=stage.head,
                    owners=stage.owners,
                )
            )
        self._outstanding: dict[int, int] = dict.fromkeys(self.targets, 0)
        self._outbox: dict[int, deque[Message]] = {task: deque() for task in self.targets}

    def replan(self, plan: Plan) -> None:
        """Take a plan in which stages have more tasks or fewer.

        What waits for a task that is no more was for a process that is dead, or is a mark (R6, R12).
        """
        self.targets = plan.downstream_of_producer(self._producer)
        for outlet, channel in zip(self._outlets, plan.of_producer(self._producer), strict=True):
            stage = plan.stages[channel.stage]
            self._node_of.update(dict.fromkeys(stage.tasks, self._names[stage.head]))
            outlet.retask(channel.grouping, stage.tasks, copy=0, owners=stage.owners)
        self._outstanding = {task: self._outstanding.get(task, 0) for task in self.targets}
        self._outbox = {task: self._outbox.get(task, deque()) for task in self.targets}

    @property
    def is_open(self) -> bool:
        """Whether somebody runs each task that the producer feeds."""
        return self._link is None or all(self._incarnation_of(task) is not None for task in self.targets)

    @property
    def has_credit(self) -> bool:
        """Whether a fresh batch may be introduced (R3)."""
        if any(self._outbox.values()):
            return False
        link = self._link
        for task, count in self._outstanding.items():
            if link is not None and link.is_remote(task):
                if not link.has_credit(task):
                    return False
            elif count >= self._credit_items:
                return False
        return True

    def taken(self, task: int, items: int) -> None:
        """Hear that a task took items into work."""
        self._outstanding[task] -= items

    def queue(self, batch: Batch) -> tuple[Init | None, Sum | None]:
        """Make the frames of a batch and queue them.

        Args:
            batch: Its items are taken over.

        Returns:
            What to tell the root's acker: first the sum, if items failed already, then the init. None at level NONE.
        """
        frames, fails = self._frames(batch)
        if self._link is not None:
            frames = [one for frame in frames for one in self._packed(frame, self._link, fails)]
        self.made += len(frames)
        word = 0
        sent_to: set[Incarnation] = set()
        for frame in frames:
            if batch.root:
                frame.ids = (self._new_id(),)
                word ^= frame.ids[0]
                incarnation = self._incarnation_of(frame.task)
                assert incarnation is not None, "is_open was asked before"
                sent_to.add(incarnation)
            self._outbox[frame.task].append(frame)
        if not batch.root:
            self.failures.extend(fail.cause for fail in fails if fail.cause is not None)
            return None, None
        init = Init(batch.root, self._incarnation, word, frozenset(sent_to))
        return init, Sum(batch.root, self._incarnation, 0, fails=tuple(fails)) if fails else None

    def _packed(self, frame: Frame, link: RemoteLink, fails: list[Fail]) -> list[Frame]:
        """Pack a frame for another process, in several when it is too large; what can't travel fails."""
        if not link.is_remote(frame.task):
            return [frame]
        root = frame.roots[0] if frame.roots else 0
        node = self._node_of[frame.task]
        items = frame.items
        frames, bad = link.prepare(frame)
        fails.extend(Fail(root, (index,), cause_of(node, error, items)) for index, error in bad)
        return frames

    def _frames(self, batch: Batch) -> tuple[list[Frame], list[Fail]]:
        roots = (batch.root,) if batch.root else ()
        producers = (self._incarnation,) if batch.root else ()
        frames: list[Frame] = []
        fails: list[Fail] = []
        if len(self._outlets) == 1 and len(self._outlets[0].tasks) == 1:
            task = self._outlets[0].tasks[0]
            frame = Frame(task, batch.items, roots, (), producers, None, batch.solo, None, batch.is_buffer_free)
            return [frame], fails
        for number, outlet in enumerate(self._outlets):
            items, places = batch.items, None
            if number < len(self._outlets) - 1:
                items, places = self._copies(batch, outlet, fails)

            def fail(
                position: int,
                error: BaseException,
                items: Sequence[Any] = items,
                places: Sequence[Place] | None = places,
                outlet: Outlet = outlet,
            ) -> None:
                cause = cause_of(self._names[outlet.node_place], error, items[position])
                index = position if places is None else places[position]
                assert isinstance(index, int)
                fails.append(Fail(batch.root, (index,), cause))

            for task, values, where in outlet.share(items, places, fail):
                origins: Any = where
                frame = Frame(task, values, roots, (), producers, origins, batch.solo, None, batch.is_buffer_free)
                frames.append(frame)
        return frames, fails

    def _copies(self, batch: Batch, outlet: Outlet, fails: list[Fail]) -> tuple[list[Any], Sequence[Place] | None]:
        """Copies of a batch for one of several entries, so that branches never see each other's edits."""
        if ATOMS.issuperset(map(type, batch.items)):
            return list(batch.items), None
        name = self._names[outlet.node_place]

        def fail(place: int, error: BaseException) -> None:
            fails.append(Fail(batch.root, (place,), cause_of(name, error, batch.items[place])))

        return copy_items(batch.items, fail)

    def mark(self, mark: Message) -> None:
        """Queue a flush or end mark to all tasks that the producer feeds."""
        for outbox in self._outbox.values():
            outbox.append(mark)

    def due(self) -> list[tuple[int, Message]]:
        """Give what may be sent now, as (task, message) in send order."""
        sent: list[tuple[int, Message]] = []
        for task, outbox in self._outbox.items():
            while outbox:
                message = outbox[0]
                if isinstance(message, Frame) and (self._link is None or not self._link.is_remote(task)):
                    outstanding = self._outstanding[task]
                    if outstanding and outstanding + len(message.items) > self._credit_items:
                        break  # one frame may always go when none is outstanding (R3)
                    self._outstanding[task] = outstanding + len(message.items)
                sent.append((task, outbox.popleft()))
        return sent

    def roots_queued(self) -> set[int]:
        """Roots that wait for credit here, for the audit (R13)."""
        return {root for outbox in self._outbox.values() for m in outbox if isinstance(m, Frame) for root in m.roots}
