"""What waits for an acker is told in fewer messages, and comes to the same."""

from __future__ import annotations

import random

import pytest

from consecution.guarantee.messages import Fail, Init, Placed, Sum, Verdict
from consecution.guarantee.telling import Telling
from tests.unit.guarantee.builders import BOOM, PRODUCER, CheckedLedger

ONE, OTHER = frozenset({7}), frozenset({8})


def told(*messages: Init | Sum) -> list[Init | Sum]:
    telling = Telling(1)
    for message in messages:
        telling.add(message, now=1.0)
    return telling.take().get(0, [])


def test_a_sum_goes_into_the_init_that_waits() -> None:
    assert told(Init(1, PRODUCER, 6, ONE, 2), Sum(1, PRODUCER, 3, OTHER, placement=3)) == [
        Init(1, PRODUCER, 5, ONE | OTHER, 3)
    ]


def test_a_sum_with_a_fail_stays_behind_the_init_and_takes_what_follows() -> None:
    fail = (Fail(1, (0,), BOOM),)
    messages = [Init(1, PRODUCER, 6, ONE), Sum(1, PRODUCER, 0, fails=fail), Sum(1, PRODUCER, 6)]
    assert told(*messages) == [messages[0], Sum(1, PRODUCER, 6, fails=fail)]


def test_a_fail_that_is_told_ahead_of_the_init_stays_ahead() -> None:
    early = Sum(1, PRODUCER, 0, fails=(Fail(1, (0,), BOOM),))
    assert told(early, Init(1, PRODUCER, 6, ONE), Sum(1, PRODUCER, 6)) == [early, Init(1, PRODUCER, 0, ONE)]


def test_what_waits_for_a_dead_acker_is_forgotten_and_nothing_else() -> None:
    telling = Telling(2)
    for root in (2, 3, 4):
        telling.add(Sum(root, PRODUCER, 1), now=float(root))
    telling.drop(0)
    telling.add(Sum(2, PRODUCER, 5), now=5.0)
    assert (telling.count, telling.since) == (2, 2.0)
    assert telling.take() == {1: [Sum(3, PRODUCER, 1)], 0: [Sum(2, PRODUCER, 5)]}
    assert (telling.count, telling.take()) == (0, {})


def test_only_what_may_be_the_last_word_of_a_tree_is_awaited() -> None:
    telling = Telling(2)
    telling.add(Init(1, PRODUCER, 6, ONE), now=0.0)
    telling.add(Sum(2, PRODUCER, 6, OTHER), now=0.0)
    assert not telling.is_awaited
    telling.add(Sum(1, PRODUCER, 3), now=0.0)
    assert telling.is_awaited
    telling.take()
    assert not telling.is_awaited


def tree(root: int, some: random.Random) -> list[Init | Sum]:
    """What one process tells of a root, up to its end or not."""
    messages: list[Init | Sum] = []
    if some.random() < 0.2:
        messages.append(Sum(root, PRODUCER, 0, fails=(Fail(root, (9,), BOOM),)))
    first = some.getrandbits(64)
    messages.append(Init(root, PRODUCER, first, ONE))
    is_open = [first]
    while is_open and some.random() < 0.9:
        word = is_open.pop(some.randrange(len(is_open)))
        for _ in range(some.choice((0, 0, 1, 1, 2))):
            is_open.append(some.getrandbits(64))
            word ^= is_open[-1]
        fails = (Fail(root, (some.randrange(4),), BOOM),) if some.random() < 0.3 else ()
        sent_to = some.choice([ONE, OTHER, frozenset[int]()])
        messages.append(Sum(root, PRODUCER, word, sent_to, fails, refused=some.random() < 0.03))
    return messages


@pytest.mark.parametrize("seed", range(50))
def test_a_ledger_judges_alike(seed: int) -> None:
    """Whatever is told of several roots, one among the other: the same verdicts as when it is told one by one."""
    some = random.Random(seed)
    trees = [tree(root, some) for root in range(1, 4)]
    messages = [some.choice(left).pop(0) for _ in range(99) if (left := [each for each in trees if each])]
    verdicts = []
    for each in (messages, told(*messages)):
        ledger = CheckedLedger()
        ledger.handle(Placed(1, {PRODUCER: 1, 7: 1, 8: 1}), 0.0)
        given = [one for message in each for one in ledger.handle(message, 1.0)]
        verdicts.append({one.root: (one.lost, one.failed) for one in given if isinstance(one, Verdict)})
    assert verdicts[0] == verdicts[1]
