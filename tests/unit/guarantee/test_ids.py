from __future__ import annotations

import random

from consecution.guarantee.ids import id_maker


def test_ids_are_64_random_bits_and_never_zero() -> None:
    new_id = id_maker(b"seed")
    ids = [new_id() for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    assert all(0 < each < 2**64 for each in ids)
    for bit in range(64):
        share = sum(each >> bit & 1 for each in ids) / len(ids)
        assert 0.45 < share < 0.55, f"bit {bit} is set in {share:.0%}"


def test_user_code_that_seeds_random_does_not_change_the_ids() -> None:
    plain, disturbed = id_maker(b"seed"), id_maker(b"seed")
    random.seed(1)
    first = [plain() for _ in range(5)]
    random.seed(1)
    assert [disturbed() for _ in range(5)] == first
    assert id_maker(b"other")() != first[0]
