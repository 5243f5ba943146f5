"""`consecution submit`: send a flow to a cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consecution.cli.cluster_connection import (
    DEFAULT_COORDINATOR,
    Coordinator,
    CoordinatorKey,
    KeysFile,
    Timeout,
    connect,
)
from consecution.cli.cluster_text import group_object, letter_lines, status_object, summary_line
from consecution.cli.console import leave, print_json, say, told
from consecution.cli.exit_codes import ExitCode
from consecution.cli.loading import load_flow
from consecution.cli.parameters import Define, Flow, Json, Traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.client import Client
    from consecution.client import Flow as SentFlow
    from consecution.client import FlowGroup as SentGroup
    from consecution.wire.cluster.to_client import Accepted, Status

MIB = 1 << 20
SEVERITY = (ExitCode.DONE, ExitCode.SOME_FAILED, ExitCode.INTERRUPTED, ExitCode.ERROR, ExitCode.BAD_FLOW)


@told
def submit(
    flow: Flow,
    define: Define = None,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="CONSECUTION_NAME",
            help="Of the topology; the consecutor's by default. Of joined ones: of their group, the file's by default.",
            show_default=False,
        ),
    ] = None,
    slots: Annotated[
        int,
        typer.Option(
            min=0, envvar="CONSECUTION_SLOTS", help="Executors; 0: one for each task, as many as there are free slots."
        ),
    ] = 0,
    ackers: Annotated[int, typer.Option(min=0, envvar="CONSECUTION_ACKERS", help="Acker processes; 0: one.")] = 0,
    memory_limit_mib: Annotated[
        int,
        typer.Option(
            "--memory-limit-mib",
            min=0,
            envvar="CONSECUTION_MEMORY_LIMIT_MIB",
            help="End an executor that takes more; 0: no limit.",
        ),
    ] = 0,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", envvar="CONSECUTION_FRESH", help="Leave what an earlier run of this name left aside."),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", envvar="CONSECUTION_WAIT", help="Wait until all is done; the exit code says how.")
    ] = False,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    json_: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="CONSECUTION_QUIET", help="No progress and no summary.")
    ] = False,
    traceback: Traceback = False,
) -> None:
    """Send a flow's folder to the coordinator, which runs it on its workers.

    The flow is loaded here to check it; its folder (without hidden files, environments and caches, at most 20 MiB)
    travels as a zip. Give it absolute paths: a relative one begins in the worker's copy of that folder.

    Joined consecutors become a topology each, named NAME.CONSECUTOR, and NAME names all of them.

    Exit code 0: it is kept, or with --wait: all items are completed; 3: some failed.

    Examples:
        consecution submit flow.py --coordinator tcp://10.0.0.1:7000

        consecution submit flow.py --name airports -D out=/data/results --wait

        consecution submit shop/flows.py:build --slots 4 --json
    """
    from consecution.client import read_flow, read_group
    from consecution.options import options

    loaded = load_flow(flow, define)
    read = read_group if loaded.consecutor.is_joined else read_flow
    sent = read(loaded.consecutor, loaded.address, dict(options))
    if not quiet:
        for left in sent.bundle.left_out[:5]:
            say(f"left out: {left} (a link that leads out of the folder, or no file)")
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        accepted = _send(client, sent, name, slots, ackers, memory_limit_mib, fresh=fresh, is_quiet=quiet)
        if not quiet:
            waits = f": {accepted.reason}" if accepted.reason else ""
            what = f" ({', '.join(accepted.members)})" if accepted.members else ""
            say(f"{accepted.name}{what} is {accepted.state.value}{waits}")
        if not wait:
            if json_:
                print_json(
                    {
                        "name": accepted.name,
                        "run": accepted.run,
                        "state": accepted.state.value,
                        "members": list(accepted.members),
                    }
                )
            return
        try:
            statuses = _wait(client, accepted.name, is_quiet=quiet)
        except KeyboardInterrupt:
            say(f"{accepted.name} goes on; look at it with `consecution status {accepted.name}`, end it with `kill`")
            leave(ExitCode.INTERRUPTED)
        if json_:
            print_json(group_object(accepted.name, statuses) if accepted.members else status_object(statuses[0]))
        if not quiet:
            for status in statuses:
                say(summary_line(status.summary))
                for line in letter_lines(status.newest_letters, status.letters):
                    say(line)
    leave(max(map(wait_code, statuses), key=SEVERITY.index))


def _send(
    client: Client,
    sent: SentFlow | SentGroup,
    name: str | None,
    slots: int,
    ackers: int,
    memory_limit_mib: int,
    *,
    fresh: bool,
    is_quiet: bool,
) -> Accepted:
    """Send the bundle, with a bar when stderr is a terminal, and start what is in it."""

    def send(progress: Callable[[int, int], None] | None) -> Accepted:
        options: dict[str, Any] = {
            "name": name,
            "slots": slots,
            "ackers": ackers,
            "fresh": fresh,
            "memory_bytes_max": memory_limit_mib * MIB,
            "progress": progress,
        }
        return client.submit(sent, **options)

    if is_quiet or not sys.stderr.isatty():
        return send(None)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("sending the code"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sending", total=len(sent.bundle.data))
        return send(lambda have, size: bar.update(task, completed=have, total=size))


def _wait(client: Client, name: str, *, is_quiet: bool) -> list[Status]:
    if is_quiet or not sys.stderr.isatty():
        return client.wait_group(name)
    from consecution.cli.cluster_text import as_progress
    from consecution.cli.progress import LiveProgress
    from consecution.report import joint_progress

    with LiveProgress() as live:

        def show(statuses: Sequence[Status]) -> None:
            parts = list(map(as_progress, statuses))
            live.update(joint_progress(parts, max(part.elapsed_s for part in parts)))

        return client.wait_group(name, progress=show)


def wait_code(status: Status) -> ExitCode:
    """How a topology that was waited for ended."""
    from consecution.wire.cluster.to_client import State

    summary = status.summary
    if summary.state is State.FAILED:
        return ExitCode.BAD_FLOW if status.traceback else ExitCode.ERROR
    if summary.state not in (State.FINISHED, State.DRAINED):
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if summary.is_all_done else ExitCode.SOME_FAILED
