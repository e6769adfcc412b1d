"""What may be repeated, after which wait, and from which budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_errors import TREE
from wiro_async.errors import (
    OutcomeUnknown,
    RateLimited,
    RequestNotSent,
    RunOutcomeUnknown,
    ServerError,
    TransportError,
    WiroError,
)
from wiro_async.protocol.retry import RetryBudget, RetryPolicy, may_repeat

DICE = st.floats(min_value=0, max_value=1)
FAILURES = st.integers(min_value=1, max_value=10**6)
REPEATABLE_RUNS: set[type[WiroError]] = {RequestNotSent, RateLimited}
REPEATABLE_READS: set[type[WiroError]] = {
    *(TransportError, RequestNotSent, OutcomeUnknown, RunOutcomeUnknown),
    *(ServerError, RateLimited),
}


@pytest.mark.parametrize("kind", TREE)
def test_what_may_be_repeated(kind: type[WiroError]) -> None:
    assert may_repeat(kind("x"), is_billable=True) is (kind in REPEATABLE_RUNS)
    assert may_repeat(kind("x"), is_billable=False) is (kind in REPEATABLE_READS)


@pytest.mark.parametrize(
    ("failures", "dice", "wait"),
    [
        *((1, 0, 0.5), (2, 0, 1.0), (3, 0, 2.0), (6, 0, 16.0), (7, 0, 20.0), (10**9, 0, 20.0)),
        *((1, 1, 0.25), (7, 1, 10.0), (3, 0.5, 1.5)),
    ],
)
def test_waits_double_up_to_the_cap(failures: int, dice: float, wait: float) -> None:
    assert RetryPolicy().backoff_seconds(failures, dice) == wait


@given(st.floats(min_value=0, max_value=1e6), st.floats(min_value=0, max_value=1e6), FAILURES, DICE)
def test_a_wait_is_within_its_bounds(base: float, cap: float, failures: int, dice: float) -> None:
    policy = RetryPolicy(base_seconds=base, cap_seconds=cap)
    wait = policy.backoff_seconds(failures, dice)
    assert min(base, cap) / 2 <= wait <= cap
    assert wait <= policy.backoff_seconds(failures + 1, dice)


@pytest.mark.parametrize(
    ("asked", "pause"), [(0.0, 0.0), (30.0, 30.0), (120.0, 120.0), (120.1, None), (1e30, None)]
)
def test_a_service_that_asks_for_a_wait_gets_it(asked: float, pause: float | None) -> None:
    error = RateLimited("slow down")
    error.retry_after_seconds = asked
    assert RetryPolicy().pause_seconds(error, 1, 0.5) == pause


@given(FAILURES, DICE)
def test_a_service_that_asks_for_no_wait_in_particular_gets_a_backoff(
    failures: int, dice: float
) -> None:
    policy = RetryPolicy()
    pause = policy.pause_seconds(RateLimited("slow down"), failures, dice)
    assert pause == policy.backoff_seconds(failures, dice)


def test_ten_successes_pay_for_one_repeat() -> None:
    budget = RetryBudget(capacity=1)
    assert budget.take()
    for _ in range(9):
        budget.refund()
        assert not budget.take()
    budget.refund()
    assert budget.take()
    assert not budget.take()


@given(st.integers(min_value=0, max_value=20), st.lists(st.booleans(), max_size=300))
def test_the_budget_stays_within_nought_and_its_capacity(capacity: int, steps: list[bool]) -> None:
    budget = RetryBudget(capacity=capacity)
    taken = refunds = 0
    for is_repeat in steps:
        before = budget.tokens
        if is_repeat:
            paid = budget.take()
            taken += paid
            assert paid is (before >= 1)
        else:
            budget.refund()
            refunds += 1
        assert 0 <= budget.tokens <= capacity
    assert taken <= capacity + refunds / 10


def test_an_outage_costs_the_capacity_and_no_more() -> None:
    budget = RetryBudget(capacity=RetryPolicy().budget)
    assert sum(budget.take() for _ in range(10_000)) == 500
