"""Dead letters that enter again, each as a new item that names the old one (protocol.md R22).

Rules of this module: a dead letter stands no longer in the very transaction that journals its replay, so a death in
between loses and doubles nothing. The items of the producer P come from a producer ``replay:P``, which feeds what P
feeds; a replay that was cut off goes on with the next run, whatever that is.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

from consecution.errors import JournalError, NoLetter
from consecution.graph.kinds import is_accumulating
from consecution.journal.sqlite import has_journal, open_for_reading
from consecution.local.build import build
from consecution.local.feed import header_of
from consecution.local.notices import NOBODY
from consecution.local.opening import names_of
from consecution.local.replays import PREFIX, Replays, with_replays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from consecution.graph import Dag
    from consecution.journal.base import StoredDeadLetter
    from consecution.journal.sqlite import SqliteJournal
    from consecution.local.build import Build
    from consecution.local.notices import Audience
    from consecution.local.opening import Settings
    from consecution.producers.base import Producer
    from consecution.producers.handover import Handover
    from consecution.report import Progress

log = logging.getLogger(__name__)


def build_replay(
    dag: Dag,
    feeds: Sequence[tuple[Producer, tuple[int, ...]]],
    settings: Settings,
    numbers: Sequence[int],
    *,
    progress: Callable[[Progress], None] | None = None,
    handovers: Sequence[Handover] = (),
    audience: Audience = NOBODY,
) -> Build:
    """Put a run together that processes dead letters again, and nothing else.

    Args:
        dag: The graph, with the fix.
        feeds: The flow's producers, which aren't opened, each with the places of the nodes that it feeds.
        settings: How to run; names the journal.
        numbers: Of dead letters that stand; empty for all of them.
        progress: Told where the run stands.
        handovers: Where the doors of the graph lead, in their order.
        audience: Other consecutors that are told of outcomes.

    Returns:
        What is ready to run; its report counts these items alone.

    Raises:
        JournalError: There is no journal, or it holds no such dead letter, or one that can't be replayed.
    """
    if settings.journal is None:
        message = (
            f"consecutor {settings.name} keeps no journal, so there are no dead letters to replay; give journal=DIR, "
            "and run it with Robustness.REPLAY"
        )
        raise NoLetter(message)
    names = names_of([producer for producer, _ in feeds])
    letters = _chosen(settings.journal, numbers, dag)
    entries = {name: nodes for name, (_, nodes) in zip(names, feeds, strict=True)}
    by_producer: dict[str, list[StoredDeadLetter]] = {}
    for letter in letters:
        name = letter.producer.removeprefix(PREFIX)
        if name not in entries:
            message = (
                f"dead letter {letter.id} is of producer {letter.producer!r}, which the flow hasn't: it has "
                f"{', '.join(map(repr, names)) or 'none'}; give the producer its old name (name={name!r})"
            )
            raise JournalError(message)
        by_producer.setdefault(name, []).append(letter)
    replays: list[tuple[Producer, tuple[int, ...]]] = [
        (Replays(name, found), entries[name]) for name, found in by_producer.items()
    ]
    known = with_replays(replays, dict(entries), settings.journal)
    others = [header_of(name, producer) for name, (producer, _) in zip(names, feeds, strict=True)]
    if any(map(is_accumulating, dag.nodes)):
        log.warning("nodes that sum in memory see the replayed items alone pipeline=%s", settings.name)
    return build(dag, known, settings, progress=progress, replaying=others, handovers=handovers, audience=audience)


def _chosen(folder: Path, numbers: Sequence[int], dag: Dag) -> list[StoredDeadLetter]:
    if not has_journal(folder):
        message = f"there is no journal in {folder}, so there are no dead letters; give its folder (--journal DIR)"
        raise NoLetter(message)
    with closing(open_for_reading(folder)) as journal:
        letters = _standing(journal) if not numbers else [_numbered(journal, number) for number in numbers]
        for letter in letters:
            if not letter.has_item:
                message = (
                    f"dead letter {letter.id} can't be replayed: its item could not be packed, only its text was kept "
                    f"({letter.item_repr}); drop it, and let the source give it again"
                )
                raise JournalError(message)
            if letter.id >= journal.first_dead_id_of_pass and journal.is_accumulating:
                gathering = ", ".join(
                    name for name, node in zip(dag.names, dag.nodes, strict=True) if is_accumulating(node)
                )
                message = (
                    f"dead letter {letter.id} is of a run that was cut off before its end; {gathering} sums in memory, "
                    "so the next run starts over and tries the item again: run the flow first"
                )
                raise JournalError(message)
    return letters


def _standing(journal: SqliteJournal) -> list[StoredDeadLetter]:
    letters: list[StoredDeadLetter] = []
    while page := journal.dead_letters(after_id=letters[-1].id if letters else 0):
        letters += page
    return letters


def _numbered(journal: SqliteJournal, number: int) -> StoredDeadLetter:
    letter = journal.dead_letter(number)
    if letter is None:
        message = f"there is no dead letter {number}; `consecution failed list` shows them"
        raise NoLetter(message)
    if not letter.is_standing:
        what = "was dropped" if letter.is_dropped else "was replayed already"
        message = f"dead letter {number} {what}; `consecution failed list` shows those that stand"
        raise NoLetter(message)
    return letter
