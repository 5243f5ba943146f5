"""Every memory of the guarantee has a bound, and here it is reached."""

from __future__ import annotations

import pytest

from consecution.guarantee.backoff import Backoff
from consecution.guarantee.messages import Suspects
from consecution.guarantee.suspicion import Suspicion
from consecution.guarantee.tombstones import Tombstones
from tests.unit.guarantee.builders import CRASH


def test_tombstones_keep_the_newest_when_there_are_too_many() -> None:
    tombstones = Tombstones(period_s=1_000.0, roots_max=10)
    for root in range(1_000):
        tombstones.add(root)
        tombstones.check_invariants()
        assert all(each in tombstones for each in range(max(0, root - 9), root + 1))
    assert len(tombstones) <= 20
    assert tombstones.aged == 1_000 - len(tombstones)


def test_suspicion_forgets_the_oldest_death_when_there_is_too_much() -> None:
    suspicion, nothing_judged = Suspicion(origins_max=10), Tombstones(period_s=1.0, roots_max=1)
    for incarnation in range(1, 6):
        origins = tuple((root, incarnation) for root in range(4))
        suspicion.add(Suspects(incarnation, origins, CRASH), nothing_judged)
        suspicion.check_invariants()
    assert [blame.indexes for blame in suspicion.take(0)] == [(4,), (5,)]
    assert suspicion.take(0) == []
    assert len(suspicion) == 3


def test_suspicion_bounds_the_deaths_that_it_remembers() -> None:
    suspicion, nothing_judged = Suspicion(incarnations_max=3), Tombstones(period_s=1.0, roots_max=1)
    for incarnation in range(10):
        suspicion.add(Suspects(incarnation, ((incarnation, 0),), CRASH), nothing_judged)
        suspicion.check_invariants()
    assert [root for root in range(10) if suspicion.take(root)] == [7, 8, 9]


def test_suspects_of_judged_roots_are_not_kept() -> None:
    suspicion, judged = Suspicion(), Tombstones(period_s=1.0, roots_max=1)
    judged.add(1)
    suspicion.add(Suspects(9, ((1, 0), (2, 0)), CRASH), judged)
    assert (suspicion.take(1), len(suspicion)) == ([], 1)
    [blame] = suspicion.take(2)
    assert not blame.is_alone, "the slot held two items, though one of them is settled"


def test_backoff_grows_to_its_bound_whatever_the_number() -> None:
    backoff = Backoff()
    assert backoff.delay_s(10**6) == backoff.max_s
    assert backoff.spread_s(1, seq=7) == 0.0
    assert backoff.max_s <= backoff.spread_s(10**6, seq=7) <= 2 * backoff.max_s


@pytest.mark.parametrize("bad", [{"first_s": -1.0}, {"max_s": -1.0}, {"factor": 0.5}])
def test_backoff_refuses_what_is_no_wait(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Backoff(**bad)
