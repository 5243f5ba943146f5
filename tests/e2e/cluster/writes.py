"""What a clocked flow wrote, and when: read while it runs, by whoever kills its processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = 97  # as the flow has them


class Write(NamedTuple):
    """One item that was written."""

    at_s: float
    number: int
    process: int


@dataclass
class Writes:
    """All writes so far, in the order of each process; `read` adds what has come.

    Args:
        out: Where the flow writes.
    """

    out: Path
    all: list[Write] = field(default_factory=list)
    _offsets: dict[int, int] = field(default_factory=dict)

    def read(self) -> list[Write]:
        """Read on; gives what is new."""
        new = list(self._read())
        self.all += new
        return new

    def _read(self) -> Iterator[Write]:
        for part in self.out.glob("part-*"):
            process = int(part.name.removeprefix("part-"))
            with part.open("rb") as file:
                file.seek(self._offsets.get(process, 0))
                data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            self._offsets[process] = self._offsets.get(process, 0) + len(data)
            for line in data.splitlines():
                at, number = line.split()
                yield Write(int(at) / 1e9, int(number), process)

    def keys_of(self, process: int) -> set[int]:
        """The keys whose items a process has written."""
        return {write.number % KEYS for write in self.all if write.process == process}

    def newest_before(self, at_s: float) -> int:
        """The highest number written by then: all below it had entered."""
        return max((write.number for write in self.all if write.at_s < at_s), default=-1)
