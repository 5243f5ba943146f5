"""Opens what a run reads and writes: journal, producers, crash slots; and takes a dead run's work back.

Rules of this module: it makes and connects; it decides nothing that a core could. What a dead process had in work is in
the journal, as suspicion, before the files that say so are forgotten.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from consecution.graph.door import is_door
from consecution.graph.kinds import has_timer, is_accumulating
from consecution.guarantee.changes import Attempt, Changes
from consecution.guarantee.ranges import Ranges
from consecution.guarantee.window import Window
from consecution.journal.base import Header, ProducerRound, Round
from consecution.local.feed import Feed, batch_max_of, header_of
from consecution.local.intake import Intake, Tally
from consecution.local.notices import NOBODY, Notices
from consecution.local.receipts import Receipts
from consecution.local.restart import CRASH, Suspicion
from consecution.local.sending import Sending
from consecution.local.stores import DISK
from consecution.plan.exposure import exposure, items_held, pending_default
from consecution.report import Failure
from consecution.value import value
from consecution.values import keep, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from consecution.graph import Dag
    from consecution.guarantee.levels import Robustness
    from consecution.guarantee.messages import Cause
    from consecution.journal.base import Journal, ProducerHeader, Restored, Stand
    from consecution.local.notices import Audience
    from consecution.local.sending import RemoteLink
    from consecution.local.stores import InWork, Stores
    from consecution.plan.stages import Plan
    from consecution.producers.base import Producer
    from consecution.wire.placement import Death

log = logging.getLogger(__name__)

KEPT_BYTES_MAX = 64 << 20  # of what a producer keeps for replays, where the user named no number of items


@value
class Settings:
    """How a consecutor is run.

    Attributes:
        name: The consecutor's.
        level: Its robustness.
        replays_max: Replays of an item that fails.
        timeout_s: Of the audit.
        pending_max: Unfinished items of each producer; None or 0: by what the holders can keep, and by bytes.
        journal: Its folder; None for none.
        resume: "start" or "position", for accumulating nodes (R17).
    """

    name: str
    level: Robustness
    replays_max: int
    timeout_s: float
    pending_max: int | None
    journal: Path | None
    resume: Literal["start", "position"] = "start"


@value
class Identity:
    """Where ids come from.

    Attributes:
        new_id: Gives edge ids.
        incarnation: Gives the incarnation that verdicts of a producer are sent to.
        roots_of: Gives what makes the roots of an owner: a task's number, or -1 - place of a producer.
    """

    new_id: Callable[[], int]
    incarnation: Callable[[], int]
    roots_of: Callable[[int], Callable[[], int]]


class OpenedIntake:
    """An intake with all that it reads and writes; `begin` it, run it, then `close` it.

    Attributes:
        intake: The producers.
        receipts: Of pushed items.
        files: Crash slots and root tables; None without a journal on disk.
        journal: None when nothing is journalled.
        has_started_over: It began its pass anew, because nodes sum in memory (R17).
    """

    def __init__(
        self,
        intake: Intake,
        receipts: Receipts,
        journal: Journal | None,
        files: InWork | None,
        restored: dict[str, Restored],
        suspects: dict[str, list[int]],
        *,
        crash: Cause,
        is_charged: bool,
        has_started_over: bool,
    ) -> None:
        self.has_started_over = has_started_over
        self.intake = intake
        self.receipts = receipts
        self.journal = journal
        self.files = files
        self._restored = restored
        self._suspects = suspects
        self._crash = crash
        self._is_charged = is_charged

    def knows_items_of(self, producer: str) -> bool:
        """Whether the journal knows items of a producer from before this start."""
        restored = self._restored.get(producer)
        return restored is not None and bool(restored.next_seq or restored.entries)

    def begin(self) -> None:
        """Open the sources, at the positions that the journal says.

        Raises:
            SourceError: One can't be opened, or isn't the one that the journal knows.
        """
        for feed in self.intake.feeds:
            crashes = dict.fromkeys(self._suspects.get(feed.name, ()), self._crash)
            feed.begin(self._restored.get(feed.name), crashes, is_charged=self._is_charged)

    def close(self, *, is_finished: bool) -> None:
        """Release the journal when the pass is done, and close everything."""
        self.intake.close()
        if self.files is not None:
            self.files.close()
        if self.journal is not None:
            try:
                if is_finished:
                    self.journal.finish()
            finally:
                self.journal.close()

    def abandon(self) -> None:
        """Close everything; what was in work stays on disk, as after a death."""
        self.intake.close()
        if self.journal is not None:
            self.journal.close()


def open_intake(
    dag: Dag,
    plan: Plan,
    producers: Sequence[tuple[Producer, tuple[int, ...]]],
    settings: Settings,
    *,
    identity: Identity,
    incarnation_of: Callable[[int], int | None],
    link: RemoteLink | None = None,
    start_fresh: bool = False,
    replaying: Sequence[ProducerHeader] = (),
    keeps_slots: bool = False,
    stands: Mapping[str, Stand] | None = None,
    stores: Stores = DISK,
    audience: Audience = NOBODY,
    is_careful: bool = False,
    deaths: Sequence[Death] = (),
) -> OpenedIntake:
    """Open journal and files of a run, and make its feeds.

    Args:
        dag: The graph.
        plan: Its plan.
        producers: Each with the places of the nodes that it feeds.
        settings: How to run.
        identity: Where ids come from.
        incarnation_of: Gives the incarnation of the executor that runs a task; None while nobody does.
        link: The way to tasks in other processes; None when there are none.
        start_fresh: Move a journal that is there aside.
        replaying: The producers of the flow that don't run, when dead letters are replayed.
        keeps_slots: Crash slots of other processes lie in the same folder, and stay there.
        stands: Where producers stood that ran on another host, for a journal that is new (R17).
        stores: Where journals are kept.
        audience: Other consecutors that are told of outcomes.
        is_careful: Items go one by one: the only one that was under way at the last crash is charged for it, though no
            slot names it.
        deaths: Of other processes, whose slots aren't beside the journal; as the newest placement tells them.

    Returns:
        What is ready to begin.

    Raises:
        JournalError: The journal can't be used.
    """
    names = names_of([producer for producer, _ in producers])
    with ExitStack() as stack:
        journal, restored, files, has_started_over = _open_journal(
            dag, producers, names, settings, replaying, start_fresh, stores, stack
        )
        if journal is not None and stands:
            restored |= journal.adopt({name: stand for name, stand in stands.items() if name in restored})
        is_only = not any(map(has_timer, dag.nodes))
        found = Suspicion({}) if files is None else files.suspicion([*restored], deaths)
        if files is not None and is_careful and is_only and not found.seqs:
            found = files.alone([*restored], deaths)
        crash = found.cause or (CRASH if files is None else files.cause())
        tally = _tally(journal, [restored[name] for name in names] if restored else (), is_replay=bool(replaying))
        receipts = Receipts()
        if journal is not None and not replaying and any(_is_restart(one) for one in restored.values()):
            tally.state_lost |= _state_lost(dag, producers, settings)
        if files is not None:
            _keep_suspicion(journal, restored, found.seqs, crash, is_charged=found.is_charged)
            files.begin(keeps_slots=keeps_slots)
            files.heard(deaths)
        feeds = [
            _feed(
                place,
                names[place],
                producer,
                dag,
                plan,
                settings,
                identity=identity,
                incarnation_of=incarnation_of,
                link=link,
                journal=journal,
                receipts=receipts,
                files=files,
                restored=restored.get(names[place]),
                suspects=found.seqs.get(names[place], []),
                audience=audience,
                is_only=is_only,
            )
            for place, (producer, _) in enumerate(producers)
        ]
        intake = Intake(
            feeds,
            settings.level,
            journal=journal,
            receipts=receipts,
            tally=tally,
            files=files,
            audience=audience,
            marks_begin=any(map(is_door, dag.nodes)) and any(map(is_accumulating, dag.nodes)),
        )
        stack.pop_all()
    return OpenedIntake(
        intake, receipts, journal, files, restored, found.seqs, crash=crash, is_charged=found.is_charged,
        has_started_over=has_started_over,
    )  # fmt: skip


def names_of(producers: Sequence[Producer]) -> list[str]:
    """Names of producers in the journal: their own, or their kind, made unique by a number."""
    names: list[str] = []
    for producer in producers:
        base = producer.name or producer.kind
        name, number = base, 2
        while name in names:
            name = f"{base}-{number}"
            number += 1
        names.append(name)
    return names


def _open_journal(
    dag: Dag,
    producers: Sequence[tuple[Producer, tuple[int, ...]]],
    names: Sequence[str],
    settings: Settings,
    others: Sequence[ProducerHeader],
    start_fresh: bool,
    stores: Stores,
    stack: ExitStack,
) -> tuple[Journal | None, dict[str, Restored], InWork | None, bool]:
    if settings.journal is None:
        return None, {}, None, False
    if start_fresh and (aside := stores.move_aside(settings.journal)) is not None:
        log.warning("the old journal was moved aside to %s", aside)
    journal = stores.journal(settings.journal)
    stack.callback(journal.close)
    is_endless = any(producer.endless for producer, _ in producers) or any(other.endless for other in others)
    is_accumulating = _starts_over(dag, settings, is_endless=is_endless)
    headers = [header_of(name, producer) for name, (producer, _) in zip(names, producers, strict=True)]
    restored = journal.begin(Header(settings.name, is_accumulating), [*headers, *others])
    starts_over = is_accumulating and not others and any(_is_restart(one) for one in restored.values())
    if starts_over:
        log.info("accumulating nodes sum in memory: the run starts over pipeline=%s", settings.name)
        restored = journal.start_over()
    return journal, restored, stores.in_work(settings.journal), starts_over


def _starts_over(dag: Dag, settings: Settings, *, is_endless: bool) -> bool:
    """Whether a restart starts the run over: it is finite and has nodes that sum in memory (R17)."""
    return settings.resume == "start" and any(map(is_accumulating, dag.nodes)) and not is_endless


def _state_lost(dag: Dag, producers: Sequence[tuple[Producer, tuple[int, ...]]], settings: Settings) -> frozenset[str]:
    """The accumulating nodes whose sums of before a restart are gone."""
    if _starts_over(dag, settings, is_endless=any(producer.endless for producer, _ in producers)):
        return frozenset()
    return frozenset(name for name, node in zip(dag.names, dag.nodes, strict=True) if is_accumulating(node))


def _is_restart(restored: Restored) -> bool:
    return bool(restored.mark or restored.ranges or restored.entries or restored.next_seq or restored.attempts)


def _keep_suspicion(
    journal: Journal | None,
    restored: dict[str, Restored],
    suspects: dict[str, list[int]],
    crash: Cause,
    *,
    is_charged: bool,
) -> None:
    """Write suspicion and charge down before the files that say it are forgotten: a second death must not lose it.

    Args:
        journal: Where.
        restored: What it knows.
        suspects: Items that were in work, by producer.
        crash: How the process died.
        is_charged: Each was alone in its process: each is charged an attempt (R15).
    """
    rounds = []
    for name, seqs in suspects.items():
        one = restored[name]
        marked = {seq: one.attempts.get(seq, (0, False))[0] for seq in seqs if not _is_finished(one, seq)}
        attempts = [Attempt(seq, count + is_charged, True, crash) for seq, count in marked.items()]
        if attempts:
            next_seq = max(one.next_seq, max(marked) + 1)
            changes = Changes(attempts=attempts)
            rounds.append(ProducerRound(name, changes, one.mark, one.ranges, next_seq, one.position, one.check))
    if rounds and journal is not None:
        journal.commit(Round(tuple(rounds)))


def _is_finished(restored: Restored, seq: int) -> bool:
    return seq < restored.mark or any(start <= seq < stop for start, stop in restored.ranges)


def _tally(journal: Journal | None, restored: Sequence[Restored], *, is_replay: bool) -> Tally:
    """Counts to go on from: all that the journal knows; of replayed dead letters only those of this run."""
    if journal is None:
        return Tally()
    here = sum(one.next_seq for one in restored)
    if is_replay:
        return Tally(introduced=sum(one.entries for one in restored) - here)
    counts = journal.counts()
    tally = Tally(
        completed=counts.completed, failed=counts.failed, replayed=counts.replayed, dropped=counts.dropped,
        state_lost=counts.state_lost, introduced=counts.introduced - here,
    )  # fmt: skip
    last = 0
    while letters := journal.dead_letters(after_id=last):
        last = letters[-1].id
        for letter in letters:
            item = letter.item if letter.has_item else letter.item_repr
            tally.failures.append(Failure(letter.producer, letter.seq, item, letter.attempts, letter.cause))
    return tally


def _feed(
    place: int,
    name: str,
    producer: Producer,
    dag: Dag,
    plan: Plan,
    settings: Settings,
    *,
    identity: Identity,
    incarnation_of: Callable[[int], int | None],
    link: RemoteLink | None,
    journal: Journal | None,
    receipts: Receipts,
    files: InWork | None,
    restored: Restored | None,
    suspects: Sequence[int],
    audience: Audience,
    is_only: bool,
) -> Feed:
    first_seq, finished = 0, None
    if restored is not None:
        known = [restored.next_seq - 1, *restored.attempts, *restored.dead, *suspects]
        first_seq = max(known) + 1
        finished = Ranges(restored.mark, restored.ranges)
        for seq in sorted(restored.dead):
            if seq not in finished:
                finished.add(seq, seq + 1)
    incarnation = identity.incarnation()
    pending_max = settings.pending_max or pending_default(dag, over_processes=link is not None)
    window = Window(
        producer=incarnation,
        level=settings.level,
        replays_max=settings.replays_max,
        pending_max=pending_max,
        kept_bytes_max=None if settings.pending_max else KEPT_BYTES_MAX,
        new_root=identity.roots_of(-1 - place),
        snapshot=keep if producer.immutable_items else snapshot,
        exposed=exposure(dag),
        first_seq=first_seq,
        finished=finished,
        suspects_alone=link is None,  # a process of its own names the one that it had in work
        is_only=is_only,
    )
    sending = Sending(dag, plan, place, incarnation, new_id=identity.new_id, incarnation_of=incarnation_of, link=link)
    table = files.table(name) if files is not None else None
    return Feed(
        place,
        name,
        producer,
        window,
        sending,
        journal=journal,
        receipts=receipts,
        root_table=table,
        notices=Notices(audience, name) if audience else None,
        # A node that holds items may need the whole window to let any of them go.
        room_min=1 if items_held(dag) else max(1, pending_max // 4),
        batch_max=batch_max_of(producer, pending_max, over_processes=link is not None),
    )
