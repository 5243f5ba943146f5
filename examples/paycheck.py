"""Deductions from a paycheck: each dollar goes to every branch, which takes its share; the shares are joined again.

consecution run examples/paycheck.py -D dollars=2500     prints name<TAB>amount for each deduction and the take-home pay
"""

from collections.abc import Callable
from decimal import Decimal

from totals import Amount, Totals

from consecution import Consecutor, Map, broadcast, options
from consecution.sinks import StdoutWriter

RATES = {
    "federal tax": Decimal("0.12"),
    "state tax": Decimal("0.05"),
    "social security": Decimal("0.062"),
    "medicare": Decimal("0.0145"),
    "retirement": Decimal("0.06"),
}
TAKE_HOME = 1 - sum(RATES.values(), Decimal(0))


def share(name: str, rate: Decimal) -> Callable[[Decimal], Amount]:
    def take(dollar: Decimal) -> Amount:
        return name, dollar * rate

    return take


paycheck = [Decimal(1)] * int(options.get("dollars", "2500"))
deductions = [Map(share(name, rate), name=name.replace(" ", "_")) for name, rate in RATES.items()]
take_home = Map(share("take-home", TAKE_HOME), name="take_home")

flow = Consecutor(paycheck | broadcast(*deductions, take_home) | Totals("pay_slip") | StdoutWriter())
