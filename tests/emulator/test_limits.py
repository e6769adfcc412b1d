from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.emulator import chance
from wiro_async.emulator.limits import TokenBucket, concurrent_limit, stated_limit


@pytest.mark.parametrize(
    ("balance", "limit"),
    [
        ("-3", 1),
        ("0", 1),
        ("10", 1),
        ("19.99", 1),
        ("20", 2),
        ("50", 5),
        ("100", 10),
        ("150", 15),
        ("250", 25),
        ("250.01", None),
        ("1000", None),
    ],
)
def test_the_limit_follows_the_balance(balance: str, limit: int | None) -> None:
    assert concurrent_limit(Decimal(balance)) == limit
    assert stated_limit(Decimal(balance)) >= 1


def test_the_bucket_lets_a_second_s_worth_through_and_then_the_rate() -> None:
    bucket = TokenBucket(2.0)
    assert [bucket.take(10.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert bucket.take(10.25) == pytest.approx(0.25)
    assert bucket.take(10.5) == 0.0
    assert [bucket.take(1000.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_a_rate_below_one_still_lets_the_first_request_in() -> None:
    bucket = TokenBucket(0.5)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) == 2.0


@given(st.floats(0.1, 100), st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60))
def test_no_second_s_sum_exceeds_rate_and_burst(rate: float, gaps: list[float]) -> None:
    bucket, clock, passed = TokenBucket(rate), 0.0, 0
    for gap in gaps:
        clock += gap
        passed += bucket.take(clock) == 0.0
    assert passed <= clock * rate + max(1.0, rate) + 1e-6


@given(st.lists(st.text()), st.lists(st.text()))
def test_only_equal_parts_have_equal_fingerprints(one: list[str], other: list[str]) -> None:
    assert (chance.fingerprint(*one) == chance.fingerprint(*other)) == (one == other)


@given(st.text())
def test_shares_lie_between_0_and_1(text: str) -> None:
    assert 0 < chance.share(text) < 1


def test_durations_have_the_median_they_are_asked_for() -> None:
    drawn = sorted(chance.lognormal(8.0, 0.5, n) for n in range(2001))
    assert drawn[1000] == pytest.approx(8.0, rel=0.05)
    # One sigma above the median lies at e to the 0.5.
    assert drawn[1683] == pytest.approx(8.0 * 1.6487, rel=0.08)
    assert chance.lognormal(8.0, 0.0, "anything") == 8.0


def test_names_look_as_the_service_s_do() -> None:
    assert chance.token(30, 1).isalnum()
    assert len(chance.token(30, 1)) == 30
    assert [len(group) for group in chance.uuid(1).split("-")] == [8, 4, 4, 4, 12]
