"""Puts the run of a group together: each consecutor's own run, and what joins them.

Rules of this module: it makes and connects; nothing runs here.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from consecution.between.links import downstream_of, group_of
from consecution.errors import GraphError, JournalError
from consecution.graph.kinds import is_accumulating
from consecution.guarantee.levels import Robustness
from consecution.local.again import build_replay
from consecution.local.build import build
from consecution.local.feed import header_of
from consecution.local.group import GroupRun, Member
from consecution.local.notices import Audience
from consecution.local.opening import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from consecution.consecutor import Consecutor
    from consecution.local.build import Build
    from consecution.process.group import ProcessesGroup
    from consecution.process.settings import ProcessesSettings
    from consecution.producers import Producer
    from consecution.producers.handover import Handover
    from consecution.report import Progress

    Feeds: TypeAlias = Sequence[tuple[Producer, tuple[int, ...]]]

log = logging.getLogger(__name__)


def check_fed(first: Consecutor, feeds: Feeds) -> None:
    """Refuse to run a group in which nothing would ever enter a consecutor.

    Args:
        first: The one that is run, or started.
        feeds: Its producers in this run.

    Raises:
        GraphError: Names the consecutor.
    """
    for one in group_of(first):
        if not (feeds if one is first else one.feeds):
            joined = "" if one is first else f", which runs together with {first.name},"
            message = (
                f"consecutor {one.name}{joined} has no producer, so nothing would enter: link one "
                f"(rows | {one.dag.names[0]}), or use consume(items), or start() and push()"
            )
            raise GraphError(message)


def prepare_links(members: Sequence[Consecutor], first: Consecutor, feeds: Feeds) -> None:
    """Make the links of a group ready for a run: nothing of an earlier one is left in them.

    Args:
        members: Upstream first.
        first: The one that is run.
        feeds: Its producers in this run; the others have their own.
    """
    is_endless: dict[int, bool] = {}
    for one in members:
        links = [id(link.handover) for link in one.inputs]
        mine = feeds if one is first else one.feeds
        own = any(producer.endless for producer, _ in mine if id(producer) not in links)
        is_endless[id(one)] = own or any(is_endless.get(id(link.source), False) for link in one.inputs)
        for link in one.links:
            link.handover.begin_run(endless=is_endless[id(one)])


def handovers_of(one: Consecutor) -> list[Handover]:
    """Give where the doors of a consecutor's graph lead, in their order."""
    return [link.handover for link in one.links if not link.is_failed]


def audience_of(one: Consecutor) -> Audience:
    """Give who is told of a consecutor's dead letters and batch ends."""
    has_outcomes = one.robustness is not Robustness.NONE
    return Audience(
        one.name,
        failed=tuple(link.handover for link in one.links if link.is_failed),
        batch_ends=tuple(
            link.handover
            for link in one.links
            if has_outcomes and link.target.batch_ends and not (link.is_failed or link.is_async)
        ),
    )


def build_group(
    first: Consecutor,
    feeds: Feeds,
    folder_of: Callable[[Consecutor], Path | None],
    *,
    workers: int | None,
    in_threads: bool,
    start_fresh: bool,
    progress: Callable[[Progress], None] | None,
) -> GroupRun:
    """Put the run of a group together, for modes "single" and "threads".

    Args:
        first: The one that is run.
        feeds: Its producers in this run; the others have their own.
        folder_of: Gives the journal of each.
        workers: Threads of each at most; None: one for each task.
        in_threads: Mode "threads".
        start_fresh: Move journals that are there aside.
        progress: Told where all stand.

    Returns:
        What is ready to run.

    Raises:
        JournalError: A journal can't be used; no source was read.
    """
    members = group_of(first)
    prepare_links(members, first, feeds)

    def build_one(one: Consecutor) -> Build:
        return build(
            one.run_dag,
            feeds if one is first else one.feeds,
            one.settings(folder_of(one)),
            workers=workers if workers is not None else one.n_tasks,
            in_threads=in_threads,
            says_workers=workers is not None,
            start_fresh=start_fresh,
            handovers=handovers_of(one),
            audience=audience_of(one),
        )

    return _joined(members, build_one, progress)


def build_processes(
    first: Consecutor,
    feeds: Feeds,
    folder_of: Callable[[Consecutor], Path | None],
    settings_of: Callable[[Consecutor, Feeds], ProcessesSettings],
    *,
    progress: Callable[[Progress], None] | None,
) -> ProcessesGroup:
    """Put the run of a group together, for mode "processes".

    Args:
        first: The one that is run.
        feeds: Its producers in this run; the others have their own.
        folder_of: Gives the journal of each.
        settings_of: Gives what each needs for that mode.
        progress: Told where all stand.

    Returns:
        What is ready to run.

    Raises:
        JournalError: A journal can't be read.
    """
    from consecution.process.group import Member as ProcessesMember
    from consecution.process.group import ProcessesGroup
    from consecution.process.parent import ProcessesRun
    from consecution.process.settings import Neighbours

    members = group_of(first)
    prepare_links(members, first, feeds)
    places = {id(one): place for place, one in enumerate(members)}
    made = [
        ProcessesMember(
            one.name,
            tuple((link.handover, places[id(link.target)]) for link in one.links),
            frozenset(places[id(link.source)] for link in one.inputs),
        )
        for one in members
    ]
    group = ProcessesGroup(made, progress=progress)
    for place, one in enumerate(members):
        mine = feeds if one is first else one.feeds
        made[place].run = ProcessesRun(
            one.run_dag,
            mine,
            one.settings(folder_of(one)),
            settings_of(one, mine),
            progress=None,
            neighbours=Neighbours(
                handovers_of(one), audience_of(one), partial(group.has_ended, place), partial(group.starts_over, place)
            ),
        )
    return group


def build_group_replay(
    first: Consecutor,
    folder: Path | None,
    numbers: Sequence[int],
    folder_of: Callable[[Consecutor], Path | None],
    *,
    progress: Callable[[Progress], None] | None,
) -> GroupRun:
    """Put a run together that processes dead letters of one consecutor again, and what becomes of them behind it.

    Args:
        first: Whose dead letters they are.
        folder: Its journal.
        numbers: Of dead letters that stand; empty for all of them.
        folder_of: Gives the journal of each other.
        progress: Told where all stand.

    Returns:
        What is ready to run.

    Raises:
        JournalError: There is no journal, or no such dead letter.
    """
    members = [first, *downstream_of(first)]
    prepare_links(members, first, first.feeds)

    def build_one(one: Consecutor) -> Build:
        handovers, audience = handovers_of(one), audience_of(one)
        if one is first:
            return build_replay(
                one.run_dag, one.feeds, one.settings(folder), numbers, handovers=handovers, audience=audience
            )
        links = [link.handover for link in one.inputs if link.source in members]
        read = [(producer, places) for producer, places in one.feeds if any(producer is one for one in links)]
        names = dict(zip(map(id, one.producers), names_of(one.producers), strict=True))
        others = [header_of(names[id(p)], p) for p in one.producers if all(p is not each for each, _ in read)]
        settings = one.settings(folder_of(one))
        built = build(one.run_dag, read, settings, replaying=others, handovers=handovers, audience=audience)
        if built.opened.has_started_over:
            built.opened.abandon()
            message = (
                f"consecutor {one.name}, behind {first.name}, sums in memory, and its run was cut off before its end; "
                "what is replayed now would end it: run the flow first"
            )
            raise JournalError(message)
        return built

    return _joined(members, build_one, progress)


def _joined(
    members: Sequence[Consecutor],
    build_one: Callable[[Consecutor], Build],
    progress: Callable[[Progress], None] | None,
) -> GroupRun:
    made: list[Member] = []
    doubled: set[int] = set()
    places = {id(one): place for place, one in enumerate(members)}
    with ExitStack() as stack:
        for one in members:
            built = build_one(one)
            stack.callback(built.opened.abandon)
            upstream = [link for link in one.inputs if id(link.source) in places]
            again = [link for link in upstream if id(link.source) in doubled]
            if built.opened.has_started_over:
                doubled.add(id(one))
            if any(built.opened.knows_items_of(str(link.handover.name)) for link in again):
                doubled.add(id(one))
                _lose_sums(one, built)
            outputs = tuple((link.handover, places[id(link.target)]) for link in one.links)
            made.append(Member(one.name, built, outputs, frozenset(places[id(link.source)] for link in upstream)))
        stack.pop_all()
    return GroupRun(made, progress=progress)


def _lose_sums(one: Consecutor, built: Build) -> None:
    """One before it starts over, and pushes again what was taken before: sums in memory may count it twice."""
    lost = frozenset(name for name, node in zip(one.dag.names, one.dag.nodes, strict=True) if is_accumulating(node))
    if lost:
        log.warning(
            "what consecutor %s takes is pushed once more, as one before it starts over: the sums of %s aren't certain",
            one.name, ", ".join(sorted(lost)),
        )  # fmt: skip
        built.opened.intake.tally.state_lost |= lost
