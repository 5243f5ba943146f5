"""The four levels of robustness that a user chooses from (protocol.md R22)."""

from __future__ import annotations

from enum import IntEnum


class Robustness(IntEnum):
    """How much a Consecutor promises; each level does all that the one before it does.

    >>> Robustness.REPLAY > Robustness.TRACK
    True
    >>> Robustness["CONFIRM"].is_tracked
    True
    """

    NONE = 0
    """No tracking: no roots, no sums. Frames, flow control and endings work as at the other levels."""

    CONFIRM = 1
    """Tells whether everything was processed: failed items are counted, without their causes."""

    TRACK = 2
    """Tells which items failed and why: causes and items are kept (the last N). No replay, no journal."""

    REPLAY = 3
    """Replays what failed or was lost, up to `replays_max` times, then keeps it as a dead letter; with a journal."""

    @property
    def is_tracked(self) -> bool:
        """Whether items have roots and get verdicts."""
        return self is not Robustness.NONE

    @property
    def keeps_causes(self) -> bool:
        """Whether fails carry their causes."""
        return self >= Robustness.TRACK
