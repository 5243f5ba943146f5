"""What ended must stay ended: outcomes are on the disk before other processes hear of the end (R19)."""

from __future__ import annotations

from random import Random

import pytest

from consecution.guarantee.changes import Changes
from consecution.guarantee.levels import Robustness
from consecution.journal.base import Header, ProducerHeader, ProducerRound, Round
from consecution.local.intake import Intake, Tally
from consecution.local.receipts import Receipts
from consecution.testing.sim.disk import SimDisk

NAME = "rows"


class Unwatched:
    def begun(self, *_):
        return None

    def adopted(self, *_):
        return None

    def appended(self, *_):
        return lambda: None

    def committed(self, *_):
        return lambda: None

    def rooted(self, *_):
        return None


def open_journal(disk):
    journal = disk.open("journal", lambda: None)
    restored = journal.begin(Header("flow"), [ProducerHeader(NAME, "sequence", "re-readable")])
    return journal, restored[NAME]


@pytest.mark.parametrize("is_synced", [False, True])
def test_a_power_cut_after_the_end_takes_no_outcome(is_synced):
    lost = 0
    for seed in range(20):
        disk = SimDisk(Unwatched(), lambda: 0.0)
        journal, _ = open_journal(disk)
        journal.commit(Round((ProducerRound(NAME, Changes(completed=[range(3)]), 3, (), 3, 3),)))
        intake = Intake([], Robustness.REPLAY, journal=journal, receipts=Receipts(), tally=Tally())
        if is_synced:
            assert intake.sync(0.0)
        disk.cut_power(Random(seed))
        _, restored = open_journal(disk)
        lost += restored.mark == 0
    assert bool(lost) is not is_synced


def test_the_end_waits_for_space_on_the_disk():
    disk = SimDisk(Unwatched(), lambda: 0.0)
    journal, _ = open_journal(disk)
    intake = Intake([], Robustness.REPLAY, journal=journal, receipts=Receipts(), tally=Tally())
    disk.is_full = True
    assert not intake.sync(1.0)
    disk.is_full = False
    assert not intake.sync(1.1), "it is tried again each half second"
    assert intake.sync(2.0)
