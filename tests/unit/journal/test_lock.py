"""Who has a journal: the lock itself is tried in test_contract; here is what is seen without taking it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from consecution.journal.lock import JournalLock, seems_in_use

if TYPE_CHECKING:
    from pathlib import Path


def test_a_journal_without_a_lock_or_with_an_own_one_is_not_in_use(tmp_path: Path) -> None:
    assert not seems_in_use(tmp_path)
    lock = JournalLock(tmp_path)
    assert not seems_in_use(tmp_path)
    lock.release()


@pytest.mark.parametrize(("text", "answer"), [(f"{os.getppid()}\n", True), ("", False), ("4194305\n", False)])
def test_it_goes_by_the_process_that_locked_it_last(tmp_path: Path, text: str, answer: bool) -> None:
    (tmp_path / "lock").write_text(text)
    assert seems_in_use(tmp_path) is answer
