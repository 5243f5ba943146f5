"""What must arrive at the coordinator: exits and dead letters, numbered, kept until it has confirmed them.

Rules of this module: pure. Numbers grow from 1 in a session and are never used twice; what is confirmed is forgotten.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_worker import EXITS_MAX, LETTERS_BYTES_MAX, Letters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consecution.wire.cluster.from_worker import ChildExit, ChildId
    from consecution.wire.control import Letter

EXITS_BYTES_MAX = 384 << 10
LETTERS_AT_ONCE_MAX = 100
LETTERS_KEPT_MAX = 20_000


class Outbox:
    """Exits and letters on their way.

    Attributes:
        letters_dropped: Letters that found no room, while the coordinator was away; the journals keep them.
    """

    def __init__(self) -> None:
        self._exits: deque[ChildExit] = deque()
        self._letters: deque[Letters] = deque()
        self._last_exit = 0
        self._last_letters = 0
        self._kept = 0
        self.letters_dropped = 0

    def add_exit(self, ended: ChildExit) -> None:
        """Keep an exit; its number is given here."""
        self._last_exit += 1
        self._exits.append(replace(ended, number=self._last_exit))

    def add_letters(self, child: ChildId, pass_number: int, letters: Iterable[Letter]) -> None:
        """Keep dead letters of a child, in parts that fit into a heartbeat."""
        part: list[Letter] = []
        size = 0
        for letter in letters:
            if self._kept >= LETTERS_KEPT_MAX:
                self.letters_dropped += 1
                continue
            self._kept += 1
            fitting = replace(letter, item=None) if _size(letter) > LETTERS_BYTES_MAX // 2 else letter
            if part and (size + _size(fitting) > LETTERS_BYTES_MAX or len(part) == LETTERS_AT_ONCE_MAX):
                self._put(child, pass_number, part)
                part, size = [], 0
            part.append(fitting)
            size += _size(fitting)
        if part:
            self._put(child, pass_number, part)

    def _put(self, child: ChildId, pass_number: int, part: list[Letter]) -> None:
        self._last_letters += 1
        self._letters.append(Letters(self._last_letters, child, pass_number, tuple(part)))

    def confirm(self, exits: int, letters: int) -> None:
        """Forget what the coordinator keeps now: all up to these numbers."""
        while self._exits and self._exits[0].number <= exits:
            self._exits.popleft()
        while self._letters and self._letters[0].number <= letters:
            self._kept -= len(self._letters.popleft().letters)

    def exits(self) -> tuple[ChildExit, ...]:
        """Those for the next heartbeat, oldest first."""
        found: list[ChildExit] = []
        room = EXITS_BYTES_MAX
        for ended in self._exits:
            room -= 500 + len(ended.log_tail) + len(ended.traceback) + len(ended.message) + 24 * len(ended.runs)
            if found and (room < 0 or len(found) == EXITS_MAX):
                break
            found.append(ended)
        return tuple(found)

    def letters(self) -> tuple[Letters, ...]:
        """Those for the next heartbeat, oldest first."""
        found: list[Letters] = []
        room = LETTERS_BYTES_MAX
        for one in self._letters:
            room -= sum(_size(letter) for letter in one.letters)
            if found and room < 0:
                break
            found.append(one)
        return tuple(found)

    @property
    def is_empty(self) -> bool:
        """Whether all of it has arrived."""
        return not self._exits and not self._letters

    def unconfirmed(self) -> frozenset[ChildId]:
        """Children whose end the coordinator may not know."""
        return frozenset(ended.id for ended in self._exits)


def _size(letter: Letter) -> int:
    cause = letter.cause
    text = 0 if cause is None else len(cause.message) + len(cause.traceback) + len(cause.value)
    return 200 + len(letter.item or b"") + len(letter.item_repr) + text
