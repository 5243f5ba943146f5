"""When a batch of a producer has ended (R21)."""

from __future__ import annotations

from consecution.guarantee.batch_ends import BatchBook, BatchEnd
from consecution.guarantee.changes import Changes, DeadLetter


def test_a_batch_ends_with_its_last_outcome_whatever_it_is() -> None:
    book = BatchBook("orders/rows")
    book.open(range(3))
    book.open((7, 9))
    assert len(book) == 5
    assert book.close(Changes(completed=[range(2)])) == []
    dead = [DeadLetter(2, 4, None, "x"), DeadLetter(9, 4, None, "y")]
    assert book.close(Changes(dead=dead)) == [BatchEnd("orders/rows/0", 2, 1)]
    assert book.close(Changes(completed=[range(7, 8)])) == [BatchEnd("orders/rows/7", 1, 1)]
    assert len(book) == 0


def test_an_empty_batch_has_no_end_and_an_outcome_of_no_batch_ends_none() -> None:
    """After a restart outcomes may come of items whose batch ended before it."""
    book = BatchBook("orders/rows")
    book.open(())
    assert book.close(Changes(completed=[range(5)])) == []
    assert len(book) == 0
