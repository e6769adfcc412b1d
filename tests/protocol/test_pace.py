"""The pace after a 429: the pause for all, half the rate, and the way back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async.protocol.limits import RequestPace

START = 1000.0


def limited_at(rate: int, pause: float = 2.0) -> RequestPace:
    """A pace that met a 429 while so many requests a second went out; now is START."""
    pace = RequestPace()
    for place in range(3 * rate):
        pace.reserve(START - 3 + place / rate)
    pace.on_limited(START, pause)
    return pace


def test_until_a_429_nothing_waits() -> None:
    pace = RequestPace()
    assert {pace.reserve(START + step / 1000) for step in range(5000)} == {0.0}
    assert not pace.is_paused(START)
    pace.on_success()
    assert pace.rate is None


def test_a_429_pauses_everything_for_as_long_as_the_service_asks() -> None:
    pace = limited_at(10, pause=2.0)
    assert pace.is_paused(START)
    assert pace.is_paused(START + 1.99)
    assert not pace.is_paused(START + 2)
    assert pace.reserve(START + 0.5) == 1.5


@pytest.mark.parametrize("rate", [2, 4, 10, 100])
def test_after_the_pause_requests_go_at_half_the_rate(rate: int) -> None:
    pace = limited_at(rate, pause=2.0)
    starts = [START + pace.reserve(START) for _ in range(10)]
    assert starts[0] == START + 2
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps == pytest.approx([2 / rate] * 9)


def test_the_rate_has_a_floor() -> None:
    pace = RequestPace()
    for minute in range(20):
        pace.on_limited(START + 60 * minute, 1)
    assert pace.rate == 0.5


def test_several_429s_of_one_burst_count_once_and_the_longest_pause_holds() -> None:
    pace = limited_at(10, pause=2.0)
    rate = pace.rate
    pace.on_limited(START + 0.1, 5.0)
    pace.on_limited(START + 0.2, 1.0)
    assert pace.rate == rate
    assert pace.is_paused(START + 5)
    assert START + 0.2 + pace.reserve(START + 0.2) == pytest.approx(START + 5.1)


def test_a_429_at_a_paced_rate_halves_that_rate() -> None:
    pace = limited_at(40, pause=2.0)
    assert pace.rate == 20
    pace.on_limited(START + 3, 2.0)
    assert pace.rate == 10


def test_successes_bring_the_pace_back_until_it_is_forgotten() -> None:
    pace = limited_at(10, pause=0.0)
    seen = []
    while pace.rate is not None:
        seen.append(pace.rate)
        pace.on_success()
    assert seen[0] == 5
    assert seen == sorted(seen)
    assert 19 < seen[-1] <= 20
    assert pace.reserve(START + 60) == pace.reserve(START + 60) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["reserve", "limited", "success"]),
            st.floats(min_value=0, max_value=30),
            st.floats(min_value=0, max_value=120),
        ),
        max_size=80,
    )
)
def test_no_request_overtakes_a_pause_or_another(steps: list[tuple[str, float, float]]) -> None:
    pace = RequestPace()
    now = resumes_at = last_start = START
    for action, later, pause in steps:
        now += later
        if action == "limited":
            pace.on_limited(now, pause)
            resumes_at = max(resumes_at, now + pause)
        elif action == "success":
            pace.on_success()
        else:
            wait = pace.reserve(now)
            assert wait >= 0
            assert now + wait >= max(resumes_at, last_start) - 1e-6
            last_start = now + wait
        assert pace.rate is None or pace.rate >= 0.5
        assert pace.is_paused(now) is (now < resumes_at)
