"""`consecution send`: items pushed into a running topology from outside."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

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
from consecution.cli.console import leave, print_json, say, told
from consecution.cli.exit_codes import ExitCode
from consecution.cli.parameters import Traceback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution.client import Client
    from consecution.remote import RemoteReceipt

CHUNK_BYTES = 1 << 16
FAILED_SHOWN = 5


@told
def send(
    name: Name,
    item: Annotated[
        str, typer.Argument(metavar="JSON|-", help="One item as JSON; - reads an item from each line of stdin.")
    ],
    producer: Annotated[
        str,
        typer.Option(metavar="PRODUCER", envvar="CONSECUTION_PRODUCER", help="Which Pusher, when there are several."),
    ] = "",
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="CONSECUTION_KEY",
            help="Idempotency key: sent again under it, an item isn't taken twice. Line N of stdin has the key KEY/N.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", envvar="CONSECUTION_WAIT", help="Wait until the items are processed.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", envvar="CONSECUTION_JSON", help="Print the receipts as JSON.")
    ] = False,
    coordinator: Coordinator = DEFAULT_COORDINATOR,
    keys: KeysFile = None,
    coordinator_key: CoordinatorKey = None,
    timeout: Timeout = 5.0,
    traceback: Traceback = False,
) -> None:
    """Push items into a running topology whose flow has a Pusher; they are journalled when this ends.

    Examples:
        consecution send orders '{"id": 7, "amount": "12.50"}' --wait

        tail -n 100 orders.jsonl | consecution send orders -
    """
    receipts: list[RemoteReceipt] = []
    with connect(coordinator, keys, coordinator_key, timeout) as client:
        for items in [[_read(item, 0)]] if item != "-" else _lines_of_stdin():
            first = len(receipts)
            own = None if key is None else [f"{key}/{n}" if item == "-" else key for n in _numbers(first, items)]
            receipts += client.push_all(name, items, keys=own, producer=producer)
        failed = _wait(client, receipts) if wait else []
    if json:
        print_json([_plain(receipt) for receipt in receipts])
    else:
        _tell(name, receipts, failed, waited=wait)
    if failed:
        leave(ExitCode.SOME_FAILED)


def _numbers(first: int, items: list[Any]) -> range:
    return range(first + 1, first + len(items) + 1)


def _read(text: str | bytes, number: int) -> Any:
    from consecution.producers.json_items import Bad, item_of_json

    try:
        return item_of_json(text.encode() if isinstance(text, str) else text, max(1, number))
    except Bad as bad:
        where = f"line {number} of stdin is {bad}; the lines before it were sent" if number else f"the item is {bad}"
        raise typer.BadParameter(where, param_hint="JSON") from bad


def _lines_of_stdin() -> Iterator[list[Any]]:
    """Give the items of the lines as they come: what is there is sent before the next ones are waited for."""
    from consecution.producers.lines import LineSplitter

    splitter = LineSplitter()
    number = 0
    is_over = False
    while not is_over:
        data = sys.stdin.buffer.read1(CHUNK_BYTES)  # type: ignore[union-attr]  # it is a BufferedReader
        is_over = not data
        splitter.end() if is_over else splitter.feed(data)
        items: list[Any] = []
        bad: typer.BadParameter | None = None
        for line in splitter.take(sys.maxsize):
            number += 1
            if not line.strip():
                continue
            try:
                items.append(_read(line, number))
            except typer.BadParameter as error:
                bad = error
                break
        if items:
            yield items
        if bad is not None:
            raise bad
        if splitter.is_too_long:
            message = f"line {number + 1} of stdin is longer than {splitter.line_bytes_max:,} bytes"
            raise typer.BadParameter(message, param_hint="JSON")


def _wait(client: Client, receipts: list[RemoteReceipt]) -> list[RemoteReceipt]:
    """Wait for all outcomes; gives the receipts of those that failed."""
    client.wait_all(receipts)
    return [receipt for receipt in receipts if receipt.outcome == "failed"]


def _plain(receipt: RemoteReceipt) -> dict[str, object]:
    plain: dict[str, object] = {
        "topology": receipt.topology,
        "producer": receipt.producer,
        "seq": receipt.seq,
        "key": receipt.key,
        "outcome": receipt.outcome,
    }
    if receipt.error is not None:
        plain |= {"attempts": receipt.attempts, "error": str(receipt.error).partition("\n")[0]}
    return plain


def _tell(name: str, receipts: list[RemoteReceipt], failed: list[RemoteReceipt], *, waited: bool) -> None:
    items = f"{len(receipts):,} item{'' if len(receipts) == 1 else 's'}"
    if not waited:
        say(f"{name}: {items} in its journal")
        return
    say(f"{name}: {items} sent, {len(receipts) - len(failed):,} completed, {len(failed):,} failed")
    for receipt in failed[:FAILED_SHOWN]:
        say(f"  failed: item {receipt.seq} of {receipt.producer}: {str(receipt.error).partition(chr(10))[0]}")
