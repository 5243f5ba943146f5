"""An amortized mortgage: tax and insurance are split off 360 payments, the rest pays interest and principal.

consecution run examples/mortgage.py     prints name<TAB>amount for all that was paid, and what is still owed

Part of the interest comes back as a tax refund, so interest goes to two branches.
"""

from decimal import Decimal

from totals import Amount, Totals

from consecution import Consecutor, Filter, Map, Merge, Node, broadcast
from consecution.sinks import StdoutWriter

PAYMENTS = 360
PAYMENT = Decimal(1000)
TAX = Decimal(150)
INSURANCE = Decimal(50)
MONTHLY_RATE = Decimal("0.06") / 12
REFUND_RATE = Decimal("0.22")
FOR_THE_LOAN = PAYMENT - TAX - INSURANCE
LOAN = FOR_THE_LOAN * (1 - (1 + MONTHLY_RATE) ** -PAYMENTS) / MONTHLY_RATE  # what these payments pay off


class Amortize(Node):
    """Splits what pays for the loan into interest and principal; begins with the loan."""

    def setup(self) -> None:
        self.owed = LOAN

    def process(self, payment: Decimal) -> None:
        interest = self.owed * MONTHLY_RATE
        self.owed -= payment - interest
        self.push(("interest", interest))
        self.push(("principal", payment - interest))

    def finish(self) -> None:
        self.push(("still owed", self.owed))


def refund(item: Amount) -> Amount:
    return "tax refund", item[1] * REFUND_RATE


tax = Map(lambda payment: ("tax", TAX), name="tax")
insurance = Map(lambda payment: ("insurance", INSURANCE), name="insurance")
loan = Map(lambda payment: payment - TAX - INSURANCE, name="loan") | Amortize()
refunds = Filter(lambda item: item[0] == "interest", name="interest") | Map(refund)

statement = loan | [Merge(name="amortized"), refunds]
payments = [PAYMENT] * PAYMENTS
flow = Consecutor(payments | broadcast(tax, insurance, statement) | Totals("master") | StdoutWriter())
