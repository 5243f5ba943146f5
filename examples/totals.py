"""Amounts of money by name, summed in memory until the end: what the money examples share."""

from collections import defaultdict
from decimal import Decimal

from consecution import Node

Amount = tuple[str, Decimal]
CENT = Decimal("0.01")


class Totals(Node):
    """Adds up (name, amount) items, and pushes ``name<TAB>total`` lines, to the cent, when all input has ended.

    It overrides `finish`, so a run that is killed starts over: the totals are right, whatever dies on the way.
    """

    def setup(self) -> None:
        self.sums: defaultdict[str, Decimal] = defaultdict(Decimal)

    def process(self, item: Amount) -> None:
        name, amount = item
        self.sums[name] += amount

    def finish(self) -> None:
        for name, total in self.sums.items():
            self.push(f"{name}\t{total.quantize(CENT) + 0}")  # + 0: never -0.00
