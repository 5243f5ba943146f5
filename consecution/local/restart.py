"""What a dead process had in work, found at the next start (R15).

Rules of this module: it reads the crash slots and root tables of a journal's folder, and makes new ones.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.errors import JournalError, ProtocolError
from consecution.guarantee.messages import Cause
from consecution.journal.slots import ALL, CrashSlots, InWork, RootTable, read_roots, read_slots
from consecution.wire.plain import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from consecution.wire.placement import Death

log = logging.getLogger(__name__)

FOLDER = "in-work"
CAUSE_NAME = "cause"
HEARD_NAME = "heard"
CRASH = Cause(
    node="",
    exception="ProcessDied",
    message="the process died with this item in work (killed, out of memory, os._exit or a segmentation fault)",
)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What was in work when a process died.

    Attributes:
        seqs: Items by producer.
        is_charged: Each process had one item alone: each of them is charged. A root that is settled or replaced names
            an item that can't be found any more, but it was in work beside the others.
        cause: How the process died, when its death tells; None when only a slot beside the journal does.
    """

    seqs: dict[str, list[int]]
    is_charged: bool = False
    cause: Cause | None = None


class InWorkFiles:
    """The crash slots and root tables of one journal.

    Args:
        journal: The journal's folder.
    """

    def __init__(self, journal: Path) -> None:
        self._folder = journal / FOLDER
        self._slots: list[CrashSlots] = []
        self._tables: list[RootTable] = []
        self._keeps_slots = False

    def suspicion(self, producers: Sequence[str], deaths: Sequence[Death]) -> Suspicion:
        """Give the items that were in work when the last process died.

        Args:
            producers: Names, in the order in which their tables were made.
            deaths: Of processes whose slots aren't here, as the newest placement tells them.
        """
        slots = [read_slots(path) for path in self._dead_slots()]
        return suspicion_of(slots, deaths, {name: read_roots(self._table(name)) for name in producers})

    def alone(self, producers: Sequence[str], deaths: Sequence[Death]) -> Suspicion:
        """Give the one item that was under way when the last process crashed; none when there were others.

        Args:
            producers: Names, in the order in which their tables were made.
            deaths: As the newest placement tells them.
        """
        return alone_of(
            {name: read_roots(self._table(name)) for name in producers},
            [death for death in deaths if death.number > self._heard()],
            left_word=(self._folder / CAUSE_NAME).is_file(),
            has_slots=any(read_slots(path) for path in self._dead_slots()),
        )

    def heard(self, deaths: Sequence[Death]) -> None:
        """Hear of deaths that this run goes on after: what was in work then has been judged, or is soon (R15).

        A later death of this process itself, of its host say, must not be taken for one of them.
        """
        number = max((death.number for death in deaths), default=0)
        if number <= self._heard():
            return
        half = self._folder / f"{HEARD_NAME}.part"
        try:
            half.write_text(str(number))
            half.rename(self._folder / HEARD_NAME)
        except OSError as error:  # a full disk: an item may be charged once for a death of its host
            log.debug("deaths can't be noted folder=%s error=%s", self._folder, error)

    def _heard(self) -> int:
        try:
            return int((self._folder / HEARD_NAME).read_text())
        except (OSError, ValueError):
            return 0

    def cause(self) -> Cause:
        """How the last process died: as its parent left word, or in general terms.

        Raises:
            JournalError: The word can't be read.
        """
        path = self._folder / CAUSE_NAME
        if not path.is_file():
            return CRASH
        try:
            return decode(path.read_bytes(), (Cause,))
        except ProtocolError as error:
            message = f"{path} doesn't say how the last process died: {error}; remove it"
            raise JournalError(message) from error

    def _dead_slots(self) -> list[Path]:
        """Slots whose writer is dead; that of an executor has its process id at its end."""
        return [path for path in sorted(self._folder.glob("host-*")) if not _is_alive(path.name.split("-")[2:])]

    def begin(self, *, keeps_slots: bool = False) -> None:
        """Forget the dead process's files; what they say must be in the journal by now.

        Args:
            keeps_slots: Only the root tables are this process's: who owns the slots removes them.
        """
        self._keeps_slots = keeps_slots
        if keeps_slots:
            of_the_dead = (path for name in ("roots-*", CAUSE_NAME, HEARD_NAME) for path in self._folder.glob(name))
            for path in (*of_the_dead, *self._dead_slots()):
                path.unlink()
        elif self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def slots(self, host: int) -> CrashSlots:
        """Make the slot of a host."""
        slots = CrashSlots(self._folder / f"host-{host}")
        self._slots.append(slots)
        return slots

    def table(self, producer: str) -> RootTable:
        """Make the root table of a producer."""
        table = RootTable(self._table(producer))
        self._tables.append(table)
        return table

    def _table(self, producer: str) -> Path:
        safe = producer.encode().hex()
        return self._folder / f"roots-{safe}"

    def close(self) -> None:
        """Remove them: the run ended in good order."""
        for slots in self._slots:
            slots.close()
        for table in self._tables:
            table.close()
        if self._keeps_slots:
            for path in (*self._folder.glob("roots-*"), *self._folder.glob(HEARD_NAME)):
                path.unlink()
        elif self._folder.exists():
            shutil.rmtree(self._folder)


def suspicion_of(
    slots: Sequence[Sequence[InWork]], deaths: Sequence[Death], tables: Mapping[str, Mapping[int, Sequence[int]]]
) -> Suspicion:
    """Find the items that dead processes had in work.

    Args:
        slots: What stood in the slots beside the journal, of each process.
        deaths: Of processes of this journal and of others. One that names no root of the tables is an old one, and says
            nothing.
        tables: Of each producer the items of the roots that were open.
    """
    known = {root for roots in tables.values() for root in roots}
    told = [death for death in deaths if any(root in known for root, _, _ in death.runs)]
    processes = [*slots, *([InWork(death.runs, death.is_cut)] for death in told)]
    found: dict[str, set[int]] = {}
    is_charged = known.issuperset(root for one in processes for slot in one for root, _, _ in slot.runs)
    for one in filter(None, processes):
        items = _items_of(one, tables)
        is_charged = is_charged and len(items) == 1 and not any(slot.is_cut for slot in one)
        for name, seq in items:
            found.setdefault(name, set()).add(seq)
    cause = told[-1].cause if told else None
    return Suspicion({name: sorted(found[name]) for name in tables if name in found}, is_charged and bool(found), cause)


def alone_of(
    tables: Mapping[str, Mapping[int, Sequence[int]]], deaths: Sequence[Death], *, left_word: bool, has_slots: bool
) -> Suspicion:
    """Find the one item that was under way when a process crashed with nothing in its slot.

    That one crashed says the word that its parent has left, or a death. A slot that names something names what did it,
    if only a left-over value of a root that was replaced since: then the one under way is innocent.

    Args:
        tables: Of each producer the items of the roots that were open.
        deaths: Those that the last run hadn't heard of, in the order in which they happened.
        left_word: The parent has left word that the last run's process crashed.
        has_slots: A slot beside the journal names something.
    """
    if has_slots or not (deaths or left_word) or (deaths and deaths[-1].runs):
        return Suspicion({})
    out = [(name, list(seqs)) for name, roots in tables.items() for seqs in roots.values()]
    if [len(seqs) for _, seqs in out] != [1]:
        return Suspicion({})
    return Suspicion(dict(out), True, deaths[-1].cause if deaths else None)


def _items_of(slots: Sequence[InWork], tables: Mapping[str, Mapping[int, Sequence[int]]]) -> set[tuple[str, int]]:
    """Give the items that a process had in work, each as (producer, seq)."""
    found: set[tuple[str, int]] = set()
    for slot in slots:
        for root, first, count in slot.runs:
            for name, roots in tables.items():
                items = roots.get(root, ())
                found.update((name, seq) for seq in (items if count == ALL else items[first : first + count]))
    return found


def leave_cause(folder: Path, cause: Cause) -> None:
    """Leave word beside a dead process's slot on how it died, for the next start that reads it."""
    path = folder / CAUSE_NAME
    half = path.with_suffix(".part")
    half.write_bytes(encode(cause))
    half.rename(path)


def slot_name(host: int, process: int) -> str:
    """Name of the slot file of an executor that is a process of its own."""
    return f"host-{host}-{process}"


def _is_alive(process: list[str]) -> bool:
    if not process:
        return False
    try:
        os.kill(int(process[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
