"""How a cluster's answers look: as lines, as tables and as JSON.

Rules of this module: nothing here prints. Names, messages and logs are other people's text: what isn't printable is
escaped, and rich's markup is off.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from consecution.cli.console import as_plain
from consecution.report import what_failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from consecution.report import Progress
    from consecution.wire.cluster.to_client import Listing, ProcessStatus, Status, Summary
    from consecution.wire.control import Letter

MIB = 1 << 20


def clean(text: str, chars_max: int = 500) -> str:
    r"""Text of others on one line, without control characters.

    >>> clean("a\nb\x1b[2J")
    'a b\\x1b[2J'
    """
    one_line = " ".join(text.split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in one_line)[:chars_max]


def duration(seconds: float) -> str:
    """Such as ``4.2 s``, ``3:07`` or ``2:03:07``.

    >>> duration(4.25), duration(187), duration(7387)
    ('4.2 s', '3:07', '2:03:07')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary_line(summary: Summary) -> str:
    """A topology's end or standing in one line."""
    parts = [
        f"{summary.introduced:,} introduced",
        f"{summary.completed:,} completed",
        f"{summary.failed:,} failed",
    ]
    if summary.in_flight:
        parts.append(f"{summary.in_flight:,} in flight")
    if summary.replayed:
        parts.append(f"{summary.replayed:,} replayed")
    if summary.dropped:
        parts.append(f"{summary.dropped:,} dropped")
    if summary.outputs_dropped:
        parts.append(f"{summary.outputs_dropped:,} dropped by async outputs")
    if summary.state_lost:
        parts.append("state lost at " + ", ".join(sorted(summary.state_lost)))
    reason = f" ({clean(summary.reason)})" if summary.reason else ""
    return f"{summary.name}: {summary.state.value}{reason}: {', '.join(parts)} in {duration(summary.elapsed_s)}"


def parallelism_line(status: Status) -> str:
    """How many tasks the nodes have; "" when each has one, as its flow says."""
    if not status.changed and all(count == 1 for count in status.parallelism.values()):
        return ""
    parts = [
        f"{clean(node)} {count}{' (rebalanced)' if node in status.changed else ''}"
        for node, count in status.parallelism.items()
    ]
    return f"parallelism: {', '.join(parts)}"


def letter_lines(letters: Sequence[Letter], total: int) -> list[str]:
    """The newest dead letters, a line each."""
    lines = []
    for letter in letters:
        cause, has_item = letter.cause, letter.item_repr != repr(None)
        failed = what_failed(letter.producer, letter.seq, cause, has_item=has_item)
        why = f": {cause.exception}: {cause.message}" if cause is not None else ""
        lines.append("  " + clean(f"{failed}{why} ({letter.item_repr})" if has_item else failed + why))
    if total > len(letters):
        lines.append(f"  and {total - len(letters):,} more")
    return lines


def as_progress(status: Status) -> Progress:
    """A status as the live line shows it."""
    from consecution.report import Progress

    summary = status.summary
    waiting = summary.reason or next((feed.waiting_for for feed in status.feeds if feed.waiting_for), None)
    return Progress(
        introduced=summary.introduced,
        completed=summary.completed,
        failed=summary.failed,
        replayed=summary.replayed,
        in_flight=summary.in_flight,
        elapsed_s=summary.elapsed_s,
        waiting_for=clean(waiting.removeprefix("waits for "), 100) if waiting else None,
    )


def summary_object(summary: Summary) -> dict[str, Any]:
    """A topology as JSON."""
    return {**as_plain(summary), "state": summary.state.value}


def status_object(status: Status) -> dict[str, Any]:
    """A status as JSON: the summary's fields on top."""
    rest = as_plain(status)
    rest.pop("summary")
    rest["phase"] = status.phase.value
    rest["events"] = [{"at": at, "what": what} for at, what in status.events]
    return {**summary_object(status.summary), **rest}


def group_object(name: str, statuses: Sequence[Status]) -> dict[str, Any]:
    """The topologies of a group as JSON, upstream first."""
    return {"group": name, "topologies": [status_object(one) for one in statuses]}


def listing_object(listing: Listing) -> dict[str, Any]:
    """A listing as JSON."""
    found: dict[str, Any] = as_plain(listing)
    found["topologies"] = [summary_object(one) for one in listing.topologies]
    return found


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _add(table: Table, *cells: object) -> None:
    """Add a row of other people's text, without markup."""
    from rich.text import Text

    table.add_row(*(Text(clean(str(cell))) for cell in cells))


def topology_table(listing: Listing) -> Table:
    """All topologies."""
    counts = ("in", "done", "failed", "in flight")
    table = _table("topologies", "name", "state", *counts, "for", "workers", "note", right=counts)
    for one in listing.topologies:
        _add(
            table, one.name, one.state.value, f"{one.introduced:,}", f"{one.completed:,}", f"{one.failed:,}",
            f"{one.in_flight:,}", duration(one.elapsed_s), ", ".join(one.workers), one.reason,
        )  # fmt: skip
    return table


def worker_table(listing: Listing) -> Table:
    """All workers."""
    table = _table("workers", "name", "state", "slots", "host", "cpu", "memory free", "heard", right=("cpu",))
    for one in listing.workers:
        figures = one.figures
        memory = f"{figures.memory_free_bytes // MIB:,} of {figures.memory_bytes // MIB:,} MiB"
        _add(
            table, one.name, one.state, f"{one.used}/{one.slots}", one.host, f"{figures.cpu:.0%} of {figures.cores}",
            memory, f"{one.heard_s:.1f} s ago",
        )  # fmt: skip
    return table


def process_table(processes: Sequence[ProcessStatus]) -> Table:
    """The executors and ackers of a topology."""
    table = _table(
        "processes", "process", "worker", "state", "runs", "done", "queued", "memory", "starts", "last death"
    )
    for one in processes:
        runs = ", ".join((*one.feeds, *one.tasks)) or (f"{one.open_roots} open trees" if one.role == "acker" else "")
        state = f"{one.state} {one.note}".strip()
        _add(
            table, f"{one.role}-{one.index}", one.worker or "-", state, runs, f"{one.items_done:,}", f"{one.queued:,}",
            f"{one.memory_bytes // MIB} MiB" if one.memory_bytes else "", 1 + one.restarts, one.last_death[:80],
        )  # fmt: skip
    return table


def stuck_lines(status: Status) -> list[str]:
    """The links that are stuck, a line each."""
    return [
        clean(
            f"{one.process} on {one.worker} gets no answer from {one.to} on {one.to_worker} for {duration(one.for_s)}: "
            f"{one.waiting:,} messages wait; look at the network between {one.worker} and {one.to_worker}"
        )
        for one in status.stuck
    ]


def feed_table(status: Status) -> Table:
    """The producers of a topology."""
    counts = ("in", "done", "failed", "in flight", "mark")
    table = _table("producers", "producer", "worker", *counts, "note", right=counts)
    for feed in status.feeds:
        note = (feed.waiting_for and f"waits for {feed.waiting_for}") or ("at its end" if feed.is_at_end else "")
        if feed.listens_on is not None and status.feed_workers.get(feed.place):
            note = f"listens on {feed.listens_on}" + (f"; {note}" if note else "")
        _add(
            table, feed.name, status.feed_workers.get(feed.place, "") or "-", f"{feed.introduced:,}",
            f"{feed.completed:,}", f"{feed.failed:,}", f"{feed.in_flight:,}", f"{feed.mark:,}", note,
        )  # fmt: skip
    return table


def waiting_lines(status: Status) -> list[str]:
    """What waits on hosts that are gone, and what to do about it, a line each."""
    name = clean(status.summary.name)
    lines = []
    for feed in status.feeds:
        if feed.place not in status.feed_homes:
            continue
        worker, host = map(clean, status.feed_homes[feed.place])
        where = f"worker {worker}" + (f" (host {host})" if host else "")
        lines.append(
            f"{clean(feed.name)}: {feed.in_flight:,} unfinished items, as far as it told, wait in its journal on the "
            f"disk of {where}; until then it takes nothing. Start that worker again with its name and --data-dir. If "
            f"the disk is lost, so are they: `consecution kill {name}`, then submit again with --fresh."
        )
    return lines


def event_lines(status: Status, lines_max: int = 10) -> list[str]:
    """The newest of a topology's history."""
    return [
        f"  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}  {clean(text)}"
        for at, text in status.events[-lines_max:]
    ]
