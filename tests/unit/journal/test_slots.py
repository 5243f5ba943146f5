"""Crash slots and root tables tell what a dead process had in work (protocol.md R15)."""

from __future__ import annotations

from array import array

import pytest

from consecution.errors import JournalError
from consecution.journal.slots import (
    ALL,
    CODES_BYTES,
    RUNS_MAX,
    CrashSlots,
    InWork,
    RootTable,
    read_roots,
    read_slots,
)

ROOT = 2**64 - 1


def test_a_slot_tells_what_was_written_last_and_nothing_after_clear(tmp_path):
    slots = CrashSlots(tmp_path / "slots")
    assert read_slots(tmp_path / "slots") == []
    slots.write([(ROOT, 3, 500)])
    assert read_slots(tmp_path / "slots") == [InWork(((ROOT, 3, 500),))]
    runs = [(number, 0, 1) for number in range(RUNS_MAX)]
    slots.write(runs)
    slots.write(runs[:3])
    assert read_slots(tmp_path / "slots") == [InWork(tuple(runs[:3]))]
    slots.write([])
    assert read_slots(tmp_path / "slots") == []
    slots.write([(1, 2, 3)])
    slots.clear()
    assert read_slots(tmp_path / "slots") == []
    slots.close()


def test_each_place_has_its_own_slot(tmp_path):
    slots = CrashSlots(tmp_path / "slots", places=3)
    slots.write([(1, 0, 1)], place=0)
    slots.write([(2, 0, 1), (3, 4, 5)], place=2)
    assert read_slots(tmp_path / "slots") == [InWork(((1, 0, 1),)), InWork(((2, 0, 1), (3, 4, 5)))]
    slots.close()


def test_runs_that_do_not_fit_become_whole_roots(tmp_path):
    slots = CrashSlots(tmp_path / "slots")
    slots.write([(number % 7, number, 1) for number in range(RUNS_MAX + 1)])
    assert read_slots(tmp_path / "slots") == [InWork(tuple((root, 0, ALL) for root in range(7)))]
    slots.write([(number, 0, 1) for number in range(RUNS_MAX + 1)])
    (found,) = read_slots(tmp_path / "slots")
    assert found.is_cut
    assert len(found.runs) == RUNS_MAX
    slots.close()


def test_codes_are_read_as_the_runs_of_their_items(tmp_path):
    slots = CrashSlots(tmp_path / "slots")
    slots.write([(5, 0, 1)], place=1)
    slots.write_codes(ROOT, array("H", [9, 4, 4, 5, 9, 65_535]))
    awaited = InWork(((5, 0, 1),))
    assert read_slots(tmp_path / "slots") == [InWork(((ROOT, 4, 2), (ROOT, 9, 1), (ROOT, 65_535, 1))), awaited]
    slots.write_codes(ROOT, array("H", [3]))
    assert read_slots(tmp_path / "slots") == [InWork(((ROOT, 3, 1),)), awaited]
    slots.write([(6, 1, 2), (7, 0, 1)])
    assert read_slots(tmp_path / "slots") == [InWork(((6, 1, 2), (7, 0, 1))), awaited]
    slots.write_codes(ROOT, array("H", [1] * (CODES_BYTES // 2 + 1)))
    assert read_slots(tmp_path / "slots") == [InWork(((ROOT, 1, 1),)), awaited], "more than fit are noted as runs"
    slots.write_codes(ROOT, array("H", range(0, CODES_BYTES, 2)))
    assert len(read_slots(tmp_path / "slots")[0].runs) == CODES_BYTES // 2, "as many as fit are all named"
    slots.clear()
    assert read_slots(tmp_path / "slots") == [awaited]
    slots.write_codes(ROOT, array("H", [1, 2]))
    slots.close()
    data = bytearray((tmp_path / "slots").read_bytes())
    data[0] ^= 1
    (tmp_path / "slots").write_bytes(data)
    assert read_slots(tmp_path / "slots") == [awaited], "torn while it was written"


def test_a_slot_torn_while_it_was_written_blames_nobody(tmp_path):
    slots = CrashSlots(tmp_path / "slots")
    slots.write([(1, 2, 3)])
    slots.close()
    data = bytearray((tmp_path / "slots").read_bytes())
    data[0] ^= 1
    (tmp_path / "slots").write_bytes(data)
    assert read_slots(tmp_path / "slots") == []
    (tmp_path / "slots").write_bytes(data[:-1])
    with pytest.raises(JournalError, match="remove the file"):
        read_slots(tmp_path / "slots")


def test_a_root_table_tells_the_open_roots_by_index(tmp_path):
    table = RootTable(tmp_path / "roots")
    table.put(ROOT, range(100, 600))
    table.put(7, (5, 6, 9, 8, 10))
    table.put(8, [3])
    table.remove(8)
    table.remove(99)
    assert read_roots(tmp_path / "roots") == {ROOT: list(range(100, 600)), 7: [5, 6, 9, 8, 10]}
    assert len(table) == 2
    table.close()


def test_a_root_table_grows_and_uses_places_again(tmp_path):
    table = RootTable(tmp_path / "roots")
    for root in range(5000):
        table.put(root, (root, root + 2))
    size = (tmp_path / "roots").stat().st_size
    for root in range(0, 5000, 2):
        table.remove(root)
    for root in range(5000, 7500):
        table.put(root, (root, root + 2))
    assert (tmp_path / "roots").stat().st_size == size
    expected = {root: [root, root + 2] for root in (*range(1, 5000, 2), *range(5000, 7500))}
    assert read_roots(tmp_path / "roots") == expected
    table.close()


def test_missing_files_held_nothing(tmp_path):
    assert read_slots(tmp_path / "none") == []
    assert read_roots(tmp_path / "none") == {}
