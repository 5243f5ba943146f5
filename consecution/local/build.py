"""Puts a run together: plan, windows, hosts, ledger, journal.

Rules of this module: it makes and connects; it runs nothing and decides nothing that a core could.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from consecution.clock import SystemClock
from consecution.executor.core import ExecutorCore
from consecution.executor.door import DoorRunner, doors_in
from consecution.executor.events import Journalled
from consecution.executor.own import OwnValues
from consecution.executor.runner import StageRunner
from consecution.guarantee.ids import SEED_BYTES, id_maker
from consecution.guarantee.ledger import Ledger
from consecution.guarantee.window import Window
from consecution.local.engine import Engine
from consecution.local.host import Host
from consecution.local.notices import NOBODY
from consecution.local.opening import Identity, OpenedIntake, Settings, names_of, open_intake
from consecution.local.replays import with_replays
from consecution.plan.exposure import exposure
from consecution.plan.stages import Plan, plan_of
from consecution.values import snapshot

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from consecution.clock import Clock
    from consecution.executor.door import TaskRunner
    from consecution.graph import Dag
    from consecution.journal.base import ProducerHeader
    from consecution.journal.slots import Slots
    from consecution.local.feed import Feed
    from consecution.local.notices import Audience
    from consecution.producers.base import Producer
    from consecution.producers.handover import Taker
    from consecution.report import Progress

NewLoop: TypeAlias = "Callable[[], asyncio.AbstractEventLoop]"

log = logging.getLogger(__name__)

OWN_PENDING_MAX = 8192
HOSTS_MAX = 64


@dataclass(slots=True)
class Build:
    """A run that is ready.

    Attributes:
        engine: Not started.
        opened: What it reads and writes; closed after it.
    """

    engine: Engine
    opened: OpenedIntake

    def close(self, *, is_finished: bool) -> None:
        """Release the journal when the pass is done, and close everything."""
        self.opened.close(is_finished=is_finished)


def build(
    dag: Dag,
    producers: Sequence[tuple[Producer, tuple[int, ...]]],
    settings: Settings,
    *,
    workers: int = 1,
    in_threads: bool = False,
    says_workers: bool = False,
    start_fresh: bool = False,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock | None = None,
    new_loop: NewLoop | None = None,
    replaying: Sequence[ProducerHeader] = (),
    handovers: Sequence[Taker] = (),
    audience: Audience = NOBODY,
) -> Build:
    """Put a run together.

    Args:
        dag: The graph.
        producers: Each with the places of the nodes that it feeds.
        settings: How to run.
        workers: Threads at most.
        in_threads: Mode "threads".
        says_workers: The user named a number of workers, and is told when there is no work for them.
        start_fresh: Move a journal that is there aside.
        progress: Told where the run stands.
        clock: None: the machine's.
        new_loop: Makes the event loop of each task for what it awaits; None: asyncio's own.
        replaying: The producers of the flow that don't run, when dead letters are replayed.
        handovers: Where the doors of the graph lead, in their order.
        audience: Other consecutors that are told of outcomes.

    Returns:
        What is ready to run.

    Raises:
        JournalError: The journal can't be used.
        SourceError: A source can't be opened, or isn't the one that the journal knows.
    """
    clock = clock or SystemClock()
    new_id = id_maker(os.urandom(SEED_BYTES))
    if not replaying and not start_fresh:
        names = names_of([producer for producer, _ in producers])
        entries = {name: nodes for name, (_, nodes) in zip(names, producers, strict=True)}
        producers = with_replays(producers, entries, settings.journal)
    plan = plan_of(dag, [entries for _, entries in producers])
    hosts_by_task, host_incarnations = _spread(plan, min(workers, HOSTS_MAX) if in_threads else 1, new_id)
    if says_workers and not in_threads and workers > 1:
        log.warning("mode single runs all in one thread: %d workers need mode threads or processes", workers)
    elif says_workers and workers > plan.n_tasks:
        log.warning(
            "%d workers, %d task%s: set parallelism=… or grouping=… on the slow nodes",
            workers, plan.n_tasks, "s" if plan.n_tasks > 1 else "",
        )  # fmt: skip
    with ExitStack() as stack:
        opened = open_intake(
            dag,
            plan,
            producers,
            settings,
            identity=Identity(new_id, new_id, lambda _: new_id),
            incarnation_of=lambda task: host_incarnations[hosts_by_task[task]],
            start_fresh=start_fresh,
            replaying=replaying,
            audience=audience,
        )
        stack.callback(opened.abandon)
        intake, files, receipts = opened.intake, opened.files, opened.receipts
        ledger = Ledger(timeout_s=settings.timeout_s, roots_max=_roots_max(intake.feeds, plan))
        hosts: list[Host] = []
        doors = doors_in(dag, plan, handovers)
        engine = Engine(
            intake, lambda task: hosts[hosts_by_task[task]], ledger, settings.level, receipts=receipts, clock=clock,
            in_threads=in_threads, progress=progress, stall_s=settings.timeout_s,
        )  # fmt: skip
        for number, incarnation in enumerate(host_incarnations):
            tasks = [task for task in range(plan.n_tasks) if hosts_by_task[task] == number]
            slot = files.slots(number) if files is not None else None
            hosts.append(_host(incarnation, tasks, dag, plan, settings, new_id, clock, engine, slot, hosts_by_task,
                               host_incarnations, doors, new_loop))  # fmt: skip
        engine.take_hosts(hosts)
        opened.begin()
        stack.pop_all()
    return Build(engine, opened)


def _spread(plan: Plan, workers: int, new_id: Callable[[], int]) -> tuple[list[int], list[int]]:
    """Deal tasks to hosts, round robin; gives the host of each task, and the hosts' incarnations."""
    count = max(1, min(workers, plan.n_tasks))
    return [task % count for task in range(plan.n_tasks)], [new_id() for _ in range(count)]


def _host(
    incarnation: int,
    tasks: Sequence[int],
    dag: Dag,
    plan: Plan,
    settings: Settings,
    new_id: Callable[[], int],
    clock: Clock,
    engine: Engine,
    slot: Slots | None,
    hosts_by_task: Sequence[int],
    host_incarnations: Sequence[int],
    doors: Mapping[int, tuple[Taker, bool]],
    new_loop: NewLoop | None,
) -> Host:
    core = ExecutorCore(plan, settings.level, lambda task: host_incarnations[hosts_by_task[task]])
    runners: dict[int, TaskRunner] = {}
    host = Host(incarnation, core, runners, clock, engine.route, slot)
    exposed = exposure(dag)
    for task in tasks:
        runner = _runner(task, host, dag, plan, new_id, clock, doors, new_loop)
        runners[task] = runner
        own = new_id()
        window = Window(
            producer=own,
            level=settings.level,
            replays_max=settings.replays_max,
            pending_max=OWN_PENDING_MAX,
            new_root=new_id,
            snapshot=snapshot,
            exposed=exposed,
        )
        core.add_task(
            task, OwnValues(task, incarnation, window, new_id), runner.finishing, runner.timers, is_door=task in doors
        )
        engine.owns(own, task)
    return host


def _runner(
    task: int,
    host: Host,
    dag: Dag,
    plan: Plan,
    new_id: Callable[[], int],
    clock: Clock,
    doors: Mapping[int, tuple[Taker, bool]],
    new_loop: NewLoop | None,
) -> TaskRunner:
    if task in doors:
        handover, is_async = doors[task]
        return DoorRunner(task, handover, is_async=is_async, journalled=lambda: host.deliver(Journalled(task)))
    working = host.working
    on_await = (lambda origins: working.note_awaited(task, origins)) if working.has_slot else None
    return StageRunner(dag, plan, task, new_id=new_id, now=clock.monotonic,
                       on_push_of=working.note_pushed, on_await=on_await, new_loop=new_loop)  # fmt: skip


def _roots_max(feeds: Sequence[Feed], plan: Plan) -> int:
    """Every unfinished item may be alone in its root."""
    return sum(feed.window.pending_max for feed in feeds) + OWN_PENDING_MAX * plan.n_tasks + 1000
