"""Random trees and joins with deaths: never done early, always a verdict, one outcome, memory empty at rest."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consecution.guarantee.ids import id_maker
from consecution.guarantee.messages import Init, Sum
from tests.unit.guarantee.builders import PRODUCER, CheckedLedger
from tests.unit.guarantee.world import World

SEEDS = st.integers(0, 2**32)
FEW, MORE = st.integers(1, 2), st.integers(1, 4)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, producers=FEW, ackers=FEW, executors=MORE)
def test_without_deaths_every_item_completes(seed: int, producers: int, ackers: int, executors: int) -> None:
    world = World(seed, producers=producers, ackers=ackers, executors=executors, deaths=0, bad=False)
    world.run(200)
    assert set(world.verdicts.values()) == {1}


@settings(max_examples=35, deadline=None)
@given(seed=SEEDS, producers=FEW, ackers=FEW, executors=MORE, deaths=st.integers(0, 8))
def test_with_deaths_poison_and_crashes_every_item_has_one_outcome_and_innocents_complete(
    seed: int, producers: int, ackers: int, executors: int, deaths: int
) -> None:
    World(seed, producers=producers, ackers=ackers, executors=executors, deaths=deaths, bad=True).run(400)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_messages_of_different_links_in_any_order_give_the_verdict_with_the_last_one(seed: int) -> None:
    """One link a task, each in order, interleaved at random: the verdict comes with the last message, not before."""
    rng, new_id = random.Random(seed), id_maker(b"%d" % seed)
    root = new_id()
    open_edges = [new_id() for _ in range(rng.randint(1, 3))]
    links: list[list[Init | Sum]] = [[] for _ in range(4)]
    links.append([Init(root, PRODUCER, xor(open_edges), frozenset({2}))])
    for _ in range(rng.randint(0, 20)):
        rng.shuffle(open_edges)
        count = rng.randint(1, len(open_edges))
        inputs, open_edges = open_edges[:count], open_edges[count:]
        outputs = [new_id() for _ in range(rng.randint(0 if open_edges else 1, 3))]
        links[rng.randrange(4)].append(Sum(root, PRODUCER, xor(inputs + outputs), frozenset({2})))
        open_edges += outputs
    links[0].append(Sum(root, PRODUCER, xor(open_edges)))
    ledger = CheckedLedger()
    left = sum(len(link) for link in links)
    while left:
        left -= 1
        verdicts = ledger.handle(rng.choice([link for link in links if link]).pop(0), 0.0)
        assert len(verdicts) == (left == 0)
    assert len(ledger) == 0


def xor(ids: list[int]) -> int:
    word = 0
    for each in ids:
        word ^= each
    return word


@pytest.mark.parametrize("seed", range(12))
def test_pinned_worlds(seed: int) -> None:
    World(seed, producers=2, ackers=2, executors=3, deaths=6, bad=True).run(400)
