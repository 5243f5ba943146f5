"""`consecution pause`, `resume`, `drain`, `kill` and `rebalance`: what a topology is told to do."""

from __future__ import annotations

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
from consecution.cli.console import leave, say, told
from consecution.cli.exit_codes import ExitCode
from consecution.cli.parameters import Traceback

if TYPE_CHECKING:
    from consecution.client import Client

Wait = Annotated[bool, typer.Option("--wait", envvar="CONSECUTION_WAIT", help="Wait until it is over.")]


@told
def pause(
    name: Name,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    traceback: Traceback = False,
) -> None:
    """Let the producers of a topology, or of a group, read no more, until `resume`. What entered is finished.

    Examples:
        consecution pause airports
    """
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        say(client.pause(name))


@told
def resume(
    name: Name,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    traceback: Traceback = False,
) -> None:
    """Let the producers of a paused topology, or of a group, read again.

    Examples:
        consecution resume airports
    """
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        say(client.resume(name))


@told
def drain(
    name: Name,
    deadline: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.0, envvar="CONSECUTION_DEADLINE", help="Then it is ended; journals keep the rest."
        ),
    ] = 300.0,
    wait: Wait = False,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    traceback: Traceback = False,
) -> None:
    """End a topology in good order: its producers read no more, and what entered is finished.

    Submitted again under the same name, it goes on from there. A group of joined topologies is drained from the front
    to the end, and so are those before and behind one of its topologies.

    Examples:
        consecution drain airports --deadline 60 --wait
    """
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        say(client.drain(name, deadline_s=deadline))
        if wait:
            _wait(client, name)


@told
def kill(
    name: Name,
    wait: Wait = False,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    traceback: Traceback = False,
) -> None:
    """End a topology, or a group, now. What is unfinished stays in its journals; submitted again, it goes on with them.

    One topology of a group ends those before it, and drains those behind it.

    Examples:
        consecution kill airports --wait
    """
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        say(client.kill(name))
        if wait:
            _wait(client, name)


@told
def rebalance(
    name: Name,
    parallelism: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODE=N]...", help="New parallelism of a node.", show_default=False),
    ] = None,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    traceback: Traceback = False,
) -> None:
    """Change the parallelism of nodes while they run, or spread a topology over the workers that there are now.

    Only what must move is moved. Producers pause meanwhile; nothing is lost, replayed or restarted for it. A run whose
    nodes add up in memory until its end is refused: a move would begin it anew.

    Examples:
        consecution rebalance airports

        consecution rebalance airports count=4
    """
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        say(client.rebalance(name, parse_parallelism(parallelism or [])))


def parse_parallelism(words: list[str]) -> dict[str, int]:
    """Read ``node=N`` words.

    Raises:
        typer.BadParameter: A word is no such pair.

    >>> parse_parallelism(["count=4"])
    {'count': 4}
    """
    found: dict[str, int] = {}
    for word in words:
        node, equals, number = word.rpartition("=")
        if not equals or not node or not number.isdecimal() or not 1 <= int(number) <= 1 << 31:
            message = f"{word!r} is no NODE=N; expected a node's name and its new parallelism, such as count=4"
            raise typer.BadParameter(message)
        found[node] = int(number)
    return found


def _wait(client: Client, name: str) -> None:
    from consecution.cli.cluster_text import summary_line
    from consecution.wire.cluster.to_client import State

    statuses = client.wait_group(name)
    for status in statuses:
        say(summary_line(status.summary))
    if any(status.summary.state is State.FAILED for status in statuses):
        leave(ExitCode.ERROR)
