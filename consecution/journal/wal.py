"""Is a WAL torn at its end, as a death leaves it, or damaged in its middle?

SQLite reads a WAL up to its first invalid frame and leaves out the rest without a word. After a death that is right:
what was being written when the process or the machine stopped was never confirmed. But when a frame in the middle rots,
confirmed transactions behind it would vanish. So before anything is written, we look behind the end that SQLite found.

Rules: reads only. A frame carries the salts of its WAL and a checksum that goes on from that of the frame before it;
so two neighbours can be verified without what lies before them. The middle is damaged when a frame that bears our
salts (or nearly: the damage may lie there) is invalid, and behind it a valid frame ends a transaction: what was rolled
back never ends one. A frame of an earlier lap of the WAL that lies among ours was never written (a power cut without
fsync): that is a torn end.
Format: https://sqlite.org/fileformat2.html#walformat
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from consecution.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = struct.Struct(">IIIIIIII")  # magic, version, page size, sequence, two salts, two checksums
_FRAME = struct.Struct(">IIIIII")  # page, pages after commit or 0, two salts, two checksums
_INDEX = struct.Struct("=III")  # frames, checksums of the last one; in the machine's byte order
_INDEX_OFFSET = 16
_MAGIC = 0x377F0682  # the lowest bit tells the byte order of the checksums
_NEAR_BITS = 8
_PAGE_BYTES = 4096
_MASK = 0xFFFFFFFF


def check_wal(path: Path, index: Path) -> None:
    """Look for damage before the end of a WAL.

    Args:
        path: The WAL.
        index: The wal-index (``-shm``) that SQLite has just recovered from it.

    Raises:
        JournalError: The WAL is damaged before its end; names file and offset.
    """
    frames, *sums = _INDEX.unpack_from(index.read_bytes(), _INDEX_OFFSET)
    offset = damaged_at(path.read_bytes(), frames, (sums[0], sums[1]))
    if offset is not None:
        message = (
            f"journal {path} is damaged at byte {offset}, and confirmed transactions lie behind it; nothing was "
            "changed; restore the folder from a copy, or move it aside with --fresh (items that it still held are "
            "then not replayed)"
        )
        raise JournalError(message)


def damaged_at(data: bytes, frames: int, sums: tuple[int, int]) -> int | None:
    """Give the offset of the damaged header or frame; None when the file is whole or torn at its end only.

    Args:
        data: The WAL.
        frames: How many frames SQLite takes from it.
        sums: Checksums of the last of these.
    """
    if len(data) < _HEADER.size:
        return None
    magic, _, page_bytes, _, *rest = _HEADER.unpack_from(data)
    salts, header_sums = (rest[0], rest[1]), (rest[2], rest[3])
    if magic & ~1 != _MAGIC or _checksum(data[:24], (0, 0), is_big=bool(magic & 1)) != header_sums:
        return 0 if any(_commits_behind(data, 0, _PAGE_BYTES, is_big, None) for is_big in (False, True)) else None
    is_big = bool(magic & 1)
    size = _FRAME.size + page_bytes
    start = _HEADER.size + frames * size
    sums = sums if frames else header_sums
    while start + size <= len(data):  # frames of a transaction that was not ended
        found_salts, found = _frame(data, start)
        if found_salts != salts or _frame_checksum(data, start, size, sums, is_big) != found:
            break
        sums = found
        start += size
    else:
        return None
    if _distance(_frame(data, start)[0], salts) > _NEAR_BITS:
        return None
    return start if _commits_behind(data, start, page_bytes, is_big, salts) else None


def _commits_behind(data: bytes, start: int, page_bytes: int, is_big: bool, salts: tuple[int, int] | None) -> bool:
    """Whether behind `start` a frame ends a transaction and goes on from the checksums that its neighbour stores."""
    size = _FRAME.size + page_bytes
    for place in range(max(start, _HEADER.size), len(data) - 2 * size + 1, size):
        (first_salts, sums), (next_salts, found) = _frame(data, place), _frame(data, place + size)
        is_end = data[place + size + 4 : place + size + 8] != b"\0\0\0\0"
        is_ours = is_end and next_salts == (salts or first_salts)
        if is_ours and _frame_checksum(data, place + size, size, sums, is_big) == found:
            return True
    return False


def _frame(data: bytes, start: int) -> tuple[tuple[int, int], tuple[int, int]]:
    _, _, salt_1, salt_2, sum_1, sum_2 = _FRAME.unpack_from(data, start)
    return (salt_1, salt_2), (sum_1, sum_2)


def _frame_checksum(data: bytes, start: int, size: int, sums: tuple[int, int], is_big: bool) -> tuple[int, int]:
    return _checksum(data[start : start + 8] + data[start + _FRAME.size : start + size], sums, is_big=is_big)


def _checksum(data: bytes, sums: tuple[int, int], *, is_big: bool) -> tuple[int, int]:
    one, two = sums
    words = iter(struct.unpack(f"{'>' if is_big else '<'}{len(data) // 4}I", data))
    for word, next_word in zip(words, words, strict=True):
        one = (one + word + two) & _MASK
        two = (two + next_word + one) & _MASK
    return one, two


def _distance(one: tuple[int, int], other: tuple[int, int]) -> int:
    return (one[0] ^ other[0]).bit_count() + (one[1] ^ other[1]).bit_count()
