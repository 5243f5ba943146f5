"""Each kind of producer keeps the contract of `consecution.testing.producer_contract`."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from consecution.producers import (
    GeneratorProducer,
    IterableProducer,
    PipeProducer,
    Producer,
    Pusher,
    SequenceProducer,
    as_producer,
)
from consecution.testing.producer_contract import check_positions, check_producer, check_replaced, drain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

ROWS: dict[str, Any] = {
    "empty list": [],
    "list of dicts": [{"n": n, "tags": ["x"]} for n in range(25)],
    "tuple": ("a", None, 3.5, b"b"),
    "range": range(5, 40, 3),
    "deque": deque("abcdefgh"),
    "items that can't be packed": [object(), object(), {"f": len}],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_sequences(rows: Any) -> None:
    check_producer(lambda: SequenceProducer(rows), list(rows))


FILES = {
    "empty": (b"", []),
    "one line": (b"one\n", ["one"]),
    "no newline at the end": (b"one\ntwo", ["one", "two"]),
    "only a newline": (b"\n", [""]),
    "blank lines": (b"\n\na\n\n", ["", "", "a", ""]),
    "crlf is kept": (b"a\r\nb\r\n", ["a\r", "b\r"]),
    "nul bytes": (b"a\0b\n\0\n", ["a\0b", "\0"]),
    "other line ends are no line ends": ("a\x0b\x0c\x1c\u2028b\rc\n".encode(), ["a\x0b\x0c\x1c\u2028b\rc"]),
    "not ascii": ("é\n日本\n🎉".encode(), ["é", "日本", "🎉"]),
    "many": (b"".join(b"line %d\n" % n for n in range(60)), [f"line {n}" for n in range(60)]),
}


@pytest.mark.parametrize(("data", "expected"), FILES.values(), ids=FILES)
def test_files(tmp_path: Path, data: bytes, expected: list[str]) -> None:
    path = tmp_path / "lines"
    path.write_bytes(data)
    check_producer(lambda: PipeProducer(path), expected)


@pytest.mark.parametrize(("data", "expected"), FILES.values(), ids=FILES)
def test_pipes(data: bytes, expected: list[str]) -> None:
    ends: list[int] = []

    def make() -> PipeProducer:
        read_end, write_end = os.pipe()
        ends.append(read_end)
        os.write(write_end, data)
        os.close(write_end)
        return PipeProducer(read_end)

    check_producer(make, expected)
    for end in ends:
        os.close(end)


def test_file_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"\xff\n\xfe\r\n")
    check_producer(lambda: PipeProducer(path, encoding=None), [b"\xff", b"\xfe\r"])


def test_file_with_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    check_producer(lambda: PipeProducer(path, encoding="utf-8-sig"), ["a", "\ufeffb"])


def test_generators() -> None:
    def squares(position: int) -> Iterator[int]:
        for number in range(position, 30):
            yield number * number

    check_producer(lambda: GeneratorProducer(squares), [number * number for number in range(30)])
    check_producer(lambda: GeneratorProducer(lambda position: []), [])


def test_generators_of_dicts_that_a_node_edits() -> None:
    def rows(position: int) -> Iterator[dict[str, int]]:
        for number in range(position, 10):
            yield {"n": number}

    begun = drain(GeneratorProducer(rows), sizes=(4,), items_max=8)
    for item in begun.items:
        item.clear()
    rest = drain(GeneratorProducer(rows), 6, begun.checks[6])
    assert rest.items == [{"n": number} for number in range(6, 10)]


def test_async_generators() -> None:
    async def squares(position: int) -> AsyncIterator[int]:
        for number in range(position, 12):
            yield number * number

    check_producer(lambda: GeneratorProducer(squares), [number * number for number in range(12)])


def test_a_users_own_producer() -> None:
    class Countdown(Producer):
        def __init__(self, start: int) -> None:
            self.start = start

        def items(self, position: int) -> Iterator[int]:
            yield from range(self.start - position, 0, -1)

    check_producer(lambda: Countdown(20), list(range(20, 0, -1)))


def test_iterators() -> None:
    check_producer(lambda: IterableProducer(iter(range(50))), list(range(50)))
    check_producer(lambda: IterableProducer(value for value in ()), [])


def test_pushers() -> None:
    def make() -> Pusher:
        pusher = Pusher()
        for number in range(20):
            pusher.push(number)
        pusher.end()
        return pusher

    check_producer(make, list(range(20)))


def test_an_open_file_is_read_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("header\na\nb\n")
    with path.open() as file:
        assert file.readline() == "header\n"
        producer = as_producer(file)
    check_positions(lambda: producer, ["a", "b"])


def _changed_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2] ^= 1
    path.write_bytes(data)


def _other_inode(path: Path) -> None:
    data = path.read_bytes()
    path.rename(path.with_suffix(".old"))
    path.write_bytes(data)


def _cut(path: Path) -> None:
    os.truncate(path, 3)


@pytest.mark.parametrize("replace", [_changed_byte, _other_inode, _cut, lambda path: path.unlink()])
def test_a_replaced_file_is_refused(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\n")
    check_replaced(lambda: PipeProducer(path), lambda: replace(path), items_before=2)


@pytest.mark.parametrize("replace", [_changed_byte, _cut, lambda path: path.unlink()])
def test_a_replaced_followed_file_is_refused(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\n")
    check_replaced(lambda: PipeProducer(path, follow=True), lambda: replace(path), items_before=2)


def test_a_changed_sequence_is_refused() -> None:
    rows: list[Any] = ["a", "b", "c"]
    check_replaced(lambda: SequenceProducer(rows), lambda: rows.__setitem__(1, "x"), items_before=2)
    rows = [{"n": 1}, {"n": 2}, {"n": 3}]
    check_replaced(lambda: SequenceProducer(rows), lambda: rows.__setitem__(1, {"n": 9}), items_before=2)
    rows = ["a", "b", "c"]
    check_replaced(lambda: SequenceProducer(rows), rows.clear, items_before=2)


def test_a_changed_generator_is_refused() -> None:
    rows = ["a", "b", "c"]

    def items(position: int) -> Iterator[str]:
        yield from rows[position:]

    check_replaced(lambda: GeneratorProducer(items), lambda: rows.__setitem__(1, "x"), items_before=2)
    check_replaced(lambda: GeneratorProducer(items), rows.clear, items_before=2)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("replace", [_changed_byte, _cut])
def test_a_file_that_was_replaced_before_its_first_item_was_finished_is_refused(
    tmp_path: Path, replace: Callable[[Path], None], follow: bool
) -> None:
    """Items above a slow first one are finished: read from another file, their numbers would be skipped."""
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\n")
    check_replaced(lambda: PipeProducer(path, follow=follow), lambda: replace(path), items_before=0)


def test_rows_that_were_replaced_before_the_first_was_finished_are_refused() -> None:
    for first, other in (("a", "x"), ({"n": 1}, {"n": 2})):
        rows: list[Any] = [first, "b", "c"]
        check_replaced(lambda: SequenceProducer(rows), lambda: rows.__setitem__(0, other), items_before=0)  # noqa: B023
        rows = [first, "b", "c"]
        check_replaced(
            lambda: GeneratorProducer(lambda position: rows[position:]),  # noqa: B023
            lambda: rows.__setitem__(0, other),  # noqa: B023
            items_before=0,
        )


def test_items_that_a_node_edits_in_place_do_not_break_the_restart() -> None:
    rows = [{"n": number} for number in range(10)]
    begun = drain(SequenceProducer(rows), sizes=(4,), items_max=8)
    checks = begun.checks
    for row in rows:
        row["n"] = -1
    fresh = [{"n": number} for number in range(10)]
    assert drain(SequenceProducer(fresh), 6, checks[6]).items == fresh[6:]


class Broken(SequenceProducer):
    """Skips one item at each restart."""

    def open(self, position: object | None = None, check: object | None = None) -> None:
        super().open(position + 1 if isinstance(position, int) and position < 3 else position)


def test_the_contract_test_finds_a_producer_that_skips() -> None:
    with pytest.raises(AssertionError, match="from item 0: gave"):
        check_producer(lambda: Broken(["a", "b", "c"]), ["a", "b", "c"])
    with pytest.raises(AssertionError, match="was read on"):
        check_replaced(lambda: Broken(["a", "b", "c"]), lambda: None, items_before=1)
