"""A virtual disk: journals that keep what was committed, crash slots that outlive their process.

Rules of this module: what a `Stores` of real files promises, and nothing more. A process that is killed keeps every
transaction that was applied; a power cut takes the newest of those that were not synced, and all that was in work. A
full disk refuses what needs space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from consecution.journal.base import JournalFull
from consecution.journal.memory import MemoryJournal, MemoryShelf
from consecution.journal.slots import InWork, runs_of_codes
from consecution.local.restart import CRASH, alone_of, suspicion_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from random import Random
    from typing import Any

    from consecution.guarantee.messages import Cause
    from consecution.journal.base import Header, ProducerHeader, Restored, Round, Stand
    from consecution.journal.shelf import Row, Table, Transaction
    from consecution.journal.slots import Run
    from consecution.local.restart import Suspicion
    from consecution.wire.placement import Death


class JournalWatch(Protocol):
    """Who looks at what journals keep."""

    def begun(self, folder: str, producers: Iterable[str]) -> None:
        """A process begins with a journal, new or not."""

    def adopted(self, folder: str, producer: str, restored: Restored) -> None:
        """A new journal goes on where a producer stood elsewhere."""

    def appended(self, folder: str, producer: str, first_seq: int, items: list[Any]) -> Callable[[], None]:
        """Entries are in the journal; gives what undoes that, should a power cut take them."""

    def committed(self, folder: str, round_: Round) -> Callable[[], None]:
        """A round is in the journal; gives what undoes that."""

    def voided(self, folder: str, restored: Mapping[str, Restored]) -> None:
        """A pass has begun anew: what is not finished there is no outcome any more."""

    def rooted(self, folder: str, producer: str, root: int, seqs: Sequence[int]) -> None:
        """A batch goes out under a root."""


class SimShelf(MemoryShelf):
    """Rows of one journal, and which of them a power cut would take."""

    def __init__(self, disk: SimDisk) -> None:
        super().__init__()
        self.disk = disk
        self.point: Callable[[], None] = _no_point
        self.on_applied: Callable[[], Callable[[], None]] | None = None
        self._unsynced: list[Callable[[], None]] = []

    def apply(self, transaction: Transaction, *, sync: bool) -> None:
        """See `Shelf.apply`."""
        self.point()
        if self.disk.is_full:
            message = "the virtual disk is full"
            raise JournalFull(message)
        touched = [(row.table, row.id) for row in transaction.puts] + list(transaction.drops)
        before = [(table, id_, self.get(table, id_)) for table, id_ in dict.fromkeys(touched)]
        was_new = self.is_new
        super().apply(transaction, sync=sync)
        undo = None if self.on_applied is None else self.on_applied()
        self._unsynced.append(lambda: self._undo(before, undo, was_new))
        if sync:
            self._unsynced.clear()
        self.point()

    def _undo(
        self, before: list[tuple[Table, int, Row | None]], undo: Callable[[], None] | None, was_new: bool
    ) -> None:
        for table, id_, row in before:
            if row is None:
                self._tables[table].pop(id_, None)
            else:
                self._tables[table][id_] = row
        self.is_new = was_new
        if undo is not None:
            undo()

    def cut_power(self, random: Random) -> None:
        """Lose some of the newest transactions that were not synced, newest first."""
        for _ in range(random.randint(0, len(self._unsynced))):
            self._unsynced.pop()()
        self._unsynced.clear()

    def remove(self) -> None:
        """See `Shelf.remove`."""
        for rows in self._tables.values():
            rows.clear()
        self.is_new = True
        self._unsynced.clear()


def _no_point() -> None:
    return


class SimJournal(MemoryJournal):
    """The journal's real logic on a `SimShelf`, looked at by a watch."""

    def __init__(self, folder: str, shelf: SimShelf, watch: JournalWatch, now: Callable[[], float]) -> None:
        super().__init__(shelf, now=now)
        self._folder = folder
        self._rows = shelf
        self._watch = watch

    def begin(self, header: Header, producers: Sequence[ProducerHeader]) -> dict[str, Restored]:
        """See `Journal.begin`."""
        restored = super().begin(header, producers)
        self._watch.begun(self._folder, [producer.name for producer in producers])
        return restored

    def adopt(self, stands: Mapping[str, Stand]) -> dict[str, Restored]:
        """See `Journal.adopt`."""
        known = {name: self.is_begun(name) for name in stands}
        restored = super().adopt(stands)
        for name in sorted(stands):
            if not known[name]:
                self._watch.adopted(self._folder, name, restored[name])
        return restored

    def start_over(self) -> dict[str, Restored]:
        """See `Journal.start_over`; what it has done is synced."""
        restored = super().start_over()
        self._watch.voided(self._folder, restored)
        return restored

    def is_begun(self, producer: str) -> bool:
        """Whether it knows anything of a producer."""
        book = self._books[producer]
        return book.page.next_seq > 0 or bool(book.rows)

    def append(
        self,
        producer: str,
        first_seq: int,
        items: list[Any],
        keys: Sequence[str | None] | None = None,
        *,
        sync: bool,
        replay_of: Sequence[int] | None = None,
        position: object = None,
    ) -> None:
        """See `Journal.append`."""
        self._rows.on_applied = lambda: self._watch.appended(self._folder, producer, first_seq, list(items))
        try:
            super().append(producer, first_seq, items, keys, sync=sync, replay_of=replay_of, position=position)
        finally:
            self._rows.on_applied = None

    def commit(self, round_: Round, *, sync: bool = False) -> None:
        """See `Journal.commit`."""
        self._rows.on_applied = lambda: self._watch.committed(self._folder, round_)
        try:
            super().commit(round_, sync=sync)
        finally:
            self._rows.on_applied = None


class SimSlot:
    """A crash slot in memory.

    Attributes:
        is_dead: Its process is gone: nothing changes it any more.
    """

    def __init__(self) -> None:
        self._places: dict[int, tuple[Run, ...]] = {}
        self.is_dead = False

    @property
    def runs(self) -> tuple[Run, ...]:
        """What is in work."""
        return tuple(run for place in sorted(self._places) for run in self._places[place])

    def write(self, runs: Sequence[Run], place: int = 0) -> None:
        """See `Slots.write`."""
        if not self.is_dead:
            self._places[place] = tuple(runs)

    def write_codes(self, root: int, codes: array[int]) -> None:
        """See `Slots.write_codes`."""
        self.write(runs_of_codes(root, codes))

    def clear(self, place: int = 0) -> None:
        """See `Slots.clear`."""
        self.write((), place)

    def forget(self) -> None:
        """Blame nothing for the death of its process."""
        self._places.clear()

    def close(self) -> None:
        """Nothing to let go of."""


class SimRoots:
    """A root table in memory."""

    def __init__(self, disk: SimDisk, folder: str, producer: str) -> None:
        self.seqs: dict[int, tuple[int, ...]] = {}
        self._disk = disk
        self._folder = folder
        self._producer = producer

    def put(self, root: int, seqs: Sequence[int]) -> None:
        """See `Roots.put`."""
        self.seqs[root] = tuple(seqs)
        self._disk.watch.rooted(self._folder, self._producer, root, seqs)

    def remove(self, root: int) -> None:
        """See `Roots.remove`."""
        self.seqs.pop(root, None)

    def close(self) -> None:
        """Nothing to let go of."""


class SimInWork:
    """What is in work beside one journal."""

    def __init__(self, disk: SimDisk, folder: str) -> None:
        self._disk = disk
        self._folder = folder

    def suspicion(self, producers: Sequence[str], deaths: Sequence[Death]) -> Suspicion:
        """See `InWorkFiles.suspicion`."""
        tables = {name: self._disk.tables.get((self._folder, name)) for name in producers}
        return suspicion_of(
            [[InWork(slot.runs)] for slot in self._dead() if slot.runs],
            deaths,
            {name: {} if table is None else table.seqs for name, table in tables.items()},
        )

    def alone(self, producers: Sequence[str], deaths: Sequence[Death]) -> Suspicion:
        """See `InWorkFiles.alone`."""
        tables = {name: self._disk.tables.get((self._folder, name)) for name in producers}
        heard = self._disk.heard.get(self._folder, 0)
        return alone_of(
            {name: {} if table is None else table.seqs for name, table in tables.items()},
            [death for death in deaths if death.number > heard],
            left_word=False,
            has_slots=any(slot.runs for slot in self._dead()),
        )

    def heard(self, deaths: Sequence[Death]) -> None:
        """See `InWorkFiles.heard`."""
        numbers = (death.number for death in deaths)
        self._disk.heard[self._folder] = max(self._disk.heard.get(self._folder, 0), *numbers, 0)

    def _dead(self) -> list[SimSlot]:
        slots = self._disk.slots.get(self._folder, {})
        return [slots[name] for name in sorted(slots) if slots[name].is_dead]

    def cause(self) -> Cause:
        """See `InWorkFiles.cause`."""
        return CRASH

    def begin(self, *, keeps_slots: bool = False) -> None:
        """See `InWorkFiles.begin`."""
        assert keeps_slots, "each executor has its own slot here"
        slots = self._disk.slots.get(self._folder, {})
        for name in [name for name, slot in slots.items() if slot.is_dead]:
            del slots[name]
        self._disk.heard.pop(self._folder, None)
        for key in [key for key in self._disk.tables if key[0] == self._folder]:
            del self._disk.tables[key]

    def slots(self, host: int) -> SimSlot:
        """See `InWorkFiles.slots`."""
        return self._disk.slots.setdefault(self._folder, {}).setdefault(f"host-{host}", SimSlot())

    def table(self, producer: str) -> SimRoots:
        """See `InWorkFiles.table`."""
        table = self._disk.tables[self._folder, producer] = SimRoots(self._disk, self._folder, producer)
        return table

    def close(self) -> None:
        """See `InWorkFiles.close`."""
        for key in [key for key in self._disk.tables if key[0] == self._folder]:
            del self._disk.tables[key]


class SimDisk:
    """All that one host keeps.

    Args:
        watch: Who looks at it.
        now: Gives seconds since the epoch, as this host believes.

    Attributes:
        is_full: Whether it takes nothing more.
    """

    def __init__(self, watch: JournalWatch, now: Callable[[], float]) -> None:
        self.watch = watch
        self.is_full = False
        self.shelves: dict[str, SimShelf] = {}
        self.slots: dict[str, dict[str, SimSlot]] = {}
        self.tables: dict[tuple[str, str], SimRoots] = {}
        self.heard: dict[str, int] = {}  # the newest death that each run has heard of, by folder
        self._now = now

    def stores(self, point: Callable[[], None]) -> DiskOfProcess:
        """The disk as one process sees it; ``point`` is called where it may die."""
        return DiskOfProcess(self, point)

    def open(self, folder: str, point: Callable[[], None]) -> SimJournal:
        """Open a journal."""
        shelf = self.shelves.setdefault(folder, SimShelf(self))
        shelf.point = point
        return SimJournal(folder, shelf, self.watch, self._now)

    def cut_power(self, random: Random) -> None:
        """All processes of the host are gone, and what only the page cache held."""
        for folder in sorted(self.shelves):
            self.shelves[folder].cut_power(random)
        self.slots.clear()
        self.tables.clear()
        self.heard.clear()


class DiskOfProcess:
    """Stores on a virtual disk; see `Stores`.

    Attributes:
        slots_made: Crash slots of the process.
    """

    def __init__(self, disk: SimDisk, point: Callable[[], None]) -> None:
        self.slots_made: list[SimSlot] = []
        self._disk = disk
        self._point = point

    def journal(self, folder: Path) -> SimJournal:
        """See `Stores.journal`."""
        return self._disk.open(str(folder), self._point)

    def move_aside(self, folder: Path) -> Path | None:
        """See `Stores.move_aside`."""
        return folder if self._disk.shelves.pop(str(folder), None) is not None else None

    def in_work(self, folder: Path) -> SimInWork:
        """See `Stores.in_work`."""
        return SimInWork(self._disk, str(folder))

    def slot(self, folder: Path, name: str) -> SimSlot:
        """See `Stores.slot`."""
        slot = self._disk.slots.setdefault(slot_folder(folder), {})[name] = SimSlot()
        self.slots_made.append(slot)
        return slot

    def remove_slot(self, folder: Path, name: str) -> None:
        """See `Stores.remove_slot`."""
        self._disk.slots.get(slot_folder(folder), {}).pop(name, None)


def slot_folder(folder: Path) -> str:
    """The journal's folder beside which a slot lies: ``in_work`` is below it."""
    return str(folder.parent)
