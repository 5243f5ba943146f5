"""Damage to the files of a journal is found or recovered from, never silently believed (fault matrix 22, 23)."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

from consecution.errors import JournalError
from consecution.guarantee.changes import Attempt, Changes, DeadLetter
from consecution.guarantee.messages import Cause
from consecution.journal.base import Header, ProducerHeader, ProducerRound, Round
from consecution.journal.sqlite import FILE_NAME, SqliteJournal, fresh, has_journal, open_for_reading

if TYPE_CHECKING:
    from pathlib import Path

PIPE = ProducerHeader("pipe", "pipe", "fire and forget")
CAUSE = Cause("parse", "ValueError", "bad", traceback="T")
WAL = f"{FILE_NAME}-wal"


def picture(journal: SqliteJournal, restored: object) -> object:
    """Give all that a journal tells."""
    return restored, list(journal.read_entries("pipe")), journal.counts(), journal.dead_letters(is_standing=False)


def look(folder: Path) -> object:
    journal = SqliteJournal(folder, now=lambda: 5.0)
    try:
        return picture(journal, journal.begin(Header("flow"), [PIPE]))
    finally:
        journal.close()


class Image:
    """A journal's files as a death leaves them, and what it told after each transaction."""

    def __init__(self, folder: Path, *, is_clean: bool) -> None:
        source = folder / "source"
        self._scratch = folder / "scratch"
        journal = SqliteJournal(source, now=lambda: 5.0)
        restored = journal.begin(Header("flow"), [PIPE])
        self.pictures = [picture(journal, restored)]
        self.ends = [(source / WAL).stat().st_size]

        def note() -> None:
            journal.load()
            self.pictures.append(picture(journal, {"pipe": journal._restored(journal._books["pipe"])}))
            self.ends.append((source / WAL).stat().st_size)

        for batch in range(6):
            journal.append("pipe", batch * 20, [{"n": n, "text": "x" * 300} for n in range(20)], sync=False)
            note()
        dead = [DeadLetter(30, 4, CAUSE, {"n": 10})]
        changes = Changes([range(30)], dead, [Attempt(40, 1, suspect=True, cause=CAUSE)], 1, 2)
        journal.commit(Round((ProducerRound("pipe", changes, 31, (), 120, "p", 7),)))
        note()
        changes = Changes([range(50, 60)])
        journal.commit(Round((ProducerRound("pipe", changes, 31, ((50, 60),), 120, "q", 8),)))
        note()
        if is_clean:
            journal.close()
        self.files = {name: (source / name).read_bytes() for name in (FILE_NAME, WAL) if (source / name).exists()}
        journal.close()

    def look_at(self, **changed: bytes) -> object:
        """Look at the image with some files changed (`main` or `wal`); the picture, or a JournalError."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        files = self.files | {{"main": FILE_NAME, "wal": WAL}[name]: data for name, data in changed.items()}
        for name, data in files.items():
            (self._scratch / name).write_bytes(data)
        before = {name: data for name, data in files.items() if name == FILE_NAME}
        try:
            return look(self._scratch)
        except JournalError:
            assert (self._scratch / FILE_NAME).read_bytes() == before[FILE_NAME], "a damaged file was overwritten"
            raise


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(tmp_path_factory.mktemp("clean"), is_clean=True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(tmp_path_factory.mktemp("killed"), is_clean=False)


def flipped(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def test_whole_images_tell_everything(clean, killed):
    assert WAL not in clean.files
    assert clean.look_at() == clean.pictures[-1]
    assert killed.look_at() == killed.pictures[-1]


def test_a_flipped_bit_in_the_main_file_is_found_or_harmless(clean):
    data = clean.files[FILE_NAME]
    rng = random.Random(23)
    found = 0
    for _ in range(250):
        place, bit = rng.randrange(len(data)), rng.randrange(8)
        try:
            told = clean.look_at(main=flipped(data, place, bit))
        except JournalError:
            found += 1
        else:
            assert told == clean.pictures[-1], f"byte {place}, bit {bit}"
    assert found > 50


def test_a_flipped_bit_in_the_wal_is_found_unless_it_hits_the_last_transaction(killed):
    data = killed.files[WAL]
    last = killed.ends[-2]
    rng = random.Random(24)
    found = 0
    for _ in range(200):
        place, bit = rng.randrange(len(data)), rng.randrange(8)
        try:
            told = killed.look_at(wal=flipped(data, place, bit))
        except JournalError:
            found += 1
        else:
            allowed = [killed.pictures[-1]] if place < last else killed.pictures[-2:]
            assert told in allowed, f"byte {place}, bit {bit}"
    assert found > 100


def test_a_flipped_bit_in_the_middle_of_the_wal_names_file_and_offset(killed):
    data = killed.files[WAL]
    with pytest.raises(JournalError, match=r"journal\.sqlite-wal is damaged at byte 32, and confirmed"):
        killed.look_at(wal=flipped(data, 32 + 24 + 100, 3))
    with pytest.raises(JournalError, match="damaged at byte 0"):
        killed.look_at(wal=flipped(data, 17, 0))


def test_a_wal_cut_anywhere_gives_a_state_that_once_was(killed):
    data = killed.files[WAL]
    last = killed.ends[-2]
    cuts = [*range(0, last, 997), *range(last, len(data), 211), last, last + 1, len(data) - 1]
    for cut in cuts:
        told = killed.look_at(wal=data[:cut])
        whole = max((number for number, end in enumerate(killed.ends) if end <= cut), default=-1)
        assert told == (killed.pictures[whole] if whole >= 0 else told), f"cut at {cut}"
        if cut >= last:
            assert told in killed.pictures[-2:]


def test_a_main_file_cut_anywhere_is_found_or_recovered(clean):
    data = clean.files[FILE_NAME]
    for cut in [*range(0, len(data), 977), 1, 15, 16, 99, 100, 4095, 4096, len(data) - 1]:
        with pytest.raises(JournalError):
            clean.look_at(main=data[:cut])


def test_an_empty_file_beside_a_wal_is_not_taken_for_a_new_journal(killed):
    with pytest.raises(JournalError, match="doesn't begin like a journal"):
        killed.look_at(main=b"")


def test_a_row_that_vanished_is_missed(clean, tmp_path):
    import sqlite3
    from contextlib import closing

    for statement in (
        "DELETE FROM t1 WHERE id = (SELECT max(id) FROM t1)",
        "DELETE FROM t3",
        "UPDATE t2 SET crc = crc + 1",
        "UPDATE t1 SET items = items + 1",
        "UPDATE t1 SET id = id + 1 WHERE id = (SELECT max(id) FROM t1)",
    ):
        shutil.rmtree(tmp_path / "journal", ignore_errors=True)
        (tmp_path / "journal").mkdir()
        (tmp_path / "journal" / FILE_NAME).write_bytes(clean.files[FILE_NAME])
        with closing(sqlite3.connect(tmp_path / "journal" / FILE_NAME)) as connection:
            connection.execute(statement)
            connection.commit()
        with pytest.raises(JournalError, match="doesn't match the seal"):
            look(tmp_path / "journal")


def test_damage_that_sqlite_quotes_in_no_text_encoding_is_found(clean):
    data = clean.files[FILE_NAME].replace(b"CREATE TABLE t1", b"CREATE TABLE\xcc\xff1")
    with pytest.raises(JournalError, match="is damaged"):
        clean.look_at(main=data)


def test_another_file_of_that_name_is_left_alone(tmp_path):
    (tmp_path / FILE_NAME).write_text("my notes, which must not be lost\n")
    with pytest.raises(JournalError, match="restore it from a copy"):
        SqliteJournal(tmp_path)
    assert (tmp_path / FILE_NAME).read_text().startswith("my notes")


def test_a_death_while_a_journal_was_made_leaves_none(tmp_path):
    (tmp_path / f"{FILE_NAME}.new").write_bytes(b"half")
    (tmp_path / WAL).write_bytes(b"of a journal that was removed")
    assert look(tmp_path)


def test_fresh_moves_a_damaged_journal_aside_whole(clean, tmp_path):
    folder = tmp_path / "flow"
    for number in (1, 2):
        folder.mkdir()
        (folder / FILE_NAME).write_bytes(b"damaged" + bytes([number]))
        assert fresh(folder) == tmp_path / f"flow.{number}"
        assert (tmp_path / f"flow.{number}" / FILE_NAME).read_bytes() == b"damaged" + bytes([number])
    assert fresh(folder) is None
    assert not has_journal(folder)
    assert look(folder)


def test_a_journal_that_is_not_there_cannot_be_looked_at(tmp_path):
    with pytest.raises(JournalError, match="there is no journal"):
        open_for_reading(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
