"""A compounded investment with a monthly fee: the fee is stripped from each payment, capital earns interest.

consecution run examples/investment.py     prints name<TAB>amount: fees, payments, interest and capital
"""

from collections.abc import Iterator
from decimal import Decimal

from totals import Amount, Totals

from consecution import Consecutor, Filter, FlatMap, Node
from consecution.sinks import StdoutWriter

MONTHS = 120
PAYMENT = Decimal(200)
FEE = Decimal(2)
MONTHLY_RATE = Decimal("0.06") / 12


class Capital(Node):
    """Earns interest on what is there, then takes in the payment."""

    def setup(self) -> None:
        self.capital = Decimal(0)

    def process(self, item: Amount) -> None:
        interest = self.capital * MONTHLY_RATE
        self.capital += interest + item[1]
        self.push(("interest", interest))

    def finish(self) -> None:
        self.push(("capital", self.capital))


def strip_fee(payment: Decimal) -> Iterator[Amount]:
    yield "fees", FEE
    yield "paid in", payment - FEE


fees = Filter(lambda item: item[0] == "fees", name="fees")
paid_in = Filter(lambda item: item[0] == "paid in", name="paid_in")

flow = Consecutor(
    [PAYMENT] * MONTHS
    | FlatMap(strip_fee)
    | [fees | Totals("fee_total"), paid_in | [Totals("payment_total"), Capital() | Totals("capital_total")]]
    | StdoutWriter()
)
