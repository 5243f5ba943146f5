"""The examples with money give amounts that are right to the cent, and docs/gallery shows their graphs as they are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.gallery.pictures import GALLERY, PICTURES, ROOT, draw

CENT = Decimal("0.01")
RATE = Decimal("0.06") / 12


def amounts(consecution: Any, name: str, *arguments: str) -> dict[str, Decimal]:
    """Run an example; gives the amounts that it printed, by what stands before them."""
    run = consecution("run", str(ROOT / "examples" / f"{name}.py"), *arguments)
    assert run.wait() == 0, run.stderr
    lines = [line.rpartition("\t") for line in run.stdout.splitlines()]
    found = {before: Decimal(amount) for before, _, amount in lines}
    assert len(found) == len(lines), "each amount is told once"
    return found


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT)


@pytest.mark.parametrize("mode", ["single", "threads"])
def test_paycheck_takes_every_deduction_and_loses_no_cent(consecution: Any, mode: str) -> None:
    found = amounts(consecution, "paycheck", "-D", "dollars=2500", "--mode", mode)
    expected = {
        "federal tax": "300.00",
        "state tax": "125.00",
        "social security": "155.00",
        "medicare": "36.25",
        "retirement": "150.00",
        "take-home": "1733.75",
    }
    assert found == {name: Decimal(amount) for name, amount in expected.items()}
    assert sum(found.values()) == 2500


def test_mortgage_agrees_with_the_closed_formula(consecution: Any) -> None:
    """A loan that n payments of m pay off is m * (1 - (1 + r) ** -n) / r; the rest of what was paid is interest."""
    loan = 800 * (1 - (1 + RATE) ** -360) / RATE
    interest = 360 * 800 - loan
    assert amounts(consecution, "mortgage") == {
        "tax": Decimal("54000.00"),
        "insurance": Decimal("18000.00"),
        "principal": cents(loan),
        "interest": cents(interest),
        "tax refund": cents(interest * Decimal("0.22")),
        "still owed": Decimal("0.00"),
    }


def test_investment_agrees_with_the_closed_formula(consecution: Any) -> None:
    """Payments p at the end of n months come to p * ((1 + r) ** n - 1) / r."""
    capital = 198 * ((1 + RATE) ** 120 - 1) / RATE
    assert amounts(consecution, "investment") == {
        "fees": Decimal("240.00"),
        "paid in": Decimal("23760.00"),
        "interest": cents(capital - 120 * 198),
        "capital": cents(capital),
    }


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [
        (1000, {"savings": "100.00", "rent": "900.00"}),
        (1500, {"savings": "150.00", "rent": "1200.00", "food": "150.00"}),
        (3000, {"savings": "300.00", "rent": "1200.00", "food": "400.00", "free": "1100.00"}),
    ],
)
def test_budget_fills_one_pot_after_the_other(consecution: Any, dollars: int, expected: dict[str, str]) -> None:
    found = amounts(consecution, "budget", "-D", f"dollars={dollars}")
    assert found == {name: Decimal(amount) for name, amount in expected.items()}
    assert sum(found.values()) == dollars


@pytest.mark.parametrize("mode", ["single", "threads", "processes"])
def test_shares_come_to_the_revenue_on_every_leg(consecution: Any, mode: str) -> None:
    found = amounts(consecution, "shares", "-D", "dollars=10000", "--mode", mode)
    expected = {
        "company\trevenue": "10000.00",
        "company\toperations": "7000.00",
        "company\tprofit": "3000.00",
        "company\tyou": "1800.00",
        "company\tpartner": "1200.00",
        "you\tyou": "1800.00",
        "partner\tpartner": "1200.00",
        "revenue\trevenue": "10000.00",
    }
    assert found == {name: Decimal(amount) for name, amount in expected.items()}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_the_graph_as_it_is(name: str) -> None:
    assert (GALLERY / f"{name}.svg").read_text() == draw(name), "draw it again: make gallery"


def test_the_gallery_shows_every_example(root: Any) -> None:
    flows = {path.stem for path in (root / "examples").glob("*.py") if "Consecutor(" in path.read_text()}
    assert flows == set(PICTURES)
    page = (GALLERY / "README.md").read_text()
    assert all(f"({name}.svg)" in page for name in PICTURES)
