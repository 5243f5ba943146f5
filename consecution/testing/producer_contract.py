"""The contract of producers as checks, for our producers and for yours.

Rules of this module: each check opens and closes the producer itself, reads in sizes that vary, and raises an
AssertionError that says which promise is broken. ``make`` gives a new producer of the same source at each call, as a
restarted process would.

>>> from consecution.producers import SequenceProducer
>>> check_producer(lambda: SequenceProducer(["a", "b", "c"]), ["a", "b", "c"])
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

from consecution.errors import SourceError
from consecution.producers.base import Producer, SourceClass

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (1, 3, 2, 7, 100)
DEADLINE_S = 10.0
EARLY_S = 0.05


@dataclass(slots=True)
class Drained:
    """All that one pass over a producer gave.

    Attributes:
        places: The start position of each item and, last, that of the end.
        checks: What ``check`` gave for each of ``places``.
    """

    items: list[Any] = field(default_factory=list)
    places: list[object] = field(default_factory=list)
    checks: list[object] = field(default_factory=list)
    ended: int = 0


def drain(
    producer: Producer,
    position: object = None,
    check: object = None,
    *,
    items_max: int | None = None,
    sizes: tuple[int, ...] = SIZES,
) -> Drained:
    """Open, read to the end (or at least ``items_max`` items), and close.

    Raises:
        AssertionError: A read broke the contract, or 10 s passed.
    """
    drained = Drained()
    producer.open(position, check)
    try:
        _read_all(producer, drained, items_max, sizes)
    finally:
        producer.close()
    return drained


def check_producer(make: Callable[[], Producer], expected: list[Any]) -> None:
    """Check all that holds for every producer of a source that ends.

    Args:
        make: Gives a new producer of the same source.
        expected: All items of the source.
    """
    check_items(make, expected)
    producer = make()
    if producer.source is SourceClass.RE_READABLE:
        check_positions(make, expected)
        check_reopen(make, expected)


def check_items(make: Callable[[], Producer], expected: list[Any]) -> None:
    """Check that all items come, in order, and that the end is told once."""
    drained = drain(make())
    assert drained.items == expected, f"gave {drained.items!r}, expected {expected!r}"
    assert drained.ended == 1, f"told its end {drained.ended} times, expected once"


def check_positions(make: Callable[[], Producer], expected: list[Any]) -> None:
    """Check that from each position, as the journal keeps it, exactly the rest comes."""
    for sizes in ((1,), SIZES, (1000,)):
        first = drain(make(), sizes=sizes)
        assert len(first.places) == len(expected) + 1, f"gave {len(first.places)} positions for {len(expected)} items"
        for place, (position, check) in enumerate(zip(first.places, first.checks, strict=True)):
            rest = drain(make(), journalled(position), journalled(check))
            assert rest.items == expected[place:], f"from item {place}: gave {rest.items!r}, not {expected[place:]!r}"
            assert rest.ended == 1, f"from item {place}: told its end {rest.ended} times, expected once"
            _check_second_journey(make, rest, expected, place)


def check_reopen(make: Callable[[], Producer], expected: list[Any]) -> None:
    """Check that one producer object can be opened again, from its start and from a position."""
    producer = make()
    for _ in range(2):
        assert drain(producer).items == expected, "a second open() did not begin anew"
    begun = drain(producer, items_max=1)
    rest = drain(producer, journalled(begun.places[-1]), journalled(begun.checks[-1]))
    assert begun.items + rest.items == expected, "an open() at a position in the same object gave other items"
    producer.close()


def check_replaced(make: Callable[[], Producer], replace: Callable[[], None], *, items_before: int) -> None:
    """Check that a source that was replaced below the mark is refused, and that nothing is skipped.

    Args:
        make: Gives a new producer of the same source.
        replace: Replaces the source, or changes it below the mark.
        items_before: How many items lie below the mark; one more is read before the source is replaced.
    """
    begun = drain(make(), sizes=(1,), items_max=items_before + 1)
    replace()
    producer = make()
    try:
        rest = drain(producer, journalled(begun.places[items_before]), journalled(begun.checks[items_before]))
    except SourceError:
        return
    msg = f"the replaced source was read on: {rest.items!r}; expected a SourceError"
    raise AssertionError(msg)


def check_handed_over(make: Callable[[], Producer], send: Callable[[Producer, str], Callable[[], bool | None]]) -> None:
    """Check a producer whose senders hear of their items.

    Args:
        make: Gives a new, closed producer.
        send: Hands one text over to an open producer, without waiting for the answer. Gives what tells the answer: True
            when the sender has heard yes, False when it has heard no, None before; for a sender that asks again until
            it hears yes, None may stand for no.

    Raises:
        AssertionError: It says yes too early, or never, or to what was not taken; or gives what was not sent.

    >>> from consecution.producers import Pusher
    >>> class Told(Pusher):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.answers, self.next = {}, []
    ...
    ...     def read(self, items_max, wait_s):
    ...         read = super().read(items_max, wait_s)
    ...         self.next += read.items
    ...         return read
    ...
    ...     def acknowledge(self, first_seq, count):
    ...         self.answers.update((self.next.pop(0), True) for _ in range(count))
    ...
    ...     def fail(self, count, error):
    ...         self.answers.update((self.next.pop(0), False) for _ in range(count))
    >>> def send(producer, text):
    ...     producer.push(text)
    ...     return lambda: producer.answers.get(text)
    >>> check_handed_over(Told, send)
    """
    producer = make()
    assert producer.source is SourceClass.HANDED_OVER, f"its source is {producer.source}, expected HANDED_OVER"
    producer.open()
    try:
        answers = [send(producer, f"item {number}") for number in range(4)]
        assert all(map(callable, answers)), "send() gives a function that says whether the sender has heard yes"
        texts = _read_texts(producer, 4)
        expected = [f"item {number}" for number in range(4)]
        assert sorted(texts) == expected, f"gave {texts!r}, expected {expected!r}"
        heard = {text: answers[expected.index(text)] for text in texts}
        time.sleep(EARLY_S)
        assert not any(answer() for answer in answers), "a sender heard yes before the item was acknowledged"
        producer.acknowledge(7, 3)
        for text in texts[:3]:
            _until(lambda text=text: heard[text](), f"the sender of {text!r} hears yes")  # type: ignore[misc]
        assert not heard[texts[3]](), f"the sender of {texts[3]!r} heard yes, though three items were acknowledged"
        producer.fail(1, SourceError("the disk is full"))
        producer.admit(is_open=False)
        late = send(producer, "late")
        producer.close()
        time.sleep(EARLY_S)
        assert not heard[texts[3]](), f"the sender of {texts[3]!r} heard yes, though the item could not be taken"
        assert not late(), "a sender heard yes for what was never read"
    finally:
        producer.close()


def _read_texts(producer: Producer, count: int) -> list[str]:
    texts: list[str] = []
    end = time.monotonic() + DEADLINE_S
    while len(texts) < count and time.monotonic() < end:
        read = producer.read(count - len(texts), 0.05)
        assert read.keys is None or len(read.keys) == len(read.items), "a key for each item, or none"
        assert not read.positions, "what is handed over has no positions"
        texts += read.items
    return texts


def _until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.002)


def journalled(value: object) -> object:
    """Give a position or check as it comes back from the journal.

    >>> journalled((1, 2))
    [1, 2]
    """
    return msgpack.unpackb(msgpack.packb(value, use_bin_type=True), raw=False)


def _check_second_journey(make: Callable[[], Producer], rest: Drained, expected: list[Any], place: int) -> None:
    """A position that was reached after a restart must be as good as one that was reached without."""
    middle = len(rest.items) // 2
    again = drain(make(), journalled(rest.places[middle]), journalled(rest.checks[middle]))
    assert again.items == expected[place + middle :], (
        f"restarted at item {place}, then at {place + middle}: other items"
    )


def _read_all(producer: Producer, drained: Drained, items_max: int | None, sizes: tuple[int, ...]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    is_re_readable = producer.source is SourceClass.RE_READABLE
    following: object = None
    for size in cycle(sizes):
        assert time.monotonic() < deadline, f"no end within {DEADLINE_S} s; read so far: {len(drained.items)} items"
        read = producer.read(size, 0.05)
        assert len(read.items) <= size, f"read({size}) gave {len(read.items)} items"
        assert len(read.positions) == (len(read.items) if is_re_readable else 0), "a position for each item, or none"
        if is_re_readable:
            assert read.next_position is not None, "a re-readable source always knows where the next read goes on"
            following = read.next_position
        drained.items += read.items
        drained.places += read.positions
        drained.checks += [producer.check(position) for position in read.positions]
        drained.ended += read.ended
        if read.ended or (items_max is not None and len(drained.items) >= items_max):
            break
    if is_re_readable:
        drained.places.append(following)
        drained.checks.append(producer.check(following))
    if drained.ended:
        for _ in range(2):
            read = producer.read(10, 0.0)
            assert not read.items, f"gave {read.items!r} after its end"
            drained.ended += read.ended
