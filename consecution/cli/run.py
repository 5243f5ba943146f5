"""`consecution run`: run a flow until its producers end."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consecution.cli.console import leave, print_json, say, told
from consecution.cli.letters import journal_words
from consecution.cli.loading import LoadedFlow, load_flow
from consecution.cli.parameters import (
    Define,
    Flow,
    JournalFolder,
    Json,
    Traceback,
)
from consecution.cli.progress import LiveProgress
from consecution.cli.summary import exit_code, report_object, summary_lines, write_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from consecution.report import Report


class Mode(StrEnum):
    """Where a flow runs."""

    SINGLE = "single"
    THREADS = "threads"
    PROCESSES = "processes"


@told
def run(
    flow: Flow,
    define: Define = None,
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            "-m",
            envvar="CONSECUTION_MODE",
            help="All in one thread, or tasks in threads or in processes.",
        ),
    ] = Mode.SINGLE,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-w",
            min=1,
            envvar="CONSECUTION_WORKERS",
            help="Threads or processes at most.",
            show_default=False,
        ),
    ] = None,
    journal: JournalFolder = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", envvar="CONSECUTION_FRESH", help="Start anew; a journal that is there is moved aside."),
    ] = False,
    failed: Annotated[
        Path | None,
        typer.Option(
            "--failed",
            metavar="FILE",
            envvar="CONSECUTION_FAILED",
            help="Write the newest 1,000 failed items with their causes there, as JSON lines.",
            show_default=False,
        ),
    ] = None,
    json_: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="CONSECUTION_QUIET", help="No live progress and no summary.")
    ] = False,
    traceback: Traceback = False,
) -> None:
    """Run a flow until its producers end, or go on with it where a killed run was.

    Ctrl-C once finishes what has begun, twice quits. Exit code 0: all items are completed; 3: some failed.

    Examples:
        consecution run flow.py

        consecution run flow.py --mode threads --workers 4 -D out=results

        consecution run flow.py --mode processes --workers 4

        cat README.md | consecution run examples/wordcount.py

        consecution run flow.py --json --failed failed.jsonl
    """
    loaded = load_flow(flow, define)
    options: dict[str, Any] = {"mode": mode.value, "fresh": fresh}
    if mode is Mode.PROCESSES:
        options["flow"] = str(loaded.address)
    if workers is not None:
        options["workers"] = workers
    if journal is not None:
        options["journal"] = journal
    from consecution.consecutor import DEFAULT_JOURNAL

    kept = loaded.consecutor.journal_folder(DEFAULT_JOURNAL if journal is None else journal)
    before = None if kept is None or fresh else earlier_in(kept)
    if failed is not None:
        failed.open("ab").close()  # rather now than after hours
    if not quiet:
        tell_unfinished(before)
    report = with_progress(partial(loaded.consecutor.run, **options), is_quiet=quiet)
    if failed is not None:
        write_failures(report, failed)
    tell_report(
        loaded, report,
        flow=flow, journal=journal, define=define, has_journal=kept is not None, with_json=json_, is_quiet=quiet,
    )  # fmt: skip
    is_as_before = before is not None and (before.completed, before.failed) == (report.completed, report.failed)
    if is_as_before and report.introduced and report.is_finished and not quiet:
        say("  nothing was left to do: an earlier run had done all of it; --fresh begins anew")
    leave(exit_code(report))


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a journal knows of an earlier run; all in items."""

    completed: int
    failed: int
    unfinished: int


def earlier_in(folder: Path) -> Earlier | None:
    """Read what an earlier run left in a journal; None when there is none that can be read, or a run is at work."""
    from consecution.errors import JournalError
    from consecution.journal.lock import seems_in_use
    from consecution.journal.sqlite import has_journal, open_for_reading

    if not has_journal(folder) or seems_in_use(folder):
        return None
    try:
        with closing(open_for_reading(folder)) as opened:
            counts = opened.counts()
            return Earlier(counts.completed, counts.failed, opened.items_unfinished)
    except JournalError:  # the run tells it
        return None


def tell_unfinished(earlier: Earlier | None) -> None:
    """Say that an earlier run's items come first: who starts a run over another input would be surprised by them."""
    if earlier is not None and (count := earlier.unfinished) > 0:
        say(f"goes on with {count:,} unfinished item{'s' if count > 1 else ''} of an earlier run; --fresh begins anew")


def with_progress(call: Callable[..., Report], *, is_quiet: bool = False) -> Report:
    """Call what takes ``progress=``, with the live line when stderr is a terminal."""
    if is_quiet or not sys.stderr.isatty():
        return call()
    with LiveProgress() as live:
        return call(progress=live.update)


def tell_report(
    loaded: LoadedFlow,
    report: Report,
    *,
    flow: str,
    journal: Path | None = None,
    define: list[str] | None = None,
    has_journal: bool = True,
    with_json: bool = False,
    is_quiet: bool = False,
) -> None:
    """Tell how it ended: the summary on stderr, and JSON on stdout when it is asked for."""
    if with_json:
        print_json(report_object(report))
    if not is_quiet:
        names = ", ".join(report.by_consecutor) or loaded.consecutor.name
        # Not the values: a summary is kept in logs, and they may be secret.
        defines = "".join(f" -D {shlex.quote(pair.partition('=')[0])}=…" for pair in define or [])
        words = journal_words(loaded.consecutor, flow, journal) if report.failed and has_journal else {}
        for line in summary_lines(names, report, flow=flow, words=words, defines=defines, has_journal=has_journal):
            say(line)
