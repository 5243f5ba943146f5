"""How long a replay waits (protocol.md R14): at once the first time, then longer and longer."""

from __future__ import annotations

from dataclasses import dataclass

_GOLDEN = 0x9E3779B1  # spreads neighbouring numbers over 32 bits (Knuth's multiplicative hash)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times of replays.

    Attributes:
        first_s: Wait before the second replay; the first leaves at once.
        factor: By how much each later wait is longer.
        max_s: The longest wait.

    Raises:
        ValueError: A wait below 0, or a factor below 1.

    >>> [Backoff(first_s=1.0, factor=3.0, max_s=10.0).delay_s(times) for times in range(1, 6)]
    [0.0, 1.0, 3.0, 9.0, 10.0]
    """

    first_s: float = 0.1
    factor: float = 2.0
    max_s: float = 30.0

    def __post_init__(self) -> None:
        if self.first_s < 0 or self.max_s < 0 or self.factor < 1:
            message = f"{self!r}: expected first_s >= 0, max_s >= 0 and factor >= 1"
            raise ValueError(message)

    def delay_s(self, times: int) -> float:
        """Seconds to wait before the replay that follows failure or loss number `times` (1, 2, …)."""
        if times <= 1:
            return 0.0
        return float(min(self.max_s, self.first_s * self.factor ** min(times - 2, 100)))

    def spread_s(self, times: int, seq: int) -> float:
        """As `delay_s`, up to twice as long, by the item's number.

        Suspects of one death leave apart from each other this way, so that one of them is in work alone in the end.
        """
        return self.delay_s(times) * (1 + (seq * _GOLDEN % 2**32) / 2**32)
