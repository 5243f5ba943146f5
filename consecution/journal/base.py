"""The journal's contract: what a producer must still finish, and what became of what it finished (protocol.md R17).

Rules of this package:

1. One transaction for each `append`, `commit`, `start_over`: it is in the journal as a whole or not at all.
2. With ``sync=True`` it is on the disk (fsync) when the call returns; without, it survives the death of the process and
   a power cut may take the last of them, never an older one before a newer one.
3. `JournalFull` means rolled back: nothing of the call is in the journal, the same call may be made again. After any
   other JournalError the journal must be closed: what the disk holds is found out at the next start.
4. Nothing that can't be read is overwritten: it stops with a JournalError that names the file and the cure.
5. Counts are exact over restarts, because they change in the transaction that changes what they count.

A *seq* numbers the items of one producer for the life of its journal; the *mark* is the lowest unfinished seq, *ranges*
are the finished seqs above it as (start, stop), stop not included. Used by one thread at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from consecution.errors import JournalError
from consecution.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from consecution.guarantee.changes import Changes
    from consecution.guarantee.messages import Cause

FORMAT = 1
REPLAY_KIND = "replay"
"""Kind of the producer that carries dead letters replayed by hand: it may come and go between runs."""

SourceClass: TypeAlias = Literal["re-readable", "handed over", "fire and forget"]


class JournalFull(JournalError):
    """No space: the transaction was rolled back; stop intake and make the same call again later."""


@value
class Header:
    """Whose journal it is; never a hash of the code, since the fix must be able to replay.

    Attributes:
        pipeline: The consecutor's name.
        is_accumulating: True when the run is finite and has accumulating nodes: entries are kept, finished or not,
            until `finish`, so that `start_over` can void the pass.
    """

    pipeline: str
    is_accumulating: bool = False


@value
class ProducerHeader:
    """One producer of the pipeline."""

    name: str
    kind: str
    source: SourceClass
    endless: bool = False


@value
class Restored:
    """What the journal knows of a producer at the start of a run.

    Attributes:
        next_seq: For a producer with entries the seq of its next new item; a re-readable one goes on from `mark`.
        mark: Lowest unfinished seq.
        ranges: Finished seqs above the mark, dead ones too, as (start, stop).
        position: The source's position of the item `mark`; None: from the start.
        check: What the source gave for that position.
        attempts: seq to (attempts, suspect), for unfinished items.
        entries: How many unfinished items `read_entries` will give.
        dead: Finished seqs at or above the mark that are dead letters (after a `start_over`: those that crashed).
    """

    next_seq: int
    mark: int
    ranges: tuple[tuple[int, int], ...] = ()
    position: Any = None
    check: Any = None
    attempts: dict[int, tuple[int, bool]] = field(default_factory=dict)
    entries: int = 0
    dead: frozenset[int] = frozenset()


@value
class ProducerRound:
    """One producer's part of a transaction.

    Attributes:
        producer: Its name.
        changes: What the window gave; each completed or dead seq is told once.
        mark: Lowest unfinished seq, after the changes.
        ranges: Finished seqs above the mark, after the changes, as (start, stop), ascending.
        next_seq: One more than the highest seq that was introduced: the count of introduced items.
        position: The source's position of the item `mark`; any packable value.
        check: What the source gives for that position; any packable value.
    """

    producer: str
    changes: Changes
    mark: int
    ranges: tuple[tuple[int, int], ...]
    next_seq: int
    position: Any = None
    check: Any = None


@value
class Stand:
    """Where a producer stood in a journal that is gone; see `ProducerRound`.

    Attributes:
        mark: Lowest unfinished seq.
        ranges: Finished seqs above the mark, as (start, stop), ascending.
        next_seq: One more than the highest seq that was introduced.
        failed: How many of the finished ones are dead letters.
        position: The source's position of the item `mark`.
        check: What the source gave for that position.
    """

    mark: int
    ranges: tuple[tuple[int, int], ...]
    next_seq: int
    failed: int = 0
    position: Any = None
    check: Any = None


@value
class Round:
    """One transaction: a round of verdicts."""

    producers: tuple[ProducerRound, ...]


@value
class Counts:
    """The Report's counts, over all producers and restarts."""

    introduced: int = 0
    completed: int = 0
    failed: int = 0
    replayed: int = 0
    dropped: int = 0
    state_lost: frozenset[str] = frozenset()


@value
class StoredDeadLetter:
    """A dead letter as the journal keeps it.

    Attributes:
        id: Its number in this journal, from 1.
        producer: Name of its producer.
        seq: Its seq there.
        attempts: How often it was tried.
        cause: Why it failed at last; None at level CONFIRM.
        item: The item; None when `has_item` is false.
        item_repr: Its repr, cut at 200 characters.
        has_item: False when the item can't be packed, so that only its repr is known.
        at: Seconds since the epoch.
        is_crash: Its last attempt took the process down.
        replay_of: The dead letter that it was a replay of.
        replayed_as: (producer, seq) of the item that replays it.
        is_dropped: A user gave it up; it is kept for the count.
    """

    id: int
    producer: str
    seq: int
    attempts: int
    cause: Cause | None
    item: Any
    item_repr: str
    has_item: bool
    at: float
    is_crash: bool = False
    replay_of: int | None = None
    replayed_as: tuple[str, int] | None = None
    is_dropped: bool = False

    @property
    def is_standing(self) -> bool:
        """Whether nobody has replayed or dropped it."""
        return self.replayed_as is None and not self.is_dropped


@value
class Outcome:
    """What became of one item: ``state`` is "open" while it is unfinished.

    Attributes:
        producer: Name of its producer.
        seq: Its seq there: together they are the receipt's id.
        state: "open", "completed" or "failed".
        attempts: How often it was tried; 0 when the journal doesn't know (completed items).
        cause: Why it failed; None otherwise.
    """

    producer: str
    seq: int
    state: Literal["open", "completed", "failed"]
    attempts: int = 0
    cause: Cause | None = None


class Journal(ABC):
    """One consecutor's journal, for all of its producers. Not thread-safe."""

    @abstractmethod
    def begin(self, header: Header, producers: Sequence[ProducerHeader]) -> dict[str, Restored]:
        """Begin a new journal, or go on with the one that is there.

        Returns:
            What is known of each producer, by name; for a new journal nothing but zeros.

        Raises:
            JournalError: It is of another pipeline, format or producers; names the difference and both ways out.
        """

    @abstractmethod
    def adopt(self, stands: Mapping[str, Stand]) -> dict[str, Restored]:
        """Go on where another journal ended, on a host that is gone (R17).

        Args:
            stands: By producer; those that have begun here already are left as they are.

        Returns:
            What is known of each of these producers now.
        """

    @abstractmethod
    def append(
        self,
        producer: str,
        first_seq: int,
        items: list[Any],
        keys: Sequence[str | None] | None = None,
        *,
        sync: bool,
        replay_of: Sequence[int] | None = None,
        position: object = None,
    ) -> None:
        """Hold items as entries until they are finished.

        Args:
            producer: A producer whose source is handed over or fire and forget.
            first_seq: Seq of the first item; the others follow on it.
            items: At least one; may be changed after the call.
            keys: Idempotency keys, one for each item; None: none has one.
            sync: True: fsynced before the call returns.
            replay_of: Ids of the dead letters that these items replay, one for each item; they stand no longer.
            position: Where the source stands behind these items, held in the same transaction, so that a restart
                makes no item of a due time a second time; None: a source without positions.

        Raises:
            ItemNotPackable: Names the item by its index; nothing was written.
            JournalFull: Nothing was written.
        """

    @abstractmethod
    def commit(self, round_: Round, *, sync: bool = False) -> None:
        """Hold what a round of verdicts changed: outcomes, dead letters, attempts, marks, positions, counts.

        Raises:
            JournalFull: Nothing was written; the same round may be committed again.
        """

    @abstractmethod
    def read_entries(self, producer: str) -> Iterator[tuple[int, Any]]:
        """Give the unfinished entries as (seq, item), ascending; each row is checked as it is read."""

    @abstractmethod
    def counts(self) -> Counts:
        """Give the counts as of the last transaction."""

    @abstractmethod
    def dead_letters(self, *, is_standing: bool = True, after_id: int = 0, limit: int = 1000) -> list[StoredDeadLetter]:
        """Give dead letters by ascending id, from ``after_id + 1``; all of them, or only those that stand."""

    @abstractmethod
    def dead_letter(self, dead_id: int) -> StoredDeadLetter | None:
        """Give one dead letter; None when there is none of that id."""

    @abstractmethod
    def drop_dead_letters(self, dead_ids: Sequence[int]) -> int:
        """Give dead letters up; they stay counted as failed. Returns how many stood until now."""

    @abstractmethod
    def mark_replayed(self, dead_id: int, producer: str, seq: int) -> None:
        """Note which item replays a dead letter, for items that have no entry; JournalError for an unknown id."""

    @abstractmethod
    def outcome(self, producer: str, seq: int) -> Outcome | None:
        """Give what became of an item by its receipt; None when it is unknown or purged."""

    @abstractmethod
    def find_key(self, producer: str, key: str) -> Outcome | None:
        """Give what became of the item that was handed over under an idempotency key; None when it is new."""

    @abstractmethod
    def start_over(self) -> dict[str, Restored]:
        """Void the pass (R17): its outcomes, attempts and dead letters, except those of crashes, and all positions."""

    @abstractmethod
    def finish(self) -> bool:
        """Release the pass: called when every producer is exhausted and the finish pushes are done.

        Removes and closes the journal when nothing is unfinished, no dead letter stands and no producer is endless.

        Returns:
            Whether it was removed.
        """

    @abstractmethod
    def close(self) -> None:
        """Close it cleanly; closing twice is fine."""
