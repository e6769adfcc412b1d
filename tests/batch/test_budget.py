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


def test_without_a_limit_everything_fits() -> None:
    budget = Budget()
    assert budget.fits("o/m", Decimal(10**9))
    assert budget.fits("o/m", None)


def test_the_limit_itself_may_be_reached() -> None:
    budget = Budget(limit=Decimal("0.12"))
    budget.reserve(1, "o/m", SIX)
    assert budget.fits("o/m", SIX)
    assert not budget.fits("o/m", SIX + CENT)
    budget.reserve(2, "o/m", SIX)
    assert not budget.fits("o/m", CENT)
    assert budget.fits("o/m", Decimal(0))


def test_what_earlier_runs_have_spent_counts() -> None:
    budget = Budget(limit=Decimal("0.30"), spent=Decimal("0.25"))
    assert budget.fits("o/m", Decimal("0.05"))
    assert not budget.fits("o/m", SIX)


def test_a_task_that_failed_gives_back_what_was_set_aside() -> None:
    budget = Budget(limit=SIX)
    budget.reserve(1, "o/m", SIX)
    assert not budget.fits("o/m", SIX)
    budget.spend(1, "o/m", Decimal(0), is_billed=False)
    assert budget.spent + budget.reserved == 0
    assert budget.fits("o/m", SIX)


def test_a_task_that_was_never_made_gives_it_back_too() -> None:
    budget = Budget(limit=SIX)
    budget.reserve(1, "o/m", SIX)
    budget.release(1)
    budget.release(1)
    assert budget.fits("o/m", SIX)
    assert (budget.open_tasks, budget.reserved_tasks) == (0, 0)


def test_what_is_held_stays_set_aside_and_nobody_waits_for_it() -> None:
    budget = Budget(limit=Decimal("0.10"))
    budget.reserve(1, "o/m", SIX)
    budget.hold(1)
    budget.hold(2)
    assert (budget.open_tasks, budget.reserved_tasks, budget.reserved) == (0, 1, SIX)
    assert not budget.fits("o/m", SIX)


@pytest.mark.parametrize("told", [None, CENT])
def test_a_price_that_proved_too_low_is_not_believed_again(told: Decimal | None) -> None:
    budget = Budget(limit=Decimal("0.20"))
    budget.reserve(1, "o/m", told)
    budget.spend(1, "o/m", SIX, is_billed=True)
    budget.reserve(2, "o/m", told)
    assert budget.reserved == SIX
    assert budget.fits("o/m", told)
    budget.reserve(3, "o/m", told)
    assert not budget.fits("o/m", told)
    assert budget.fits("o/other", CENT), "of another model nothing was learned"


def test_dear_parameters_do_not_make_cheap_ones_dear() -> None:
    budget = Budget(limit=Decimal("0.30"))
    budget.reserve(1, "o/m", Decimal("0.10"))
    for position in range(2, 6):
        budget.reserve(position, "o/m", Decimal("0.05"))
    budget.spend(1, "o/m", Decimal("0.10"), is_billed=True)
    assert budget.spent + budget.reserved == Decimal("0.30")


def test_without_a_price_one_task_is_tried_at_a_time_until_one_has_told() -> None:
    budget = Budget(limit=Decimal("0.20"))
    assert budget.fits("o/m", None)
    budget.reserve(1, "o/m", None)
    assert budget.reserved_tasks == 1
    assert not budget.fits("o/m", None)
    assert budget.fits("o/n", None), "of each model one"
    budget.spend(1, "o/m", Decimal(0), is_billed=False)
    assert budget.fits("o/m", None), "what failed has not told"
    budget.reserve(2, "o/m", None)
    assert not budget.fits("o/m", None)
    budget.spend(2, "o/m", SIX, is_billed=True)
    for position in (3, 4):
        assert budget.fits("o/m", None)
        budget.reserve(position, "o/m", None)
    assert not budget.fits("o/m", None), "0.06 spent, 0.12 set aside, 0.02 left"


def test_the_first_of_an_unknown_price_wants_something_to_be_left() -> None:
    assert not Budget(limit=SIX, spent=SIX).fits("o/m", None)
    assert Budget(limit=SIX, spent=SIX - CENT).fits("o/m", None)


def test_what_is_not_billed_teaches_no_price() -> None:
    budget = Budget(limit=Decimal("0.20"))
    budget.reserve(1, "o/m", None)
    budget.spend(1, "o/m", Decimal("0.15"), is_billed=False)
    budget.reserve(2, "o/m", None)
    assert budget.reserved == 0


@pytest.mark.parametrize("told", [None, CENT])
def test_the_highest_cost_is_expected_and_not_the_last(told: Decimal | None) -> None:
    budget = Budget(limit=Decimal(1))
    for position, cost in enumerate((SIX, 2 * CENT)):
        budget.reserve(position, "o/m", told)
        budget.spend(position, "o/m", cost, is_billed=True)
    budget.reserve(9, "o/m", told)
    assert budget.reserved == SIX


@pytest.mark.parametrize(("told", "spent"), [(SIX, SIX), (None, Decimal(0))])
def test_a_success_that_tells_no_cost_counts_with_its_price(
    told: Decimal | None, spent: Decimal
) -> None:
    budget = Budget(limit=Decimal(1))
    budget.reserve(1, "o/m", told)
    budget.spend(1, "o/m", None, is_billed=True)
    assert budget.spent == spent
    budget.reserve(2, "o/m", told)
    budget.spend(2, "o/m", None, is_billed=False)
    assert budget.spent == spent


def test_or_with_what_another_has_cost() -> None:
    budget = Budget(limit=Decimal(1))
    budget.reserve(1, "o/m", None)
    budget.spend(1, "o/m", SIX, is_billed=True)
    budget.reserve(2, "o/m", None)
    budget.spend(2, "o/m", None, is_billed=True)
    assert budget.spent == 2 * SIX
