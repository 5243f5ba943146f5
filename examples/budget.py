"""A budget filled dollar by dollar: savings come off the top, rent fills up, then food, and the rest is free.

consecution run examples/budget.py -D dollars=3000     prints name<TAB>amount for each pot
"""

from decimal import Decimal

from totals import Amount, Totals

from consecution import Consecutor, Node, options
from consecution.sinks import StdoutWriter

SAVED = Decimal("0.10")
RENT = Decimal(1200)
FOOD = Decimal(400)
OPEN = "free"  # money that no pot has taken yet


class Save(Node):
    """Takes its percentage off every dollar."""

    def process(self, dollar: int) -> None:
        self.push(("savings", dollar * SAVED))
        self.push((OPEN, dollar * (1 - SAVED)))


class Fill(Node):
    """Takes what is still open until its pot is full, and lets everything else pass."""

    def __init__(self, pot: str, size: Decimal) -> None:
        super().__init__(pot)
        self.pot = pot
        self.size = size

    def setup(self) -> None:
        self.left = self.size

    def process(self, item: Amount) -> None:
        name, amount = item
        if name != OPEN:
            self.push(item)
            return
        taken = min(amount, self.left)
        self.left -= taken
        if taken:
            self.push((self.pot, taken))
        if amount > taken:
            self.push((OPEN, amount - taken))


dollars = [1] * int(options.get("dollars", "3000"))
flow = Consecutor(dollars | Save() | Fill("rent", RENT) | Fill("food", FOOD) | Totals("pots") | StdoutWriter())
