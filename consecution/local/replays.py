"""The producers of dead letters that are replayed by hand.

Rules of this module: one `Replays` for each producer whose items are replayed; what it was given and has handed over is
in the journal, so a restart makes it with no letters and resumes it from there.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING

from consecution.journal.base import REPLAY_KIND
from consecution.journal.sqlite import has_journal, open_for_reading
from consecution.producers.base import NOTHING_YET, THE_END, Producer, Read, SourceClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from consecution.journal.base import StoredDeadLetter

PREFIX = "replay:"


class Replays(Producer):
    """Gives dead letters' items, with the dead letters' numbers as tokens.

    Args:
        producer: Name of the producer that introduced them at first.
        letters: Those that are to be replayed; empty to go on with what the journal holds.
    """

    kind = REPLAY_KIND
    source = SourceClass.HANDED_OVER
    lives_in_caller = True

    def __init__(self, producer: str, letters: Sequence[StoredDeadLetter] = ()) -> None:
        self.name = PREFIX + producer
        self._letters = deque(letters)
        self._has_ended = False

    def open(self, position: object | None = None, check: object | None = None) -> None:
        """Begin; nothing has to be opened."""

    def read(self, items_max: int, wait_s: float) -> Read:
        """Give the next letters' items."""
        if self._has_ended:
            return NOTHING_YET
        taken = [self._letters.popleft() for _ in range(min(items_max, len(self._letters)))]
        self._has_ended = not self._letters
        if not taken:
            return THE_END
        numbers: list[object] = [letter.id for letter in taken]
        return Read([letter.item for letter in taken], ended=self._has_ended, tokens=numbers)

    def close(self) -> None:
        """Let go of nothing."""


def with_replays(
    producers: Sequence[tuple[Producer, tuple[int, ...]]], entries: Mapping[str, tuple[int, ...]], folder: Path | None
) -> list[tuple[Producer, tuple[int, ...]]]:
    """Add the producers of replays that a journal knows, so that those that were cut off go on.

    Args:
        producers: Those of the run, each with the nodes that it feeds.
        entries: The nodes that each producer of the flow feeds, by its name.
        folder: The journal's; None for none.

    Returns:
        ``producers``, and behind them the missing ones.

    Raises:
        JournalError: There is a journal that can't be read.
    """
    found = list(producers)
    if folder is None or not has_journal(folder):
        return found
    here = {producer.name for producer, _ in producers}
    with closing(open_for_reading(folder)) as journal:
        for header in journal.producers():
            name = header.name.removeprefix(PREFIX)
            if header.kind == REPLAY_KIND and header.name not in here and name in entries:
                found.append((Replays(name), entries[name]))
    return found
