"""The journal's logic, once for every shelf.

Rules: a call first works out its transaction from what is known in memory, gives it to the shelf, and only then changes
what is known: after JournalFull everything is as before the call, so that it can be made again (rule 3 of `base`).
What a round changes of one producer is worked out in `part`, how anything is written in `rows`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from consecution.errors import JournalError
from consecution.journal.base import (
    FORMAT,
    REPLAY_KIND,
    Counts,
    Header,
    Journal,
    Outcome,
    ProducerHeader,
    Restored,
    Round,
    Stand,
    StoredDeadLetter,
)
from consecution.journal.book import Book, Held, Page, book_of, new_book
from consecution.journal.dead_letters import DeadLetters
from consecution.journal.part import Part
from consecution.journal.rows import Rows, Totals, key_id, place, unplace
from consecution.journal.shelf import Row, Shelf, Table, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

RECEIPTS_KEEP_S = 24 * 3600.0
PURGE_INTERVAL_S = 60.0
PURGED_AT_ONCE_MAX = 1000


class KeptJournal(Journal):
    """A journal on a shelf.

    Args:
        shelf: Where rows are kept; closed with the journal.
        receipts_keep_s: How long idempotency keys are known after they were handed over.
        now: Gives seconds since the epoch.
    """

    def __init__(
        self, shelf: Shelf, *, receipts_keep_s: float = RECEIPTS_KEEP_S, now: Callable[[], float] = time.time
    ) -> None:
        self._shelf = shelf
        self._receipts_keep_s = receipts_keep_s
        self._now = now
        self._books: dict[str, Book] = {}
        self._totals = Totals(FORMAT, "", is_accumulating=False)
        self._row = Rows(shelf)
        self._dead = DeadLetters(shelf, self._row)
        self._purge_at = 0.0

    # -- beginning and end ---------------------------------------------------------------------------------------------

    @property
    def pipeline(self) -> str:
        """Name of the pipeline whose journal it is."""
        return self._totals.pipeline

    @property
    def is_accumulating(self) -> bool:
        """Whether a pass that was cut off starts over (R17)."""
        return self._totals.is_accumulating

    @property
    def items_unfinished(self) -> int:
        """How many items a restart begins with: those without an outcome, or all of a pass that starts over (R17)."""
        if self.is_accumulating:
            return sum(book.page.next_seq - book.base.next_seq for book in self._books.values())
        counts = self.counts()
        return counts.introduced - counts.completed - counts.failed

    @property
    def first_dead_id_of_pass(self) -> int:
        """Dead letters from this number on are of the pass that runs, or was cut off: `start_over` voids them."""
        return self._totals.base_next_dead_id

    def producers(self) -> list[ProducerHeader]:
        """Give the producers that the journal knows."""
        return [ProducerHeader(book.name, book.kind, book.source, book.is_endless) for book in self._books.values()]

    def begin(self, header: Header, producers: Sequence[ProducerHeader]) -> dict[str, Restored]:
        """See `Journal.begin`."""
        if self._shelf.is_new:
            self._totals = Totals(FORMAT, header.pipeline, header.is_accumulating)
        else:
            self.load()
            self._check_same(header, producers)
        transaction = Transaction()
        changed = self._enrol(header, producers)
        totals = replace(self._totals, is_accumulating=header.is_accumulating)
        for book in changed:
            transaction.puts.append(self._row.book(book, book.page, book.base))
        if self._shelf.is_new or totals != self._totals:
            transaction.puts.append(self._row.totals(totals))
        done = [] if header.is_accumulating else self._done_rows()
        transaction.drops += [(Table.ENTRIES, place(book.number, first)) for book, first in done]
        if transaction.puts or transaction.drops:
            self._shelf.apply(transaction, sync=True)
        self._shelf.is_new = False
        self._totals = totals
        self._books.update({book.name: book for book in changed})
        for book, first in done:
            book.drop_row(first)
        return {producer.name: self._restored(self._books[producer.name]) for producer in producers}

    def adopt(self, stands: Mapping[str, Stand]) -> dict[str, Restored]:
        """See `Journal.adopt`."""
        transaction = Transaction()
        pages: dict[str, Page] = {}
        for name, stand in stands.items():
            book = self._books[name]
            if book.page == Page() and not book.rows:
                page = Page(stand.next_seq, stand.mark, stand.ranges, stand.position, stand.check)
                failed = min(stand.failed, page.finished)
                pages[name] = page = replace(page, completed=page.finished - failed, failed=failed)
                transaction.puts.append(self._row.book(book, page, book.base))
        if pages:
            self._shelf.apply(transaction, sync=True)
        for name, page in pages.items():
            self._books[name].page = page
        return {name: self._restored(self._books[name]) for name in stands}

    def _enrol(self, header: Header, producers: Sequence[ProducerHeader]) -> list[Book]:
        """Give the books that are new, or that begin the pass anew because their finished entries are gone."""
        changed = []
        number = max((book.number for book in self._books.values()), default=0)
        for producer in producers:
            book = self._books.get(producer.name)
            if book is None:
                number += 1
                changed.append(new_book(number, producer))
            elif header.is_accumulating and not self._totals.is_accumulating and book.source != "re-readable":
                changed.append(replace(book, base=book.page))
        return changed

    def _done_rows(self) -> list[tuple[Book, int]]:
        return [(book, first) for book in self._books.values() for first, (_, left) in book.rows.items() if not left]

    def _check_same(self, header: Header, producers: Sequence[ProducerHeader]) -> None:
        known = {book.name: book.kind for book in self._books.values() if book.kind != REPLAY_KIND}
        asked = {producer.name: producer.kind for producer in producers if producer.kind != REPLAY_KIND}
        if self._totals.pipeline != header.pipeline:
            difference = f"it belongs to pipeline {self._totals.pipeline!r}, this is {header.pipeline!r}"
        elif known != asked:
            difference = f"its producers are {_listed(known)}, this flow has {_listed(asked)}"
        else:
            return
        raise JournalError(self._refusal(difference))

    def _refusal(self, difference: str) -> str:
        return (
            f"journal {self._shelf.where} is another one's: {difference}; start with --fresh to move it aside, "
            "or with --journal DIR to keep both"
        )

    def load(self) -> None:
        """Read what the shelf holds, without asking whose it is; JournalError when it doesn't add up."""
        facts = self._shelf.get(Table.FACTS, 0)
        if facts is None and self._shelf.is_new:  # its maker died before the first `begin`: it holds nothing yet
            return
        if facts is None:
            message = f"journal {self._shelf.where} holds no header; restore it from a copy, or move it aside (--fresh)"
            raise JournalError(message)
        plain = self._shelf.decode(facts.body)
        if plain[0] != FORMAT:
            raise JournalError(self._refusal(f"it has format {plain[0]}, this version writes {FORMAT}"))
        self._totals = Totals(*plain)
        self._books = {}
        numbers: dict[int, Book] = {}
        for row in self._shelf.scan(Table.FACTS, first=1):
            book = numbers[row.id] = book_of(row.id, self._shelf.decode(row.body))
            self._books[book.name] = book
            if not (book.page.is_even and book.base.is_even):
                message = (
                    f"journal {self._shelf.where}: the counts of producer {book.name!r} don't add up ({book.page}); "
                    "restore it from a copy, or move it aside (--fresh)"
                )
                raise JournalError(message)
        self._load_rows(numbers)
        self._dead.load(self._books)

    def _load_rows(self, numbers: dict[int, Book]) -> None:
        for id_, count in self._shelf.batches():
            number, first = unplace(id_)
            numbers[number].add_row(first, count)
        for book in numbers.values():
            book.page = replace(book.page, next_seq=max(book.page.next_seq, book.entries_end))
        for row in self._shelf.scan(Table.ATTEMPTS):
            number, seq = unplace(row.id)
            numbers[number].attempts[seq] = self._row.held_of(row)

    def _restored(self, book: Book) -> Restored:
        page = book.page
        return Restored(
            next_seq=page.next_seq,
            mark=page.mark,
            ranges=page.ranges,
            position=page.position,
            check=page.check,
            attempts={seq: (held.attempts, held.is_suspect) for seq, held in sorted(book.attempts.items())},
            entries=book.unfinished_entries,
            dead=self._dead.seqs(book.name, page.mark),
        )

    def finish(self) -> bool:
        """See `Journal.finish`."""
        books = self._books.values()
        if not all(book.page.is_done for book in books):
            return False
        if not self._dead.any_stand and not any(book.is_endless for book in books):
            self._shelf.remove()
            return True
        totals = self._totals
        released = replace(
            totals,
            base_next_dead_id=totals.next_dead_id,
            base_replayed=totals.replayed,
            base_dropped=totals.dropped,
            base_state_lost=totals.state_lost,
        )
        done = self._done_rows()
        puts = [self._row.totals(released), *(self._row.book(book, book.page, book.page) for book in books)]
        drops = [(Table.ENTRIES, place(book.number, first)) for book, first in done]
        self._shelf.apply(Transaction(puts, drops), sync=True)
        self._totals = released
        for book in books:
            book.base = book.page
        for book, first in done:
            book.drop_row(first)
        return False

    def close(self) -> None:
        """See `Journal.close`."""
        self._shelf.close()

    # -- entries -------------------------------------------------------------------------------------------------------

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
        """See `Journal.append`."""
        book = self._books[producer]
        assert items, "an append holds at least one item"
        assert first_seq >= book.entries_end, "entries are appended in the order of their seqs"
        puts = [Row(Table.ENTRIES, place(book.number, first_seq), self._shelf.encode_items(items), items=len(items))]
        for seq, key in enumerate(keys or (), first_seq):
            if key is not None:
                body = self._shelf.encode([key, book.number, seq])
                puts.append(Row(Table.KEYS, key_id(book.number, key), body, int(self._now())))
        replaced = []
        for seq, dead_id in enumerate(replay_of or (), first_seq):
            dead = replace(self._dead.known(dead_id), replayed_as=(producer, seq))
            replaced.append(dead)
            puts.append(self._row.dead(dead))
        page = book.page
        if position is not None:
            page = replace(page, position=position)
            puts.append(self._row.book(book, page, book.base))
        transaction = Transaction(puts)
        self._shelf.make_room(transaction)
        self._shelf.apply(transaction, sync=sync)
        book.page = page
        book.add_row(first_seq, len(items))
        if book.entries_end > book.page.next_seq:
            book.page = replace(book.page, next_seq=book.entries_end)
        for dead in replaced:
            self._dead.note(dead)

    def read_entries(self, producer: str) -> Iterator[tuple[int, Any]]:
        """See `Journal.read_entries`."""
        book = self._books[producer]
        for first in list(book.firsts):
            count, unfinished = book.rows.get(first, (0, 0))
            row = self._shelf.get(Table.ENTRIES, place(book.number, first)) if unfinished else None
            if row is None:
                continue
            items = self._shelf.decode_items(row.body)
            assert len(items) == count, "a row's count is under its checksum"
            for seq, item in enumerate(items, first):
                if not book.page.is_finished(seq):
                    yield seq, item

    # -- rounds --------------------------------------------------------------------------------------------------------

    def commit(self, round_: Round, *, sync: bool = False) -> None:
        """See `Journal.commit`."""
        transaction = Transaction()
        totals = self._totals
        at = self._now()
        parts = []
        for one in round_.producers:
            book = self._books[one.producer]
            part = Part(one, book, totals, rows=self._row, dead_letters=self._dead, at=at)
            totals = part.totals
            transaction.puts += part.puts
            transaction.drops += part.drops
            parts.append(part)
        if totals != self._totals:
            transaction.puts.append(self._row.totals(totals))
        self._purge(transaction)
        self._shelf.apply(transaction, sync=sync)
        self._totals = totals
        for part in parts:
            part.settle()

    def _purge(self, transaction: Transaction) -> None:
        now = self._now()
        if now < self._purge_at:
            return
        for id_ in self._shelf.expired(Table.KEYS, int(now - self._receipts_keep_s), PURGED_AT_ONCE_MAX):
            row = self._shelf.get(Table.KEYS, id_)
            if row is None:
                continue
            _, number, seq = self._shelf.decode(row.body)
            if any(book.number == number and not book.page.is_finished(seq) for book in self._books.values()):
                transaction.puts.append(row._replace(at=int(now)))  # it has no outcome yet: it must stay known
            else:
                transaction.drops.append((Table.KEYS, id_))
        self._purge_at = now + PURGE_INTERVAL_S

    def counts(self) -> Counts:
        """See `Journal.counts`."""
        pages = [book.page for book in self._books.values()]
        return Counts(
            introduced=sum(page.next_seq for page in pages),
            completed=sum(page.completed for page in pages),
            failed=sum(page.failed for page in pages),
            replayed=self._totals.replayed,
            dropped=self._totals.dropped,
            state_lost=frozenset(self._totals.state_lost),
        )

    def start_over(self) -> dict[str, Restored]:
        """See `Journal.start_over`."""
        totals = self._totals
        transaction = Transaction()
        crashed: dict[str, list[int]] = {name: [] for name in self._books}
        for row in self._shelf.scan(Table.DEAD, first=totals.base_next_dead_id):
            dead = self._row.dead_of(row)
            if dead.is_crash:
                crashed[dead.producer].append(dead.seq)
            else:
                transaction.drops.append((Table.DEAD, row.id))
        totals = replace(
            totals, replayed=totals.base_replayed, dropped=totals.base_dropped, state_lost=totals.base_state_lost
        )
        transaction.puts.append(self._row.totals(totals))
        pages: dict[str, Page] = {}
        attempts: dict[str, dict[int, Held]] = {}
        for name, book in self._books.items():
            pages[name] = book.page_over(crashed[name])
            attempts[name] = {
                seq: replace(held, attempts=held.crashes) for seq, held in book.attempts.items() if held.is_suspect
            }
            transaction.puts.append(self._row.book(book, pages[name], book.base))
            for seq in book.attempts:
                transaction.drops.append((Table.ATTEMPTS, place(book.number, seq)))
            transaction.puts += [self._row.held(book.number, seq, held) for seq, held in attempts[name].items()]
        self._shelf.apply(transaction, sync=True)
        self.load()
        return {name: self._restored(book) for name, book in self._books.items()}

    # -- dead letters and outcomes -------------------------------------------------------------------------------------

    def dead_letters(self, *, is_standing: bool = True, after_id: int = 0, limit: int = 1000) -> list[StoredDeadLetter]:
        """See `Journal.dead_letters`."""
        return list(islice(self._dead.scan(after_id + 1, is_standing=is_standing), limit))

    def dead_letter(self, dead_id: int) -> StoredDeadLetter | None:
        """See `Journal.dead_letter`."""
        return self._dead.get(dead_id)

    def drop_dead_letters(self, dead_ids: Sequence[int]) -> int:
        """See `Journal.drop_dead_letters`."""
        given_up = [
            replace(self._dead.known(dead_id), is_dropped=True)
            for dead_id in dict.fromkeys(dead_ids)
            if self._dead.is_standing(dead_id)
        ]
        if given_up:
            self._shelf.apply(Transaction([self._row.dead(dead) for dead in given_up]), sync=True)
        for dead in given_up:
            self._dead.note(dead)
        return len(given_up)

    def mark_replayed(self, dead_id: int, producer: str, seq: int) -> None:
        """See `Journal.mark_replayed`."""
        dead = replace(self._dead.known(dead_id), replayed_as=(producer, seq))
        self._shelf.apply(Transaction([self._row.dead(dead)]), sync=True)
        self._dead.note(dead)

    def outcome(self, producer: str, seq: int) -> Outcome | None:
        """See `Journal.outcome`."""
        book = self._books.get(producer)
        if book is None or not 0 <= seq < book.page.next_seq:
            return None
        dead = self._dead.of_item(producer, seq)
        if dead is not None:
            return Outcome(producer, seq, "failed", dead.attempts, dead.cause)
        if book.page.is_finished(seq):
            return Outcome(producer, seq, "completed")
        held = book.attempts.get(seq)
        return Outcome(producer, seq, "open", held.attempts if held else 0)

    def find_key(self, producer: str, key: str) -> Outcome | None:
        """See `Journal.find_key`."""
        book = self._books[producer]
        row = self._shelf.get(Table.KEYS, key_id(book.number, key))
        if row is None:
            return None
        known, number, seq = self._shelf.decode(row.body)
        return self.outcome(producer, seq) if (known, number) == (key, book.number) else None


def _listed(kinds: dict[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items())) or "none"
