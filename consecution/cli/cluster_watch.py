"""`consecution list`, `status` and `logs`: what runs on a cluster, and how it stands."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from consecution.cli.cluster_connection import (
    DEFAULT_COORDINATOR,
    Coordinator,
    CoordinatorKey,
    KeysFile,
    Name,
    Timeout,
    connect,
)
from consecution.cli.console import as_plain, print_json, say, told
from consecution.cli.parameters import Json, Traceback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from consecution.wire.cluster.to_client import Status

FOLLOW_S = 0.5


@told
def list_(
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    json_: Json = False,
    traceback: Traceback = False,
) -> None:
    """List the topologies and workers of a cluster.

    Examples:
        consecution list --coordinator tcp://10.0.0.1:7000

        consecution list --json
    """
    from consecution.cli.cluster_text import listing_object, topology_table, worker_table

    with connect(coordinator, keys, coordinator_key, timeout) as client:
        listing = client.list()
    if json_:
        print_json(listing_object(listing))
        return
    _print(topology_table(listing))
    _print(worker_table(listing))
    if listing.refused:
        print(f"refused since the coordinator's start: {listing.refused:,} connections or messages; see its log")
    if listing.is_insecure:
        say("the coordinator runs with --insecure: everyone who reaches it may run code on all workers")


@told
def status(
    name: Name,
    failed: Annotated[
        bool, typer.Option("--failed", envvar="CONSECUTION_FAILED_ITEMS", help="Print all dead letters, as JSON lines.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", envvar="CONSECUTION_WATCH", help="Print a line each second until it is over.")
    ] = False,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    json_: Json = False,
    traceback: Traceback = False,
) -> None:
    """Tell how a topology stands: its processes, producers, failures and history; of a group, how each of its does.

    Examples:
        consecution status airports

        consecution status airports --json

        consecution status airports --failed > failed.jsonl
    """
    from consecution.cli.cluster_text import clean, group_object, status_object, summary_line

    def print_lines(statuses: Sequence[Status]) -> None:
        for one in statuses:
            print(clean(summary_line(one.summary)), flush=True)

    with connect(coordinator, keys, coordinator_key, timeout) as client:
        members = client.members(name)
        if failed:
            for member in members:
                of_group = {} if member == name else {"topology": member}
                for letter in client.letters(member):
                    print_json({**of_group, **as_plain(letter), "item": letter.item_repr})
            return
        if watch:
            client.wait_group(name, every_s=1.0, progress=print_lines)
            return
        answers = [client.status(member) for member in members]
    if json_:
        print_json(status_object(answers[0]) if members == [name] else group_object(name, answers))
        return
    for number, answer in enumerate(answers):
        if number:
            print()
        _print_status(answer)


def _print_status(answer: Status) -> None:
    from consecution.cli.cluster_text import (
        event_lines,
        feed_table,
        letter_lines,
        parallelism_line,
        process_table,
        stuck_lines,
        summary_line,
        waiting_lines,
    )

    print(summary_line(answer.summary))
    if line := parallelism_line(answer):
        print(line)
    print()
    if answer.processes:
        _print(process_table(answer.processes))
    for line in stuck_lines(answer):
        print(line)
    _print(feed_table(answer))
    for line in waiting_lines(answer):
        print(line)
    if answer.letters:
        print(f"dead letters: {answer.letters:,} (all of them: consecution status {answer.summary.name} --failed)")
        for line in letter_lines(answer.newest_letters, answer.letters):
            print(line)
        print()
    if answer.audits_fired:
        print(f"the audit found {answer.audits_fired:,} lost trees, which it should never: please report it")
    print("history:")
    for line in event_lines(answer):
        print(line)
    if answer.traceback:
        print()
        print(answer.traceback)


@told
def logs(
    name: Name,
    index: Annotated[
        int, typer.Argument(metavar="[EXECUTOR]", min=0, envvar="CONSECUTION_EXECUTOR", help="Number of the executor.")
    ] = 0,
    acker: Annotated[
        bool, typer.Option("--acker", envvar="CONSECUTION_ACKER", help="Of the acker of that number.")
    ] = False,
    kib: Annotated[int, typer.Option("--kib", min=1, envvar="CONSECUTION_KIB", help="How much of the end.")] = 8,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", envvar="CONSECUTION_FOLLOW", help="Go on with what is written.")
    ] = False,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 10.0,
    traceback: Traceback = False,
) -> None:
    """Print the log of an executor: what the flow's code printed and logged there.

    Examples:
        consecution logs airports

        consecution logs airports 2 --follow
    """
    role = "acker" if acker else "executor"
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        part = client.log(name, role=role, index=index, offset=-kib * 1024)
        sys.stdout.write(part.text)
        while follow:
            sys.stdout.flush()
            time.sleep(FOLLOW_S)
            part = client.log(name, role=role, index=index, offset=part.next_offset)
            sys.stdout.write(part.text)
    if part.text and not part.text.endswith("\n"):
        print()


def _print(table: Table) -> None:
    from rich.console import Console

    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
