"""What goes with an item through its producer and hears what becomes of it.

Rules of this module: a token is told by the thread that runs the pipeline, after the commit: quickly, and without an
exception. It hears `_journalled` first, then either of the other two, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consecution.errors import ConsecutionError
    from consecution.guarantee.messages import Cause


class Token:
    """Hears of one item; all of its methods are called by the run alone."""

    __slots__ = ()

    def _journalled(self, producer: str, seq: int) -> None:
        """Hear that the item is taken over, as number ``seq`` of this producer."""

    def _settled(self, state: str, attempts: int, cause: Cause | None) -> None:
        """Hear that it is "completed", or "failed" after so many attempts."""

    def _abandoned(self, error: ConsecutionError) -> None:
        """Hear that the run ended before its outcome."""
