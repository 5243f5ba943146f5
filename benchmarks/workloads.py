"""The two workloads: as a plain loop, as function nodes, as batch nodes (one for each step, or the steps together).

Rules of this module: a loop takes its input ready made and gives its answer; nothing is measured here. The loop does
exactly what the nodes do, so the loop is the bound. Consecution is imported by those who use it, so that the
loop's process stays as small as a loop's process is.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LOOP, FUNCTIONS, BATCHES, TOGETHER = "loop", "functions", "batches", "together"
WORDS_A_LINE = 10
VOCABULARY = 10_000


# ---- W1: ints -> x * 3 + 1 -> even ones -> {"k", "v"} -> count and sum ---------------------------------------------
def w1_loop(numbers: Iterable[int]) -> tuple[int, int]:
    count = total = 0
    for x in numbers:
        x = x * 3 + 1
        if x % 2 == 0:
            row = {"k": x % 1000, "v": x}
            count += 1
            total += row["v"]
    return count, total


def w1_answer(items: int) -> tuple[int, int]:
    """Give count and sum without doing the work: of 0 … items-1, the odd ones become even."""
    odd = items // 2
    return odd, 3 * odd * odd + odd  # odd numbers below 2n sum to n * n


def w1_functions() -> Any:
    from consecution import Collect, Filter, Map, Node

    class Total(Node):
        def setup(self) -> None:
            self.count = self.total = 0

        def process(self, row: dict[str, int]) -> None:
            self.count += 1
            self.total += row["v"]

        def finish(self) -> None:
            self.push((self.count, self.total))

    return (
        Map(lambda x: x * 3 + 1, name="affine")
        | Filter(lambda x: x % 2 == 0, name="even")
        | Map(lambda x: {"k": x % 1000, "v": x}, name="row")
        | Total()
        | Collect("answer")
    )


def w1_batches() -> Any:
    from consecution import Collect, Node

    class Affine(Node):
        def process_batch(self, items: list[int]) -> list[int]:
            return [x * 3 + 1 for x in items]

    class Even(Node):
        def process_batch(self, items: list[int]) -> list[int]:
            return [x for x in items if x % 2 == 0]

    class Row(Node):
        def process_batch(self, items: list[int]) -> list[dict[str, int]]:
            return [{"k": x % 1000, "v": x} for x in items]

    class Total(Node):
        def setup(self) -> None:
            self.count = self.total = 0

        def process_batch(self, items: list[dict[str, int]]) -> None:
            self.count += len(items)
            self.total += sum(map(itemgetter("v"), items))

        def finish(self) -> None:
            self.push((self.count, self.total))

    return Affine() | Even() | Row() | Total() | Collect("answer")


def w1_together() -> Any:
    from consecution import Collect, Node

    class Rows(Node):
        def process_batch(self, items: list[int]) -> list[dict[str, int]]:
            return [{"k": y % 1000, "v": y} for x in items if (y := x * 3 + 1) % 2 == 0]

    class Total(Node):
        def setup(self) -> None:
            self.count = self.total = 0

        def process_batch(self, items: list[dict[str, int]]) -> None:
            self.count += len(items)
            self.total += sum(map(itemgetter("v"), items))

        def finish(self) -> None:
            self.push((self.count, self.total))

    return Rows() | Total() | Collect("answer")


# ---- W2: lines -> words -> count for each word ---------------------------------------------------------------------
def w2_lines(lines: int) -> list[str]:
    """Make the text; the same one each time."""
    chance = random.Random(7)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(VOCABULARY)]
    return [" ".join(chance.choices(words, k=WORDS_A_LINE)) for _ in range(lines)]


def w2_loop(lines: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for line in lines:
        for word in line.split():
            counts[word] += 1
    return counts


def w2_answer(lines: Sequence[str]) -> dict[str, int]:
    return Counter(word for line in lines for word in line.split(" "))


def w2_functions() -> Any:
    from consecution import Collect, FlatMap, Node

    class Count(Node):
        def setup(self) -> None:
            self.counts: dict[str, int] = defaultdict(int)

        def process(self, word: str) -> None:
            self.counts[word] += 1

        def finish(self) -> None:
            self.push(dict(self.counts))

    return FlatMap(str.split, name="split") | Count() | Collect("answer")


def w2_batches() -> Any:
    from consecution import Collect, Node

    class Split(Node):
        def process_batch(self, items: list[str]) -> list[str]:
            return [word for line in items for word in line.split()]

    class Count(Node):
        def setup(self) -> None:
            self.counts: Counter[str] = Counter()

        def process_batch(self, items: list[str]) -> None:
            self.counts.update(items)

        def finish(self) -> None:
            self.push(dict(self.counts))

    return Split() | Count() | Collect("answer")


DAGS = {
    ("w1", FUNCTIONS): w1_functions,
    ("w1", BATCHES): w1_batches,
    ("w1", TOGETHER): w1_together,
    ("w2", FUNCTIONS): w2_functions,
    ("w2", BATCHES): w2_batches,
}
LOOPS: dict[str, Callable[[Any], Any]] = {"w1": w1_loop, "w2": w2_loop}
