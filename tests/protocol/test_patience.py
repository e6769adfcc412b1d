"""What a session bears: which ends of a request count as what, and what follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_errors import TREE
from wiro_async.errors import (
    AddressRefused,
    ApiError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RequestNotSent,
    ServerError,
    TransportError,
    WiroError,
)
from wiro_async.protocol.outage import FAILURES_IN_A_ROW
from wiro_async.protocol.patience import Patience
from wiro_async.protocol.retry import RetryPolicy

NOW = 1000.0
EVEN = 0.5
REGULAR = 7.0


def patience(**options: float) -> Patience:
    return Patience(RetryPolicy(**options))  # type: ignore[arg-type] # handed on


def in_outage() -> Patience:
    one = patience()
    for _ in range(FAILURES_IN_A_ROW):
        assert not one.on_error(TransportError("cut off"), NOW, EVEN)
    assert one.outage.is_on
    return one


@pytest.mark.parametrize("kind", TREE)
def test_what_a_request_ended_with_ends_an_outage_if_it_is_an_answer(kind: type[WiroError]) -> None:
    one = in_outage()
    is_answer = issubclass(kind, ApiError) and not issubclass(kind, ServerError)
    assert one.on_error(kind("x"), NOW, EVEN) is is_answer
    assert one.outage.is_on is not is_answer


@pytest.mark.parametrize("kind", TREE)
def test_what_is_no_failure_of_the_service_begins_no_outage(kind: type[WiroError]) -> None:
    one = patience()
    for _ in range(3 * FAILURES_IN_A_ROW):
        one.on_error(kind("x"), NOW, EVEN)
    is_refused_here = kind is AddressRefused
    is_failure = issubclass(kind, TransportError | ServerError) and not is_refused_here
    assert one.outage.is_on is is_failure


def test_a_success_ends_an_outage_and_pays_a_token_back() -> None:
    one = in_outage()
    one.budget.take(ServerError("x"))
    assert one.on_success()
    assert not one.on_success()
    assert one.budget.tokens == one.budget.capacity - 3


def limited(asked: float | None) -> RateLimited:
    error = RateLimited("slow down")
    error.retry_after_seconds = asked
    return error


@pytest.mark.parametrize(
    ("asked", "failures", "is_borne", "pause"),
    [
        (None, 1, True, 0.375),
        (0.0, 1, True, 0.375),
        (60.0, 1, True, 60),
        (3600.0, 1, False, 120),
        (60.0, 20, False, 60),
    ],
)
def test_a_429_pauses_everybody_also_where_its_own_request_gives_up(
    asked: float | None, failures: int, *, is_borne: bool, pause: float
) -> None:
    one = patience()
    assert one.pause_after(limited(asked), failures, NOW, EVEN) is is_borne
    assert one.pace.next_at(NOW) == pytest.approx(NOW + pause, abs=0.1)


@pytest.mark.parametrize(
    ("error", "failures", "is_billable", "wait"),
    [
        (ServerError("x"), 1, False, 0.375),
        (ServerError("x"), 4, False, 3.0),
        (ServerError("x"), 5, False, None),
        (ServerError("x"), 1, True, None),
        (OutcomeUnknown("x"), 1, True, None),
        (RequestNotSent("x"), 1, True, 0.375),
        (limited(3.0), 1, True, 0.0),
        (limited(300.0), 1, True, None),
        (NotFound("x"), 1, False, None),
    ],
)
def test_when_a_request_is_sent_again(
    error: WiroError, failures: int, *, is_billable: bool, wait: float | None
) -> None:
    one = patience()
    assert one.repeat_after(error, failures, NOW, EVEN, is_billable=is_billable) == wait


def test_an_empty_budget_ends_repeats_and_slows_looks() -> None:
    one = patience(budget=5)
    assert one.repeat_after(ServerError("x"), 1, NOW, EVEN, is_billable=False) is not None
    assert one.repeat_after(ServerError("x"), 1, NOW, EVEN, is_billable=False) is None
    assert one.look_after(ServerError("x"), 1, REGULAR, EVEN) == REGULAR
    assert one.look_after(ServerError("x"), 7, REGULAR, EVEN) == 15
    for _ in range(5):
        one.on_success()
    assert one.look_after(ServerError("x"), 1, REGULAR, EVEN) == 0.375


def test_a_look_that_fails_in_an_outage_pays_nothing_and_queues_up_again() -> None:
    one = in_outage()
    tokens = one.budget.tokens
    assert one.look_after(ServerError("x"), 3, REGULAR, EVEN) == 0
    assert one.budget.tokens == tokens


ENDS = st.sampled_from([None, ServerError("x"), RequestNotSent("x"), OutcomeUnknown("x")])


@given(st.lists(ENDS, max_size=400), st.integers(min_value=0, max_value=60))
def test_looks_that_come_sooner_than_they_would_anyway_are_paid(
    ends: list[WiroError | None], budget: int
) -> None:
    one = patience(budget=budget)
    extra = successes = 0
    for end in ends:
        if end is None:
            one.on_success()
            successes += 1
        else:
            one.on_error(end, NOW, EVEN)
            wait = one.look_after(end, 1, REGULAR, EVEN)
            extra += wait < REGULAR and not one.outage.is_on
    assert extra <= (budget + successes) / 5
