"""Ids of 64 random bits for roots, edges and incarnations (protocol.md R1, R7, R8).

Rules: sequential or short ids let XOR words cancel by accident; the generator is private, because user code may call
`random.seed`; the seed comes from outside, so that tests repeat. An id is never 0, which XOR could not see.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SEED_BYTES = 32


def id_maker(seed: bytes) -> Callable[[], int]:
    """Give a function that makes a fresh id at each call (about 0.1 µs).

    Args:
        seed: ``os.urandom(SEED_BYTES)``, read after the process started: a forked child that kept its parent's maker
            would repeat its ids. Tests give a constant.

    Returns:
        A function without arguments; ints from 1 to 2**64 - 1. Safe to share between threads.

    >>> new_id = id_maker(b"a constant, for this example")
    >>> new_id() != new_id()
    True
    """
    random_bits = random.Random(seed).getrandbits

    def new_id() -> int:
        return random_bits(64) or new_id()

    return new_id
