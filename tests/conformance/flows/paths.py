"""Branches, routes, groupings, and items that travel far or multiply."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from consecution import Chunk, FlatMap, Map, Merge, Node, broadcast, merge, route
from tests.conformance.flows import collect, cons, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consecution import Consecutor


def spoil(row: dict[str, Any]) -> dict[str, Any]:
    row["tags"].append("spoiled")
    return row


def rows() -> list[dict[str, Any]]:
    return [{"n": n, "tags": []} for n in range(3)]


def branches_with_edits() -> Consecutor:
    return cons(rows() | Map(dict, name="all") | [Map(spoil) | collect("left"), collect("right")])  # type: ignore[operator]


def entries_with_edits() -> Consecutor:
    left, right = Map(spoil), collect("right")
    dag = rows() | broadcast(left, right)  # type: ignore[operator]
    left | collect("left")
    return cons(dag)


def edits_and_fails_once(row: dict[str, Any]) -> dict[str, Any]:
    row["tags"].append("seen")
    if row["n"] == 1 and note("calls", row["n"]) == 0:
        raise ValueError("once")
    return row


def pristine_replay() -> Consecutor:
    return cons(rows() | Map(edits_and_fails_once) | collect("out"))


class Opaque:
    """A class that MessagePack can't pack."""

    def __init__(self, n: int) -> None:
        self.tags: list[str] = []
        self.n = n


def edits_object(item: Opaque) -> list[str]:
    item.tags.append("seen")
    if item.n == 1 and note("calls", item.n) == 0:
        raise ValueError("once")
    return item.tags


def pristine_replay_of_objects() -> Consecutor:
    return cons([Opaque(n) for n in range(3)] | Map(edits_object) | collect("out"))


class Uncopyable:
    def __init__(self, n: int) -> None:
        self.n = n

    def __deepcopy__(self, memo: object) -> Any:
        raise TypeError("no copies")


def number(item: Any) -> int:
    return int(item.n)


def uncopyable_in_branches() -> Consecutor:
    items = [Uncopyable(0), Opaque(1)]
    first = Map(abs_of, name="first")
    return cons(items | first | [Map(number) | collect("left"), Map(number) | collect("right")], replays_max=0)  # type: ignore[operator]


def abs_of(item: Any) -> Any:
    return item


def uncopyable_to_all() -> Consecutor:
    items = [Uncopyable(0), Opaque(1)]
    node = Map(number, parallelism=2, grouping="all")
    return cons(items | Map(abs_of) | node | collect("out"), replays_max=0)


def diamond() -> Consecutor:
    left, right = Map(negative), Map(abs)
    return cons(range(5) | broadcast(left, right) | Merge() | collect("out"))  # type: ignore[operator]


def negative(item: int) -> int:
    return -item


def merged() -> Consecutor:
    return cons(merge([1, 2] | Map(abs), [30, 40] | Map(negative)) | collect("out"))


def parity(item: int) -> Any:
    return {0: 0, 1: "odd", 2: None, 3: True, 4: 7, 5: "nowhere"}[item]


def routes() -> Consecutor:
    even, odd = collect("even"), collect("odd")
    return cons(range(6) | route(parity, even, odd), replays_max=0)  # type: ignore[operator]


def keyed(item: int) -> Any:
    return {0: "de", 1: "us", 2: None, 3: 0, 4: ["de"]}[item]


def routes_by_key() -> Consecutor:
    table = {"de": collect("germany"), "us": collect("america")}
    return cons(range(5) | route(keyed, table), replays_max=0)  # type: ignore[operator]


def round_robin() -> Consecutor:
    return cons(range(6) | route(collect("a"), collect("b"), collect("c")))  # type: ignore[operator]


def route_drops_behind_a_chunk() -> Consecutor:
    return cons(range(10) | Chunk(4) | route(lambda chunk: None, collect("a"), collect("b")))  # type: ignore[operator]


class Tells(Node):
    """Pushes (item, number of this copy)."""

    def setup(self) -> None:
        self.copy = note("copies", threading.get_ident())

    def process(self, item: Any) -> None:
        self.push((item, self.copy))


def grouped(grouping: str | None = None, **options: Any) -> Consecutor:
    words = [word for _ in range(50) for word in ("a", "b", "c", "d", "e", "f")]
    return cons(words | Map(str) | Tells(parallelism=3, grouping=grouping, **options) | collect("out"))


def by_key() -> Consecutor:
    return grouped(key=str)


def by_field() -> Consecutor:
    items = [{"k": k, "n": n} for n in range(30) for k in "abcdef"]
    return cons(items | Tells(parallelism=3, key="k") | collect("out"))


def by_partial_key() -> Consecutor:
    return grouped("partial_key", key=str)


def to_all() -> Consecutor:
    return grouped("all")


def to_one() -> Consecutor:
    return grouped("global")


def shuffled() -> Consecutor:
    return grouped("shuffle")


def without_key() -> Consecutor:
    return cons([{"k": 1}, {}, {"k": Opaque(1)}] | Tells(parallelism=2, key="k") | collect("out"), replays_max=0)


def in_order_by_key() -> Consecutor:
    items = [(key, n) for n in range(2000) for key in "abc"]
    return cons(items | Map(tuple, parallelism=1) | Map(tuple, parallelism=3, key=0) | collect("out"))


def add_one(item: int) -> int:
    return item + 1


def chain() -> Consecutor:
    dag: Any = [1, 2, 3] | Map(add_one)
    for _ in range(4_998):
        dag = dag | Map(add_one)
    return cons(dag | collect("out"))


class AddOne(Node):
    def process(self, item: int) -> None:
        self.push(item + 1)


def chain_of_classes() -> Consecutor:
    dag: Any = [1] | AddOne()
    for _ in range(999):
        dag = dag | AddOne()
    return cons(dag | collect("out"))


def many(item: int) -> Iterator[int]:
    return iter(range(item))


class Pushes(Node):
    def process(self, item: int) -> None:
        for n in range(item):
            self.push(n)


class Counts(Node):
    def setup(self) -> None:
        self.count = 0

    def process(self, item: Any) -> None:
        self.count += 1

    def finish(self) -> None:
        self.push(self.count)


def explosion() -> Consecutor:
    return cons([int(os.environ.get("MANY", "1000000"))] | FlatMap(many) | Map(add_one) | Counts() | collect("out"))


def explosion_of_a_class() -> Consecutor:
    return cons([int(os.environ.get("MANY", "1000000"))] | Pushes() | Counts() | collect("out"))


def too_many_for_a_link() -> Consecutor:
    return cons([2, 1_100_000] | FlatMap(many) | Counts(grouping="shuffle") | collect("out"), replays_max=0)


class PushesLate(Node):
    """Pushes from a thread, after the item was finished."""

    def setup(self) -> None:
        self.threads: list[threading.Thread] = []
        self.go = threading.Event()

    def process(self, item: int) -> None:
        thread = threading.Thread(target=self.late, args=(item,))
        self.threads.append(thread)
        thread.start()

    def late(self, item: int) -> None:
        self.go.wait(20)
        try:
            self.push(item)
        except RuntimeError as error:
            note("late", error)

    def teardown(self) -> None:
        self.go.set()
        for thread in self.threads:
            thread.join()


def pushes_from_a_thread() -> Consecutor:
    return cons([1, 2] | PushesLate() | collect("out"))


class PushesInSetup(Node):
    def setup(self) -> None:
        self.push(1)

    def process(self, item: int) -> None:
        self.push(item)


def pushes_in_setup() -> Consecutor:
    return cons([1] | PushesInSetup() | collect("out"))


class Undeclared(Node):
    def process(self, item: int) -> None:
        self.push(item, output="errors")


def undeclared_output() -> Consecutor:
    return cons([1] | Undeclared(), replays_max=0)


class Declared(Node):
    def __init__(self) -> None:
        super().__init__()
        self.add_output("errors")

    def process(self, item: int) -> None:
        self.push(item, output="errors")
        self.push(item)

    def finish(self) -> None:
        self.push("end", output="errors")


def output_that_nobody_reads() -> Consecutor:
    return cons([1] | Declared() | collect("out"))


def slow(item: int) -> int:
    time.sleep(0.001)
    return item


def poison(item: Any) -> Any:
    if item == 5_000 or (isinstance(item, list) and 5_000 in item):
        raise ValueError("poison")
    return item


class PoisonBatch(Node):
    def process_batch(self, items: list[int]) -> list[int]:
        if 5_000 in items:
            raise ValueError("poison")
        return items


def poison_alone() -> Consecutor:
    return cons(range(10_000) | Map(add_one) | Map(poison) | collect("out"))


def poison_in_a_chunk() -> Consecutor:
    return cons(range(1, 10_001) | Chunk(500) | Map(poison) | collect("out"))


def poison_in_a_batch() -> Consecutor:
    return cons(range(1, 10_001) | PoisonBatch() | collect("out"))


def poison_across_tasks() -> Consecutor:
    return cons(range(1, 10_001) | Chunk(500) | Map(poison, parallelism=2) | collect("out", parallelism=1))
