"""Which code is there, and which is on its way in parts.

Rules of this module: pure. One part of a bundle is asked for at a time; an unanswered question is asked again; a part
that wasn't asked for is ignored. Whether the bytes are right is the shell's to check, by SHA-256.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consecution.wire.cluster.from_worker import AskBundle
from consecution_worker.events import AgentInstruction, LookForCode, Send, StoreCode

if TYPE_CHECKING:
    from consecution.wire.cluster.to_worker import BundleChunk, BundleInfo


@dataclass(slots=True)
class _Fetch:
    bundle: BundleInfo
    offset: int = 0
    asked_at: float = math.inf  # not yet: the shell looks whether it is there
    is_complete: bool = False  # all parts are there; it is being checked and unpacked


class Fetches:
    """Bundles that are there or on their way.

    Args:
        again_s: An unanswered question is asked again after this long.
        bytes_max: A larger bundle is refused.
    """

    def __init__(self, again_s: float, bytes_max: int) -> None:
        self._again_s = again_s
        self._bytes_max = bytes_max
        self._here: set[str] = set()
        self._on_the_way: dict[str, _Fetch] = {}

    def has(self, sha256: str) -> bool:
        """Whether the code is there; code that nobody needs ("") always is."""
        return not sha256 or sha256 in self._here

    def want(self, bundle: BundleInfo) -> list[AgentInstruction]:
        """Fetch a bundle, unless it is there or on its way.

        Raises:
            ValueError: It is larger than this worker takes.
        """
        if self.has(bundle.sha256) or bundle.sha256 in self._on_the_way:
            return []
        if bundle.size_bytes > self._bytes_max:
            message = f"its bundle has {bundle.size_bytes:,} bytes; this worker takes at most {self._bytes_max:,}"
            raise ValueError(message)
        self._on_the_way[bundle.sha256] = _Fetch(bundle)
        return [LookForCode(bundle)]

    def missing(self, sha256: str, now: float) -> list[AgentInstruction]:
        """The code isn't there: ask for its first part."""
        fetch = self._on_the_way.get(sha256)
        if fetch is None or fetch.asked_at < math.inf:
            return []
        fetch.asked_at = now
        return [Send(AskBundle(sha256, 0))]

    def chunk(self, chunk: BundleChunk, now: float) -> list[AgentInstruction]:
        """Take a part."""
        fetch = self._on_the_way.get(chunk.sha256)
        if (
            fetch is None
            or fetch.is_complete
            or fetch.asked_at == math.inf
            or chunk.offset != fetch.offset
            or not chunk.data
        ):
            return []  # a question that was asked twice, or an end that isn't one: it is asked again
        if fetch.offset + len(chunk.data) > fetch.bundle.size_bytes:
            return []
        fetch.offset += len(chunk.data)
        fetch.asked_at = now
        fetch.is_complete = fetch.offset == fetch.bundle.size_bytes
        store = StoreCode(chunk.sha256, chunk.data, fetch.is_complete)
        return [store] if fetch.is_complete else [store, Send(AskBundle(chunk.sha256, fetch.offset))]

    def done(self, sha256: str) -> None:
        """The code is there."""
        self._on_the_way.pop(sha256, None)
        self._here.add(sha256)

    def failed(self, sha256: str) -> None:
        """It can't be had; the next `want` begins again."""
        self._on_the_way.pop(sha256, None)
        self._here.discard(sha256)

    def forget(self, keep: frozenset[str]) -> None:
        """Of all others it isn't known any more whether they are there."""
        self._here &= keep
        for sha256 in set(self._on_the_way) - keep:
            del self._on_the_way[sha256]

    def again(self, now: float) -> list[AgentInstruction]:
        """Ask again what was not answered."""
        found: list[AgentInstruction] = []
        for sha256, fetch in sorted(self._on_the_way.items()):
            if not fetch.is_complete and now - fetch.asked_at >= self._again_s:
                fetch.asked_at = now
                found.append(Send(AskBundle(sha256, fetch.offset)))
        return found

    def due(self) -> float:
        """When the next question is to be asked again; infinity for never."""
        return min(
            (fetch.asked_at + self._again_s for fetch in self._on_the_way.values() if not fetch.is_complete),
            default=math.inf,
        )

    def note(self, sha256: str) -> str:
        """What a child that needs this code waits for, for people."""
        fetch = self._on_the_way.get(sha256)
        if fetch is None:
            return ""
        left = fetch.bundle.size_bytes - fetch.offset
        return f"waits for {left:,} bytes of its code" if left else "its code is being unpacked"
