"""A company that shares its revenue: between operations and profit, and the profit between two partners.

consecution run examples/shares.py -D dollars=10000     prints leg<TAB>name<TAB>amount for each aggregator

Each dollar is tagged as revenue and routed to the operating budget or to the profit. Two nodes, one for each partner,
add the tagged take of theirs to every dollar of profit. All of it goes to the company's aggregator, and what concerns
one of the partners, or the revenue, to an aggregator of its own too.
"""

from collections.abc import Iterator
from decimal import Decimal

from totals import Amount, Totals

from consecution import Consecutor, FlatMap, Map, Merge, Node, broadcast, options, route
from consecution.sinks import StdoutWriter

OPERATIONS_OF_TEN = 7  # of ten dollars in turn
TAKES = {"you": Decimal("0.6"), "partner": Decimal("0.4")}

Dollar = tuple[str, int]


def tag_revenue(number: int) -> Dollar:
    return "revenue", number


def operations_or_profit(dollar: Dollar) -> str:
    return "operations" if dollar[1] % 10 < OPERATIONS_OF_TEN else "profit"


def operations(_: Dollar) -> Iterator[Amount]:
    yield "revenue", Decimal(1)
    yield "operations", Decimal(1)


def profit(_: Dollar) -> Iterator[Amount]:
    yield "revenue", Decimal(1)
    yield "profit", Decimal(1)


class Take(Node):
    """Lets everything pass, and adds a tagged take for each amount of profit."""

    def __init__(self, who: str) -> None:
        super().__init__(f"{who}_take")
        self.who = who

    def process(self, item: Amount) -> None:
        self.push(item)
        name, amount = item
        if name == "profit":
            self.push((self.who, amount * TAKES[self.who]))


def concerns(item: Amount) -> str | None:
    return item[0] if item[0] in ("you", "partner", "revenue") else None


def leg(name: str) -> Map:
    return Map(lambda line: f"{name}\t{line}", name=f"{name}_leg")


dollars = range(int(options.get("dollars", "10000")))
distribution = FlatMap(profit) | Take("you") | Take("partner")
company = Totals("company") | leg("company")
you, partner, revenue = Totals("you"), Totals("partner"), Totals("revenue")

own_legs = {"you": you | leg("you"), "partner": partner | leg("partner"), "revenue": revenue | leg("revenue")}
flow = Consecutor(
    dollars
    | Map(tag_revenue)
    | route(operations_or_profit, {"operations": FlatMap(operations), "profit": distribution})
    | Merge(name="all_amounts")
    | broadcast(company, route(concerns, own_legs))
    | StdoutWriter()
)
