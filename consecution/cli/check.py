"""`consecution check`: tell before a run what will fail, where, and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from consecution.cli.above_run import check_file
from consecution.cli.console import as_plain, leave, print_json, told
from consecution.cli.exit_codes import ExitCode
from consecution.cli.findings import (
    Finding,
    Severity,
    check_bounds,
    check_items,
    check_nodes,
    check_producers,
    check_sums,
)
from consecution.cli.joined import check_links
from consecution.cli.loading import LoadedFlow, load_flow
from consecution.cli.parameters import Define, Flow, Json, Traceback
from consecution.graph import Rows
from consecution.producers import Producer

if TYPE_CHECKING:
    from collections.abc import Iterator


@told
def check(flow: Flow, define: Define = None, json_: Json = False, traceback: Traceback = False) -> None:
    """Tell what will fail or differ in a run, in which mode, and the cure. Nothing is run.

    It looks for what can't be copied or shared, items that can't travel, chunks that can't fill, sums that a death
    would lose, and code that runs in every process. Exit code 4 when something will fail, else 0.

    Examples:
        consecution check flow.py

        consecution check flow.py --json | python -m json.tool
    """
    loaded = load_flow(flow, define)
    findings = sorted(all_findings(loaded), key=lambda finding: finding.severity)  # errors come first
    if json_:
        print_json(as_plain(findings))
    else:
        print("\n".join(told_findings(loaded, findings)))
    if any(finding.severity is Severity.ERROR for finding in findings):
        leave(ExitCode.BAD_FLOW)


def all_findings(loaded: LoadedFlow) -> Iterator[Finding]:
    """Look at a flow from all sides."""
    for consecutor in loaded.consecutor.group_in_order:
        sources = [source for source, _ in consecutor.dag.sources]
        endless = [source.label for source in sources if isinstance(source, Producer) and source.endless]
        yield from check_producers(
            consecutor.name, consecutor.dag.names[0], consecutor.producers, is_joined=consecutor.is_joined
        )
        yield from check_nodes(consecutor.dag)
        yield from check_items((repr(source), source.iterable) for source in sources if isinstance(source, Rows))
        yield from check_bounds(consecutor.dag, consecutor.pending_max)
        yield from check_sums(consecutor.dag, endless)
    yield from check_links(loaded.consecutor.group_in_order)
    file = _file_of(loaded)
    if file is not None:
        yield from check_file(file)


def _file_of(loaded: LoadedFlow) -> Path | None:
    if loaded.address.is_file:
        return Path(loaded.address.place)
    file = getattr(sys.modules.get(loaded.address.place), "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


def told_findings(loaded: LoadedFlow, findings: list[Finding]) -> list[str]:
    """Give the lines to print."""
    consecutors = loaded.consecutor.group_in_order
    nodes = sum(len(one.dag.nodes) for one in consecutors)
    names = ", ".join(one.name for one in consecutors)
    lines = [f"{names}: {_count(nodes, 'node')}, {_count(len(findings), 'finding')}"]
    for finding in findings:
        lines.append(f"{finding.severity} ({finding.modes}): {finding.where}")
        lines.append(f"  {finding.what}")
        lines.append(f"  to do: {finding.cure}")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
