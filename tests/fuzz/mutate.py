"""Changes to an input, as a careless network or a careful enemy makes them. Seeded by the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

BYTES_MAX = 1 << 16
MAGIC = (
    b"\xff",
    b"\x00",
    b"\xc1",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\x90" * 64,
)
MARK = b"|next|"


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One input made of another, by one to five changes."""
    for _ in range(rng.randint(1, 5)):
        data = _changed(data, others, rng)
    return data[:BYTES_MAX]


def _changed(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    kind = rng.randrange(8)
    if kind == 0:  # a bit
        changed = bytearray(data or b"\0")
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 1:  # cut short
        return data[:at]
    if kind == 2:  # some bytes are missing
        return data[:at] + data[at + rng.randint(1, 8) :]
    if kind == 3:  # some come twice
        return data[:at] + data[max(0, at - rng.randint(1, 16)) :]
    if kind == 4:  # bytes that mean something to a reader
        return data[:at] + rng.choice(MAGIC) + data[at + rng.randint(0, 5) :]
    if kind == 5:  # noise
        return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
    if kind == 6:  # the end of another input
        other = rng.choice(others) if others else data
        return data[:at] + other[rng.randint(0, len(other)) :]
    other = rng.choice(others) if others else data
    return data + MARK + other
