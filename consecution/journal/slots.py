"""What was in work, and which items a root stands for, in files that outlive the process that wrote them.

Rules: both are memory-mapped, so a write costs about a microsecond and survives SIGKILL and segfaults (not a power cut:
then nobody is to blame). A file's bytes are allocated before they are mapped: a full disk is a JournalFull, never a
SIGBUS. One process writes a file; whoever reads it does so after the writer's death.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from array import array
from dataclasses import dataclass
from itertools import islice
from operator import sub
from typing import TYPE_CHECKING, Protocol, TypeAlias

from consecution.errors import JournalError
from consecution.journal.base import JournalFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Run: TypeAlias = tuple[int, int, int]
"""Root, first index in its batch, how many; `ALL` means every item of the root."""

ALL = 0xFFFFFFFF
RUNS_MAX = 250
PLACES = 2
"""Of a slot file: what is run, and what async nodes await beside it."""
CODES_BYTES = 64 << 10
"""Room for the indexes of a frame, behind the slots: who writes them doesn't look at each, who reads them does."""
_RUN = struct.Struct("<QII")
_HEAD = struct.Struct("<IIQIII")  # stamp, runs, the first run, stamp again
_SLOT_BYTES = _HEAD.size + RUNS_MAX * _RUN.size
_ROW = struct.Struct("<QQII")  # root, first seq, index of its first item, items
_ROW_ITEMS = struct.Struct("<I")
_ROWS_AT_FIRST = 1024
_CUT = 1 << 31
_CODES = 1 << 30


@dataclass(frozen=True, slots=True)
class InWork:
    """What a slot held at its writer's death.

    Attributes:
        runs: Origins in work as runs; empty: it was between two frames.
        is_cut: There were more roots than a slot can name: the runs are some of them.
    """

    runs: tuple[Run, ...]
    is_cut: bool = False


class Slots(Protocol):
    """Where somebody writes what it has in work; see `CrashSlots`."""

    def write(self, runs: Sequence[Run], place: int = 0) -> None:
        """Note what is taken into work at a place, in place of what stood there."""

    def write_codes(self, root: int, codes: array[int]) -> None:
        """Note a frame at the first place by its items' indexes in the batch of a root, ``array("H")``."""

    def clear(self, place: int = 0) -> None:
        """Note that nothing is in work at a place."""

    def close(self) -> None:
        """Let go of it; what was written stays."""


class Roots(Protocol):
    """Where a producer writes which items its open roots stand for; see `RootTable`."""

    def put(self, root: int, seqs: Sequence[int]) -> None:
        """Note the items of a root."""

    def remove(self, root: int) -> None:
        """Forget a root; an unknown one is ignored."""

    def close(self) -> None:
        """Let go of it; what was written stays."""


class CrashSlots:
    """The origins of the values in work, one slot for each place.

    Args:
        path: The file; made anew.
        places: How many slots.

    Raises:
        JournalFull: No space for it.
    """

    def __init__(self, path: Path, places: int = PLACES) -> None:
        self._codes_at = places * _SLOT_BYTES
        self._map = _mapped(path, self._codes_at + CODES_BYTES)
        self._stamp = 0

    def write(self, runs: Sequence[Run], place: int = 0) -> None:
        """Note what is taken into work at a place, in place of what stood there.

        Runs that don't fit become whole roots (`ALL`), which blames more items, never fewer; roots beyond `RUNS_MAX`
        are left out, and the reader is told so.
        """
        start = place * _SLOT_BYTES
        self._stamp = stamp = self._stamp + 1 & ALL
        if len(runs) == 1:
            root, first, count = runs[0]
            _HEAD.pack_into(self._map, start, stamp, 1, root, first, count, stamp)
        elif runs:
            self._write_many(runs, start, stamp)
        else:
            self.clear(place)

    def _write_many(self, runs: Sequence[Run], start: int, stamp: int) -> None:
        cut = 0
        if len(runs) > RUNS_MAX:
            whole = [(root, 0, ALL) for root in dict.fromkeys(root for root, _, _ in runs)]
            cut = _CUT if len(whole) > RUNS_MAX else 0
            runs = whole[:RUNS_MAX]
        _HEAD.pack_into(self._map, start, stamp - 1 & ALL, 0, 0, 0, 0, stamp)  # torn until the last line
        place = start + _HEAD.size
        for run in runs[1:]:
            _RUN.pack_into(self._map, place, *run)
            place += _RUN.size
        root, first, count = runs[0]
        _HEAD.pack_into(self._map, start, stamp, len(runs) | cut, root, first, count, stamp)

    def write_codes(self, root: int, codes: array[int]) -> None:
        """Note a frame at the first place by its items' indexes in the batch of a root, one or more times each.

        More than fit are noted as their runs.
        """
        data = codes.tobytes()
        if len(data) > CODES_BYTES:
            self.write(runs_of_codes(root, codes))
            return
        self._stamp = stamp = self._stamp + 1 & ALL
        _HEAD.pack_into(self._map, 0, stamp - 1 & ALL, 0, 0, 0, 0, stamp)  # torn until the last line
        self._map[self._codes_at : self._codes_at + len(data)] = data
        _HEAD.pack_into(self._map, 0, stamp, _CODES, root, 0, len(codes), stamp)

    def clear(self, place: int = 0) -> None:
        """Note that nothing is in work at a place."""
        _HEAD.pack_into(self._map, place * _SLOT_BYTES, 0, 0, 0, 0, 0, 0)

    def close(self) -> None:
        """Let go of the map; the file stays for whoever removes it."""
        self._map.close()


def read_slots(path: Path) -> list[InWork]:
    """Give what each slot of a dead writer held, in the order of their places, without those that held nothing.

    A slot that was being written is left out: its writer died between two frames. A missing file gives [].

    Raises:
        JournalError: The file is no file of slots.
    """
    data = _bytes_of(path)
    if not data:
        return []
    codes_at = len(data) - CODES_BYTES
    if codes_at < 0 or codes_at % _SLOT_BYTES:
        message = (
            f"crash slots {path} have {len(data)} bytes, expected {CODES_BYTES} and a multiple of {_SLOT_BYTES}; "
            "remove the file"
        )
        raise JournalError(message)
    found = (_read_slot(data, start, codes_at) for start in range(0, codes_at, _SLOT_BYTES))
    return [slot for slot in found if slot is not None]


def runs_of_codes(root: int, codes: Iterable[int]) -> list[Run]:
    """Join indexes in the batch of a root to runs; what is named several times is told once.

    >>> runs_of_codes(7, [4, 4, 5, 9])
    [(7, 4, 2), (7, 9, 1)]
    """
    found = sorted(set(codes))
    if not found:
        return []
    steps = map(sub, islice(found, 1, None), found)
    starts = [0, *(place for place, step in enumerate(steps, 1) if step != 1)]
    lengths = map(sub, [*starts[1:], len(found)], starts)
    return [(root, found[start], length) for start, length in zip(starts, lengths, strict=True)]


def _read_slot(data: bytes, start: int, codes_at: int) -> InWork | None:
    stamp, runs, root, first, count, stamp_after = _HEAD.unpack_from(data, start)
    if stamp == stamp_after and runs == _CODES:
        codes = array("H", data[codes_at : codes_at + 2 * count])
        return InWork(tuple(runs_of_codes(root, codes))) if codes else None
    size = runs & ~_CUT
    if stamp != stamp_after or not 0 < size <= RUNS_MAX:
        return None
    rest = data[start + _HEAD.size : start + _HEAD.size + (size - 1) * _RUN.size]
    return InWork(((root, first, count), *_RUN.iter_unpack(rest)), is_cut=bool(runs & _CUT))


class RootTable:
    """Which items each open root of a producer stands for. Bounded by the open roots; grows by doubling.

    Args:
        path: The file; made anew.

    Raises:
        JournalFull: No space for it, now or when it grows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map = _mapped(path, _ROWS_AT_FIRST * _ROW.size)
        self._free = list(range(_ROWS_AT_FIRST - 1, -1, -1))
        self._rows: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, root: int, seqs: Sequence[int]) -> None:
        """Note the items of a root: their seqs in the order of their indexes; a range takes one row."""
        runs = [(0, seqs[0], len(seqs))] if type(seqs) is range and seqs.step == 1 else _runs_of(seqs)
        rows: list[int] = []
        for index, first, count in runs:
            if not self._free:
                try:
                    self._grow()
                except JournalFull:
                    self._rows[root] = rows
                    self.remove(root)  # half of its items would be taken for all of them
                    raise
            row = self._free.pop()
            rows.append(row)
            # Fields are written in this order, so a row counts only when it is whole: the count comes last.
            _ROW.pack_into(self._map, row * _ROW.size, root, first, index, count)
        self._rows[root] = rows

    def remove(self, root: int) -> None:
        """Forget a root; an unknown one is ignored."""
        for row in self._rows.pop(root, ()):
            _ROW_ITEMS.pack_into(self._map, row * _ROW.size + _ROW.size - _ROW_ITEMS.size, 0)
            self._free.append(row)

    def _grow(self) -> None:
        size = len(self._map)
        with self._path.open("r+b") as file:
            _allocate(file.fileno(), 2 * size, self._path)
        self._map.resize(2 * size)
        rows = size // _ROW.size
        self._free = list(range(2 * rows - 1, rows - 1, -1))

    def close(self) -> None:
        """Let go of the map; the file stays for whoever removes it."""
        self._map.close()


def read_roots(path: Path) -> dict[int, list[int]]:
    """Give each root that was open at the writer's death with its seqs, by index; a missing file gives {}."""
    data = _bytes_of(path)
    found: dict[int, list[tuple[int, int, int]]] = {}
    for root, first, index, count in _ROW.iter_unpack(data[: len(data) - len(data) % _ROW.size]):
        if count:
            found.setdefault(root, []).append((index, first, count))
    return {
        root: [seq for _, first, count in sorted(runs) for seq in range(first, first + count)]
        for root, runs in found.items()
    }


def _runs_of(seqs: Sequence[int]) -> list[tuple[int, int, int]]:
    """Give (index, first seq, how many) for each run of neighbours."""
    runs: list[tuple[int, int, int]] = []
    for index, seq in enumerate(seqs):
        if runs and runs[-1][1] + runs[-1][2] == seq:
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((index, seq, 1))
    return runs


def _mapped(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _allocate(descriptor, size, path)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _allocate(descriptor: int, size: int, path: Path) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"no space for {path} ({size} bytes); free some space"
            raise JournalFull(message) from error
        message = f"{path} can't be allocated: {error}; keep it on a local disk (--journal DIR)"
        raise JournalError(message) from error


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
