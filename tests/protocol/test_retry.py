"""What may be repeated, after which wait, and from which budget."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_errors import TREE
from wiro_async.errors import (
    ConfigurationError,
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


def limited(asked: float | None) -> RateLimited:
    error = RateLimited("slow down")
    error.retry_after_seconds = asked
    return error


@pytest.mark.parametrize(
    ("asked", "pause"), [(30.0, 30.0), (120.0, 120.0), (120.1, None), (1e30, None)]
)
def test_a_service_that_asks_for_a_wait_gets_it(asked: float, pause: float | None) -> None:
    assert RetryPolicy().pause_seconds(limited(asked), 1, 0.5) == pause


@given(st.sampled_from([None, 0.0, 0.01]), FAILURES, DICE)
def test_a_service_that_asks_for_no_wait_in_particular_gets_a_backoff(
    asked: float | None, failures: int, dice: float
) -> None:
    policy = RetryPolicy()
    pause = policy.pause_seconds(limited(asked), failures, dice)
    assert pause == policy.backoff_seconds(failures, dice) > 0


@given(st.floats(min_value=0, max_value=1e9), FAILURES, DICE, st.floats(min_value=1, max_value=500))
def test_a_pause_is_never_longer_than_its_cap(
    asked: float, failures: int, dice: float, cap: float
) -> None:
    policy = RetryPolicy(max_pause_seconds=cap)
    pause = policy.pause_seconds(limited(asked), failures, dice)
    assert pause is None if asked > cap else pause is not None and 0 < pause <= cap


@pytest.mark.parametrize(
    ("asked", "wait"), [(None, 0.375), (0.0, 0.375), (7.0, 7.0), (120.0, 120.0), (1e9, 120.0)]
)
def test_a_503_lengthens_its_own_wait_up_to_the_cap(asked: float | None, wait: float) -> None:
    error = ServerError("down for maintenance")
    error.retry_after_seconds = asked
    assert RetryPolicy().wait_seconds(error, 1, 0.5) == wait


def test_other_failures_wait_as_long_as_they_failed() -> None:
    assert RetryPolicy().wait_seconds(TransportError("x"), 2, 0.5) == 0.75


@pytest.mark.parametrize(
    ("error", "price"), [(RequestNotSent("x"), 5), (ServerError("x"), 5), (OutcomeUnknown("x"), 10)]
)
def test_a_repeat_has_its_price_and_each_success_pays_one_back(
    error: WiroError, price: int
) -> None:
    budget = RetryBudget(capacity=price)
    assert budget.take(error)
    for _ in range(price):
        assert not budget.take(error)
        budget.refund()
    assert budget.take(error)


@given(
    st.integers(min_value=0, max_value=20),
    st.lists(st.sampled_from([ServerError("x"), OutcomeUnknown("x"), None]), max_size=300),
)
def test_the_budget_stays_within_nought_and_its_capacity(
    capacity: int, steps: list[WiroError | None]
) -> None:
    budget = RetryBudget(capacity=capacity)
    taken = refunds = 0
    for error in steps:
        before = budget.tokens
        if error is None:
            budget.refund()
            refunds += 1
        else:
            price = 10 if isinstance(error, OutcomeUnknown) else 5
            paid = budget.take(error)
            taken += price * paid
            assert paid is (before >= price)
        assert 0 <= budget.tokens <= capacity
    assert taken <= capacity + refunds


def test_an_outage_costs_a_hundred_repeats_and_no_more() -> None:
    budget = RetryBudget(capacity=RetryPolicy().budget)
    assert sum(budget.take(RequestNotSent("x")) for _ in range(10_000)) == 100
    lost = RetryBudget(capacity=RetryPolicy().budget)
    assert sum(lost.take(OutcomeUnknown("x")) for _ in range(10_000)) == 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("max_attempts", 0),
            ("max_download_attempts", 0),
            ("max_failed_looks", 0),
            ("max_rate_limited", -1),
            ("budget", -1),
        ),
        *(("base_seconds", -0.5), ("cap_seconds", -1.0), ("max_pause_seconds", math.inf)),
        ("max_outage_seconds", math.nan),
    ],
)
def test_a_policy_that_means_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} of a retry policy is {value}: "):
        RetryPolicy(**{name: value})  # type: ignore[arg-type]
