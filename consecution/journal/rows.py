"""How what a journal knows is written as rows of a shelf, and read back.

Rules of this module: a row in, a value out, and the other way round; nothing here decides what is kept. Rows of one
producer lie together in a table, in the order of their seqs, so that a scan finds them so.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from consecution.errors import CodecError
from consecution.guarantee.messages import Cause
from consecution.journal.base import StoredDeadLetter
from consecution.journal.book import Held
from consecution.journal.shelf import Row, Table

if TYPE_CHECKING:
    from consecution.journal.book import Book, Page
    from consecution.journal.shelf import Shelf

_SEQ_BITS = 44


@dataclass(frozen=True, slots=True)
class Totals:
    """Row 0 of the facts; the `base_` fields are as of the beginning of the pass."""

    format: int
    pipeline: str
    is_accumulating: bool
    next_dead_id: int = 1
    replayed: int = 0
    dropped: int = 0
    state_lost: tuple[str, ...] = ()
    base_next_dead_id: int = 1
    base_replayed: int = 0
    base_dropped: int = 0
    base_state_lost: tuple[str, ...] = ()


class Rows:
    """Makes and reads the rows of one shelf.

    Args:
        shelf: It packs and unpacks what a row keeps; nothing is written to it here.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def totals(self, totals: Totals) -> Row:
        """Give the row of the header and totals."""
        return Row(Table.FACTS, 0, self._shelf.encode(list(astuple(totals))))

    def book(self, book: Book, page: Page, base: Page) -> Row:
        """Give the row of a producer, with the pages that it is to have."""
        return Row(Table.FACTS, book.number, self._shelf.encode(book.plain(page, base)))

    def held(self, number: int, seq: int, held: Held) -> Row:
        """Give the row of what is held against an unfinished item of the producer of this number."""
        return Row(
            Table.ATTEMPTS, place(number, seq), self._shelf.encode([held.attempts, held.is_suspect, held.crashes])
        )

    def held_of(self, row: Row) -> Held:
        """Give what `held` wrote."""
        return Held(*self._shelf.decode(row.body))

    def dead(self, dead: StoredDeadLetter) -> Row:
        """Give the row of a dead letter; an item that can't be packed is kept as its repr alone."""
        body = None
        if dead.has_item:
            try:
                body = self._shelf.encode_items([dead.item])
            except CodecError:  # it can't be packed: its repr is kept, and `has_item` says so
                body = None
        replayed_as = None if dead.replayed_as is None else list(dead.replayed_as)
        plain = [
            dead.producer,
            dead.seq,
            dead.attempts,
            None if dead.cause is None else list(astuple(dead.cause)),
            body,
            dead.item_repr,
            dead.at,
            dead.is_crash,
            dead.replay_of,
            replayed_as,
            dead.is_dropped,
        ]
        return Row(Table.DEAD, dead.id, self._shelf.encode(plain))

    def dead_of(self, row: Row) -> StoredDeadLetter:
        """Give the dead letter that `dead` wrote."""
        producer, seq, attempts, cause, body, text, at, crash, replay_of, replayed_as, dropped = self._shelf.decode(
            row.body
        )
        return StoredDeadLetter(
            id=row.id,
            producer=producer,
            seq=seq,
            attempts=attempts,
            cause=None if cause is None else Cause(*cause),
            item=None if body is None else self._shelf.decode_items(body)[0],
            item_repr=text,
            has_item=body is not None,
            at=at,
            is_crash=crash,
            replay_of=replay_of,
            replayed_as=None if replayed_as is None else tuple(replayed_as),
            is_dropped=dropped,
        )


def place(number: int, seq: int) -> int:
    """Give a row's id: rows of one producer lie together, in the order of their seqs."""
    return number << _SEQ_BITS | seq


def unplace(id_: int) -> tuple[int, int]:
    """Give the producer's number and the seq that `place` made an id of."""
    return id_ >> _SEQ_BITS, id_ & (1 << _SEQ_BITS) - 1


def key_id(number: int, key: str) -> int:
    """Give the id of a key's row: 63 bits, so two of ten million live keys meet once in 180,000 such journals."""
    return int.from_bytes(blake2b(f"{number} {key}".encode(errors="surrogatepass"), digest_size=8).digest(), "big") >> 1
