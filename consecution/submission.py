"""What is sent of a flow: its plan and settings as data, and a zip of its folder; no object of it.

Rules of this module: the flow was loaded by the caller. What workers couldn't run is refused here.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.between.runs import check_fed, prepare_links
from consecution.errors import GraphError, short_repr
from consecution.graph import instantiate
from consecution.graph.door import is_door
from consecution.graph.kinds import is_accumulating
from consecution.plan.stages import grouping_of, plan_of
from consecution.producers.base import SourceClass
from consecution.producers.handover import Handover
from consecution.producers.pusher import Pusher
from consecution.wire.bundle import make_bundle
from consecution.wire.cluster.from_client import FeedFacts, LinkFacts, PlanFacts, StageFacts
from consecution.wire.control import FlowPlace, RunSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consecution.consecutor import Consecutor
    from consecution.flow import FlowAddress
    from consecution.wire.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as it is submitted: data and a zip, no object of it.

    Attributes:
        name: Default name of the topology.
        place: Address within the bundle, options and argv.
        bundle: The zip.
        settings: The consecutor's.
        plan: Stages and producers.
        fingerprint: Of the Dag.
        spec: The Dag as data, packed and compressed.
        links: Those that begin at it, to others of its group by the names of their consecutors.
    """

    name: str
    place: FlowPlace
    bundle: Bundle
    settings: RunSettings
    plan: PlanFacts
    fingerprint: str
    spec: bytes
    links: tuple[LinkFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowGroup:
    """Joined consecutors as they are submitted: a topology each.

    Attributes:
        name: Default name of the group.
        members: Upstream first; all of one bundle.
    """

    name: str
    members: tuple[Flow, ...]

    @property
    def bundle(self) -> Bundle:
        """The zip of all."""
        return self.members[0].bundle


def check_read(flow: object) -> None:
    """Refuse what isn't from `read_flow` or `read_group`, such as the path of a file.

    Raises:
        GraphError: It is something else.
    """
    if not isinstance(flow, (Flow, FlowGroup)):
        message = (
            f"submit({short_repr(flow)}): expected what read_flow(consecutor, address, options) gives; "
            "`consecution submit flow.py` does all of it"
        )
        raise GraphError(message)


def read_flow(
    consecutor: Consecutor, address: FlowAddress, options: Mapping[str, str], *, bytes_max: int | None = None
) -> Flow:
    """Make of a loaded flow what is submitted.

    Args:
        consecutor: The flow's, loaded in this process.
        address: Where it is.
        options: The ``-D`` options.
        bytes_max: Of the zip; None: 20 MiB.

    Raises:
        GraphError: It has no producer, or one that only this process could read.
        CapacityError: Its folder is too large; names the largest files.
    """
    if len(consecutor.group) > 1:
        names = ", ".join(one.name for one in consecutor.group_in_order)
        message = (
            f"{address} is a group of joined consecutors ({names}), and each is a topology of its own: use read_group()"
        )
        raise GraphError(message)
    return _read_member(consecutor, address, options, _bundle_of(address, bytes_max))


def read_group(
    consecutor: Consecutor, address: FlowAddress, options: Mapping[str, str], *, bytes_max: int | None = None
) -> FlowGroup:
    """Make of loaded, joined consecutors what is submitted.

    Args:
        consecutor: Any of them.
        address: Where the flow is.
        options: The ``-D`` options.
        bytes_max: Of the zip; None: 20 MiB.

    Raises:
        GraphError: One has no producer, or one that only this process could read.
        CapacityError: The flow's folder is too large; names the largest files.
    """
    members = consecutor.group_in_order
    check_fed(members[0], members[0].feeds)
    prepare_links(members, members[0], members[0].feeds)  # so that each knows whether those before it ever end
    bundle = _bundle_of(address, bytes_max)
    return FlowGroup(address.stem, tuple(_read_member(one, address, options, bundle) for one in members))


def _bundle_of(address: FlowAddress, bytes_max: int | None) -> Bundle:
    from consecution.wire.bundle import BUNDLE_BYTES_MAX

    return make_bundle(bundle_root(address)[0], bytes_max=bytes_max or BUNDLE_BYTES_MAX)


def _read_member(consecutor: Consecutor, address: FlowAddress, options: Mapping[str, str], bundle: Bundle) -> Flow:
    inner = bundle_root(address)[1]
    return Flow(
        name=consecutor.name,
        place=FlowPlace(inner, "", dict(options), (Path(inner.partition(":")[0]).name,), consecutor.name),
        bundle=bundle,
        settings=settings_of(consecutor),
        plan=facts_of(consecutor),
        fingerprint=consecutor.run_dag.fingerprint,
        spec=packed_spec(consecutor),
        links=links_of(consecutor),
    )


def links_of(consecutor: Consecutor) -> tuple[LinkFacts, ...]:
    """The links that begin at a consecutor, with the place of the producer that reads each."""
    return tuple(
        LinkFacts(
            link.output,
            link.target.name,
            next(place for place, producer in enumerate(link.target.producers) if producer is link.handover),
        )
        for link in consecutor.links
    )


def facts_of(consecutor: Consecutor) -> PlanFacts:
    """The plan of a consecutor, without its code.

    Raises:
        GraphError: It has no producer, or one that only this process could read.
    """
    dag, feeds = consecutor.run_dag, consecutor.feeds
    if not feeds:
        message = (
            f"consecutor {consecutor.name} has no producer, so nothing would enter: link one (producer | "
            f"{dag.names[0]}), or Pusher() | {dag.names[0]} for what clients push"
        )
        raise GraphError(message)
    for producer, _ in feeds:
        # A sequence is produced by the caller in local modes; here the executor that imports the flow has it too, and
        # a Pusher of its own, into which clients push, and what the bridge from another topology gives.
        if isinstance(producer, (Handover, Pusher)):
            continue
        if producer.lives_in_caller and producer.source is not SourceClass.RE_READABLE:
            message = (
                f"producer {producer.label!r} reads what only this process has (an iterator, stdin), so workers can't "
                "run it: read a file by its path (PipeProducer), a list, or write GeneratorProducer(func)"
            )
            raise GraphError(message)
    for node in dag.nodes:
        instantiate(node)  # each executor does, and what can't be copied would be found there alone
    plan = plan_of(dag, [entries for _, entries in feeds])
    stages = tuple(
        StageFacts(
            number=stage.number,
            nodes=tuple(dag.names[node] for node in stage.nodes),
            parallelism=stage.parallelism,
            first=stage.first,
            feeds_stages=tuple(sorted({channel.stage for channel in plan.leaving(stage)})),
            is_accumulating=any(is_accumulating(dag.nodes[node]) for node in stage.nodes),
            grouping=grouping_of(dag, stage.head),
            is_door=is_door(dag.nodes[stage.head]),
        )
        for stage in plan.stages
    )
    facts = tuple(
        FeedFacts(
            place=place,
            name=producer.label,
            kind=producer.kind,
            source=producer.source.value,
            is_endless=producer.endless,
            stages=tuple(sorted({channel.stage for channel in plan.of_producer(place)})),
        )
        for place, (producer, _) in enumerate(feeds)
    )
    return PlanFacts(stages, facts)


def settings_of(consecutor: Consecutor) -> RunSettings:
    """The consecutor's settings as they travel."""
    return RunSettings(
        name=consecutor.name,
        level=consecutor.robustness.name,
        replays_max=consecutor.replays_max,
        timeout_s=float(consecutor.timeout_s),
        call_timeout_s=float(consecutor.call_timeout_s),
        pending_max=consecutor._pending_given or 0,
        resume=consecutor.resume,
    )


def packed_spec(consecutor: Consecutor) -> bytes:
    """The Dag as data, packed and compressed."""
    import msgpack  # type: ignore[import-untyped]

    return zlib.compress(msgpack.packb(consecutor.run_dag.spec()))


def bundle_root(address: FlowAddress) -> tuple[Path, str]:
    """The folder that a flow's bundle is made of, and the flow's address within it.

    For a file the folder that Python's import needs: its own, or above the top package that it lies in.

    Raises:
        GraphError: A module's file can't be found.
    """
    name = f":{address.object}" if address.object is not None else ""
    if address.is_file:
        path = Path(address.place).resolve()
        top = path.parent
        while (top / "__init__.py").is_file() and top.name.isidentifier():
            top = top.parent
        return top, path.relative_to(top).as_posix() + name
    import sys

    file = getattr(sys.modules.get(address.place), "__file__", None)
    if file is None:
        message = f"module {address.place!r} has no file of its own, so it can't be sent; give the path of a file.py"
        raise GraphError(message)
    path = Path(file).resolve()
    depth = address.place.count(".") + (1 if path.name == "__init__.py" else 0)
    return path.parents[depth], address.place + name
