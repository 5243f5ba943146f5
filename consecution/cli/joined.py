"""What `consecution check` finds where consecutors are joined, and at outputs that lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consecution.between.links import downstream_of
from consecution.cli.findings import Finding, Modes, Severity
from consecution.consecutor import DEFAULT_JOURNAL
from consecution.graph.kinds import is_accumulating, is_collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consecution.consecutor import Consecutor


def check_links(members: Sequence[Consecutor]) -> Iterator[Finding]:
    """Find what a death between two consecutors would lose, and what nobody takes.

    Args:
        members: All consecutors of a flow, upstream first.
    """
    for one in members:
        yield from _unjournalled(one)
        yield from _unread_outputs(one)
        yield from _uncertain_sums(one)
        if len(members) > 1 and not one.feeds:
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"consecutor {one.name!r}",
                "no producer and no output leads to it: run() of the group refuses that",
                f"link something to it (rows | {one.name}), or leave it out of the group",
            )


def _unjournalled(one: Consecutor) -> Iterator[Finding]:
    if one.journal_folder(DEFAULT_JOURNAL) is None:
        return
    for link in one.links:
        if not link.is_async and link.target.journal_folder(DEFAULT_JOURNAL) is None:
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"output {link.output!r} of consecutor {one.name!r}",
                f"{link.target.name!r} keeps no journal: what it has taken and not finished is lost when the process "
                "dies, and was completed upstream",
                f"give {link.target.name!r} Robustness.REPLAY and a journal, where that matters",
            )


def _unread_outputs(one: Consecutor) -> Iterator[Finding]:
    read = {edge.output for edge in one.dag.edges} | {link.output for link in one.links if not link.is_failed}
    for output in one.dag.declared:
        if output.name not in read:
            nodes = ", ".join(repr(one.dag.names[place]) for place in output.nodes)
            yield Finding(
                Severity.WARNING,
                Modes.ALL,
                f"output {output.name!r} of consecutor {one.name!r}",
                f"nothing follows it, so what {nodes} sends there ends there",
                f"link it: {one.name}.output[{output.name!r}] | other",
            )


def _uncertain_sums(one: Consecutor) -> Iterator[Finding]:
    is_finite = not any(producer.endless for producer in one.producers)
    sums = [name for name, node in zip(one.dag.names, one.dag.nodes, strict=True) if is_accumulating(node)]
    if not (sums and is_finite and one.resume == "start" and one.journal_folder(DEFAULT_JOURNAL) is not None):
        return
    for other in downstream_of(one):
        for name, node in zip(other.dag.names, other.dag.nodes, strict=True):
            if is_accumulating(node) and not is_collect(node):
                yield Finding(
                    Severity.WARNING,
                    Modes.ALL,
                    f"node {name!r} of consecutor {other.name!r}",
                    f"it sums in memory, and so does {sums[0]!r} of {one.name!r} before it: after a death {one.name!r} "
                    "starts over and pushes again what was taken, so that this sum is told as not certain (state_lost)",
                    f"let {one.name!r} push only from finish(), or put both nodes into one consecutor",
                )
