"""Dead letters: they stay, and they are replayed as new items that name the old ones (R22)."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from consecution.errors import JournalError
from consecution.journal.sqlite import SqliteJournal, has_journal, open_for_reading
from tests.conformance.flows import failing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consecution import Consecutor
    from tests.conformance.conftest import Runner
    from tests.conftest import StartProcess

ODD = [1, 3, 5, 7, 9]

pytestmark = pytest.mark.caller_only("dead letters are replayed from the journal of the caller")


def fix(folder: Path) -> None:
    (folder / "fixed").touch()


@pytest.mark.parametrize("flow", [failing.numbers, failing.iterator])
def test_dead_letters_stay_over_runs_and_are_counted_once(run: Runner, flow: Callable[[], Consecutor]) -> None:
    first = run(flow)
    assert (first.introduced, first.completed, first.failed) == (10, 5, 5)
    fix(run.folder)
    if flow is failing.numbers:  # an iterator would bring its items anew
        again = run(flow)
        assert (again.introduced, again.completed, again.failed) == (10, 5, 5)
        assert [failure.item for failure in again.failures] == ODD
        assert not again
    assert sorted(run.lines("kept")) == ["0", "2", "4", "6", "8"]


@pytest.mark.parametrize("flow", [failing.numbers, failing.iterator])
def test_a_replay_after_the_fix_completes_dead_letters_and_removes_the_journal(
    run: Runner, flow: Callable[[], Consecutor]
) -> None:
    run(flow)
    fix(run.folder)
    report = flow().replay_dead()
    assert (report.introduced, report.completed, report.failed) == (5, 5, 0)
    assert report
    assert sorted(run.lines("kept")) == sorted(str(n) for n in range(10))
    assert not has_journal(run.folder / "journal")


def test_a_journal_whose_maker_died_before_its_first_begin_stands_in_nobodys_way(run: Runner) -> None:
    SqliteJournal(run.folder / "journal").close()
    assert failing.numbers().replay_dead().introduced == 0, "there is nothing to replay"
    SqliteJournal(run.folder / "journal").close()
    report = run(failing.numbers)
    assert (report.introduced, report.completed, report.failed) == (10, 5, 5)


def test_some_dead_letters_are_replayed_and_the_others_stand(run: Runner) -> None:
    run(failing.numbers)
    fix(run.folder)
    report = failing.numbers().replay_dead([2, 4])
    assert (report.introduced, report.completed) == (2, 2)
    with closing(open_for_reading(run.folder / "journal")) as journal:
        assert [letter.id for letter in journal.dead_letters()] == [1, 3, 5]
        second = journal.dead_letter(2)
        assert second is not None
        assert second.replayed_as == (f"replay:{second.producer}", 0)


def test_a_replay_that_fails_again_is_a_new_dead_letter_that_names_the_old_one(run: Runner) -> None:
    run(failing.numbers)
    report = failing.numbers().replay_dead([1])
    assert (report.introduced, report.completed, report.failed) == (1, 0, 1)
    with closing(open_for_reading(run.folder / "journal")) as journal:
        letters = {letter.id: letter for letter in journal.dead_letters()}
    assert sorted(letters) == [2, 3, 4, 5, 6]
    assert (letters[6].item, letters[6].replay_of) == (1, 1)
    fix(run.folder)
    report = failing.numbers().replay_dead([6])
    assert (report.introduced, report.completed, report.failed) == (1, 1, 0)


@pytest.mark.every_mode
def test_the_next_run_counts_what_was_replayed(run: Runner) -> None:
    run(failing.numbers)
    fix(run.folder)
    failing.numbers().replay_dead([1])
    report = run(failing.numbers)
    assert (report.introduced, report.completed, report.failed) == (11, 6, 5)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [([99], "no dead letter 99"), ([2], "was replayed already")],
)
def test_what_can_not_be_replayed_is_refused(run: Runner, numbers: list[int], says: str) -> None:
    run(failing.numbers)
    fix(run.folder)
    failing.numbers().replay_dead([2])
    with pytest.raises(JournalError, match=says):
        failing.numbers().replay_dead(numbers)


def test_a_replay_without_a_journal_is_refused(run: Runner) -> None:
    with pytest.raises(JournalError, match="no journal"):
        failing.numbers().replay_dead()
    with pytest.raises(JournalError, match="keeps no journal"):
        failing.numbers().replay_dead(journal=None)


def test_dead_letters_of_a_collecting_flow_are_replayed_alone(run: Runner) -> None:
    assert run(failing.collected).collected["out"] == [0, 2, 4, 6, 8]
    fix(run.folder)
    report = failing.collected().replay_dead()
    assert report.collected["out"] == ODD
    assert report


SCRIPT = "from tests.conformance.flows import failing; report = failing.{flow}(){call}; print(report)"


def script(flow: str, call: str) -> tuple[str, ...]:
    return sys.executable, "-c", SCRIPT.format(flow=flow, call=call)


@pytest.mark.parametrize("resume", [".run()", ".run('threads')", ".replay_dead([1])"])
def test_a_replay_that_was_killed_goes_on_with_the_next_run(tmp_path: Path, process: StartProcess, resume: str) -> None:
    """A death in the middle of a replay loses none of it.

    1. Five dead letters stand; a replay of them is journalled, and the process is killed at the second one.
    2. The next run, of the flow or of another dead letter, finishes the four that are left first.
    """
    env = {"FOLDER": str(tmp_path)}
    assert process(*script("numbers", ".run()"), env=env).wait() == 0
    fix(tmp_path)
    (tmp_path / "kills").touch()
    killed = process(*script("numbers", ".replay_dead([2, 3, 4, 5])"), env=env)
    assert killed.wait() == -9, killed.stderr
    os.remove(tmp_path / "kills")
    again = process(*script("numbers", resume), env=env)
    assert again.wait() == 0, again.stderr
    kept = (tmp_path / "kept").read_text().split()
    assert set(kept) >= {"3", "5", "7", "9"}
    with_one = "replay_dead" in resume
    assert ("1" in kept) is with_one
    expected = "5 introduced, 5 completed, 0 failed" if with_one else "14 introduced, 9 completed, 5 failed"
    assert expected in again.stdout


def test_an_item_that_could_not_be_packed_stays_a_dead_letter_over_a_kill(
    tmp_path: Path, process: StartProcess
) -> None:
    """A kill between the journalling of a batch and its first commit loses no item, and invents none.

    1. A batch holds an item that can't be packed: its number is kept, and why.
    2. The process is killed before the dead letter is committed.
    3. The restart finds it in the journal, and makes it the dead letter that it is.
    """
    env = {"FOLDER": str(tmp_path)}
    fix(tmp_path)
    (tmp_path / "kills").touch()
    killed = process(*script("unpackable_and_killed", ".run()"), env=env)
    assert killed.wait() == -9, killed.stderr
    os.remove(tmp_path / "kills")
    again = process(*script("unpackable_and_killed", ".run()"), env=env)
    assert again.wait() == 0, again.stderr
    assert "43 introduced, 42 completed, 1 failed" in again.stdout
    assert set((tmp_path / "kept").read_text().split()) == {*map(str, range(0, 80, 2)), "3", "4"}
    with closing(open_for_reading(tmp_path / "journal")) as journal:
        [letter] = journal.dead_letters()
    assert letter.cause is not None
    assert "object" in letter.cause.message


def test_items_that_can_not_be_packed_are_dead_letters_and_the_others_go_on(run: Runner) -> None:
    report = run(failing.unpackable)
    assert (report.introduced, report.completed, report.failed) == (4, 2, 2)
    assert run.lines("kept") == ["2", "4"]
    assert all(failure.cause and "object" in failure.cause.message for failure in report.failures)
    with pytest.raises(JournalError, match="could not be packed"):
        failing.unpackable().replay_dead([1])
