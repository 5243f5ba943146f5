"""Where runs keep what outlives a process: journals, root tables and crash slots.

Rules of this module: `DISK` is what runs use; a simulator gives stores in memory, which forget what a real death would
take. Nothing else decides here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from consecution.journal.slots import CrashSlots
from consecution.journal.sqlite import SqliteJournal, fresh
from consecution.local.restart import InWorkFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from consecution.guarantee.messages import Cause
    from consecution.journal.base import Journal
    from consecution.journal.slots import Roots, Slots
    from consecution.local.restart import Suspicion
    from consecution.wire.placement import Death


class InWork(Protocol):
    """What was and is in work beside one journal; see `InWorkFiles`."""

    def suspicion(self, producers: Sequence[str], deaths: Sequence[Death]) -> Suspicion:
        """Give the items that were in work when the last process died."""

    def alone(self, producers: Sequence[str], deaths: Sequence[Death]) -> Suspicion:
        """Give the one item that was under way when the last process crashed; none when there were others."""

    def heard(self, deaths: Sequence[Death]) -> None:
        """Hear of deaths that this run goes on after."""

    def cause(self) -> Cause:
        """How the last process died."""

    def begin(self, *, keeps_slots: bool = False) -> None:
        """Forget what the dead process left."""

    def slots(self, host: int) -> Slots:
        """Make the slot of a host."""

    def table(self, producer: str) -> Roots:
        """Make the root table of a producer."""

    def close(self) -> None:
        """Remove them: the run ended in good order."""


class Stores(Protocol):
    """Where journals and what is in work are kept, by folder."""

    def journal(self, folder: Path) -> Journal:
        """Open the journal of a folder, or make it."""

    def move_aside(self, folder: Path) -> Path | None:
        """Move a journal that is there aside; says where to."""

    def in_work(self, folder: Path) -> InWork:
        """Give what is in work beside the journal of a folder."""

    def slot(self, folder: Path, name: str) -> Slots:
        """Make the crash slot of a process of its own."""

    def remove_slot(self, folder: Path, name: str) -> None:
        """Remove a crash slot: its process ends in good order."""


class DiskStores:
    """The real ones, in files."""

    def journal(self, folder: Path) -> Journal:
        """See `Stores.journal`."""
        return SqliteJournal(folder)

    def move_aside(self, folder: Path) -> Path | None:
        """See `Stores.move_aside`."""
        return fresh(folder)

    def in_work(self, folder: Path) -> InWorkFiles:
        """See `Stores.in_work`."""
        return InWorkFiles(folder)

    def slot(self, folder: Path, name: str) -> CrashSlots:
        """See `Stores.slot`."""
        folder.mkdir(parents=True, exist_ok=True)
        return CrashSlots(folder / name)

    def remove_slot(self, folder: Path, name: str) -> None:
        """See `Stores.remove_slot`."""
        (folder / name).unlink(missing_ok=True)


DISK: Stores = DiskStores()
