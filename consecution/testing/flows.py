"""run_flow: run a pipeline in a test, on a virtual clock.

Rules of this module: no real second is waited for. What the runtime waits for (a Chunk's ``within``, ``on_timer``, the
pause before a replay, an interval, ``asyncio.sleep`` in a node) passes at once; ``time.sleep`` in a node is real.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from consecution.consecutor import Consecutor
from consecution.errors import GraphError, short_repr
from consecution.graph import Collect, Node, View
from consecution.local.build import build
from consecution.local.opening import names_of
from consecution.testing.clock import ManualClock
from consecution.testing.timeline import Timeline
from consecution.testing.virtual_loop import VirtualLoop
from consecution.waiting import wait_readable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.local.engine import Engine
    from consecution.producers import Producer
    from consecution.report import Report

BEGINS_AT = datetime(2000, 1, 1, tzinfo=UTC)
OUT = "out"
PATIENCE_S = 86_400.0
ITEMS_MAX = 1_000_000
WAIT_MAX_S = 60.0
LOOK_S = 0.01

Feeds: TypeAlias = "list[tuple[Producer, tuple[int, ...]]]"


class NotOver(AssertionError):
    """The flow didn't end by itself."""


def run_flow(
    flow: object,
    items: Iterable[Any] | Mapping[str, Iterable[Any]] | None = None,
    *,
    every_s: float = 0.0,
    lasts_s: float | None = None,
    clock: ManualClock | None = None,
) -> Report:
    """Run a pipeline to its end, in one thread and on a virtual clock; nothing is journalled.

    Args:
        flow: A Consecutor; or a graph without one, whose last values are collected as ``report.collected["out"]``
            (it is frozen then, so build it in a function); or a function that makes one of them.
        items: What enters in the place of the flow's producers, which stay closed. For several producers a mapping from
            their names to items. None: the flow's own producers are read.
        every_s: Seconds of the clock between two items; 0: all come at once.
        lasts_s: Seconds of the clock after which the run is drained: for producers that don't end.
        clock: The clock to run on, for tests that look at it; None: one that begins on 1 January 2000.

    Returns:
        The report; its ``elapsed_s`` are virtual.

    Raises:
        NotOver: An AssertionError: the flow did not end within a virtual day; give ``lasts_s``.
        GraphError: The flow can't be run so.
        UserCodeError: A setup raised, or a producer's code.

    >>> from datetime import timedelta
    >>> from consecution import Chunk, Map
    >>> report = run_flow(Map(str.upper) | Chunk(100, within=timedelta(minutes=1)), "abcd", every_s=25.0)
    >>> report.collected["out"]
    [['A', 'B', 'C'], ['D']]
    """
    clock = clock or new_clock()
    consecutor = _consecutor_of(flow)
    feeds = _feeds(consecutor, items, every_s, clock)
    for producer, _ in feeds:
        producer.tell_time_by(clock)
    ready = build(consecutor.dag, feeds, consecutor.settings(None), clock=clock, new_loop=lambda: VirtualLoop(clock))
    is_finished = False
    try:
        report = _drive(ready.engine, clock, lasts_s)
        is_finished = report.is_finished
    finally:
        ready.close(is_finished=is_finished)
    return report


def new_clock() -> ManualClock:
    """Give a clock that begins on 1 January 2000, 0:00 UTC."""
    return ManualClock(time=BEGINS_AT.timestamp())


def _consecutor_of(flow: object) -> Consecutor:
    if not isinstance(flow, (Consecutor, Node, View)) and callable(flow):
        flow = flow()
    if isinstance(flow, (Node, View)):
        view = flow._view()
        exits = tuple((vertex, output) for vertex, output in view.exits if not isinstance(vertex, Collect))
        flow = Consecutor(View(view.entries, exits) | Collect(OUT) if exits else flow, "flow", journal=None)
    if not isinstance(flow, Consecutor):
        message = f"run_flow({short_repr(flow)}): expected a Consecutor, a graph of nodes, or a function that makes one"
        raise GraphError(message)
    if flow.is_joined:
        names = ", ".join(one.name for one in flow.group_in_order)
        message = f"run_flow: {flow.name} is linked to other consecutors ({names}); test each before they are linked"
        raise GraphError(message)
    return flow


def _feeds(
    consecutor: Consecutor,
    items: Iterable[Any] | Mapping[str, Iterable[Any]] | None,
    every_s: float,
    clock: ManualClock,
) -> Feeds:
    """The producers to run, each with the places that it feeds."""
    own: Feeds = list(consecutor.feeds)
    if items is None:
        if not own:
            message = f"run_flow: {consecutor.name} has no producer, so nothing would enter: give items"
            raise GraphError(message)
        return own
    if not own:
        own = [(Timeline((), every_s=0.0, clock=clock, name="items"), tuple(consecutor.dag.entries))]
    names = names_of([producer for producer, _ in own])
    if not isinstance(items, Mapping):
        if len(own) > 1:
            message = f"run_flow: {consecutor.name} has {len(own)} producers; give items={{{names[0]!r}: [...], ...}}"
            raise GraphError(message)
        items = {names[0]: items}
    if items.keys() - set(names):
        wrong = ", ".join(map(repr, sorted(items.keys() - set(names))))
        message = f"run_flow: {consecutor.name} has no producer {wrong}; it has {', '.join(map(repr, names))}"
        raise GraphError(message)
    return [
        (Timeline(items.get(name, ()), every_s=every_s, clock=clock, name=name), entries)
        for name, (_, entries) in zip(names, own, strict=True)
    ]


def _drive(engine: Engine, clock: ManualClock, lasts_s: float | None) -> Report:
    """Run an engine; whenever it would wait, let the time pass instead."""
    end = float("inf") if lasts_s is None else clock.monotonic() + lasts_s
    give_up_at = clock.monotonic() + PATIENCE_S + (lasts_s or 0.0)
    try:
        engine.begin()
        while engine.is_running:
            if clock.monotonic() >= end or engine.progress().introduced >= ITEMS_MAX:
                engine.drain()
            if engine.turn():
                continue
            _pass_time(engine, clock, end)
            if clock.monotonic() > give_up_at:
                raise NotOver(_why_not_over(engine))
    except BaseException as error:
        engine.error = engine.error or error
        raise
    finally:
        engine.shut(None)
    if engine.error is not None:
        raise engine.error
    return engine.report()


def _pass_time(engine: Engine, clock: ManualClock, end: float) -> None:
    try:
        if not engine.may_wait():
            return
        waits_s, files = engine.waits_for(WAIT_MAX_S)
        # A producer of the flow's own that waits for a pipe or a socket gets some real time, each time.
        if not wait_readable(files, LOOK_S if len(files) > 1 else 0.0):
            left = end - clock.monotonic()
            clock.advance(min([*waits_s, left] if left > 0 else waits_s))
    finally:
        engine.has_waited()


def _why_not_over(engine: Engine) -> str:
    progress = engine.progress()
    places = "; ".join(engine.places())
    return (
        f"the flow did not end within {PATIENCE_S:.0f} virtual seconds: {progress.introduced} items introduced, "
        f"{progress.in_flight} unfinished{'; ' + places if places else ''}; a producer that doesn't end needs lasts_s=…"
    )
