"""What a run came to, for people on stderr and for programs on stdout."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from consecution.cli.console import as_plain
from consecution.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from consecution.report import Failure, Report

FAILURES_SHOWN = 5


def exit_code(report: Report) -> ExitCode:
    """Give the code that a run ends with."""
    if report.failed or report.state_lost:
        return ExitCode.SOME_FAILED
    if not report.is_finished:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if report else ExitCode.SOME_FAILED


def report_object(report: Report) -> dict[str, Any]:
    """Give the Report's fields as JSON can hold them, and ``is_true``: what ``bool(report)`` is."""
    told: dict[str, Any] = as_plain(report)
    return {**told, "is_true": bool(report)}


def summary_lines(
    name: str,
    report: Report,
    *,
    flow: str,
    words: Mapping[str, str] | None = None,
    defines: str = "",
    has_journal: bool = True,
) -> list[str]:
    """Give the lines that tell how a run ended.

    Args:
        name: The consecutor's name.
        report: Its report.
        flow: The flow's address as the user wrote it, for the command that shows more.
        words: What that command must be given besides to find the journal of each consecutor, by its name, with a
            space before it; see `journal_words`.
        defines: What a command that loads the flow must be given besides, with a space before it.
        has_journal: Dead letters and unfinished items were kept.
    """
    seconds = max(report.elapsed_s, 1e-9)
    lines = [f"{name}: {report} ({report.completed / seconds:,.0f}/s)"]
    if not report.is_finished:
        open_ = report.introduced - report.completed - report.failed
        again = "run it again to go on" if has_journal else "without a journal the next run begins anew"
        lines.append(f"  stopped before the end, {open_:,} items unfinished; {again}")
    lines += [f"  failed: {failure}" for failure in report.failures[-FAILURES_SHOWN:]]
    if report.failed > FAILURES_SHOWN:
        lines.append(f"  … and {report.failed - FAILURES_SHOWN:,} more")
    if report.failed and not has_journal:
        lines.append("  to do: nothing keeps what failed; --failed FILE writes it down, --journal DIR keeps it")
    if has_journal:
        lines += [
            f"  to do: consecution failed list {more}; after the fix: consecution failed replay {more}{defines} --all"
            for more in (
                f"{shlex.quote(flow)}{of}{(words or {}).get(one or name, '')}" for one, of in _with_failures(report)
            )
        ]
        if report.failed and not report.failures:
            lines.append("  of what failed nothing is left: all of it was replayed or dropped")
    if report.audits_fired:
        found = f"the audit found {report.audits_fired:,} lost trees, which it should never"
        lines.append(f"  {found}: their items were sent again; please report it")
    lost = sorted(report.state_lost)
    lines += [f"  state lost: what {node!r} summed may be wrong; run it again with --fresh" for node in lost]
    return [*lines, *(f"  {inner}: {part}" for inner, part in report.by_consecutor.items())]


def _with_failures(report: Report) -> list[tuple[str, str]]:
    """Give the consecutors whose dead letters stand, with what names them behind a command; "" for an only one."""
    if report.by_consecutor:
        return [
            (name, f" --of {shlex.quote(name)}") for name, part in report.by_consecutor.items() if _has_letters(part)
        ]
    return [("", "")] if _has_letters(report) else []


def _has_letters(report: Report) -> bool:
    """Whether items failed: only they are dead letters of the journal."""
    return any(failure.seq >= 0 for failure in report.failures)


def write_failures(report: Report, path: Path) -> None:
    """Write the failures that a report holds as JSON lines; an empty file when there are none.

    Raises:
        OSError: The file can't be written.
    """
    lines = (json.dumps(_failure(failure), ensure_ascii=False) + "\n" for failure in report.failures)
    path.write_text("".join(lines), encoding="utf-8")


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "producer": failure.producer,
        "item_number": failure.seq,
        "item": as_plain(failure.item),
        "attempts": failure.attempts,
        "cause": as_plain(failure.cause),
    }
