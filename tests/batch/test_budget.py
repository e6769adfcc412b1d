"""The budget's sums: what is set aside, what is spent, and what may still start."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.batch.budget import Budget

CENT = Decimal("0.01")
SIX = Decimal("0.06")
MODELS = ("o/m", "o/n")

cents = st.integers(0, 30).map(lambda number: number * CENT)
limits = st.none() | st.integers(1, 100).map(lambda number: number * CENT)
# Model, told price, and the share of it that the task will cost.
wishes = st.tuples(st.sampled_from(MODELS), cents, st.integers(0, 4))
actions = st.tuples(st.sampled_from(["end", "fail", "release", "hold", "end dumb"]), st.integers(0))
steps = st.lists(wishes | actions, max_size=40)


@define
class Ledger:
    """The same sums, kept the slow way: one row a task."""

    budget: Budget
    open: dict[int, tuple[str, Decimal, Decimal]] = field(factory=dict)
    held: dict[int, Decimal] = field(factory=dict)
    spent: Decimal = Decimal(0)
    position: int = 0

    def take(self, step: tuple[str, Decimal, int] | tuple[str, int]) -> None:
        if len(step) == 3:
            self.start(*step)
        elif self.open:
            self.end(step[0], sorted(self.open)[step[1] % len(self.open)])

    def start(self, model: str, price: Decimal, share: int) -> None:
        if not self.budget.fits(model, price):
            return
        self.position += 1
        self.budget.reserve(self.position, model, price)
        self.open[self.position] = (model, price, price * share / 4)

    def end(self, action: str, position: int) -> None:
        model, price, cost = self.open.pop(position)
        match action:
            case "release":
                self.budget.release(position)
            case "hold":
                self.budget.hold(position)
                self.held[position] = price
            case "fail":
                self.budget.spend(position, model, Decimal(0), is_billed=False)
            case "end dumb":
                self.budget.spend(position, model, None, is_billed=True)
                self.spent += price
            case _:
                self.budget.spend(position, model, cost, is_billed=True)
                self.spent += cost


@given(limits, steps)
def test_spent_and_reserved_never_pass_the_limit_where_prices_are_true(
    limit: Decimal | None, given_steps: list[tuple[str, Decimal, int] | tuple[str, int]]
) -> None:
    ledger = Ledger(Budget(limit=limit))
    for step in given_steps:
        ledger.take(step)
        budget = ledger.budget
        assert limit is None or budget.spent + budget.reserved <= limit
        assert budget.spent == ledger.spent
        assert budget.reserved == sum(
            [price for _, price, _ in ledger.open.values()], sum(ledger.held.values(), Decimal(0))
        )
        assert budget.open_tasks == len(ledger.open)
        assert budget.reserved_tasks == len(ledger.open) + len(ledger.held)
