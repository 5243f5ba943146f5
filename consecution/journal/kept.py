"""The journal's logic, once for every shelf.

Rules: a call first works out its transaction from what is known in memory, gives it to the shelf, and only then changes
what is known: after JournalFull everything is as before the call, so that it can be made again (rule 3 of `base`).
"""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from consecution.errors import CodecError, JournalError, short_repr
from consecution.guarantee.messages import Cause
from consecution.journal.base import (
    FORMAT,
    REPLAY_KIND,
    Counts,
    Header,
    Journal,
    Outcome,
    ProducerHeader,
    ProducerRound,
    Restored,
    Round,
    Stand,
    StoredDeadLetter,
)
from consecution.journal.book import Book, Held, Page, book_of, is_crash, new_book
from consecution.journal.shelf import Row, Shelf, Table, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consecution.guarantee.changes import DeadLetter

RECEIPTS_KEEP_S = 24 * 3600.0
PURGE_INTERVAL_S = 60.0
PURGED_AT_ONCE_MAX = 1000
_SEQ_BITS = 44


@dataclass(frozen=True, slots=True)
class _Totals:
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
        self._totals = _Totals(FORMAT, "", is_accumulating=False)
        self._dead_ids: dict[tuple[int, int], int] = {}  # (producer's number, seq) to id
        self._standing: set[int] = set()
        self._replays: dict[tuple[int, int], int] = {}  # (producer's number, seq) to the dead letter that it replays
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
    def first_dead_id_of_pass(self) -> int:
        """Dead letters from this number on are of the pass that runs, or was cut off: `start_over` voids them."""
        return self._totals.base_next_dead_id

    def producers(self) -> list[ProducerHeader]:
        """Give the producers that the journal knows."""
        return [ProducerHeader(book.name, book.kind, book.source, book.is_endless) for book in self._books.values()]

    def begin(self, header: Header, producers: Sequence[ProducerHeader]) -> dict[str, Restored]:
        """See `Journal.begin`."""
        if self._shelf.is_new:
            self._totals = _Totals(FORMAT, header.pipeline, header.is_accumulating)
        else:
            self.load()
            self._check_same(header, producers)
        transaction = Transaction()
        changed = self._enrol(header, producers)
        totals = replace(self._totals, is_accumulating=header.is_accumulating)
        for book in changed:
            transaction.puts.append(self._book_row(book, book.page, book.base))
        if self._shelf.is_new or totals != self._totals:
            transaction.puts.append(self._totals_row(totals))
        done = [] if header.is_accumulating else self._done_rows()
        transaction.drops += [(Table.ENTRIES, _place(book.number, first)) for book, first in done]
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
                transaction.puts.append(self._book_row(book, page, book.base))
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
        if facts is None:
            message = f"journal {self._shelf.where} holds no header; restore it from a copy, or move it aside (--fresh)"
            raise JournalError(message)
        plain = self._shelf.decode(facts.body)
        if plain[0] != FORMAT:
            raise JournalError(self._refusal(f"it has format {plain[0]}, this version writes {FORMAT}"))
        self._totals = _Totals(*plain)
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
        self._load_dead()

    def _load_rows(self, numbers: dict[int, Book]) -> None:
        for id_, count in self._shelf.batches():
            number, first = _unplace(id_)
            numbers[number].add_row(first, count)
        for book in numbers.values():
            book.page = replace(book.page, next_seq=max(book.page.next_seq, book.entries_end))
        for row in self._shelf.scan(Table.ATTEMPTS):
            number, seq = _unplace(row.id)
            numbers[number].attempts[seq] = Held(*self._shelf.decode(row.body))

    def _load_dead(self) -> None:
        self._dead_ids, self._standing, self._replays = {}, set(), {}
        for row in self._shelf.scan(Table.DEAD):
            dead = self._dead_of(row)
            self._note_dead(dead)

    def _note_dead(self, dead: StoredDeadLetter) -> None:
        self._dead_ids[self._books[dead.producer].number, dead.seq] = dead.id
        if dead.is_standing:
            self._standing.add(dead.id)
        else:
            self._standing.discard(dead.id)
        if dead.replayed_as is not None:
            producer, seq = dead.replayed_as
            self._replays[self._books[producer].number, seq] = dead.id

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
            dead=frozenset(seq for number, seq in self._dead_ids if number == book.number and seq >= page.mark),
        )

    def finish(self) -> bool:
        """See `Journal.finish`."""
        books = self._books.values()
        if not all(book.page.is_done for book in books):
            return False
        if not self._standing and not any(book.is_endless for book in books):
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
        puts = [self._totals_row(released), *(self._book_row(book, book.page, book.page) for book in books)]
        drops = [(Table.ENTRIES, _place(book.number, first)) for book, first in done]
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
        place = _place(book.number, first_seq)
        puts = [Row(Table.ENTRIES, place, self._shelf.encode_items(items), items=len(items))]
        for seq, key in enumerate(keys or (), first_seq):
            if key is not None:
                body = self._shelf.encode([key, book.number, seq])
                puts.append(Row(Table.KEYS, _key_id(book.number, key), body, int(self._now())))
        replaced = []
        for seq, dead_id in enumerate(replay_of or (), first_seq):
            dead = replace(self._known_dead(dead_id), replayed_as=(producer, seq))
            replaced.append(dead)
            puts.append(self._dead_row(dead))
        page = book.page
        if position is not None:
            page = replace(page, position=position)
            puts.append(self._book_row(book, page, book.base))
        transaction = Transaction(puts)
        self._shelf.make_room(transaction)
        self._shelf.apply(transaction, sync=sync)
        book.page = page
        book.add_row(first_seq, len(items))
        if book.entries_end > book.page.next_seq:
            book.page = replace(book.page, next_seq=book.entries_end)
        for dead in replaced:
            self._note_dead(dead)

    def read_entries(self, producer: str) -> Iterator[tuple[int, Any]]:
        """See `Journal.read_entries`."""
        book = self._books[producer]
        for first in list(book.firsts):
            count, unfinished = book.rows.get(first, (0, 0))
            row = self._shelf.get(Table.ENTRIES, _place(book.number, first)) if unfinished else None
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
        work = []
        for part in round_.producers:
            done = _Work(self, part, totals)
            totals = done.totals
            transaction.puts += done.puts
            transaction.drops += done.drops
            work.append(done)
        if totals != self._totals:
            transaction.puts.append(self._totals_row(totals))
        self._purge(transaction)
        self._shelf.apply(transaction, sync=sync)
        self._totals = totals
        for done in work:
            done.settle()

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
            dead = self._dead_of(row)
            if dead.is_crash:
                crashed[dead.producer].append(dead.seq)
            else:
                transaction.drops.append((Table.DEAD, row.id))
        totals = replace(
            totals, replayed=totals.base_replayed, dropped=totals.base_dropped, state_lost=totals.base_state_lost
        )
        transaction.puts.append(self._totals_row(totals))
        pages: dict[str, Page] = {}
        attempts: dict[str, dict[int, Held]] = {}
        for name, book in self._books.items():
            pages[name] = book.page_over(crashed[name])
            attempts[name] = {
                seq: replace(held, attempts=held.crashes) for seq, held in book.attempts.items() if held.is_suspect
            }
            transaction.puts.append(self._book_row(book, pages[name], book.base))
            for seq in book.attempts:
                transaction.drops.append((Table.ATTEMPTS, _place(book.number, seq)))
            transaction.puts += [self._held_row(book.number, seq, held) for seq, held in attempts[name].items()]
        self._shelf.apply(transaction, sync=True)
        self.load()
        return {name: self._restored(book) for name, book in self._books.items()}

    # -- dead letters and outcomes -------------------------------------------------------------------------------------

    def dead_letters(self, *, is_standing: bool = True, after_id: int = 0, limit: int = 1000) -> list[StoredDeadLetter]:
        """See `Journal.dead_letters`."""
        found: list[StoredDeadLetter] = []
        for row in self._shelf.scan(Table.DEAD, first=after_id + 1):
            if len(found) == limit:
                break
            if not is_standing or row.id in self._standing:
                found.append(self._dead_of(row))
        return found

    def dead_letter(self, dead_id: int) -> StoredDeadLetter | None:
        """See `Journal.dead_letter`."""
        row = self._shelf.get(Table.DEAD, dead_id)
        return None if row is None else self._dead_of(row)

    def drop_dead_letters(self, dead_ids: Sequence[int]) -> int:
        """See `Journal.drop_dead_letters`."""
        given_up = [
            replace(self._known_dead(dead_id), is_dropped=True)
            for dead_id in dict.fromkeys(dead_ids)
            if dead_id in self._standing
        ]
        if given_up:
            self._shelf.apply(Transaction([self._dead_row(dead) for dead in given_up]), sync=True)
        for dead in given_up:
            self._note_dead(dead)
        return len(given_up)

    def mark_replayed(self, dead_id: int, producer: str, seq: int) -> None:
        """See `Journal.mark_replayed`."""
        dead = replace(self._known_dead(dead_id), replayed_as=(producer, seq))
        self._shelf.apply(Transaction([self._dead_row(dead)]), sync=True)
        self._note_dead(dead)

    def outcome(self, producer: str, seq: int) -> Outcome | None:
        """See `Journal.outcome`."""
        book = self._books.get(producer)
        if book is None or not 0 <= seq < book.page.next_seq:
            return None
        dead_id = self._dead_ids.get((book.number, seq))
        if dead_id is not None:
            dead = self._known_dead(dead_id)
            return Outcome(producer, seq, "failed", dead.attempts, dead.cause)
        if book.page.is_finished(seq):
            return Outcome(producer, seq, "completed")
        held = book.attempts.get(seq)
        return Outcome(producer, seq, "open", held.attempts if held else 0)

    def find_key(self, producer: str, key: str) -> Outcome | None:
        """See `Journal.find_key`."""
        book = self._books[producer]
        row = self._shelf.get(Table.KEYS, _key_id(book.number, key))
        if row is None:
            return None
        known, number, seq = self._shelf.decode(row.body)
        return self.outcome(producer, seq) if (known, number) == (key, book.number) else None

    def _known_dead(self, dead_id: int) -> StoredDeadLetter:
        dead = self.dead_letter(dead_id)
        if dead is None:
            message = f"journal {self._shelf.where} has no dead letter {dead_id}; `consecution failed list` shows them"
            raise JournalError(message)
        return dead

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _totals_row(self, totals: _Totals) -> Row:
        return Row(Table.FACTS, 0, self._shelf.encode(list(astuple(totals))))

    def _book_row(self, book: Book, page: Page, base: Page) -> Row:
        return Row(Table.FACTS, book.number, self._shelf.encode(book.plain(page, base)))

    def _held_row(self, number: int, seq: int, held: Held) -> Row:
        return Row(
            Table.ATTEMPTS, _place(number, seq), self._shelf.encode([held.attempts, held.is_suspect, held.crashes])
        )

    def _dead_row(self, dead: StoredDeadLetter) -> Row:
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

    def _dead_of(self, row: Row) -> StoredDeadLetter:
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


class _Work:
    """One producer's part of a commit: its rows, and how to make it known once they are kept."""

    def __init__(self, journal: KeptJournal, part: ProducerRound, totals: _Totals) -> None:
        self._journal = journal
        self._book = book = journal._books[part.producer]
        changes = part.changes
        spans = [(done.start, done.stop) for done in changes.completed]
        spans += [(dead.seq, dead.seq + 1) for dead in changes.dead]
        self._page = page = Page(
            next_seq=max(part.next_seq, book.page.next_seq),
            mark=part.mark,
            ranges=part.ranges,
            position=part.position,
            check=part.check,
            completed=book.page.completed + sum(map(len, changes.completed)),
            failed=book.page.failed + len(changes.dead),
        )
        assert page.is_even, f"each finished seq of {book.name!r} has one outcome: {page}, {changes}"
        self.puts = [journal._book_row(book, page, book.base)]
        self.drops: list[tuple[Table, int]] = []
        self._dead = self._bury(changes.dead, totals.next_dead_id)
        self._add_attempts(part, spans)
        self._rows = book.rows_after(spans)
        if not totals.is_accumulating:
            self.drops += [
                (Table.ENTRIES, _place(book.number, first)) for first, left in self._rows.items() if not left
            ]
        self._drops_rows = not totals.is_accumulating
        self.totals = totals
        if changes.dead or changes.replayed or changes.dropped or changes.state_lost:
            self.totals = replace(
                totals,
                next_dead_id=totals.next_dead_id + len(changes.dead),
                replayed=totals.replayed + changes.replayed,
                dropped=totals.dropped + changes.dropped,
                state_lost=tuple(sorted({*totals.state_lost, *changes.state_lost})),
            )

    def _bury(self, letters: list[DeadLetter], first_id: int) -> list[StoredDeadLetter]:
        """Add a row for each dead letter; only a cause without a traceback can be a crash (R15)."""
        book, journal = self._book, self._journal
        dead = []
        for dead_id, letter in enumerate(letters, first_id):
            stored = StoredDeadLetter(
                id=dead_id,
                producer=book.name,
                seq=letter.seq,
                attempts=letter.attempts,
                cause=letter.cause,
                item=letter.item,
                item_repr=short_repr(letter.item),
                has_item=True,
                at=journal._now(),
                is_crash=letter.cause is not None and not letter.cause.traceback,
                replay_of=journal._replays.get((book.number, letter.seq)),
            )
            dead.append(stored)
            self.puts.append(journal._dead_row(stored))
        return dead

    def _add_attempts(self, part: ProducerRound, spans: list[tuple[int, int]]) -> None:
        book, number = self._book, self._book.number
        self._held: dict[int, Held] = {}
        for attempt in part.changes.attempts:
            before = (
                self._held.get(attempt.seq) or book.attempts.get(attempt.seq) or Held(0, is_suspect=False, crashes=0)
            )
            crashes = before.crashes
            if is_crash(attempt.cause, is_suspect=attempt.suspect):
                crashes += max(0, attempt.attempts - before.attempts)
            self._held[attempt.seq] = Held(attempt.attempts, attempt.suspect or before.is_suspect, crashes)
        known = book.attempts.keys() | self._held.keys()
        self._finished = [seq for seq in known if any(start <= seq < stop for start, stop in spans)] if known else []
        self.drops += [(Table.ATTEMPTS, _place(number, seq)) for seq in self._finished if seq in book.attempts]
        for seq in self._finished:
            self._held.pop(seq, None)
        self.puts += [self._journal._held_row(number, seq, held) for seq, held in self._held.items()]

    def settle(self) -> None:
        """Make it known: the shelf has it."""
        book = self._book
        book.page = self._page
        for dead in self._dead:
            self._journal._note_dead(dead)
        for first, left in self._rows.items():
            if left or not self._drops_rows:
                book.rows[first][1] = left
            else:
                book.drop_row(first)
        for seq in self._finished:
            book.attempts.pop(seq, None)
        book.attempts.update(self._held)


def _place(number: int, seq: int) -> int:
    """Give a row's id: rows of one producer lie together, in the order of their seqs."""
    return number << _SEQ_BITS | seq


def _unplace(id_: int) -> tuple[int, int]:
    return id_ >> _SEQ_BITS, id_ & (1 << _SEQ_BITS) - 1


def _key_id(number: int, key: str) -> int:
    """Give the id of a key's row: 63 bits, so two of ten million live keys meet once in 180,000 such journals."""
    return int.from_bytes(blake2b(f"{number} {key}".encode(errors="surrogatepass"), digest_size=8).digest(), "big") >> 1


def _listed(kinds: dict[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items())) or "none"
