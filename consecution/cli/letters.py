"""Where dead letters are found, and how one is told."""

from __future__ import annotations

import ast
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consecution.cli.console import as_plain
from consecution.errors import NoLetter, short_repr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consecution.consecutor import Consecutor
    from consecution.journal.base import Journal, StoredDeadLetter

JOURNALS = Path(".consecution")
PAGE = 1000


def folder_of(target: str, journal: Path | None, of: str | None = None) -> Path:
    """Give the folder of the journal that a user means, without importing the flow.

    Args:
        target: The flow's address, or the consecutor's name. The file (or the module's, from here) says where its
            journal is, as in ``Consecutor(…, journal="kept")``; or its stem names it; or the file holds the name
            somewhere, as in ``Consecutor(…, "orders")``.
        journal: What ``--journal`` said; it decides.
        of: What ``--of`` said: which consecutor of a group is meant.

    Raises:
        NoLetter: There is none; names those that are there.
    """
    from consecution.journal.sqlite import has_journal

    if journal is not None:
        return journal / of if of is not None and has_journal(journal / of) else journal
    place = target.partition(":")[0]
    is_file = place.endswith(".py") or "/" in place
    names = [target] if not is_file and ":" not in target else []
    names.append(Path(place).stem if is_file else place.rpartition(".")[2])
    tree = _tree_of(Path(place) if is_file else Path(place.replace(".", "/") + ".py")) if of is None else None
    said = [Path(text) for text in _journals_said(tree) if has_journal(Path(text))]
    if len(said) == 1:
        return said[0]
    names = [of] if of is not None else names
    for name in names:
        if has_journal(JOURNALS / name):
            return JOURNALS / name
    there = sorted(path.name for path in JOURNALS.glob("*") if has_journal(path)) if JOURNALS.is_dir() else []
    texts = _texts_of(tree)
    meant = [name for name in there if name in texts]
    if len(meant) == 1:
        return JOURNALS / meant[0]
    found = f"; there are: {', '.join(there)}" if there else ", nor any other"
    message = (
        f"no journal of {of or target!r} in {JOURNALS.resolve()}{found}. A journal is removed once all is completed, "
        "and with journal=None there never is one; else give the consecutor's name (of a group: --of NAME), or the "
        "folder by --journal. On a cluster: consecution status NAME --failed"
    )
    raise NoLetter(message)


def journal_words(consecutor: Consecutor, flow: str, journal: Path | None) -> dict[str, str]:
    """Give what ``failed`` must be told, with a space before it, to find each journal of a flow that was run.

    Args:
        consecutor: The flow's; those that it is joined with belong to it.
        flow: Its address as the user wrote it.
        journal: What ``--journal`` said.

    Returns:
        By the consecutor's name; "" where the address is enough.
    """
    from consecution.consecutor import DEFAULT_JOURNAL

    members = consecutor.group_in_order
    if journal is not None:
        return dict.fromkeys((one.name for one in members), f" --journal {shlex.quote(str(journal))}")
    words: dict[str, str] = {}
    for one in members:
        kept = one.journal_folder(DEFAULT_JOURNAL)
        try:
            found: Path | None = folder_of(flow, None, one.name if len(members) > 1 else None)
        except NoLetter:
            found = None
        is_found = kept is None or (found is not None and found.resolve() == kept.resolve())
        words[one.name] = "" if is_found else f" --journal {shlex.quote(str(kept))}"
    return words


def _tree_of(file: Path) -> ast.AST | None:
    """Read a Python file; None when it can't be read."""
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _texts_of(tree: ast.AST | None) -> set[str]:
    """Give the texts that stand in a Python file."""
    nodes = () if tree is None else ast.walk(tree)
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _journals_said(tree: ast.AST | None) -> list[str]:
    """Give the folders that stand behind ``journal=`` in a Python file, as far as they are plain texts."""
    nodes = () if tree is None else ast.walk(tree)
    values = (node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "journal")
    return sorted({value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)})


def letters_of(journal: Journal, *, is_standing: bool = True) -> Iterator[StoredDeadLetter]:
    """Give all dead letters of a journal by rising id, a page at a time."""
    after_id = 0
    while page := journal.dead_letters(is_standing=is_standing, after_id=after_id, limit=PAGE):
        yield from page
        after_id = page[-1].id


def chosen(journal: Journal, ids: Sequence[int], flow: str) -> list[StoredDeadLetter]:
    """Give the dead letters that a user named; all that stand when none was named.

    Args:
        journal: Where they are.
        ids: Their numbers; [] for all.
        flow: What the user called the flow, for the command that lists them.

    Raises:
        NoLetter: One isn't there, or stands no longer.
    """
    if not ids:
        return list(letters_of(journal))
    letters = []
    for dead_id in dict.fromkeys(ids):
        letter = journal.dead_letter(dead_id)
        if letter is None:
            raise no_letter(dead_id, flow)
        if not letter.is_standing:
            message = f"dead letter {dead_id} is {status(letter)} already; nothing was changed"
            raise NoLetter(message)
        letters.append(letter)
    return letters


def no_letter(dead_id: int, flow: str) -> NoLetter:
    """Make the error of a number that names no dead letter."""
    return NoLetter(
        f"no dead letter {dead_id}; `consecution failed list {shlex.quote(flow)}` shows those that are there"
    )


def status(letter: StoredDeadLetter) -> str:
    """Say in a word or two what was done with a dead letter."""
    if letter.replayed_as is not None:
        return "replayed as item {1} of {0}".format(*letter.replayed_as)
    return "dropped" if letter.is_dropped else "failed"


def plain(letter: StoredDeadLetter) -> dict[str, Any]:
    """Give a dead letter as JSON can hold it."""
    return {
        "id": letter.id,
        "status": status(letter),
        "producer": letter.producer,
        "item_number": letter.seq,
        "attempts": letter.attempts,
        "item": as_plain(letter.item) if letter.has_item else None,
        "item_repr": letter.item_repr,
        "cause": as_plain(letter.cause),
        "is_crash": letter.is_crash,
        "replay_of": letter.replay_of,
        "at": moment(letter.at),
    }


def story(letter: StoredDeadLetter) -> list[str]:
    """Give the lines that tell all of one dead letter."""
    lines = [
        f"dead letter {letter.id}: item {letter.seq} of {letter.producer}, {status(letter)}",
        f"  item:      {letter.item_repr}",
        f"  when:      {moment(letter.at)}, after {letter.attempts} attempt{'' if letter.attempts == 1 else 's'}",
    ]
    if letter.replay_of is not None:
        lines.append(f"  replay of: dead letter {letter.replay_of}")
    cause = letter.cause
    if cause is None:
        return [*lines, "  cause:     not kept at robustness CONFIRM"]
    lines += [
        f"  node:      {cause.node}",
        f"  value:     {cause.value or '(not known)'}",
        f"  where:     process {cause.process} on {cause.host or 'this host'}",
        f"  cause:     {cause.exception}: {cause.message}",
    ]
    return [*lines, *("    " + line for line in cause.traceback.rstrip().splitlines())]


def row(letter: StoredDeadLetter) -> tuple[str, ...]:
    """Give the cells of a dead letter in the list."""
    cause = letter.cause
    return (
        str(letter.id),
        f"{letter.producer}:{letter.seq}",
        str(letter.attempts),
        cause.node if cause else "-",
        f"{cause.exception}: {cause.message}".partition("\n")[0] if cause else "-",
        short_repr(letter.item) if letter.has_item else letter.item_repr,
        status(letter),
    )


def short_lines(letter: StoredDeadLetter) -> list[str]:
    """Give the cells of a dead letter as lines, for a terminal that has no room for a table."""
    dead_id, item, attempts, node, cause, value, state = row(letter)
    return [
        f"{dead_id}  {item}, {attempts} {'try' if attempts == '1' else 'tries'}, {state}",
        f"  {node}: {cause}",
        f"  {value}",
    ]


def moment(at: float) -> str:
    """Give local time as ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at))
