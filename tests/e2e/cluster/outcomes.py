"""What a run must have come to: every item written, one outcome for each, and the right totals."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from consecution.wire.cluster.to_client import State

if TYPE_CHECKING:
    from pathlib import Path

    from consecution.wire.cluster.to_client import Status


def written(out: Path) -> Counter[int]:
    """How often each number was written; a line that a kill has cut short is none."""
    found: Counter[int] = Counter()
    for part in out.glob("part-*"):
        found.update(int(line) for line in part.read_bytes().split(b"\n")[:-1])
    return found


def totals(out: Path) -> dict[str, set[int]]:
    """The totals that were written for each word; more than one is a wrong one."""
    found: dict[str, set[int]] = {}
    for part in out.glob("part-*"):
        for line in part.read_text().splitlines():
            word, count = line.split()
            found.setdefault(word, set()).add(int(count))
    return found


def all_completed(status: Status, items: int) -> None:
    """Every item entered and is completed, once; nothing is open, and the audit found nothing."""
    one = status.summary
    assert one.state is State.FINISHED, (one, status.events, status.traceback)
    assert (one.introduced, one.completed, one.failed, one.in_flight) == (items, items, 0, 0), one
    assert status.audits_fired == 0
    assert not one.state_lost


def closed_books(folder: Path, name: str, *, may_have_orphans: bool = False) -> None:
    """The ackers that lived to the end had no tree open, and nothing was found by an audit.

    Args:
        folder: Of the cluster.
        name: Of the topology.
        may_have_orphans: An acker has died, so its successor may have had sums of roots that it never heard of (R11).
    """
    ends = [
        line
        for log in folder.glob(f"worker-*/logs/{name}/acker-*.log")
        for line in log.read_text(errors="replace").splitlines()
        if " ends: " in line
    ]
    assert ends, "no acker closed its book"
    wanted = re.compile(rf" ends: open=0 orphans={r'[0-9]+' if may_have_orphans else '0'} audit_fired=0 ")
    bad = [line for line in ends if not wanted.search(line)]
    assert not bad, bad


def all_written(out: Path, items: int) -> int:
    """Every number is written at least once; gives how many were written again."""
    found = written(out)
    missing = sorted(set(range(items)) - set(found))
    assert not missing, f"{len(missing)} of {items} are missing, such as {missing[:10]}"
    assert max(found, default=0) < items
    return sum(found.values()) - items


def right_totals(out: Path, items: int) -> int:
    """One total for each word, and the right one; gives how many were written again."""
    expected = Counter(f"word{number % 97}" for number in range(items))
    assert totals(out) == {word: {count} for word, count in expected.items()}
    return sum(len(part.read_bytes().splitlines()) for part in out.glob("part-*")) - len(expected)
