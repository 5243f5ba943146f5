"""What a test claims of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consecution.report import Report

SHOWN_MAX = 10


def assert_all_completed(report: Report, items: int | None = None) -> None:
    """Check that every item that entered is completed, and that no state was lost.

    Args:
        report: Of `run_flow`, `chaos`, or any run.
        items: How many must have entered; None: any number.

    Raises:
        AssertionError: One failed or is unfinished; names at most ten failures, each with its node and cause.

    >>> from consecution.report import Report
    >>> assert_all_completed(Report(introduced=2, completed=2), items=2)
    >>> assert_all_completed(Report(introduced=2, completed=1, failed=1))
    Traceback (most recent call last):
    AssertionError: 2 introduced, 1 completed, 1 failed in 0.00 s
    """
    wrong: list[str] = []
    if report.introduced != report.completed + report.failed:
        wrong.append(f"{report.introduced - report.completed - report.failed} items have no outcome")
    if items is not None and report.introduced != items:
        wrong.append(f"{report.introduced} items entered, expected {items}")
    wrong += [str(failure) for failure in report.failures[:SHOWN_MAX]]
    if len(report.failures) > SHOWN_MAX:
        wrong.append(f"and {len(report.failures) - SHOWN_MAX} more")
    if not report or wrong:
        raise AssertionError("\n  ".join([str(report), *wrong]))
